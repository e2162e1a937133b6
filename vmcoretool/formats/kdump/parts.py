"""The files of a kdump dump, and whether bitmap, descriptors and data of each fit together.

The bitmap alone says which descriptor is which frame's, and nothing protects it: a bit too many or
too few gives every frame behind it its neighbour's page.  But writers put the page data right
behind the descriptors, at times with the shared page of zeros first (makedumpfile
write_kdump_pages_and_bitmap_cyclic, QEMU write_dump_pages), so the place of the first data tells
how many descriptors the writer counted.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.errors import FormatError, is_out_of_reach
from vmcoretool.formats.api import Observed

if TYPE_CHECKING:
    import struct
    from collections.abc import Sequence

    from vmcoretool.formats.kdump.bitmap import PageBitmap
    from vmcoretool.formats.kdump.header import KdumpHeader
    from vmcoretool.sources.file import ByteSource

DESCRIPTOR: Final = 24
MAX_COUNTED: Final = 1 << 22
_SAMPLE: Final = 256


class Part(NamedTuple):
    """One file: the frames whose data it holds, and where its descriptors start.

    ``trusted`` is False where it is not known which descriptor is which frame's, ``cut`` True where
    the data of its last frame is missing, ``placed`` False where its sub-header is lost.
    """

    start_pfn: int
    end_pfn: int
    source: ByteSource
    descriptors: int
    first_rank: int
    trusted: bool = True
    cut: bool = False
    placed: bool = True


def make_parts(
    headers: Sequence[KdumpHeader],
    sources: Sequence[ByteSource],
    dumped: PageBitmap,
    descriptors: int,
) -> list[Part]:
    """The parts that hold frames, in ascending order.

    Raises:
        FormatError: two hold the same frames.
    """
    parts = [
        Part(
            header.start_pfn,
            header.end_pfn,
            source,
            descriptors,
            dumped.rank(header.start_pfn) if header.split else 0,
            placed=header.placed,
        )
        for header, source in zip(headers, sources, strict=True)
        if header.start_pfn < header.end_pfn
    ]
    parts.sort(key=lambda part: (part.start_pfn, part.end_pfn))
    for before, part in pairwise(parts):
        if part.start_pfn < before.end_pfn:
            raise FormatError(
                f"{before.source.path} holds frame {part.start_pfn:#x} too",
                path=part.source.path,
                cure="give each part of a split set once",
            )
    return parts


def find_missing(parts: Sequence[Part], dumped: PageBitmap, observed: Observed) -> None:
    """Report the frames that no part holds."""
    at = 0
    for part in [*parts, None]:
        start = part.start_pfn if part else dumped.frames
        if start > at and dumped.rank(start) > dumped.rank(at):
            message = f"no part holds frames {at:#x} to {start:#x}"
            observed.lost(message, code="split-part-missing")
        if part:
            at = max(at, part.end_pfn)


def check_part(
    part: Part,
    header: KdumpHeader,
    dumped: PageBitmap,
    unpack: struct.Struct,
    observed: Observed,
) -> Part:
    """The part as far as bitmap and descriptors can be trusted; reports what is missing of it."""
    # where diskdump's own tools put the first data is not known
    if not header.diskdump and dumped.frames == header.frames:
        if not part.placed:
            return _unplaced(part, header, dumped, unpack, observed)
        part = check_map(part, dumped, unpack, header.block_size, observed)
    if part.trusted:
        part = find_end(part, dumped, unpack, header.block_size, observed)
    return part


def _unplaced(
    part: Part,
    header: KdumpHeader,
    dumped: PageBitmap,
    unpack: struct.Struct,
    observed: Observed,
) -> Part:
    # of one that holds all frames nothing is missed; another would give each frame a wrong page
    checked = check_map(part, dumped, unpack, header.block_size, Observed())
    if not checked.trusted or not _rows(part, unpack, dumped.count - 1, 1):
        what = "its sub-header is lost: which frames this file has is not known"
        observed.odd("page-unreadable", f"{part.source.path}: {what}")
        return part._replace(trusted=False)
    return part


def find_end(
    part: Part,
    dumped: PageBitmap,
    unpack: struct.Struct,
    block_size: int,
    observed: Observed,
) -> Part:
    """The part; reports one that was cut short: the data of its last frame is missing."""
    last = dumped.rank(part.end_pfn) - part.first_rank - 1
    if last < 0:
        return part
    try:
        raw = part.source.pread(DESCRIPTOR, part.descriptors + last * DESCRIPTOR)
    except FormatError:
        return part._replace(cut=True)  # reported already: the stream is incomplete
    except OSError as error:
        if is_out_of_reach(error):
            raise
        return part  # it is not known; reading a page that needs it tells
    lost = len(raw) < DESCRIPTOR
    if not lost:
        offset, size, _, _ = unpack.unpack(raw)
        lost = offset == 0 or (offset + size > part.source.size and size <= block_size)
    if lost:
        observed.lost(f"{part.source.path}: the data of the last pages is missing")
    return part._replace(cut=lost)


def count_lost(part: Part, dumped: PageBitmap, unpack: struct.Struct) -> int:
    """How many of the last pages of a part have no data in the file, of MAX_COUNTED at most."""
    if not part.cut:
        return 0
    lost = 0
    end = dumped.rank(part.end_pfn) - part.first_rank
    for behind in range(end, max(end - MAX_COUNTED, 0), -_SAMPLE):
        first = max(behind - _SAMPLE, 0)
        rows = _rows(part, unpack, first, behind - first)
        there = (offset and offset + size <= part.source.size for offset, size, *_ in rows)
        lost += behind - first - sum(map(bool, there))
    return lost


def check_map(
    part: Part,
    dumped: PageBitmap,
    unpack: struct.Struct,
    block_size: int,
    observed: Observed,
) -> Part:
    """The part, no longer trusted where the bitmap has other than the descriptors' frames."""
    own = dumped.rank(part.end_pfn) - part.first_rank
    rows = _rows(part, unpack, 0, min(max(own, 1), _SAMPLE))
    found = _counted(rows, part.descriptors, block_size)
    if not found or dumped.count in found:
        return part
    counted = min(found)
    behind = _rows(part, unpack, own, 1) if own < counted else []
    if not any(map(any, behind)):
        if counted > dumped.count:
            if part.end_pfn - part.start_pfn == dumped.frames:
                # pages and their bits are written piece by piece: the last pieces never were
                observed.lost(
                    f"{part.source.path}: the bitmap has {dumped.count} of {counted} pages"
                )
            return part
        # a bit of another part's frames moves nothing here
        if own <= counted and any(map(any, _rows(part, unpack, own - 1, 1))):
            return part
    message = (
        f"{part.source.path}: the page bitmap has {dumped.count} frames, the file was written "
        f"with {counted}: it cannot be told which page is which frame's"
    )
    observed.odd("page-map-damaged", message)
    return part._replace(trusted=False)


