"""Where the blocks of xz and zstd files are, by what these files record of them.

xz files end with an index of the sizes of all blocks (``xz -T`` writes blocks of three times the
dictionary); zstd frames, of which joined files have several, may say how much they hold.  ``pzstd``
does not say it, and gzip, bzip2 and lz4 do not record how much their blocks hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB
from vmcoretool.sources.file import WindowedSource
from vmcoretool.sources.spool import SPOOL_LIMIT, is_zeros

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.budget import Budget, Work
    from vmcoretool.sources.file import ByteSource

MAX_BLOCKS: Final = 1 << 20
MAX_STREAMS: Final = 1 << 17
"""Streams of an xz file whose index is read: a TiB in joined pieces of 8 MiB."""
MAX_HEADERS: Final = 1 << 23
"""Headers of zstd blocks that are followed: a TiB in blocks of the largest size."""
MAX_PADDING: Final = 4096 * MIB
"""Zeros behind an xz stream that are looked through; a file system may allocate ahead."""
_XZ_MAGIC: Final = b"\xfd7zXZ\0"
_XZ_HEADER: Final = 12
_INDEX_LIMIT: Final = 32 * MIB
_FRAME_COST: Final = 7
_NO_FRAME: Final = 1 << 62


class Block(NamedTuple):
    """One block: where its data will stand, and where and how long it is in the file.

    ``head`` is what a decoder must be fed before the block.
    """

    start: int
    size: int
    offset: int
    stored: int
    head: bytes


class Index(NamedTuple):
    """What a file records of its blocks.

    Attributes:
        blocks: in order and without gaps; empty where the file does not tell where they are.
        whole: whether the last stream ends with the file; None where that was not looked at.
    """

    blocks: list[Block]
    whole: bool | None


def xz_index(source: ByteSource, budget: Budget) -> Index:
    """The blocks of all streams of an xz file, none where its index says nothing credible.

    The .xz file format 1.1.0, sections 2 and 4: a stream is a header of 12 bytes, blocks, the index
    and a footer of 12 bytes with the index's size; streams may be followed by zeros in fours.
    """
    work = budget.work("the index of the xz file", steps=MAX_STREAMS + MAX_BLOCKS, size=MAX_PADDING)
    streams: list[list[tuple[int, int, int]]] = []  # file offset, stored size, size
    end = source.size
    count = 0
    while (end := _without_padding(source, end, work)) > 0:
        placed, end = _xz_stream(source, end)
        count += len(placed)
        if not placed or count > MAX_BLOCKS or not work.go_on(steps=8 + len(placed)):
            return Index([], None)
        streams.append(placed)
    return Index(_placed(source, [block for placed in reversed(streams) for block in placed]), None)


def _without_padding(source: ByteSource, end: int, work: Work) -> int:
    # Where the footer of the last stream before an offset ends; 0: nowhere.
    size = _XZ_HEADER
    while end > 0:
        size = min(size, end)
        data = source.pread(size, end - size)
        if not is_zeros(data[-4:]):
            return end
        rest = len(data) if is_zeros(data) else len(data) - len(data.rstrip(b"\0"))
        end -= rest // 4 * 4 or end
        size = min(16 * size, MIB)
        if not work.go_on(steps=0, size=rest):
            return 0
    return 0


def _xz_stream(source: ByteSource, end: int) -> tuple[list[tuple[int, int, int]], int]:
    # The blocks of the stream whose footer ends at an offset, and where that stream begins.
    footer = source.pread(_XZ_HEADER, end - _XZ_HEADER) if end >= 2 * _XZ_HEADER else b""
    index_size = 4 * (int.from_bytes(footer[4:8], "little") + 1)
    index_at = end - _XZ_HEADER - index_size
    if footer[10:] != b"YZ" or index_size > _INDEX_LIMIT or index_at < _XZ_HEADER:
        return [], 0
    records = _xz_records(source.pread(index_size, index_at))
    start = index_at - sum(stored + -stored % 4 for stored, _ in records)
    if start < _XZ_HEADER:
        return [], 0
    placed = []
    at = start
    for stored, size in records:
        placed.append((at, stored + -stored % 4, size))
        at += stored + -stored % 4
    return placed, start - _XZ_HEADER


def _placed(source: ByteSource, pieces: list[tuple[int, int, int]]) -> list[Block]:
    blocks = []
    at = 0
    head = b""
    previous_end = -1
    for offset, stored, size in pieces:
        if offset != previous_end:
            head = source.pread(_XZ_HEADER, offset - _XZ_HEADER)
            if not head.startswith(_XZ_MAGIC):
                return []
        previous_end = offset + stored
        blocks.append(Block(at, size, offset, stored, head))
        at += size
    return blocks if at <= SPOOL_LIMIT else []


def _xz_records(index: bytes) -> list[tuple[int, int]]:
    # 0, number of records, unpadded and uncompressed size of each, padding, CRC32
    numbers = _varints(index[1:-4]) if index[:1] == b"\0" else iter(())
    count = next(numbers, 0)
    records = []
    for _ in range(min(count, len(index), MAX_BLOCKS + 1)):
        stored, size = next(numbers, 0), next(numbers, 0)
        if not stored:
            return []
        records.append((stored, size))
    return records


def _varints(data: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0
        elif shift > 56:
            return


def zstd_index(source: ByteSource, budget: Budget) -> Index:
    """The frames of a zstd file, none where one does not say its size or the last is cut.

    RFC 8878, section 3.1: a frame is a header, blocks each with a header of three bytes, and
    perhaps a checksum; skippable frames lie between.
    """
    import zstandard  # noqa: PLC0415 - only what is compressed pays for it

    work = budget.work("the block headers of the zstd file", steps=MAX_HEADERS)
    window = WindowedSource(source)
    blocks: list[Block] = []
    placed = True
    at = start = 0
    while at < source.size and work.go_on():
        head = window.pread(18, at)
        if _is_skippable(head):
            at += 8 + int.from_bytes(head[4:8], "little")
            continue
        try:
            parameters = zstandard.get_frame_parameters(head)
            body = at + zstandard.frame_header_size(head)
        except zstandard.ZstdError:
            return Index([], whole=False)
        size = parameters.content_size
        end = _frame_end(window, body, work) + (4 if parameters.has_checksum else 0)
        if end > source.size or not work.go_on(_FRAME_COST):
            # what was not looked at is not called cut short
            return Index([], whole=not work.go_on(0))
        placed = placed and size < _NO_FRAME and start + size <= SPOOL_LIMIT
        placed = placed and len(blocks) < MAX_BLOCKS
        if size and placed:
            blocks.append(Block(start, size, at, end - at, b""))
        start += size
        at = end
    whole = at == source.size
    return Index(blocks if whole and placed else [], whole=whole or not work.go_on(0))


def _is_skippable(head: bytes) -> bool:
    return len(head) >= 8 and 0x184D2A50 <= int.from_bytes(head[:4], "little") <= 0x184D2A5F


def _frame_end(window: WindowedSource, at: int, work: Work) -> int:
    # Where a zstd frame's blocks end, the first one's header being at an offset; behind every file
    # where the headers do not end.  Real blocks are some 100 KiB, hostile ones 3 bytes.
    data, base = b"", at
    last = False
    steps = 0
    while not last:
        if at - base + 3 > len(data) or at < base:
            data, base = window.pread(4096, at), at
            if len(data) < 3 or not work.go_on(steps):
                return _NO_FRAME
            steps = 0
        place = at - base
        word = data[place] | data[place + 1] << 8 | data[place + 2] << 16
        last, kind, size = bool(word & 1), word >> 1 & 3, word >> 3
        at += 3 + (1 if kind == 1 else size)
        steps += 1
    return at if work.go_on(steps) else _NO_FRAME
