"""The pages of a kdump file or split set, read where their descriptors say.

A page is found by its bit in the second bitmap: how many bits lie below it is the number of its
descriptor.  Frames that follow one another are read together, as writers put them down.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import MIB, Extent, Maddr
from vmcoretool.errors import FormatError, MemoryFault, UnsupportedFormatError
from vmcoretool.findings import Finding, finding
from vmcoretool.formats.kdump.bitmap import PageBitmap
from vmcoretool.formats.kdump.codecs import PageDataError, find_codec
from vmcoretool.formats.kdump.parts import (
    DESCRIPTOR,
    Part,
    check_map,
    find_end,
    find_missing,
    make_parts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vmcoretool.formats.kdump.header import KdumpHeader
    from vmcoretool.sources.file import ByteSource

MAX_BITMAP_BYTES: Final = 512 * MIB
"""Both bitmaps of a machine of 8 TiB; larger ones are refused."""
_RUN_PAGES: Final = 256
_NOT_A_PAGE: Final = "its data is damaged"
_NO_MAP: Final = "cannot be told from others: the dump's page bitmap is damaged"


class KdumpPages:
    """The PageReader of a kdump file or split set.

    Args:
        headers: of the parts.
        sources: the parts, in the same order.
        findings: gets what is missing or damaged.

    Raises:
        UnsupportedFormatError: bitmaps of more than MAX_BITMAP_BYTES.
        FormatError: two parts hold the same frames.
    """

    def __init__(
        self, headers: list[KdumpHeader], sources: Sequence[ByteSource], findings: list[Finding]
    ) -> None:
        header = headers[0]
        self._size = header.block_size
        self._unpack = struct.Struct(("<" if header.order == "little" else ">") + "QIIQ")
        self._codecs: dict[int, Callable[[bytes, int], bytes]] = {}
        self._last: tuple[tuple[int, ...], bytes] = ((), b"")  # source, offset, size, flags; page
        self._table: tuple[int, int, bytes] = (
            -1,
            0,
            b"",
        )  # source, first index, bytes
        self._source = sources[0]
        start = self._size * (1 + header.sub_hdr_size)
        length = header.bitmap_blocks * self._size
        if length > MAX_BITMAP_BYTES:
            raise UnsupportedFormatError(f"bitmaps of {length // MIB} MiB are too large")
        bitmap_bytes = (header.frames + 7) // 8
        two = header.bitmap_blocks >= 2 * ((bitmap_bytes + self._size - 1) // self._size)
        half = length // 2 if two else 0
        self._ram_at = (start, length - half, header.frames)
        bits = sources[0].pread(length - half, start + half)
        if len(bits) * 8 < header.frames:
            findings.append(finding("truncated", "the file ends inside its page bitmap"))
        self.dumped = PageBitmap(bits, header.frames)
        parts = make_parts(headers, sources, self.dumped, start + length)
        find_missing(parts, self.dumped, findings)
        self._parts = [
            self._checked(part, diskdump=header.diskdump, findings=findings) for part in parts
        ]
        self._starts = [part.start_pfn for part in parts]
        if two:
            self._check_ram(findings)

    @cached_property
    def ram(self) -> PageBitmap:
        """Bitmap 1: which frames are RAM; the same as bitmap 2 in old files that have only one."""
        start, length, frames = self._ram_at
        return PageBitmap(self._source.pread(length, start), frames)

    @property
    def present_pages(self) -> int:
        """As :attr:`vmcoretool.memory.physical.PageReader.present_pages`."""
        return sum(
            self.dumped.rank(part.end_pfn) - self.dumped.rank(part.start_pfn)
            for part in self._parts
            if part.trusted
        )

    @property
    def excluded_pages(self) -> int:
        """As :attr:`vmcoretool.memory.physical.PageReader.excluded_pages`."""
        lost = self.dumped.count - self.present_pages
        return self.ram.and_not_count(self.dumped) + lost

    def extents(self) -> Iterator[Extent]:
        """As :meth:`vmcoretool.memory.physical.PageReader.extents`."""
        for first, end in self.ram.runs():
            yield Extent(Maddr(first * self._size), Maddr(end * self._size))

    def stored(self) -> Iterator[Extent]:
        """As :meth:`vmcoretool.memory.physical.PageReader.stored`."""
        for part in filter(attrgetter("trusted"), self._parts):
            for first, end in self.dumped.runs():
                low, high = max(first, part.start_pfn), min(end, part.end_pfn)
                if low < high:
                    yield Extent(Maddr(low * self._size), Maddr(high * self._size))

    def is_present(self, maddr: int) -> bool:
        """As :meth:`vmcoretool.memory.physical.PageReader.is_present`."""
        pfn = maddr // self._size
        part = self._part(pfn)
        return pfn in self.dumped and part is not None and part.trusted

    def is_excluded(self, maddr: int) -> bool:
        """As :meth:`vmcoretool.memory.physical.PageReader.is_excluded`."""
        return maddr // self._size in self.ram and not self.is_present(maddr)

    def read_at(self, maddr: int, size: int) -> bytes:
        """As :meth:`vmcoretool.memory.physical.PageReader.read_at`."""
        pfn, skip = divmod(maddr, self._size)
        part = self._part(pfn)
        if part is None or pfn not in self.dumped:
            return b""
        if not part.trusted:
            raise self._fault(pfn, _NO_MAP)
        wanted = min(-(-(skip + size) // self._size), _RUN_PAGES)
        if wanted == 1:
            return self._page(part, pfn)[skip : skip + size]
        return self._run(part, pfn, wanted)[skip : skip + size]

    def _part(self, pfn: int) -> Part | None:
        at = bisect_right(self._starts, pfn) - 1
        if at < 0 or pfn >= self._parts[at].end_pfn:
            return None
        return self._parts[at]

    def _run(self, part: Part, pfn: int, wanted: int) -> bytes:
        # consecutive frames; a damaged one ends the run, and is told when it is asked for itself
        count = self.dumped.run_length(pfn, min(wanted, part.end_pfn - pfn))
        rows = self._rows(part, self.dumped.rank(pfn) - part.first_rank, count)
        start, data = self._data_of(part, rows)
        if self._is_plain(rows, start, len(data)):
            return data
        pages: list[bytes] = []
        for offset, size, flags, _ in rows:
            at = offset - start
            if offset and at >= 0 and 0 < size <= self._size and at + size <= len(data):
                page = self._unpacked(data[at : at + size], flags)
            else:
                page = None  # the shared page of zeros lies elsewhere
            if page is None:
                try:
                    page = self._page(part, pfn + len(pages))
                except MemoryFault:
                    break
            pages.append(page)
        return b"".join(pages) if pages else self._page(part, pfn)

    def _rows(self, part: Part, index: int, count: int) -> list[tuple[int, ...]]:
        # descriptors that follow one another, as many as can be read
        try:
            table = part.source.pread(DESCRIPTOR * count, part.descriptors + index * DESCRIPTOR)
        except FormatError:
            return []
        return list(self._unpack.iter_unpack(table[: len(table) - len(table) % DESCRIPTOR]))

    def _data_of(self, part: Part, rows: list[tuple[int, ...]]) -> tuple[int, bytes]:
        # Where the data of most of them starts, and it: writers put it down frame by frame.
        if not rows:
            return 0, b""
        end = max(offset + size for offset, size, _, _ in rows)
        lowest = end - len(rows) * self._size
        start = min((row[0] for row in rows if row[0] >= lowest), default=end)
        try:
            return start, part.source.pread(end - start, start)
        except (FormatError, OverflowError):  # a part of it never arrived, or is nowhere
            return 0, b""

    def _is_plain(self, rows: list[tuple[int, ...]], start: int, size: int) -> bool:
        # Whether the data is the pages themselves, one behind the other.
        if not start or rows[0][2] & 0xFF or size != len(rows) * self._size:
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

    def _page(self, part: Part, pfn: int) -> bytes:
        index = self.dumped.rank(pfn) - part.first_rank
        offset, size, flags, _ = self._descriptor(part, pfn, index)
        if offset == 0:
            raise self._fault(pfn, "was lost: the dump was not written to its end")
        last = self._last  # read once: another thread may replace it
        key = (id(part.source), offset, size, flags)
        if key == last[0]:  # the shared page of zeros
            return last[1]
        if not 0 < size <= self._size:
            raise self._fault(pfn, f"{_NOT_A_PAGE}: its descriptor says {size} bytes")
        data = self._read(part, pfn, offset, size)
        if flags & 0xFF:
            page = self._decompress(pfn, flags & 0xFF, data)
        elif size == self._size:
            page = data
        else:
            raise self._fault(pfn, f"{_NOT_A_PAGE}: {size} uncompressed bytes")
        self._last = (key, page)
        return page

    def _decompress(self, pfn: int, flags: int, data: bytes) -> bytes:
        try:
            if flags not in self._codecs:
                self._codecs[flags] = find_codec(flags)
            return self._codecs[flags](data, self._size)
        except PageDataError as error:
            raise self._fault(pfn, f"{_NOT_A_PAGE}: {error}") from error

    def _descriptor(self, part: Part, pfn: int, index: int) -> tuple[int, int, int, int]:
        place = id(part.source)
        held, first, table = self._table
        if held != place or not 0 <= (index - first) * DESCRIPTOR < len(table):
            first = index
            try:
                table = part.source.pread(
                    DESCRIPTOR * _RUN_PAGES, part.descriptors + index * DESCRIPTOR
                )
            except FormatError:  # a flattened stream that ends early may hold this one all the same
                table = self._read(part, pfn, part.descriptors + index * DESCRIPTOR, DESCRIPTOR)
            table = table[: len(table) - len(table) % DESCRIPTOR]
            if not table:
                raise self._fault(pfn, "was lost: the file ends before its descriptor")
            self._table = (place, first, table)
        words: tuple[int, int, int, int] = self._unpack.unpack_from(
            table, (index - first) * DESCRIPTOR
        )
        return words

    def _read(self, part: Part, pfn: int, offset: int, size: int) -> bytes:
        try:
            data = part.source.pread(size, offset)
        except FormatError as error:
            raise self._fault(pfn, "was lost: the stream ends before it") from error
        if len(data) < size:
            raise self._fault(pfn, f"was lost: the file ends before offset {offset + size:#x}")
        return data

    def _fault(self, pfn: int, reason: str) -> MemoryFault:
        return MemoryFault(Maddr(pfn * self._size), reason=reason)

    def _checked(self, part: Part, *, diskdump: bool, findings: list[Finding]) -> Part:
        # where diskdump's own tools put the first data is not known
        if not diskdump:
            part = check_map(part, self.dumped, self._unpack, self._size, findings)
        if part.trusted:
            find_end(part, self.dumped, self._unpack, self._size, findings)
        return part

    def _check_ram(self, findings: list[Finding]) -> None:
        # what was dumped is RAM; a bit too many among the dumped would have shown already
        try:
            stray = self.dumped.and_not_count(self.ram)
        except FormatError:
            return  # said already: the stream is incomplete
        if stray and all(part.trusted for part in self._parts):
            message = f"{stray} frames are marked as dumped, but not as RAM"
            findings.append(finding("page-map-damaged", message))
