"""Changes to an input, each by its kind: numbers, structures, memory, text, words of a command.

A change is made of one entry of the corpus and a second one to take pieces from; both are left as
they are.  All randomness is the caller's, so that a seed repeats a case.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from tests.fuzz.fields import PAGE, Field, fields_of, note_places

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

MOST: Final = 4 << 20
"""No mutated input is larger."""
EDGES: Final = (
    *(0, 1, 2, 3, 4, 7, 8, 12, 16, 24, 40, 56, 64, 127, 128, 255, 256, 511, 512, 1000, 4095, 4096),
    *(4097, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x1FFFFF, 0x200000, 0x1000001, 0x1000002, 0x7FFFFFFF),
    *(0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 32, 1 << 40, (1 << 47) - 1, 1 << 52, (1 << 63) - 1),
    *(1 << 63, (1 << 64) - 4096, (1 << 64) - 1, 0xFFFF82D040000000, 0xFFFF830000000000),
    *(0xFFFF828C80000000, 0xFFFF888000000000, 0xFFFFFFFF81000000),
)
SPLICES: Final = (
    b"\0",
    b"\xff" * 8,
    b"\x1b[31m\x1b]0;x\x07",
    "\u202e\u2066\u200b".encode(),
    b"\x7fELF\2\1\1",
    b"KDUMP   ",
    b"VMCOREINFO_XEN\0\0",
    b"Xen 4.17.7 (Xen 4.17.7-built)",
    b"%s%n\\x1b\n\r\t",
    b"\xed\xa0\x80\xff\xfe",
)


def _rounds(rng: Random) -> int:
    count = 1
    while count < 12 and rng.random() < 0.45:
        count += 1
    return count


def _apply(
    rng: Random,
    data: bytes,
    other: bytes,
    ways: Sequence[Callable[[Random, bytearray, bytes], None]],
) -> bytes:
    out = bytearray(data)
    for _ in range(_rounds(rng)):
        rng.choice(ways)(rng, out, other)
    return bytes(out[:MOST])


# --- numbers and bytes ---------------------------------------------------------------------------


def value(rng: Random, field: Field, data: bytes | bytearray) -> int:
    """Something else for a number: an edge, a near one, or one from somewhere else in the file."""
    now = field.get(data)
    ways: tuple[Callable[[], int], ...] = (
        lambda: rng.choice(EDGES),
        lambda: now + rng.choice((-4096, -8, -2, -1, 1, 2, 8, 4096, 0x200000, -0x200000)),
        lambda: now ^ 1 << rng.randrange(8 * field.size),
        lambda: len(data) + rng.choice((-4096, -1, 0, 1, 4096)),
        lambda: rng.getrandbits(8 * field.size),
        lambda: now << rng.randrange(1, 16),
        lambda: now >> rng.randrange(1, 16),
        lambda: _word(rng, data),
        lambda: -now,
    )
    return rng.choice(ways)()


def _word(rng: Random, data: bytes | bytearray) -> int:
    at = rng.randrange(max(len(data) - 8, 1)) & -8
    return int.from_bytes(data[at : at + 8], "little")


def flip(rng: Random, data: bytearray, other: bytes) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite(rng: Random, data: bytearray, other: bytes) -> None:
    if data:
        at = rng.randrange(len(data))
        piece = rng.choice((*SPLICES, rng.randbytes(rng.randrange(1, 16)), bytes(16)))
        data[at : at + len(piece)] = piece


def remove(rng: Random, data: bytearray, other: bytes) -> None:
    if data:
        at, size = _block(rng, len(data))
        del data[at : at + size]


def repeat(rng: Random, data: bytearray, other: bytes) -> None:
    if data:
        at, size = _block(rng, len(data))
        to = rng.randrange(len(data) + 1)
        data[to:to] = data[at : at + min(size, 1 << 16)]


def blank(rng: Random, data: bytearray, other: bytes) -> None:
    if data:
        at, size = _block(rng, len(data))
        size = min(size, len(data) - at)
        data[at : at + size] = bytes([rng.choice((0, 0, 0xFF, 0x55))]) * size


def take(rng: Random, data: bytearray, other: bytes) -> None:
    """A piece of another input, at the same place or anywhere."""
    if data and other:
        at, size = _block(rng, len(other))
        size = min(size, PAGE, len(other) // 2)  # never all of another dump
        to = at if rng.random() < 0.5 else rng.randrange(len(data))
        data[to : to + size] = other[at : at + size]


def cut(rng: Random, data: bytearray, other: bytes) -> None:
    if data:
        del data[rng.randrange(len(data)) :]


def extend(rng: Random, data: bytearray, other: bytes) -> None:
    data += rng.choice(
        (bytes(rng.randrange(1, 5000)), rng.randbytes(40), other[: min(1 << 14, len(other) // 2)])
    )


def _block(rng: Random, size: int) -> tuple[int, int]:
    width = rng.choice((1, 2, 4, 8, 12, 24, 56, 64, 512, PAGE))
    at = rng.randrange(size)
    if rng.random() < 0.5:
        at -= at % width
    return at, width * rng.choice((1, 1, 1, 2, 3, 8))


_BYTES: Final = (flip, flip, overwrite, overwrite, remove, repeat, blank, take, cut, extend)


def raw(rng: Random, data: bytes, other: bytes) -> bytes:
    """Bytes of no known structure."""
    return _apply(rng, data, other, _BYTES)


# --- files ---------------------------------------------------------------------------------------


def structured(rng: Random, data: bytes, other: bytes) -> bytes:
    """A file whose layout is known: mostly its numbers, now and then anything."""
    fields = fields_of(data)

    def number(rng: Random, out: bytearray, _: bytes) -> None:
        if fields:
            field = rng.choice(fields)
            field.put(out, value(rng, field, out))

    def swap(rng: Random, out: bytearray, _: bytes) -> None:
        if fields:
            first = rng.choice(fields)
            second = rng.choice([field for field in fields if field.size == first.size])
            one, two = first.get(out), second.get(out)
            first.put(out, two)
            second.put(out, one)

    def region(rng: Random, out: bytearray, other: bytes) -> None:
        # a row of a table gone, twice or elsewhere
        if fields:
            at = rng.choice(fields).at
            size = rng.choice((8, 12, 24, 32, 56, 64))
            piece = out[at : at + size]
            if rng.random() < 0.4:
                del out[at : at + size]
            elif rng.random() < 0.5:
                out[at:at] = piece
            else:
                to = rng.choice(fields).at
                out[to : to + size] = piece

    ways = (number, number, number, number, number, swap, region, memory, rng.choice(_BYTES))
    return _apply(rng, data, other, ways)


def memory(rng: Random, data: bytearray, other: bytes) -> None:
    """A word of a page, or a page: pointers that lead elsewhere, what changed places."""
    pages = len(data) // PAGE
    if pages < 2:
        return
    at = rng.randrange(pages) * PAGE
    way = rng.randrange(12)
    if way == 0:
        to = rng.randrange(pages) * PAGE
        data[at : at + PAGE], data[to : to + PAGE] = data[to : to + PAGE], data[at : at + PAGE]
    elif way == 1:
        data[at : at + PAGE] = bytes(PAGE)
    elif used := [place for place in range(at, at + PAGE, 8) if any(data[place : place + 8])]:
        if way < 6 and len(used) > 1:
            _entries(rng, data, used)
        else:
            field = Field(rng.choice(used), rng.choice((1, 2, 4, 8, 8, 8)))
            field.put(data, value(rng, field, data))


def _entries(rng: Random, data: bytearray, used: list[int]) -> None:
    # entries of a table: two in each other's place, one twice, some moved on by one
    way = rng.randrange(3)
    first, second = rng.sample(used, 2)
    one, two = data[first : first + 8], data[second : second + 8]
    if way == 0:
        data[first : first + 8], data[second : second + 8] = two, one
    elif way == 1:
        data[first : first + 8] = two
    else:
        start = rng.randrange(len(used))
        places = used[start : start + rng.randrange(2, 12)]
        words = [data[place : place + 8] for place in places]
        for place, word in zip(places, words[1:] + words[:1], strict=True):
            data[place : place + 8] = word


def in_memory(rng: Random, data: bytes, other: bytes) -> bytes:
    """A dump whose headers and notes stay, and whose memory is damaged."""
    return _apply(rng, data, other, (memory,))


def notes(rng: Random, data: bytes, other: bytes) -> bytes:
    """A blob of notes: each is a piece that can go, come twice, come from elsewhere or lie."""
    pieces = _pieces(data)
    more = _pieces(other) or [b""]
    for _ in range(_rounds(rng)):
        if not pieces:
            break
        at = rng.randrange(len(pieces))
        way = rng.randrange(9)
        if way == 0:
            del pieces[at]
        elif way == 1:
            pieces.insert(rng.randrange(len(pieces) + 1), pieces[at])
        elif way == 2:
            pieces.insert(at, rng.choice(more))
        elif way == 3:
            rng.shuffle(pieces)
        elif way == 4:
            pieces[at] = resized(rng, pieces[at])
        elif way == 5:
            pieces[at] = raw(rng, pieces[at], other)
        else:
            pieces[at] = _note_number(rng, pieces[at])
    return b"".join(pieces)[:MOST]


def _pieces(blob: bytes) -> list[bytes]:
    places = note_places(blob, 0, len(blob))
    end = places[-1].end if places else 0
    found = [blob[place.start : place.end] for place in places]
    return [*found, blob[end:]] if blob[end:] else found


def resized(rng: Random, note: bytes) -> bytes:
    """A note whose payload is longer or shorter, and says so."""
    if len(note) < 12:
        return note
    namesz, descsz, kind = struct.unpack_from("<III", note)
    start = 12 + (namesz + 3 & ~3)
    desc = note[start : start + descsz]
    size = max(
        0, min(rng.choice((0, 1, 4, 8, 16, 32, 80, 336, len(desc) - 8, len(desc) + 8)), 5000)
    )
    desc = desc[:size].ljust(size, b"\0")
    return struct.pack("<III", namesz, size, kind) + note[12:start] + desc + bytes(-size % 4)


def _note_number(rng: Random, note: bytes) -> bytes:
    out = bytearray(note)
    places = [at for at in range(0, len(out) - 3, 4) if at < 12 or any(out[at : at + 4])]
    if places:
        field = Field(rng.choice(places), rng.choice((1, 4, 8)))
        field.put(out, value(rng, field, out))
    return bytes(out)


# --- text and words ------------------------------------------------------------------------------

PIECES: Final = (
    *(b"", b"=", b"\n", b"0x", b"-1", b"0", b"18446744073709551616", b"\x1b[2J", b"(XEN) ", b"CPU"),
    *(b"ffff82d040000000", b"<1>", b"[", b"]", b" (", b"%s", b"\t", b"\r", b"\0", b"\x9b", b"d0v0"),
    *("\u202e\u2028".encode(), b"\xff\xfe", b"Xen call trace:", b"Panic on CPU 0:", b"9" * 40),
    b"FATAL TRAP: vector = 2 (nmi)",
)


def text(rng: Random, data: bytes, other: bytes) -> bytes:
    """Lines: gone, twice, in each other's place, joined, with other numbers and odd characters."""
    rows = data.split(b"\n")
    for _ in range(_rounds(rng)):
        at = rng.randrange(len(rows))
        if rng.random() < 0.4:
            _move_line(rng, rows, at, other)
        else:
            rows[at] = _other_line(rng, rows[at], other)
    return b"\n".join(rows)[: 1 << 18]


