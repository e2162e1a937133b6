"""Sorted, disjoint ranges of machine memory, searched by bisection."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from itertools import pairwise
from operator import lt
from typing import TYPE_CHECKING

from vmcoretool.addresses import PAGE_SIZE, Extent, Maddr

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class ExtentMap:
    """An immutable set of machine addresses, kept as sorted disjoint half-open ranges.

    Touching and overlapping ranges are merged, so a gap between two extents is never empty.
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """Build the map from (start, end) pairs in any order; empty pairs count for nothing."""
        pairs = sorted(ranges)
        starts = [start for start, _ in pairs]
        ends = [end for _, end in pairs]
        # the usual case, in C: nothing is empty and nothing touches
        if not (all(map(lt, starts, ends)) and all(map(lt, ends, starts[1:]))):
            starts, ends = _merge(pairs)
        self._starts = array("Q", starts)
        self._ends = array("Q", ends)

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Extent]:
        for start, end in zip(self._starts, self._ends, strict=True):
            yield Extent(Maddr(start), Maddr(end))

    def __contains__(self, maddr: int) -> bool:
        at = bisect_right(self._starts, maddr) - 1
        return at >= 0 and maddr < self._ends[at]

    def within(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of the extents that lie in a range, in ascending order."""
        at = max(bisect_right(self._starts, start) - 1, 0)
        while at < len(self._starts) and self._starts[at] < end:
            if self._ends[at] > start:
                yield max(self._starts[at], start), min(self._ends[at], end)
            at += 1

    @property
    def end(self) -> Maddr:
        """First address behind all extents; 0 when there is none."""
        return Maddr(self._ends[-1] if self._ends else 0)

    @property
    def total(self) -> int:
        """Bytes in all extents together."""
        return sum(self._ends) - sum(self._starts)

    @property
    def page_count(self) -> int:
        """4 KiB frames of which at least one byte lies in an extent, each counted once."""
        inside_page = (PAGE_SIZE - 1).__and__
        if not any(map(inside_page, self._starts)) and not any(map(inside_page, self._ends)):
            return self.total // PAGE_SIZE
        count, last = 0, -1
        for start, end in zip(self._starts, self._ends, strict=True):
            first = max(start >> 12, last + 1)
            last = (end - 1) >> 12
            count += last - first + 1
        return count


def _merge(pairs: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    # Sorted pairs as disjoint ranges that do not touch.
    starts: list[int] = []
    ends: list[int] = []
    for start, end in pairs:
        if start >= end:
            continue
        if ends and start <= ends[-1]:
            ends[-1] = max(end, ends[-1])
        else:
            starts.append(start)
            ends.append(end)
    return starts, ends


def disjoint(pieces: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """(start, end, offset) pieces in ascending order without overlaps; the first given wins.

    A piece that loses a part of its range keeps the rest, with its offset moved along.
    """
    placed = sorted(pieces)
    if all(before[1] <= after[0] for before, after in pairwise(placed)):
        return placed
    ranked = sorted((start, rank, end, offset) for rank, (start, end, offset) in enumerate(pieces))
    return list(_sweep(ranked))


def _sweep(ranked: list[tuple[int, int, int, int]]) -> Iterator[tuple[int, int, int]]:
    # Walks all boundaries upwards; at each the lowest-ranked open segment owns the next stretch.
    from heapq import heappop, heappush  # noqa: PLC0415 - overlaps are rare

    bounds = sorted({start for start, *_ in ranked} | {end for _, _, end, _ in ranked})
    opened: list[tuple[int, int, int, int]] = []  # rank, start, end, offset
    next_in = 0
    held: tuple[int, int, int, int] | None = None  # start, end, offset, rank being collected
    for low, high in pairwise(bounds):
        while next_in < len(ranked) and ranked[next_in][0] <= low:
            start, rank, end, offset = ranked[next_in]
            heappush(opened, (rank, start, end, offset))
            next_in += 1
        while opened and opened[0][2] <= low:
            heappop(opened)
        if opened:
            rank, start, _, offset = opened[0]
            if held and held[3] == rank and held[1] == low:
                held = (held[0], high, held[2], rank)
                continue
            if held:
                yield held[:3]
            held = (low, high, offset + low - start, rank)
    if held:
        yield held[:3]


def subtract(whole: ExtentMap, part: ExtentMap) -> ExtentMap:
    """What of ``whole`` is not in ``part``."""
    if not len(whole):
        return whole
    gaps: list[tuple[int, int]] = []
    cuts = iter(part)
    cut = next(cuts, None)
    for start, end in whole:
        at = int(start)
        while cut and cut.end <= at:
            cut = next(cuts, None)
        while cut and cut.start < end:
            if at < cut.start:
                gaps.append((at, cut.start))
            at = max(at, cut.end)
            if cut.end > end:
                break
            cut = next(cuts, None)
        if at < end:
            gaps.append((at, end))
    return ExtentMap(gaps)
