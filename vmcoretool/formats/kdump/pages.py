"""The pages of a kdump file or split set, read where their descriptors say.

A page is found by its bit in the second bitmap: how many bits lie below it is the number of its
descriptor.  Frames that follow one another are read together, as writers put them down.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB, PAGE_SIZE, Extent, FileOffset, Maddr, Mfn
from vmcoretool.errors import FormatError, UnsupportedFormatError
from vmcoretool.formats.api import read_or_lost
from vmcoretool.formats.kdump.bitmap import readable_bitmap, with_bitmaps
from vmcoretool.formats.kdump.codecs import PageDataError, find_codec
from vmcoretool.formats.kdump.parts import (
    DESCRIPTOR,
    Part,
    check_part,
    count_lost,
    find_missing,
    make_parts,
)
from vmcoretool.memory.pages import ABSENT, EXCLUDED, FilePlace, Missing, PageReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vmcoretool.formats.api import Observed
    from vmcoretool.formats.kdump.header import KdumpHeader
    from vmcoretool.sources.file import ByteSource

MAX_BITMAP_BYTES: Final = 512 * MIB
"""Both bitmaps of a machine of 8 TiB; larger ones are refused."""
MAX_RANGES: Final = 1 << 18
"""Ranges that a search is told of; where there are more stretches of pages, wider ones."""
_RUN_PAGES: Final = 256
_TABLE_ROWS: Final = 256
_NOT_A_PAGE: Final = "has damaged data"
_NO_BIT: Final = "was lost: its bit in the page bitmap is missing"
_NO_MAP: Final = "cannot be told from others: the dump's page bitmap is damaged"


class Descriptor(NamedTuple):
    """Where a page's data lies; the flags name its codec."""

    offset: int
    size: int
    flags: int
    page_flags: int