def _move_line(rng: Random, rows: list[bytes], at: int, other: bytes) -> None:
    way, to = rng.randrange(4), rng.randrange(len(rows))
    if way == 0 and len(rows) > 1:
        del rows[at]
    elif way == 1:
        rows.insert(to, rows[at])
    elif way == 2:
        rows[at], rows[to] = rows[to], rows[at]
    else:
        rows.insert(at, rng.choice(other.split(b"\n")))


def _other_line(rng: Random, line: bytes, other: bytes) -> bytes:
    way, place = rng.randrange(5), rng.randrange(len(line) + 1)
    if way == 0:
        return line[:place] + rng.choice(PIECES) + line[place:]
    if way == 1:
        return _token(rng, line)
    if way == 2:
        return line * rng.choice((2, 3, 50))
    return raw(rng, line, other) if way == 3 else line[:place]


def _token(rng: Random, line: bytes) -> bytes:
    tokens = line.split(b" ")
    at = rng.randrange(len(tokens))
    other = rng.choice((*PIECES, b"%d" % rng.choice(EDGES), b"%x" % rng.choice(EDGES)))
    tokens[at] = other if rng.random() < 0.6 else rng.choice(tokens)
    return b" ".join(tokens)


SEPARATOR: Final = b"\x1f"
"""Between the words of a command line, and between the parts of an input of several files."""


