"""Compressed files that say where their blocks are: read by position, a block at a time.

xz files end with an index of the sizes of all blocks (``xz -T`` writes blocks of three times the
dictionary); zstd frames, of which joined files have several, may say how much they hold.  ``pzstd``
does not say it, and gzip, bzip2 and lz4 do not record how much their blocks hold; there, and where
there is one block only, the file is decompressed to the end.

A block is decompressed when first needed, into an unnamed temporary file, and never twice.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB, FileOffset
from vmcoretool.errors import FormatError, TruncatedError
from vmcoretool.sources.spool import SPOOL_LIMIT, Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vmcoretool.budget import Budget
    from vmcoretool.sources.file import ByteSource

MAX_BLOCKS: Final = 1 << 20
_XZ_MAGIC: Final = b"\xfd7zXZ\0"
_XZ_HEADER: Final = 12
_INDEX_LIMIT: Final = 32 * MIB


class Block(NamedTuple):
    """One block: where its data will stand, and where and how long it is in the file.

    ``head`` is what a decoder must be fed before the block.
    """

    start: int
    size: int
    offset: int
    stored: int
    head: bytes


class DamagedStreamError(ValueError):
    """What every decoder's own exception becomes."""


class MemoryLimitError(DamagedStreamError):
    """A sound stream, perhaps, but its decoder would need more memory than it may take."""


