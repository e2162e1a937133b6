"""A page bitmap of kdump: one bit for each frame, least significant first."""

from __future__ import annotations

from array import array
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_RANK_BYTES: Final = 512
_BLOCK: Final = 4096
_FULL: Final = b"\xff" * _BLOCK
_EMPTY: Final = bytes(_BLOCK)


class PageBitmap:
    """The bits of all frames below ``frames``; nothing per page is made a Python object.

    Ranks (how many set bits lie below a frame) are counted as far as they are asked for.
    """

    __slots__ = ("_bits", "_counting", "_ranks", "frames")

    def __init__(self, bits: bytes, frames: int) -> None:
        self.frames = min(frames, 8 * len(bits))
        size = self.frames + 7 >> 3
        bits = bits[:size]
        if self.frames % 8:  # bits behind the last frame mean nothing
            bits = bits[:-1] + bytes([bits[-1] & (1 << self.frames % 8) - 1])
        self._bits = bits
        self._ranks = array("Q", [0])
        self._counting = Lock()

    def __contains__(self, frame: int) -> bool:
        return 0 <= frame < self.frames and bool(self._bits[frame >> 3] >> (frame & 7) & 1)

    def rank(self, frame: int) -> int:
        """How many set bits lie below ``frame``."""
        block, rest = divmod(min(frame, self.frames), 8 * _RANK_BYTES)
        ranks, bits = self._ranks, self._bits
        if len(ranks) <= block:
            with self._counting:  # two threads must not both append one block
                while len(ranks) <= block:
                    start = (len(ranks) - 1) * _RANK_BYTES
                    ranks.append(ranks[-1] + _ones(bits[start : start + _RANK_BYTES]))
        start = block * _RANK_BYTES
        whole, odd = divmod(rest, 8)
        count = ranks[block] + _ones(bits[start : start + whole])
        if odd:
            count += (bits[start + whole] & (1 << odd) - 1).bit_count()
        return count

    def run_length(self, frame: int, limit: int) -> int:
        """How many frames from ``frame`` on are set without a gap, at most ``limit``."""
        limit = max(min(limit, self.frames - frame), 0)
        bits = int.from_bytes(self._bits[frame >> 3 : frame + limit + 7 >> 3], "little")
        bits >>= frame & 7
        return min((~bits & bits + 1).bit_length() - 1, limit)

    @property
    def count(self) -> int:
        """How many bits are set."""
        return self.rank(self.frames)

    def and_not_count(self, other: PageBitmap) -> int:
        """How many frames are set here and not in ``other``."""
        total = 0
        for start in range(0, len(self._bits), 1 << 16):
            ours = int.from_bytes(self._bits[start : start + (1 << 16)], "little")
            theirs = int.from_bytes(other._bits[start : start + (1 << 16)], "little")
            total += (ours & ~theirs).bit_count()
        return total

    def runs(self) -> Iterator[tuple[int, int]]:
        """(first, end) of each stretch of set bits, in ascending order."""
        began = -1
        for at in range(0, len(self._bits), _BLOCK):
            block = self._bits[at : at + _BLOCK]
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
            yield began, 8 * len(self._bits)


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
