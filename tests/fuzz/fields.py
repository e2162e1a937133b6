"""Where the numbers lie in a file of any kind, told by its layout and never by the readers."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PAGE: Final = 4096
MOST_ROWS: Final = 400
ELF: Final = b"\x7fELF"
KDUMP: Final = (b"KDUMP   ", b"DISKDUMP")
FLATTENED: Final = b"makedumpfile\0\0\0\0"
FLAT_HEAD: Final = 4096
END_SIZE: Final = 64
# sizes of the fields behind e_ident, of a program header, a section header and a symbol
_HEADER: Final = {8: (2, 2, 4, 8, 8, 8, 4, *(2,) * 6), 4: (2, 2, 4, 4, 4, 4, 4, *(2,) * 6)}
_PHDR: Final = {8: (4, 4, 8, 8, 8, 8, 8, 8), 4: (4,) * 8}
_SHDR: Final = {8: (4, 4, 8, 8, 8, 8, 4, 4, 8, 8), 4: (4,) * 10}
_SYMBOL: Final = {8: (4, 1, 1, 2, 8, 8), 4: (4, 4, 4, 1, 1, 2)}
_DESCRIPTOR: Final = (8, 4, 4, 8)
_SYMTAB, _NOTES = 2, 7


class Field(NamedTuple):
    """A number of a file: its place, its size in bytes and its byte order."""

    at: int
    size: int
    order: str = "<"

    def get(self, data: bytes | bytearray) -> int:
        return int.from_bytes(data[self.at : self.at + self.size], _ORDERS[self.order])

    def put(self, data: bytearray, value: int) -> None:
        value &= (1 << 8 * self.size) - 1
        raw = value.to_bytes(self.size, _ORDERS[self.order])
        data[self.at : self.at + self.size] = raw[: max(len(data) - self.at, 0)]


_ORDERS: Final[dict[str, Literal["little", "big"]]] = {"<": "little", ">": "big"}


@lru_cache(maxsize=32)
def fields_of(data: bytes) -> tuple[Field, ...]:
    """The fields of a file, by what it begins with."""
    if data.startswith(ELF) and len(data) >= 64:
        found: Iterable[Field] = _elf(data)
    elif data.startswith(KDUMP) and len(data) > PAGE:
        found = _kdump(data)
    elif data.startswith(FLATTENED):
        found = _flattened(data)
    else:
        found = _ends(data)
    return tuple(field for field in found if field.at >= 0 and field.at + field.size <= len(data))


def row(at: int, sizes: Iterable[int], order: str = "<") -> Iterator[Field]:
    """Fields one behind the other."""
    for size in sizes:
        yield Field(at, size, order)
        at += size


def _ends(data: bytes) -> Iterator[Field]:
    # of what has its numbers at both ends: frames of compression, old dump-cores
    for start in (0, max(len(data) - END_SIZE, 0)):
        for at in range(start, min(start + END_SIZE, len(data))):
            yield Field(at, 1)
            if at % 4 == 0:
                yield Field(at, 4)


# --- ELF -----------------------------------------------------------------------------------------


def _elf(data: bytes) -> Iterator[Field]:
    wide, order = 8 if data[4] == 2 else 4, ">" if data[5] == 2 else "<"
    yield from (Field(at, 1) for at in range(4, 16))
    header = list(row(16, _HEADER[wide], order))
    yield from header
    phoff, shoff = header[4].get(data), header[5].get(data)
    phnum, shnum = header[9].get(data), header[11].get(data)
    for start in _starts(phoff, phnum, sum(_PHDR[wide])):
        fields = list(row(start, _PHDR[wide], order))
        yield from fields
        if fields[0].get(data) == 4:
            at, size = (fields[number].get(data) for number in ((2, 5) if wide == 8 else (1, 4)))
            yield from note_fields(data, at, size, order)
    for start in _starts(shoff, shnum, sum(_SHDR[wide])):
        fields = list(row(start, _SHDR[wide], order))
        yield from fields
        kind, at, size = (fields[number].get(data) for number in (1, 4, 5))
        if kind == _SYMTAB:
            for symbol in _starts(at, size // 16, sum(_SYMBOL[wide])):
                yield from row(symbol, _SYMBOL[wide], order)
        elif kind == _NOTES:
            yield from note_fields(data, at, size, order)
        elif wide == 8 and not phnum:  # a guest's dump-core: its index and its contexts
            yield from words(at, size)


def _starts(at: int, count: int, size: int) -> range:
    return range(at, at + min(count, MOST_ROWS) * size, size)


def words(at: int, size: int, width: int = 8, order: str = "<") -> Iterator[Field]:
    """The first words of a stretch of bytes."""
    for place in range(at, at + min(size, MOST_ROWS * width), width):
        yield Field(place, width, order)


class NotePlace(NamedTuple):
    """Where a note of a blob begins, where its payload does, and where the next one begins."""

    start: int
    desc: int
    end: int


def note_places(data: bytes, at: int, size: int, order: str = "<") -> list[NotePlace]:
    """The notes of a stretch of bytes, up to the first whose sizes lead out of it."""
    found: list[NotePlace] = []
    end = min(at + size, len(data))
    while at + 12 <= end and len(found) < MOST_ROWS:
        namesz, descsz = struct.unpack_from(order + "II", data, at)
        desc = at + 12 + (namesz + 3 & ~3)
        behind = desc + (descsz + 3 & ~3)
        if behind > end:
            break
        found.append(NotePlace(at, desc, behind))
        at = behind
    return found


def note_fields(data: bytes, at: int, size: int, order: str = "<") -> Iterator[Field]:
    """The headers and the words of the payloads of notes."""
    for note in note_places(data, at, size, order):
        yield from row(note.start, (4, 4, 4), order)
        yield from (Field(place, 1) for place in range(note.start + 12, note.desc))
        yield from words(note.desc, min(note.end - note.desc, 8 * 64), 8, order)


# --- kdump and flattened -------------------------------------------------------------------------


def _kdump(data: bytes) -> Iterator[Field]:
    wide, order = kdump_shape(data)
    start = 424 if wide == 8 else 412
    yield from row(0, (1,) * 8)
    yield Field(8, 4, order)
    fields = list(row(start, (4,) * 10, order))
    yield from fields
    block, sub, bitmaps = (fields[number].get(data) for number in (1, 2, 3))
    if block not in (1 << bit for bit in range(10, 17)):
        block = PAGE
    yield from words(block, 104, 4, order)
    yield from words(block, 104, 8, order)
    if wide == 8:
        at, size = (Field(block + place, 8, order).get(data) for place in (48, 56))
        yield from note_fields(data, at, size, order)
    bitmap = block * (1 + sub)
    half = bitmaps * block // 2
    for start in (bitmap, bitmap + half):
        used = [at for at in range(start, min(start + half, len(data))) if data[at]]
        yield from (Field(at, 1) for at in used[:MOST_ROWS])
    for start in _starts(bitmap + 2 * half, MOST_ROWS, sum(_DESCRIPTOR)):
        descriptor = list(row(start, _DESCRIPTOR, order))
        if not descriptor[1].get(data):
            break
        yield from descriptor


def kdump_shape(data: bytes) -> tuple[int, str]:
    """Bytes of a word and byte order of a kdump file: where its block size makes sense."""
    for wide, at in ((8, 428), (4, 416)):
        for order in "<>":
            if Field(at, 4, order).get(data) in (1024, 4096, 16384, 65536):
                return wide, order
    return 8, "<"


def _flattened(data: bytes) -> Iterator[Field]:
    yield from row(16, (8, 8), ">")
    at = FLAT_HEAD
    for _ in range(MOST_ROWS):
        fields = list(row(at, (8, 8), ">"))
        yield from fields
        size = fields[1].get(data)
        if at + 16 > len(data) or size >= 1 << 62:
            return
        at += 16 + size
