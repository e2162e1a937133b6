"""What lies where in a dump, and what is left of it: by layout alone, without any reader.

Everything here works on a whole file that is known to be sound; which bytes of it were kept is said
apart, as ranges.  Of a stream or of records the ranges are those of the file inside.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import lz4.frame
import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PAGE: Final = 4096
Range = tuple[int, int]
_PHDR: Final = struct.Struct("<IIQQQQQQ")
_DESCRIPTOR: Final = struct.Struct("<QIIQ")
_MASK: Final = 0xF_FFFF_FFFF_F000


class NoteSpan(NamedTuple):
    """A note: whose, of which type, its payload, and its bytes in the file."""

    owner: bytes
    type: int
    desc: bytes
    start: int
    end: int


class Layout(NamedTuple):
    """A dump file.

    Attributes:
        needed: ranges without all of which there may be no result at all.
        notes: every note.
        pages: machine frame to what must be there for its data to be read.
        borders: where a structure begins or ends.
    """

    needed: tuple[Range, ...]
    notes: tuple[NoteSpan, ...]
    pages: dict[int, tuple[Range, ...]]
    borders: tuple[int, ...]


class Kept:
    """Which bytes of a file are still there."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        self.ranges: list[Range] = []
        for start, end in sorted(ranges):
            if self.ranges and start <= self.ranges[-1][1]:
                self.ranges[-1] = self.ranges[-1][0], max(end, self.ranges[-1][1])
            elif start < end:
                self.ranges.append((start, end))

    def has(self, start: int, end: int) -> bool:
        return start >= end or any(low <= start and end <= high for low, high in self.ranges)

    def has_all(self, ranges: Iterable[Range]) -> bool:
        return all(self.has(*one) for one in ranges)

    def touches(self, start: int, end: int) -> bool:
        return any(low < end and start < high for low, high in self.ranges)


def layout_of(data: bytes) -> Layout:
    """The layout of a 64-bit little-endian ELF vmcore or kdump file."""
    return _kdump(data) if data.startswith(b"KDUMP") else _elf(data)


def notes_in(data: bytes, at: int, size: int) -> Iterator[NoteSpan]:
    """The notes of a stretch of bytes."""
    end = at + size
    while at + 12 <= end:
        namesz, descsz, kind = struct.unpack_from("<III", data, at)
        desc = at + 12 + (namesz + 3 & ~3)
        behind = desc + (descsz + 3 & ~3)
        if behind > end or not namesz:
            return
        owner = data[at + 12 : at + 12 + namesz].rstrip(b"\0")
        yield NoteSpan(owner, kind, data[desc : desc + descsz], at, behind)
        at = behind


def _elf(data: bytes) -> Layout:
    (phoff,), (phnum,) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<H", data, 56)
    table = phoff, phoff + phnum * _PHDR.size
    notes: list[NoteSpan] = []
    pages: dict[int, tuple[Range, ...]] = {}
    borders = {64, *range(table[0], table[1] + 1, _PHDR.size)}
    for at in range(*table, _PHDR.size):
        kind, _, offset, _, paddr, size, _, _ = _PHDR.unpack_from(data, at)
        row = at, at + _PHDR.size
        if kind == 4:
            notes += notes_in(data, offset, size)
            borders |= {offset, offset + size}
        elif kind == 1:
            borders |= {offset, offset + size}
            for place in range(0, size, PAGE):
                start = offset + place
                pages[paddr + place >> 12] = (row, (start, min(start + PAGE, offset + size)))
    borders |= {at for note in notes for at in (note.start, note.start + 12, note.end)}
    return Layout(((0, 64), table), tuple(notes), pages, tuple(sorted(borders)))