def arguments(rng: Random, data: bytes, other: bytes) -> bytes:
    """Words of a command line: options come, go and get odd values."""
    words = data.split(SEPARATOR)
    more = other.split(SEPARATOR)
    for _ in range(_rounds(rng)):
        at = rng.randrange(len(words))
        way = rng.randrange(6)
        if way == 0 and len(words) > 1:
            del words[at]
        elif way == 1:
            words.insert(at, rng.choice(more))
        elif way == 2:
            words[at] = rng.choice(
                (*PIECES, b"0x%x" % rng.choice(EDGES), b"%d" % rng.choice(EDGES))
            )
        elif way == 3:
            words[at] = raw(rng, words[at], b"")[:200]
        elif way == 4:
            words.insert(rng.randrange(len(words) + 1), words[at])
        else:
            rng.shuffle(words)
    return SEPARATOR.join(words)


def parts(way: Callable[[Random, bytes, bytes], bytes]) -> Callable[[Random, bytes, bytes], bytes]:
    """The same for an input of several files: one of them changes, goes or comes twice."""

    def change(rng: Random, data: bytes, other: bytes) -> bytes:
        files = split(data)
        at = rng.randrange(len(files))
        how = rng.randrange(12)
        if how == 0 and len(files) > 1:
            del files[at]
        elif how == 1:
            files.append(files[at])
        elif how == 2:
            rng.shuffle(files)
        else:
            files[at] = way(rng, files[at], rng.choice(split(other)))
        return join(files)

    return change


_MARK: Final = b"\x1f--file--\x1f"


def join(files: Sequence[bytes]) -> bytes:
    """Several files as one input."""
    return _MARK.join(files)


def split(data: bytes) -> list[bytes]:
    """The files of an input."""
    return data.split(_MARK)
