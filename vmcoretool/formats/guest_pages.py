"""The pages of a guest's dump: the i-th frame of the index is the i-th page."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import PAGE_SIZE, Extent, FileOffset, Maddr, Mfn
from vmcoretool.errors import UnsupportedFormatError
from vmcoretool.formats.api import read_or_lost
from vmcoretool.memory.pages import ABSENT, EXCLUDED, FilePlace, Missing, PageReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vmcoretool.formats.api import Observed
    from vmcoretool.sources.file import ByteSource

INVALID: Final = (1 << 64) - 1
MAX_FRAMES: Final = 1 << 28
"""A guest of 1 TiB: 2 GiB of index, and 65,536 places in it to be looked at."""
MAX_UNSORTED: Final = 1 << 22
_PLACE_BITS: Final = 22
_CHUNK: Final = 4096


class Index(NamedTuple):
    """Where frame numbers and pages lie.

    Attributes:
        offset: of the first entry.
        size: of all entries in bytes.
        width: of an entry in bytes: 4, 8, or 16 with an mfn behind the pfn.
        pages_at: offset of the first page.
    """

    offset: int
    size: int
    width: int
    pages_at: int


class GuestPages(PageReader):
    """The PageReader of a guest.

    The index stays in the file; of each chunk only the first frame is kept, or of frames in no
    order a sorted copy.
    """

    def __init__(self, source: ByteSource, index: Index, observed: Observed) -> None:
        """Look over the index.

        Args:
            source: the file.
            index: where to look.
            observed: gets what is missing.

        Raises:
            UnsupportedFormatError: more frames than MAX_FRAMES, or in no order than MAX_UNSORTED.
        """
        self._source = source
        self._index = index
        self._held: tuple[int, list[int]] = (-1, [])
        self._sorted: tuple[array[int], array[int]] | None = None  # frames, their places
        count = min(index.size, max(source.size - index.offset, 0)) // index.width
        if count > MAX_FRAMES:
            raise UnsupportedFormatError(f"an index of {count} frames", path=source.path)
        if count * index.width < index.size:
            observed.lost("the file ends inside its index of frames")
        self._firsts, self.count = self._survey(count)
        if not self._ascending():
            if self.count > MAX_UNSORTED:
                raise UnsupportedFormatError(
                    f"an index of {self.count} frames in no order", path=source.path
                )
            self._sorted = self._sort()
        there = max(source.size - index.pages_at, 0) // PAGE_SIZE
        if there < self.count:
            observed.lost(f"the file holds {there} of {self.count} pages")
        self._there = min(there, self.count)

    @property
    def present_pages(self) -> int:
        """As :attr:`vmcoretool.memory.pages.PageReader.present_pages`."""
        return self._there

    @property
    def excluded_pages(self) -> int:
        """As :attr:`vmcoretool.memory.pages.PageReader.excluded_pages`."""
        return self.count - self._there

    @property
    def end(self) -> Maddr:
        """As :attr:`vmcoretool.memory.pages.PageReader.end`."""
        if self._sorted is not None:
            last = self._sorted[0][-1] if self._sorted[0] else -1
        else:
            last = self._frames(len(self._firsts) - 1)[-1] if self.count else -1
        return Maddr(last + 1 << 12)

    def extents(self) -> Iterator[Extent]:
        """As :meth:`vmcoretool.memory.pages.PageReader.extents`."""
        return _joined(self._stretches([(0, self.count)]))

    def stored(self) -> Iterator[Extent]:
        """As :meth:`vmcoretool.memory.pages.PageReader.stored`."""
        start = self._index.pages_at
        ranges = [
            (low - start >> 12, -(-(high - start) // PAGE_SIZE))
            for low, high in self._source.data_ranges(start, start + self._there * PAGE_SIZE)
        ]
        return _joined(self._stretches(ranges))

    def is_present(self, maddr: int) -> bool:
        """As :meth:`vmcoretool.memory.pages.PageReader.is_present`."""
        place = self._place(maddr >> 12)
        return place is not None and place < self._there

    def is_excluded(self, maddr: int) -> bool:
        """As :meth:`vmcoretool.memory.pages.PageReader.is_excluded`."""
        place = self._place(maddr >> 12)
        return place is not None and place >= self._there

    def page(self, mfn: Mfn) -> bytes | Missing:
        """As :meth:`vmcoretool.memory.pages.PageReader.page`."""
        place = self._place(mfn)
        if place is None:
            return ABSENT
        if place >= self._there:
            return EXCLUDED
        data = read_or_lost(self._source, PAGE_SIZE, self._index.pages_at + place * PAGE_SIZE)
        if isinstance(data, Missing) or len(data) == PAGE_SIZE:
            return data
        return Missing(damage="was lost: the file became shorter while it was read")

    def where_is(self, maddr: int) -> FilePlace | None:
        """As :meth:`vmcoretool.memory.pages.PageReader.where_is`."""
        place = self._place(maddr >> 12)
        if place is None or place >= self._there:
            return None
        skip = maddr % PAGE_SIZE
        offset = self._index.pages_at + place * PAGE_SIZE + skip
        return FilePlace(self._source.path, FileOffset(offset), PAGE_SIZE - skip)

    def _survey(self, count: int) -> tuple[array[int], int]:
        # the first frame of each chunk, and how many entries are valid: the others stand at the end
        firsts = array("Q")
        step = _CHUNK if count <= MAX_UNSORTED else 1
        for at in range(0, count, _CHUNK):
            frames = self._words(at, min(step, count - at))
            valid = self._valid(frames)
            if valid:
                firsts.append(frames[0])
            if valid < len(frames):
                count = at + valid
                break
            if len(firsts) > 1 and firsts[-1] <= firsts[-2] and step == 1:
                break  # too many in no order: the others say nothing new
        if step == 1 and count:
            at = (count - 1) // _CHUNK * _CHUNK
            count = at + self._valid(self._words(at, count - at))
        return firsts, count

    def _valid(self, frames: list[int]) -> int:
        # how many stand before the first invalid one
        invalid = INVALID >> 32 if self._index.width == 4 else INVALID
        return frames.index(invalid) if invalid in frames else len(frames)

    def _ascending(self) -> bool:
        # all of a small index; of a large one, which must ascend to be read, the chunks alone
        firsts = self._firsts
        if any(after <= before for before, after in pairwise(firsts)):
            return False
        if self.count > MAX_UNSORTED:
            return True
        last = -1
        for block in range(len(firsts)):
            frames = self._frames(block)
            if frames[0] <= last or any(after <= before for before, after in pairwise(frames)):
                return False
            last = frames[-1]
        return True

    def _sort(self) -> tuple[array[int], array[int]]:
        # one integer for frame and place sorts in a tenth of a tuple's memory
        packed: list[int] = []
        for block in range(len(self._firsts)):
            numbered = enumerate(self._frames(block), block * _CHUNK)
            packed += [frame << _PLACE_BITS | place for place, frame in numbered]
        packed.sort(reverse=True)
        frames, places = array("Q"), array("I")
        while packed:  # each chunk is given back before the next one
            chunk = packed[: -_CHUNK - 1 : -1]
            del packed[-_CHUNK:]
            frames.extend([word >> _PLACE_BITS for word in chunk])
            places.extend([word & MAX_UNSORTED - 1 for word in chunk])
        return frames, places

    def _words(self, at: int, count: int) -> list[int]:
        width = self._index.width
        raw = self._source.pread(count * width, self._index.offset + at * width)
        letter, size = ("I", 4) if width == 4 else ("Q", 8)
        words = struct.unpack_from(f"<{len(raw) // size}{letter}", raw)
        return list(words[:: 2 if width == 16 else 1])

    def _frames(self, block: int) -> list[int]:
        # the valid frames of a chunk
        held = self._held  # read once: another thread may replace it
        if held[0] == block:
            return held[1]
        at = block * _CHUNK
        frames = self._words(at, min(_CHUNK, self.count - at))
        self._held = (block, frames)
        return frames

    def _place(self, frame: int) -> int | None:
        if self._sorted is not None:
            frames, places = self._sorted
            at = bisect_left(frames, frame)
            return places[at] if at < len(frames) and frames[at] == frame else None
        block = bisect_right(self._firsts, frame) - 1
        if block < 0:
            return None
        chunk = self._frames(block)
        at = bisect_left(chunk, frame)
        return block * _CHUNK + at if at < len(chunk) and chunk[at] == frame else None

    def _stretches(self, ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        # (first, end) of frames that follow one another, in ranges of places; some meet
        if self._sorted is not None and ranges:
            frames, places = self._sorted
            starts = [first for first, _ in ranges]
            ends = [0, *(end for _, end in ranges)]
            for frame, place in zip(frames, places, strict=True):
                if place < ends[bisect_right(starts, place)]:
                    yield frame, frame + 1
            return
        for low, high in ranges:
            for block in range(low // _CHUNK, -(-high // _CHUNK)):
                at = block * _CHUNK
                chunk = self._frames(block)[max(low - at, 0) : high - at]
                first, count = chunk[0] if chunk else 0, len(chunk)
                if chunk == list(range(first, first + count)):
                    yield first, first + count
                else:
                    yield from ((frame, frame + 1) for frame in chunk)


def _joined(stretches: Iterable[tuple[int, int]]) -> Iterator[Extent]:
    # ascending stretches as extents; those that meet or overlap are one
    start = end = -1
    for first, last in stretches:
        if first > end:
            if end > start:
                yield Extent(Maddr(start << 12), Maddr(end << 12))
            start = first
        end = max(last, end)
    if end > start:
        yield Extent(Maddr(start << 12), Maddr(end << 12))