def _kdump(data: bytes) -> Layout:
    block, sub, blocks = struct.unpack_from("<iiI", data, 428)
    start_of_sub = block
    notes_at, notes_size = struct.unpack_from("<QQ", data, start_of_sub + 48)
    split, first, last = struct.unpack_from("<iQQ", data, start_of_sub + 12)
    bitmap = block * (1 + sub)
    half = blocks * block // 2
    table = bitmap + 2 * half
    dumped = data[bitmap + half : table]
    frames = [8 * at + bit for at in range(len(dumped)) if dumped[at] for bit in range(8)
              if dumped[at] >> bit & 1]  # fmt: skip
    if split:
        frames = [frame for frame in frames if first <= frame < last]
    pages: dict[int, tuple[Range, ...]] = {}
    borders = {block, block + 104, bitmap, bitmap + half, table, table + 24 * len(frames)}
    for number, frame in enumerate(frames):
        row = table + 24 * number
        offset, size, _, _ = _DESCRIPTOR.unpack_from(data, row)
        pages[frame] = ((bitmap, table), (row, row + 24), (offset, offset + size))
        borders |= {row, offset, offset + size}
    notes = tuple(notes_in(data, notes_at, notes_size))
    borders |= {at for note in notes for at in (note.start, note.start + 12, note.end)}
    return Layout(((0, bitmap),), notes, pages, tuple(sorted(borders)))


# --- what is inside ------------------------------------------------------------------------------


def kept_of_records(data: bytes, end: int) -> list[Range]:
    """Which bytes of the file inside records have come when the stream ends at a place."""
    found = []
    at = PAGE
    while at + 16 <= end:
        offset, size = struct.unpack_from(">qq", data, at)
        if offset < 0:
            break
        found.append((offset, offset + min(size, end - at - 16)))
        at += 16 + size
    return found


def record_borders(data: bytes) -> list[int]:
    """Where records begin and end."""
    found, at = [PAGE], PAGE
    while at + 16 <= len(data):
        offset, size = struct.unpack_from(">qq", data, at)
        if offset < 0:
            return [*found, at, at + 16]
        found += [at + 16, at + 16 + size]
        at += 16 + size
    return found


def _unpacker(data: bytes) -> Any:
    if data.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(31)
    if data.startswith(b"BZh"):
        return bz2.BZ2Decompressor()
    if data.startswith(b"\xfd7zXZ"):
        return lzma.LZMADecompressor()
    if data.startswith(b"\x04\x22\x4d\x18"):
        return lz4.frame.LZ4FrameDecompressor()
    return zstandard.ZstdDecompressor().decompressobj()


def unpacked_size(data: bytes) -> int:
    """How many bytes come out of what is left of a stream, or of several behind one another."""
    size = 0
    while data:
        if data.startswith(b"\x50\x2a\x4d\x18"):  # a frame to be skipped
            data = data[8 + int.from_bytes(data[4:8], "little") :]
            continue
        unpack = _unpacker(data)
        try:
            size += len(unpack.decompress(data))
        except (OSError, EOFError, ValueError, RuntimeError, zstandard.ZstdError, lzma.LZMAError):
            return size
        data = getattr(unpack, "unused_data", b"") if getattr(unpack, "eof", True) else b""
    return size


# --- the hypervisor's page tables ----------------------------------------------------------------


def frame_bytes(data: bytes, layout: Layout, frame: int) -> bytes:
    """A page of an ELF dump; zeros where it has none."""
    if frame not in layout.pages:
        return bytes(PAGE)
    start, end = layout.pages[frame][-1]
    return data[start:end].ljust(PAGE, b"\0")


def tables_to(data: bytes, layout: Layout, root: int, vaddr: int) -> set[int]:
    """The frames of the tables on the way to a gibibyte of virtual memory, and below its top."""
    found = {root}
    table = root
    for shift in (39, 30):
        entry = _entry(data, layout, table, vaddr >> shift & 511)
        if not entry & 1 or entry & 0x80:
            return found
        table = (entry & _MASK) >> 12
        found.add(table)
    for slot in range(512):
        entry = _entry(data, layout, table, slot)
        if entry & 0x81 == 1:
            found.add((entry & _MASK) >> 12)
    return found


def _entry(data: bytes, layout: Layout, frame: int, slot: int) -> int:
    value: int = struct.unpack_from("<Q", frame_bytes(data, layout, frame), 8 * slot)[0]
    return value