def _rows(part: Part, unpack: struct.Struct, first: int, count: int) -> list[tuple[int, ...]]:
    # descriptors by their number; [] where they are not in the file or cannot be read
    if first < 0:
        return []
    try:
        raw = part.source.pread(count * DESCRIPTOR, part.descriptors + first * DESCRIPTOR)
    except FormatError:
        return []
    except OSError as error:
        if is_out_of_reach(error):
            raise
        return []
    return list(unpack.iter_unpack(raw[: len(raw) - len(raw) % DESCRIPTOR]))


def _counted(rows: list[tuple[int, ...]], descriptors: int, block_size: int) -> set[int]:
    # How many descriptors fit before the first data, [] where that is no whole number.
    if not rows:
        return set()
    offset, size = rows[0][:2]
    others = {row[0] for row in rows[1:] if row[0]}
    lowest = {offset} if offset else set()
    if others and not others & {offset, offset + size}:
        # no neighbour confirms the first descriptor: it may itself be damaged
        lowest |= {min(others), min(others) - size}
    # with or without the page of zeros; never both, as no block size is a multiple of 24
    rooms = [at - descriptors - zeros for at in lowest for zeros in (0, block_size)]
    return {room // DESCRIPTOR for room in rooms if room > 0 and room % DESCRIPTOR == 0}