class BlockSource:
    """The bytes inside a file of blocks; blocks are decompressed as they are read."""

    def __init__(
        self,
        source: ByteSource,
        name: str,
        blocks: list[Block],
        decode: Callable[[ByteSource], Iterable[bytes]],
        budget: Budget,
    ) -> None:
        """Decompress nothing yet.

        Args:
            source: the compressed file.
            name: of the format, for messages.
            blocks: in order and without gaps.
            decode: makes a file that holds one block alone into pieces of its data, and raises
                DamagedStreamError.
            budget: its caller may end the decompression.
        """
        self.path = source.path
        self.size = blocks[-1].start + blocks[-1].size
        self.complete = source.complete
        self._source = source
        self._name = name
        self._blocks = blocks
        self._starts = [block.start for block in blocks]
        self._ready = bytearray(len(blocks))
        self._decode = decode
        self._budget = budget
        self._done = 0
        self._spool = Spool(source.path)

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only where the file ends.

        Raises:
            FormatError: the block is damaged, or there is no space for it.
            OSError: the file cannot be read or the temporary one not written.
        """
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        first = bisect_right(self._starts, offset) - 1
        last = bisect_right(self._starts, offset + size - 1)
        for number in range(first, last):
            if not self._ready[number]:
                self._decompress(number)
        return self._spool.pread(size, offset)

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """All of it: holes are known only once a block is decompressed."""
        if start < min(end, self.size):
            yield start, min(end, self.size)

    def close(self) -> None:
        """Close the file and give the temporary one back."""
        self._source.close()
        self.discard()

    def discard(self) -> None:
        """Give the temporary file back; the compressed one stays open."""
        self._spool.close()

    def _decompress(self, number: int) -> None:
        block = self._blocks[number]
        if not self._budget.progress(f"decompressing {self._name}", self._done, self.size):
            self.complete = False
            raise TruncatedError(
                "decompression was interrupted before this part",
                path=self.path,
                where=FileOffset(block.offset),
                cure="let it run, or decompress the file first",
            )
        got = 0
        try:
            for chunk in self._decode(_Window(self._source, block)):
                if got + len(chunk) > block.size:
                    raise self._damaged(block, "it holds more than its size says")
                self._spool.write(chunk, block.start + got)
                got += len(chunk)
        except DamagedStreamError as error:
            raise self._damaged(block, str(error)) from error
        if got < block.size:
            raise self._damaged(block, "it ends early")
        self._ready[number] = 1
        self._done += block.size

    def _damaged(self, block: Block, why: str) -> FormatError:
        return FormatError(
            f"a block of the {self._name} stream is damaged: {why}",
            path=self.path,
            where=FileOffset(block.offset),
            cure="get the file again",
        )


class _Window:
    # a ByteSource of what one block's decoder is fed
    def __init__(self, source: ByteSource, block: Block) -> None:
        self.path = source.path
        self.size = len(block.head) + block.stored
        self.complete = True
        self._source = source
        self._block = block

    def pread(self, size: int, offset: int) -> bytes:
        head = self._block.head[offset : offset + size]
        at = max(offset - len(self._block.head), 0)
        rest = min(size - len(head), self._block.stored - at)
        return head + (self._source.pread(rest, self._block.offset + at) if rest > 0 else b"")

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        yield start, min(end, self.size)

    def close(self) -> None:
        pass


def xz_blocks(source: ByteSource) -> list[Block]:
    """The blocks of all streams of an xz file, [] where its index says nothing credible.

    The .xz file format 1.1.0, sections 2 and 4: a stream is a header of 12 bytes, blocks, the index
    and a footer of 12 bytes with the index's size; streams may be followed by zeros in fours.
    """
    streams: list[list[tuple[int, int, int]]] = []  # file offset, stored size, size
    end = source.size
    count = 0
    while end > 0:
        footer = source.pread(_XZ_HEADER, end - _XZ_HEADER) if end >= 2 * _XZ_HEADER else b""
        if footer[8:] == bytes(4):
            end -= 4
            continue
        index_size = 4 * (int.from_bytes(footer[4:8], "little") + 1)
        index_at = end - _XZ_HEADER - index_size
        if footer[10:] != b"YZ" or index_size > _INDEX_LIMIT or index_at < _XZ_HEADER:
            return []
        records = _xz_records(source.pread(index_size, index_at))
        start = index_at - sum(stored + -stored % 4 for stored, _ in records)
        count += len(records)
        if not records or count > MAX_BLOCKS or start < _XZ_HEADER:
            return []
        placed = []
        at = start
        for stored, size in records:
            placed.append((at, stored + -stored % 4, size))
            at += stored + -stored % 4
        streams.append(placed)
        end = start - _XZ_HEADER
    return _placed(source, [block for placed in reversed(streams) for block in placed])


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
    for _ in range(min(count, len(index))):
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


def zstd_blocks(source: ByteSource) -> list[Block]:
    """The frames of a zstd file, [] where one does not say its size or the last is cut.

    RFC 8878, section 3.1: a frame is a header, blocks each with a header of three bytes, and
    perhaps a checksum; skippable frames lie between.
    """
    import zstandard  # noqa: PLC0415 - only what is compressed pays for it

    blocks: list[Block] = []
    at = start = 0
    while at < source.size and len(blocks) < MAX_BLOCKS:
        head = source.pread(18, at)
        if is_skippable(head):
            at += 8 + int.from_bytes(head[4:8], "little")
            continue
        try:
            parameters = zstandard.get_frame_parameters(head)
            body = at + zstandard.frame_header_size(head)
        except zstandard.ZstdError:
            return []
        size = parameters.content_size
        end = zstd_frame_end(source, body, checksum=parameters.has_checksum)
        if end is None or size >= 1 << 62 or start + size > SPOOL_LIMIT:
            return []
        if size:
            blocks.append(Block(start, size, at, end - at, b""))
        start += size
        at = end
    return blocks if at == source.size else []


def is_skippable(head: bytes) -> bool:
    """Whether a zstd frame with these first bytes holds no data."""
    return len(head) >= 8 and 0x184D2A50 <= int.from_bytes(head[:4], "little") <= 0x184D2A5F


def zstd_frame_end(source: ByteSource, at: int, *, checksum: bool) -> int | None:
    """Where a zstd frame ends whose first block header is at ``at``; None: behind the file."""
    last = False
    while not last:
        header = source.pread(3, at)
        if len(header) < 3:
            return None
        word = int.from_bytes(header, "little")
        last, kind, size = bool(word & 1), word >> 1 & 3, word >> 3
        at += 3 + (1 if kind == 1 else size)
    at += 4 if checksum else 0
    return at if at <= source.size else None
