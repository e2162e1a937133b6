"""Sorted, disjoint ranges of machine memory, searched by bisection."""

from __future__ import annotations

from array import array
from bisect import bisect_right
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