class KdumpPages(PageReader):
    """The PageReader of a kdump file or split set."""

    def __init__(
        self, headers: list[KdumpHeader], sources: Sequence[ByteSource], observed: Observed
    ) -> None:
        """Find bitmaps and descriptors.

        Args:
            headers: of the parts.
            sources: the parts, in the same order.
            observed: gets what is missing or damaged.

        Raises:
            UnsupportedFormatError: bitmaps of more than MAX_BITMAP_BYTES.
            FormatError: two parts hold the same frames.
        """
        header = headers[0]
        self._size = header.block_size
        self._unpack = struct.Struct(("<" if header.order == "little" else ">") + "QIIQ")
        self._codecs: dict[int, Callable[[bytes, int], bytes]] = {}
        # what was used last: part, descriptor and the page; part, first row and rows of the table
        self._last: tuple[int, Descriptor | None, bytes] = (-1, None, b"")
        self._table: tuple[int, int, bytes] = (-1, 0, b"")
        start = self._size * (1 + header.sub_hdr_size)
        length = header.bitmap_blocks * self._size
        if length > MAX_BITMAP_BYTES:
            raise UnsupportedFormatError(
                f"bitmaps of {length // MIB} MiB are too large", path=sources[0].path
            )
        blocks = (header.frames + 7) // 8 + self._size - 1 >> self._size.bit_length() - 1
        two = header.bitmap_blocks >= 2 * blocks
        half = length // 2 if two else 0
        # bitmap 1: which frames are RAM; the same as bitmap 2 in old files that have only one
        self._frames = header.frames
        first, size = with_bitmaps(sources, start + length), length - half
        self.ram = readable_bitmap(first, start, size, self._frames, observed)
        self.dumped = readable_bitmap(first, start + half, size, self._frames, observed)
        parts = make_parts(headers, sources, self.dumped, start + length)
        find_missing(parts, self.dumped, observed)
        self._parts = [
            check_part(part, header, self.dumped, self._unpack, observed) for part in parts
        ]
        self._starts = [part.start_pfn for part in parts]
        if two:
            self._check_ram(observed)

    @cached_property
    def present_pages(self) -> int:
        """As :attr:`vmcoretool.memory.pages.PageReader.present_pages`."""
        return sum(
            self.dumped.rank(part.end_pfn)
            - self.dumped.rank(part.start_pfn)
            - count_lost(part, self.dumped, self._unpack)
            for part in self._parts
            if part.trusted
        )

    @property
    def excluded_pages(self) -> int:
        """As :attr:`vmcoretool.memory.pages.PageReader.excluded_pages`."""
        lost = self.dumped.count - self.present_pages
        return self.ram.and_not_count(self.dumped) + lost

    @property
    def end(self) -> Maddr:
        """As :attr:`vmcoretool.memory.pages.PageReader.end`."""
        return Maddr(self.ram.end * self._size)

    def extents(self) -> Iterator[Extent]:
        """As :meth:`vmcoretool.memory.pages.PageReader.extents`."""
        for first, end in self.ram.runs():
            yield Extent(Maddr(first * self._size), Maddr(end * self._size))

    def stored(self) -> Iterator[Extent]:
        """As :meth:`vmcoretool.memory.pages.PageReader.stored`."""
        parts = list(filter(attrgetter("trusted"), self._parts))
        ends = [part.end_pfn for part in parts]
        for first, end in self.dumped.ranges(MAX_RANGES):
            for part in parts[bisect_right(ends, first) :]:
                if part.start_pfn >= end:
                    break
                low, high = max(first, part.start_pfn), min(end, part.end_pfn)
                yield Extent(Maddr(low * self._size), Maddr(high * self._size))

    def is_present(self, maddr: int) -> bool:
        """As :meth:`vmcoretool.memory.pages.PageReader.is_present`."""
        pfn = maddr // self._size
        number = self._part(pfn)
        return number is not None and self._parts[number].trusted and pfn in self.dumped

    def is_excluded(self, maddr: int) -> bool:
        """As :meth:`vmcoretool.memory.pages.PageReader.is_excluded`."""
        return maddr // self._size in self.ram and not self.is_present(maddr)

    def page(self, mfn: Mfn) -> bytes | Missing:
        """As :meth:`vmcoretool.memory.pages.PageReader.page`."""
        pfn, skip = divmod(mfn * PAGE_SIZE, self._size)
        number = self._part(pfn)
        if number is None or pfn not in self.dumped:
            if self.dumped.frames <= pfn < self._frames:
                return Missing(damage=_NO_BIT)
            return EXCLUDED if pfn in self.ram else ABSENT
        if not self._parts[number].trusted:
            return Missing(damage=_NO_MAP)
        page = self._page(number, pfn)
        if isinstance(page, Missing) or self._size == PAGE_SIZE:
            return page
        return page[skip : skip + PAGE_SIZE]

    def run(self, mfn: Mfn, count: int) -> bytes:
        """As :meth:`vmcoretool.memory.pages.PageReader.run`."""
        pfn, skip = divmod(mfn * PAGE_SIZE, self._size)
        number = self._part(pfn)
        if number is None or pfn not in self.dumped or not self._parts[number].trusted:
            return b""
        wanted = min(-(-(skip + count * PAGE_SIZE) // self._size), _RUN_PAGES)
        data = self._run(number, pfn, wanted)
        end = skip + count * PAGE_SIZE
        return data if not skip and len(data) <= end else data[skip:end]

    def gap(self, mfn: Mfn, count: int) -> int:
        """As :meth:`vmcoretool.memory.pages.PageReader.gap`."""
        start = self.dumped.next_set(mfn * PAGE_SIZE // self._size) * self._size
        return min(max(start // PAGE_SIZE - mfn, 0), count)

    def where_is(self, maddr: int) -> FilePlace | None:
        """As :meth:`vmcoretool.memory.pages.PageReader.where_is`."""
        pfn, skip = divmod(maddr, self._size)
        number = self._part(pfn)
        if number is None or not self.is_present(maddr):
            return None
        row = self._descriptor(number, pfn)
        if isinstance(row, Missing) or not row.offset:
            return None
        path = self._parts[number].source.path
        if row.flags & 0xFF:
            return FilePlace(path, FileOffset(row.offset), row.size)
        return FilePlace(path, FileOffset(row.offset + skip), PAGE_SIZE - maddr % PAGE_SIZE)

    def _part(self, pfn: int) -> int | None:
        # the number of the part that holds a frame
        at = bisect_right(self._starts, pfn) - 1
        return at if at >= 0 and pfn < self._parts[at].end_pfn else None

    def _run(self, number: int, pfn: int, wanted: int) -> bytes:
        # consecutive frames; a damaged one ends the run, and is reported when it is asked for
        part = self._parts[number]
        count = self.dumped.run_length(pfn, min(wanted, part.end_pfn - pfn))
        rows = self._rows(part, self.dumped.rank(pfn) - part.first_rank, count)
        start, data = self._data_of(part, rows)
        if self._is_plain(rows, start, len(data)):
            return data
        pages: list[bytes] = []
        for row in rows:
            at = row.offset - start
            page: bytes | Missing | None = None  # the shared page of zeros lies elsewhere
            if row.offset and at >= 0 and 0 < row.size <= self._size and at + row.size <= len(data):
                page = self._unpacked(data[at : at + row.size], row.flags)
            if page is None:
                page = self._page(number, pfn + len(pages))
            if isinstance(page, Missing):
                break
            pages.append(page)
        return b"".join(pages)

    def _rows(self, part: Part, index: int, count: int) -> list[Descriptor]:
        # descriptors that follow one another, as many as can be read
        try:
            table = part.source.pread(DESCRIPTOR * count, part.descriptors + index * DESCRIPTOR)
        except FormatError:
            return []
        whole = len(table) - len(table) % DESCRIPTOR
        return list(map(Descriptor._make, self._unpack.iter_unpack(table[:whole])))

    def _data_of(self, part: Part, rows: list[Descriptor]) -> tuple[int, bytes]:
        # Where the data of most of them starts, and it: writers put it down frame by frame.
        if not rows:
            return 0, b""
        end = max(row.offset + row.size for row in rows)
        lowest = end - len(rows) * self._size
        start = min((row.offset for row in rows if row.offset >= lowest), default=end)
        try:
            return start, part.source.pread(end - start, start)
        except (FormatError, OverflowError):  # a part of it never arrived, or is nowhere
            return 0, b""

    def _is_plain(self, rows: list[Descriptor], start: int, size: int) -> bool:
        # Whether the data is the pages themselves, one behind the other.
        if not start or rows[0].flags & 0xFF or size != len(rows) * self._size:
            return False
        places = range(start, start + size, self._size)
        return all(
            row[0] == place and row[1] == self._size and not row[2] & 0xFF
            for row, place in zip(rows, places, strict=True)
        )

    def _unpacked(self, data: bytes, flags: int) -> bytes | None:
        # a page, or None where it needs a closer look
        kind = flags & 0xFF
        if not kind:
            return data if len(data) == self._size else None
        codec = self._codecs.get(kind)
        if codec is None:
            return None
        try:
            return codec(data, self._size)
        except PageDataError:
            return None

    def _page(self, number: int, pfn: int) -> bytes | Missing:
        # the whole block of a frame
        row = self._descriptor(number, pfn)
        if isinstance(row, Missing):
            return row
        if row.offset == 0:
            return Missing(damage="was lost: the dump was not written to its end")
        last = self._last
        if last[:2] == (number, row):  # the shared page of zeros
            return last[2]
        page = self._read_page(self._parts[number].source, row)
        if isinstance(page, bytes):
            self._last = (number, row, page)
        return page

    def _read_page(self, source: ByteSource, row: Descriptor) -> bytes | Missing:
        if not 0 < row.size <= self._size:
            return Missing(damage=f"{_NOT_A_PAGE}: its descriptor says {row.size} bytes")
        data = _read(source, row.size, row.offset)
        if isinstance(data, Missing):
            return data
        if row.flags & 0xFF:
            return self._decompressed(row.flags & 0xFF, data)
        if row.size != self._size:
            return Missing(damage=f"{_NOT_A_PAGE}: {row.size} uncompressed bytes")
        return data

    def _decompressed(self, flags: int, data: bytes) -> bytes | Missing:
        try:
            if flags not in self._codecs:
                self._codecs[flags] = find_codec(flags)
            return self._codecs[flags](data, self._size)
        except PageDataError as error:
            return Missing(damage=f"{_NOT_A_PAGE}: {error}")

    def _descriptor(self, number: int, pfn: int) -> Descriptor | Missing:
        part = self._parts[number]
        index = self.dumped.rank(pfn) - part.first_rank
        place = part.descriptors + index * DESCRIPTOR
        held, first, table = self._table
        if held != number or not 0 <= (index - first) * DESCRIPTOR < len(table):
            first = index
            try:
                table = part.source.pread(DESCRIPTOR * _TABLE_ROWS, place)
            except FormatError:  # a flattened stream that ends early may hold this one all the same
                row = _read(part.source, DESCRIPTOR, place)
                if isinstance(row, Missing):
                    return row
                table = row
            table = table[: len(table) - len(table) % DESCRIPTOR]
            if not table:
                return Missing(damage="was lost: the file ends before its descriptor")
            self._table = (number, first, table)
        return Descriptor._make(self._unpack.unpack_from(table, (index - first) * DESCRIPTOR))

    def _check_ram(self, observed: Observed) -> None:
        # what was dumped is RAM; a bit too many among the dumped would have shown already
        if not self.ram.frames == self.dumped.frames == self._frames:
            return  # reported already: one of them is not whole
        stray = self.dumped.and_not_count(self.ram)
        if stray and all(part.trusted for part in self._parts):
            message = f"{stray} frames are marked as dumped, but not as RAM"
            observed.odd("page-map-damaged", message)


def _read(source: ByteSource, size: int, offset: int) -> bytes | Missing:
    try:
        data = read_or_lost(source, size, offset)
    except OverflowError:  # a place that no file has
        data = b""
    if isinstance(data, Missing):
        return Missing(damage="was lost: the stream ends before it")
    if len(data) < size:
        return Missing(damage=f"was lost: the file ends before offset {offset + size:#x}")
    return data
