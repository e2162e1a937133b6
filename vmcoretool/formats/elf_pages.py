"""Machine memory of an ELF vmcore: disjoint pieces, each with its place in the file."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING

from vmcoretool.addresses import MADDR_LIMIT, PAGE_SIZE, Extent, FileOffset, Maddr
from vmcoretool.errors import TruncatedError
from vmcoretool.formats.api import read_or_lost
from vmcoretool.memory.extents import ExtentMap, disjoint, subtract
from vmcoretool.memory.pages import ABSENT, FilePlace, Missing, PageReader, PartialPage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.addresses import Mfn
    from vmcoretool.formats.api import Observed
    from vmcoretool.sources.file import ByteSource

# p_offset, p_paddr, p_filesz, p_memsz; a plain tuple, as there may be 10^5 of them
Segment = tuple[int, int, int, int]


class ElfPages(PageReader):
    """The PT_LOADs, searched by bisection.

    Arrays, not objects: paging dumps have 10^5 PT_LOADs.
    """

    __slots__ = ("_ends", "_excluded", "_offsets", "_present", "_source", "_starts")

    def __init__(self, source: ByteSource, loads: list[Segment], observed: Observed) -> None:
        """FilePlace the segments; the first given wins where two overlap.

        Args:
            source: the file.
            loads: its PT_LOADs.
            observed: gets what is missing.
        """
        self._source = source
        size = source.size
        pieces: list[tuple[int, int, int]] = []
        without_data: list[tuple[int, int]] = []
        lost = 0
        for offset, paddr, filesz, memsz in loads:
            there = filesz
            if offset + filesz > size:
                there = max(size - offset, 0) if offset < size else 0
                lost += filesz - there
            if there:
                end = paddr + there
                pieces.append((paddr, min(MADDR_LIMIT, end), offset))
            if memsz > there or filesz > there:
                end = min(paddr + max(memsz, filesz), MADDR_LIMIT)
                without_data.append((paddr + there, end))
        if lost:
            total = sum(filesz for _, _, filesz, _ in loads)
            observed.lost(f"the file is cut short: {lost} of {total} bytes of memory are missing")
        placed = disjoint(pieces)
        self._starts = array("Q", [start for start, _, _ in placed])
        self._ends = array("Q", [end for _, end, _ in placed])
        self._offsets = array("Q", [offset for _, _, offset in placed])
        self._present = ExtentMap(zip(self._starts, self._ends, strict=True))
        self._excluded = subtract(ExtentMap(without_data), self._present)

    @property
    def present_pages(self) -> int:
        """As :attr:`vmcoretool.memory.pages.PageReader.present_pages`."""
        return self._present.page_count

    @property
    def excluded_pages(self) -> int:
        """As :attr:`vmcoretool.memory.pages.PageReader.excluded_pages`."""
        both = ExtentMap([*self._present, *self._excluded])
        return both.page_count - self._present.page_count

    @property
    def end(self) -> Maddr:
        """As :attr:`vmcoretool.memory.pages.PageReader.end`."""
        return max(self._present.end, self._excluded.end)

    def extents(self) -> ExtentMap:
        """As :meth:`vmcoretool.memory.pages.PageReader.extents`."""
        return ExtentMap([*self._present, *self._excluded])

    def is_present(self, maddr: int) -> bool:
        """As :meth:`vmcoretool.memory.pages.PageReader.is_present`."""
        return maddr in self._present

    def is_excluded(self, maddr: int) -> bool:
        """As :meth:`vmcoretool.memory.pages.PageReader.is_excluded`."""
        return maddr in self._excluded

    def stored(self) -> Iterator[Extent]:
        """As :meth:`vmcoretool.memory.pages.PageReader.stored`.

        Where segments show more bytes than the file has, many show the same ones; then each part
        of the file is named once, at its lowest address: nothing new is found at another.
        """
        pieces: Iterator[tuple[int, int, int]]
        pieces = zip(self._starts, self._ends, self._offsets, strict=True)
        if sum(self._ends) - sum(self._starts) > self._source.size:
            ranges = disjoint(
                [(offset, offset + end - start, start) for start, end, offset in pieces]
            )
            pieces = iter(sorted((at, at + end - low, low) for low, end, at in ranges))
        for start, end, offset in pieces:
            for first, last in self._source.data_ranges(offset, offset + end - start):
                low = start + first - offset & -PAGE_SIZE
                yield Extent(Maddr(max(low, start)), Maddr(start + last - offset))

    def page(self, mfn: Mfn) -> bytes | PartialPage | Missing:
        """As :meth:`vmcoretool.memory.pages.PageReader.page`.

        Raises:
            TruncatedError: the file became shorter.
        """
        start = mfn * PAGE_SIZE
        at = bisect_right(self._starts, start) - 1
        if at >= 0 and start + PAGE_SIZE <= self._ends[at]:
            return self._data(self._offsets[at] + start - self._starts[at], PAGE_SIZE)
        return self._joined(start, max(at, 0))

    def run(self, mfn: Mfn, count: int) -> bytes:
        """As :meth:`vmcoretool.memory.pages.PageReader.run`."""
        start = mfn * PAGE_SIZE
        at = bisect_right(self._starts, start) - 1
        if at < 0 or start + PAGE_SIZE > self._ends[at]:
            return b""
        size = min(count * PAGE_SIZE, self._ends[at] - start & -PAGE_SIZE)
        data = self._source.pread(size, self._offsets[at] + start - self._starts[at])
        return data if len(data) == size else data[: len(data) & -PAGE_SIZE]

    def gap(self, mfn: Mfn, count: int) -> int:
        """As :meth:`vmcoretool.memory.pages.PageReader.gap`."""
        start = mfn * PAGE_SIZE
        following = bisect_right(self._starts, start)
        if following and start < self._ends[following - 1]:
            return 0
        if following == len(self._starts):
            return count
        return min((self._starts[following] - start) // PAGE_SIZE, count)

    def where_is(self, maddr: int) -> FilePlace | None:
        """As :meth:`vmcoretool.memory.pages.PageReader.where_is`."""
        at = bisect_right(self._starts, maddr) - 1
        if at < 0 or maddr >= self._ends[at]:
            return None
        size = min(PAGE_SIZE - maddr % PAGE_SIZE, self._ends[at] - maddr)
        offset = self._offsets[at] + maddr - self._starts[at]
        return FilePlace(self._source.path, FileOffset(offset), size)

    def _joined(self, start: int, at: int) -> bytes | PartialPage | Missing:
        # a page that is not in one piece, from the first piece that can reach it on
        end = start + PAGE_SIZE
        pieces: list[tuple[int, bytes]] = []
        while at < len(self._starts) and self._starts[at] < end:
            low, high = max(self._starts[at], start), min(self._ends[at], end)
            if low < high:
                data = self._data(self._offsets[at] + low - self._starts[at], high - low)
                if isinstance(data, Missing):
                    return data
                pieces.append((low - start, data))
            at += 1
        if sum(len(data) for _, data in pieces) == PAGE_SIZE:
            return b"".join(data for _, data in pieces)
        excluded = tuple(
            (low - start, high - start) for low, high in self._excluded.within(start, end)
        )
        return PartialPage(tuple(pieces), excluded) if pieces or excluded else ABSENT

    def _data(self, where: int, size: int) -> bytes | Missing:
        data = read_or_lost(self._source, size, where)
        if not isinstance(data, Missing) and len(data) < size:
            raise TruncatedError(
                "the file became shorter while it was read",
                path=self._source.path,
                where=FileOffset(where + len(data)),
                cure="copy it to a place where nobody writes, and try again",
            )
        return data
