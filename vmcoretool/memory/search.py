"""Searching memory in windows that overlap, so that nothing is lost at the border of two.

::

    run      |---------------------------------------|------- next run, if it follows on
    window   |own step bytes|ahead|
                            |own step bytes|ahead|

What starts in a window's own bytes is whole in it as far as it is no longer than ``ahead`` bytes,
and is found once.  Pages that cannot be read end a window; the next one starts behind them.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

from vmcoretool.addresses import GIB, MIB, PAGE_SIZE, Vaddr
from vmcoretool.memory.paging import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from vmcoretool.budget import Work
    from vmcoretool.memory.physical import PhysicalMemory

SCAN_STEP: Final = MIB
SCAN_MINIMUM: Final = GIB
SCAN_SHARE: Final = 192
"""A page of zeros takes 24 bytes and two bits of a kdump file."""
MAX_DAMAGED: Final = 1 << 17
"""Damaged pages of a dump, or tries to read them, from which on no search goes further: half a
gibibyte of nothing, at some 10 us a page.
"""
_STARTS: Final = attrgetter("vaddr")


class Sized(Protocol):
    """A file, or what stands for one."""

    @property
    def size(self) -> int:
        """Its bytes."""


class Window(NamedTuple):
    """Bytes that lie one behind the other.

    Attributes:
        at: address of the first.
        data: the bytes.
        own: how many of them are no other window's; what starts behind these is the next one's.
    """

    at: int
    data: bytes
    own: int

    def find(
        self, mark: bytes, behind: int = 0, start: int = 0, end: int | None = None
    ) -> Iterator[int]:
        """Offset of each thing that starts in the window's own bytes.

        Args:
            mark: a part of it.
            behind: how many bytes behind its start the mark stands.
            start: the first offset that counts.
            end: behind the last one; default: of the window's own bytes.
        """
        last = (self.own if end is None else end) + behind + len(mark) - 1
        at = self.data.find(mark, start + behind, last)
        while at >= 0:
            yield at - behind
            at = self.data.find(mark, at + 1, last)


def windows(  # noqa: PLR0913 - one sentence
    memory: PhysicalMemory,
    runs: Sequence[Run],
    work: Work | None = None,
    *,
    step: int = SCAN_STEP,
    ahead: int = PAGE_SIZE,
    near: int | None = None,
    backwards: bool = False,
) -> Iterator[Window]:
    """The readable bytes of some runs.

    Args:
        memory: of the dump.
        runs: in ascending order, none over another; machine memory is mapped to itself.
        work: each window is a step of it, and takes its own bytes off; its end ends the search.
        step: own bytes of a window at most.
        ahead: how far a window reaches into the next one.
        near: an address whose neighbourhood comes first; default: ascending order.
        backwards: descending order; the windows of one step ascend all the same.
    """
    for index, at in _places(runs, step, near, backwards=backwards):
        if work and not work.go_on():
            return
        if memory.damaged > MAX_DAMAGED:
            if work:
                work.cut()
            return
        start = runs[index].vaddr + at
        end = start + min(step, runs[index].size - at)
        for window in _window(memory, runs, index, start, end, ahead):
            yield window
            if work and not work.go_on(0, window.own):
                return


def machine_runs(memory: PhysicalMemory) -> list[Run]:
    """All stored machine memory as runs, each mapped to itself; holes of a sparse file are out."""
    return [
        Run(Vaddr(extent.start), extent.start, extent.end - extent.start)
        for extent in memory.pages.stored()
        if extent.end > extent.start
    ]


def scan_allowance(sources: Iterable[Sized]) -> int:
    """How many bytes of memory a search of a dump may look at: more than its files can hold.

    Headers can show the same bytes of a file in any number of places.
    """
    return max(SCAN_SHARE * sum(source.size for source in sources), SCAN_MINIMUM)


def run_of(runs: Sequence[Run], vaddr: int) -> Run | None:
    """The run that maps an address."""
    at = bisect_right(runs, vaddr, key=_STARTS) - 1
    return runs[at] if at >= 0 and vaddr < runs[at].vaddr + runs[at].size else None


def words(data: bytes, kind: Literal["I", "Q"], start: int = 0, step: int = 1) -> array[int]:
    """Little-endian numbers: each ``step``-th from number ``start`` on.

    Args:
        data: bytes behind the last whole number count for nothing.
        kind: "I" for numbers of 32 bits, "Q" of 64.
        start: the first one that is wanted.
        step: 1 for all.
    """
    numbers = array(kind)
    whole = memoryview(data)[: len(data) - len(data) % numbers.itemsize]
    if step == 1:
        numbers.frombytes(whole[start * numbers.itemsize :])
    else:
        numbers.fromlist(whole.cast(kind)[start::step].tolist())
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _places(
    runs: Sequence[Run], step: int, near: int | None, *, backwards: bool
) -> Iterator[tuple[int, int]]:
    # (index of the run, offset in it) of each window
    order = range(len(runs))
    if near is None:
        for index in reversed(order) if backwards else order:
            offsets = range(0, runs[index].size, step)
            for at in reversed(offsets) if backwards else offsets:
                yield index, at
        return
    middle = near - step // 2
    every = [(index, at) for index in order for at in range(0, runs[index].size, step)]
    every.sort(key=lambda place: abs(runs[place[0]].vaddr + place[1] - middle))
    yield from every


def _window(  # noqa: PLR0913, PLR0917 - one place
    memory: PhysicalMemory, runs: Sequence[Run], index: int, start: int, end: int, ahead: int
) -> Iterator[Window]:
    # [start, end) with what follows, cut where a page cannot be read
    at, limit = start, end + ahead
    first, parts = start, list[bytes]()
    size = limit - start
    while at < limit and index < len(runs):
        run = runs[index]
        if at < run.vaddr:
            break  # a gap between runs
        offset = at - run.vaddr
        piece = memory.read_some(run.maddr + offset, min(size, limit - at, run.size - offset))
        if piece:
            parts.append(piece)
            at += len(piece)
            size = limit - start
        else:
            if parts:
                yield _joined(first, parts, end)
            behind = (run.maddr + offset & -PAGE_SIZE) + PAGE_SIZE
            behind += memory.gap(behind, max(run.maddr + run.size - behind, 0))
            at = min(run.vaddr + behind - run.maddr, run.vaddr + run.size)
            first, parts = at, []
            size = PAGE_SIZE  # what follows a page that cannot be read mostly cannot be, either
        if at >= end and not parts:
            return
        if at >= run.vaddr + run.size:
            index += 1
    if parts:
        yield _joined(first, parts, end)


def _joined(first: int, parts: list[bytes], end: int) -> Window:
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    return Window(first, data, min(len(data), end - first))
