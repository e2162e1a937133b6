"""A page bitmap of kdump: one bit for each frame, least significant first."""

from __future__ import annotations

from array import array
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import FileOffset
from vmcoretool.errors import FormatError, TruncatedError, is_out_of_reach, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmcoretool.formats.api import Observed
    from vmcoretool.sources.file import ByteSource

NO_FRAME: Final = 1 << 62
"""Higher than any frame."""
_RANK_BYTES: Final = 512
_CHUNK: Final = 64 * 1024
_HELD: Final = 256  # chunks: 16 MiB, the bits of 512 GiB
_BLOCK: Final = 512
_PIECE: Final = 512
_FULL: Final = b"\xff" * _BLOCK
_EMPTY: Final = bytes(_BLOCK)
_EMPTY_CHUNK: Final = bytes(_CHUNK)


class PageBitmap:
    """The bits of all frames below ``frames``.

    They stay in the file but for the chunks used last, and nothing per page is made a Python
    object.  Several threads may ask.
    """

    def __init__(self, source: ByteSource, offset: int, size: int, frames: int) -> None:
        """The bitmap of ``size`` bytes at an offset of a file, as far as the file has it."""
        self._source = source
        self._offset = offset
        self.frames = min(frames, 8 * max(min(size, source.size - offset), 0))
        self._size = self.frames + 7 >> 3
        # each chunk has one place, which is read and replaced as a whole
        self._chunks: list[tuple[int, bytes]] = [(-1, b"")] * _HELD

    def __contains__(self, frame: int) -> bool:
        if not 0 <= frame < self.frames:
            return False
        at = frame >> 3
        return bool(self._chunk(at // _CHUNK)[at % _CHUNK] >> (frame & 7) & 1)

    def rank(self, frame: int) -> int:
        """How many set bits lie below ``frame``."""
        frame = min(frame, self.frames)
        block, rest = divmod(frame, 8 * _RANK_BYTES)
        start = block * _RANK_BYTES
        whole, odd = divmod(rest, 8)
        count = self._ranks[block] + _ones(self._bytes(start, start + whole))
        if odd:
            count += (self._bytes(start + whole, start + whole + 1)[0] & (1 << odd) - 1).bit_count()
        return count

    def next_set(self, frame: int) -> int:
        """The first set frame from ``frame`` on, or one before it with none in between.

        NO_FRAME behind the last frame.
        """
        if frame >= self.frames:
            return NO_FRAME
        at = frame >> 3
        chunk = self._chunk(at // _CHUNK)[at % _CHUNK :]
        first = chunk[0] >> (frame & 7) << (frame & 7)
        if not first:
            rest = chunk[1:].lstrip(b"\0")
            at += len(chunk) - len(rest)
            first = rest[0] if rest else 0
        return 8 * at + max((first & -first).bit_length() - 1, 0)

    def run_length(self, frame: int, limit: int) -> int:
        """How many frames from ``frame`` on are set without a gap, at most ``limit``."""
        limit = max(min(limit, self.frames - frame), 0)
        bits = int.from_bytes(self._bytes(frame >> 3, frame + limit + 7 >> 3), "little")
        bits >>= frame & 7
        return min((~bits & bits + 1).bit_length() - 1, limit)

    @property
    def count(self) -> int:
        """How many bits are set."""
        return self.rank(self.frames)

    @property
    def end(self) -> int:
        """The first frame behind all set bits."""
        for number in range((self._size - 1) // _CHUNK, -1, -1):
            chunk = self._chunk(number).rstrip(b"\0")
            if chunk:
                return 8 * (number * _CHUNK + len(chunk) - 1) + chunk[-1].bit_length()
        return 0

    def and_not_count(self, other: PageBitmap) -> int:
        """How many frames are set here and not in ``other``."""
        total = 0
        for at in range(0, self._size, _CHUNK):
            end = min(at + _CHUNK, self._size)
            ours = int.from_bytes(self._bytes(at, end), "little")
            theirs = int.from_bytes(other._bytes(at, min(end, other._size)), "little")
            total += (ours & ~theirs).bit_count()
        return total

    def runs(self) -> Iterator[tuple[int, int]]:
        """(first, end) of each stretch of set bits, in ascending order."""
        began = -1
        for at, block in self._blocks():
            if (began >= 0 and block == _FULL) or (began < 0 and block == _EMPTY):
                continue
            for first, end in _block_runs(block):
                low, high = 8 * at + first, 8 * at + end
                if began >= 0 and first == 0:
                    low, began = began, -1
                elif began >= 0:
                    yield began, 8 * at
                    began = -1
                if end == 8 * len(block):
                    began = low
                else:
                    yield low, high
            # a stretch that reached the block's start but found nothing in it has ended
            if began >= 0 and not any(block):
                yield began, 8 * at
                began = -1
        if began >= 0:
            yield began, 8 * self._size

    def ranges(self, most: int) -> Iterator[tuple[int, int]]:
        """The stretches of set bits or, where they are more than ``most``, wider ranges of them.

        Where ranges are wider, some of the bits in them are not set.
        """
        if self._stretches() <= most:
            yield from self.runs()
            return
        step = -(-self._size // most)
        began = -1
        for at in range(0, self._size, step):
            used = any(self._bytes(at, min(at + step, self._size)))
            if used and began < 0:
                began = 8 * at
            elif began >= 0 and not used:
                yield began, 8 * at
                began = -1
        if began >= 0:
            yield began, self.frames

    def _blocks(self) -> Iterator[tuple[int, bytes]]:
        # all blocks and where they start; of empty chunks the first alone
        for number in range(-(-self._size // _CHUNK)):
            chunk = self._chunk(number)
            for at in range(0, _BLOCK if chunk == _EMPTY_CHUNK else len(chunk), _BLOCK):
                yield number * _CHUNK + at, chunk[at : at + _BLOCK]

    def _stretches(self) -> int:
        # how many there are, one more for each chunk's border that one lies on
        count = 0
        for at in range(0, self._size, _CHUNK):
            bits = int.from_bytes(self._bytes(at, min(at + _CHUNK, self._size)), "little")
            count += (bits & ~(bits << 1)).bit_count()
        return count

    @cached_property
    def _ranks(self) -> array[int]:
        ranks = array("Q", [0])
        for number in range(-(-self._size // _CHUNK)):
            chunk = self._chunk(number)
            if chunk == _EMPTY_CHUNK:
                ranks.extend(ranks[-1:] * (_CHUNK // _RANK_BYTES))
                continue
            for at in range(0, len(chunk), _RANK_BYTES):
                ranks.append(ranks[-1] + _ones(chunk[at : at + _RANK_BYTES]))
        return ranks

    def _bytes(self, start: int, end: int) -> bytes:
        number, skip = divmod(start, _CHUNK)
        if skip + end - start <= _CHUNK:
            return self._chunk(number)[skip : skip + end - start] if end > start else b""
        first = self._chunk(number)[skip:]
        return first + self._bytes(start + len(first), end)

    def _chunk(self, number: int) -> bytes:
        held, chunk = self._chunks[number % _HELD]
        if held != number:
            at = number * _CHUNK
            size = min(_CHUNK, self._size - at)
            chunk = self._source.pread(size, self._offset + at)
            if len(chunk) < size:  # zeros in their place would be pages that were left out
                raise TruncatedError(
                    "the file became shorter while its page bitmap was read",
                    path=self._source.path,
                    where=FileOffset(self._offset + at + len(chunk)),
                    cure="let what writes to it end, and try again",
                )
            if at + size == self._size and self.frames % 8:  # the last bits mean nothing
                chunk = chunk[:-1] + bytes([chunk[-1] & (1 << self.frames % 8) - 1])
            self._chunks[number % _HELD] = (number, chunk)
        return chunk


def readable_bitmap(
    source: ByteSource, offset: int, size: int, frames: int, observed: Observed
) -> PageBitmap:
    """A bitmap, up to the first bit that never arrived or that the system cannot read.

    Bits that are missing would move the descriptors of all frames behind them.

    Raises:
        OSError: the file is out of reach as a whole.
    """
    bitmap = PageBitmap(source, offset, size, frames)
    try:
        _ = bitmap.count
    except FormatError:
        whole = _readable_bytes(source, offset, min(size, frames + 7 >> 3))
        bitmap = PageBitmap(source, offset, whole, frames)
    except OSError as error:
        if is_out_of_reach(error):
            raise
        whole = _readable_bytes(source, offset, min(size, frames + 7 >> 3))
        why = reason_of(error)
        what = f"{source.path}: the page bitmap from file offset {offset + whole:#x} on"
        observed.odd("page-unreadable", f"{what} cannot be used: {why}")
        return PageBitmap(source, offset, whole, frames)
    if bitmap.frames < frames:
        observed.lost("the file ends inside its page bitmap")
    return bitmap


def _readable_bytes(source: ByteSource, offset: int, size: int) -> int:
    # from the start on, in whole pieces
    for at in range(0, size, _PIECE):
        wanted = min(_PIECE, size - at)
        try:
            short = len(source.pread(wanted, offset + at)) < wanted
        except (FormatError, OSError):
            return at
        if short:
            return at
    return size


def with_bitmaps(sources: Sequence[ByteSource], end: int) -> ByteSource:
    """The first part of a set that is not cut short before a place, else the first part.

    Each part has the bitmaps of all of them.
    """
    whole = (source for source in sources if source.complete and source.size >= end)
    return next(whole, sources[0])


def _ones(data: bytes) -> int:
    return int.from_bytes(data, "little").bit_count()


def _block_runs(block: bytes) -> Iterator[tuple[int, int]]:
    # stretches of set bits within a block
    left = int.from_bytes(block, "little")
    at = 0
    while left:
        zeros = (left & -left).bit_length() - 1
        left >>= zeros
        ones = (~left & left + 1).bit_length() - 1
        yield at + zeros, at + zeros + ones
        left >>= ones
        at += zeros + ones
