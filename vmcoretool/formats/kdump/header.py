"""The headers of kdump and diskdump files, made of the construct declarations into one value.

Neither word size nor byte order is recorded; the reading that makes sense is taken.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vmcoretool.addresses import FileOffset
from vmcoretool.errors import (
    FormatError,
    TruncatedError,
    UnsupportedFormatError,
    is_out_of_reach,
)
from vmcoretool.formats.note_segments import MAX_NOTE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmcoretool.formats.kdump.structs import Order
    from vmcoretool.sources.file import ByteSource

KDUMP: Final = b"KDUMP   "
DISKDUMP: Final = b"DISKDUMP"
MAX_VERSION: Final = 6
# status bits (makedumpfile diskdump_mod.h, and diskdump's own); of kdump the others name a codec
_INCOMPLETE: Final = 0x8
_DISKDUMP_INCOMPLETE: Final = 0x1
_MAIN_SIZE: Final = 464
"""Of struct disk_dump_header, 64 bits wide."""
_BLOCK_SIZES: Final = tuple(1 << bits for bits in range(12, 19))


class KdumpHeader(NamedTuple):
    """What matters of main header and sub-header; areas are (file offset, size).

    ``placed`` is False where the sub-header is lost, so that it is not known which frames a part of
    a split set has.
    """

    bits: int
    order: Order
    block_size: int
    sub_hdr_size: int
    bitmap_blocks: int
    frames: int
    machine: str
    split: bool
    start_pfn: int
    end_pfn: int
    vmcoreinfo: tuple[int, int]
    notes: tuple[int, int]
    diskdump: bool
    incomplete: bool
    placed: bool


def is_kdump(source: ByteSource) -> bool:
    """Whether the file has one of the two signatures."""
    return source.pread(8, 0) in (KDUMP, DISKDUMP)


def is_split_part(source: ByteSource) -> bytes | None:
    """What all parts of a split set share and no other set has; None of what is no part."""
    if not is_kdump(source):
        return None
    try:
        header = read_header(source)
    except FormatError:
        return None
    return _head(source) + read_notes(source, header) if header.split else None


def _head(source: ByteSource) -> bytes:
    # writers put down the header alone: in a stream that was cut off, nothing may be behind it
    try:
        return source.pread(512, 0)
    except FormatError:
        return source.pread(_MAIN_SIZE, 0)


def read_notes(source: ByteSource, header: KdumpHeader) -> bytes:
    """The notes, which a --split set has in each part; two crashes of one host differ in them.

    b"" where they never arrived as a whole, or cannot be read.
    """
    offset, size = header.notes
    try:
        return source.pread(min(size, MAX_NOTE_BYTES), offset) if size else b""
    except FormatError:
        return b""
    except OSError as error:
        if is_out_of_reach(error):
            raise
        return b""


def in_part_order(sources: Sequence[ByteSource]) -> tuple[ByteSource, ...]:
    """The parts of a split set by their first frame; any other files as they are."""
    if not all(is_split_part(source) for source in sources):
        return tuple(sources)
    return tuple(sorted(sources, key=_place))


def _place(source: ByteSource) -> tuple[int, int, str]:
    header = read_header(source)
    return header.start_pfn, header.end_pfn, source.path  # empty parts may share a range


def read_header(source: ByteSource) -> KdumpHeader:
    """Both headers of a file.

    Raises:
        FormatError: nothing makes sense of them.
        UnsupportedFormatError: a version that is newer.
    """
    from vmcoretool.formats.kdump.structs import (  # noqa: PLC0415 - construct is slow to import
        disk_dump_header,
    )

    block = _head(source)
    if len(block) < _MAIN_SIZE:
        raise TruncatedError(
            f"the file ends inside its kdump header ({len(block)} bytes)",
            path=source.path,
            where=FileOffset(0),
        )
    layouts: tuple[tuple[int, Order], ...] = (
        (64, "little"),
        (32, "little"),
        (64, "big"),
        (32, "big"),
    )
    readings = []
    for bits, order in layouts:
        main = disk_dump_header(bits, order).parse(block)
        if _plausible(main):
            readings.append((main, bits, order))
    # a number of frames of another width can look like a block size, but then no frame follows it;
    # a file that was cut off ends before its headers do
    readings.sort(key=lambda reading: (not reading[0].max_mapnr, not _fits(reading[0], source)))
    versions = [main.header_version for main, _, _ in readings]
    for main, bits, order in readings:
        if main.header_version <= MAX_VERSION:
            return _complete(source, main, bits, order)
    if versions:
        raise UnsupportedFormatError(
            f"kdump header version {versions[0]}, newer than {MAX_VERSION}", path=source.path
        )
    raise FormatError(
        "no width and byte order makes sense of the kdump header",
        path=source.path,
        where=FileOffset(8),
        cure="the header is damaged: get the dump again from where it was saved",
    )


def _fits(main: Any, source: ByteSource) -> bool:
    return bool(main.block_size * (1 + main.sub_hdr_size) <= source.size)


def _plausible(main: Any) -> bool:
    return (
        0 <= main.header_version < 1 << 16
        and main.block_size in _BLOCK_SIZES
        and 0 <= main.sub_hdr_size <= MAX_NOTE_BYTES // main.block_size + 1
        and main.bitmap_blocks >= (1 if main.max_mapnr else 0)
        and 8 * main.bitmap_blocks * main.block_size >= main.max_mapnr
    )


def _complete(source: ByteSource, main: Any, bits: int, order: Order) -> KdumpHeader:
    sub = _sub_header(source, main, bits, order)
    frames = getattr(sub, "max_mapnr_64", 0) or main.max_mapnr
    if 8 * main.bitmap_blocks * main.block_size < frames:
        frames = main.max_mapnr
    wide = "_64" if hasattr(sub, "start_pfn_64") else ""
    start: int = getattr(sub, f"start_pfn{wide}", 0)
    end: int = getattr(sub, f"end_pfn{wide}", 0)
    kdump = main.signature == KDUMP
    split = kdump and bool(getattr(sub, "split", 0))
    words = main.utsname[4 * 65 : 5 * 65].split(b"\0")[0]
    return KdumpHeader(
        bits=bits,
        order=order,
        block_size=main.block_size,
        sub_hdr_size=main.sub_hdr_size,
        bitmap_blocks=main.bitmap_blocks,
        frames=frames,
        machine=words.decode("ascii", "replace"),
        split=split,
        start_pfn=min(start, frames) if split else 0,
        end_pfn=min(end, frames) if split else frames,
        vmcoreinfo=(getattr(sub, "offset_vmcoreinfo", 0), getattr(sub, "size_vmcoreinfo", 0)),
        notes=(getattr(sub, "offset_note", 0), getattr(sub, "size_note", 0)),
        diskdump=not kdump,
        placed=not isinstance(sub, SimpleNamespace),
        incomplete=bool(main.status & (_INCOMPLETE if kdump else _DISKDUMP_INCOMPLETE)),
    )


def _sub_header(source: ByteSource, main: Any, bits: int, order: Order) -> Any:
    from construct import ConstructError  # noqa: PLC0415 - slow to import

    from vmcoretool.formats.kdump.structs import kdump_sub_header  # noqa: PLC0415 - likewise

    if main.signature == DISKDUMP or not main.sub_hdr_size:
        return object()
    try:
        block = source.pread(512, main.block_size)
    except (FormatError, OSError) as error:
        if isinstance(error, OSError) and is_out_of_reach(error):
            raise
        # makedumpfile writes it after the notes, which it would place; they end somewhere in there
        room = main.block_size * main.sub_hdr_size
        return SimpleNamespace(offset_note=main.block_size, size_note=room)
    area = range(main.block_size, main.block_size * (1 + main.sub_hdr_size) + 1)
    candidates = []
    for packed in (True, False) if bits == 32 else (True,):
        layout = kdump_sub_header(bits, order, main.header_version, packed=packed)
        try:
            candidates.append(layout.parse(block))
        except ConstructError as error:
            raise TruncatedError(
                "the file ends inside its kdump sub-header",
                path=source.path,
                where=FileOffset(main.block_size),
            ) from error
    # the wrong packing puts pointers where no note can be, or sees none where there are some
    return max(candidates, key=lambda sub: _pointer_score(sub, area))


def _pointer_score(sub: Any, area: range) -> int:
    score = 0
    for what in ("vmcoreinfo", "note"):
        offset, size = getattr(sub, f"offset_{what}", 0), getattr(sub, f"size_{what}", 0)
        if offset in area and offset + size in area:
            score += 1
        elif offset or size:
            score -= 2
    return score
