"""Machine memory of a dump: bytes, or a typed fault that names the first missing byte."""

from __future__ import annotations

import struct
from threading import Lock
from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import PAGE_SIZE, Maddr, Mfn
from vmcoretool.errors import FormatError, MemoryFault, is_out_of_reach, reason_of
from vmcoretool.memory.pages import Missing, PartialPage
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from vmcoretool.memory.pages import FilePlace, PageReader

CACHE_PAGES: Final = 1024
MAX_UNREADABLE: Final = 4096
"""Damaged pages that are remembered: more say nothing new."""
_RUN: Final = 3
"""Pages from which on reading them at once beats reading them through the cache."""
_U64: Final = struct.Struct("<Q")
_TABLE: Final = struct.Struct("<512Q")


class PhysicalMemory:
    """Machine memory read by any address and size, with a small page cache.

    x86 only as far as :meth:`read_u64` and :meth:`read_table` go: they are little-endian.  Several
    threads may read; the container's reader is asked by one at a time.

    Attributes:
        pages: the container's reader.
        unreadable: the pages whose reading met damage, the first MAX_UNREADABLE of them, and what
            was wrong with each, and where, as words that follow "the page".
        damaged: how often reading a page met damage.
        refused: how often that was because the system could not read the file; it may another time.
    """

    __slots__ = ("_cache", "_lock", "damaged", "pages", "refused", "unreadable")

    def __init__(self, pages: PageReader) -> None:
        self.pages = pages
        self.unreadable: dict[Maddr, str] = {}
        self.damaged = 0
        self.refused = 0
        self._lock = Lock()
        # each page has one place; a place is read and replaced as a whole, so threads may share it
        self._cache: list[tuple[int, bytes]] = [(-1, b"")] * CACHE_PAGES

    def read(self, maddr: int, size: int) -> bytes:
        """Exactly ``size`` bytes at ``maddr``.

        Raises:
            ValueError: a negative address or size.
            MemoryFault: naming the first byte that the dump does not hold.
            OSError: the file is out of reach as a whole; it names file and offset.
        """
        # nearly always it is a part of one page that was read before
        skip = maddr % PAGE_SIZE
        held, whole = self._cache[maddr // PAGE_SIZE % CACHE_PAGES]
        if held == maddr - skip and 0 <= size <= PAGE_SIZE - skip:
            return whole[skip : skip + size]
        if maddr < 0 or size < 0:
            raise ValueError(f"{size} bytes at machine address {maddr:#x}")
        data, missing = self._gather(maddr, size)
        if missing:
            raise _fault(maddr + len(data), missing)
        return data

    def read_some(self, maddr: int, size: int) -> bytes:
        """The bytes from ``maddr`` up to the first that is missing or damaged, at most ``size``.

        For searches; b"" where the first byte is missing.
        """
        return self._gather(maddr, size)[0]

    def gap(self, maddr: int, size: int) -> int:
        """How many bytes from a page's start on, at most ``size``, are known not to be there.

        Whole pages; for searches, which go over them at once.  0 where reading tells.
        """
        if maddr % PAGE_SIZE:
            return 0
        with self._lock:
            return PAGE_SIZE * self.pages.gap(Mfn(maddr // PAGE_SIZE), size // PAGE_SIZE)

    def read_u64(self, maddr: int) -> int:
        """The little-endian 64-bit word at ``maddr``.

        Raises:
            MemoryFault: as :meth:`read`.
        """
        value: int = _U64.unpack(self.read(maddr, 8))[0]
        return value

    def read_table(self, maddr: int) -> tuple[int, ...]:
        """The 512 entries of the page-table page at ``maddr`` (rounded down to its page).

        Raises:
            MemoryFault: as :meth:`read`.
        """
        return _TABLE.unpack(self.read(Maddr(maddr & -PAGE_SIZE), PAGE_SIZE))

    def read_c_string(self, maddr: int, limit: int) -> bytes | None:
        """The bytes at ``maddr`` up to a NUL, without it; None when no NUL within ``limit``.

        Raises:
            MemoryFault: the memory ends before a NUL was found.
        """
        text = b""
        at = int(maddr)
        while len(text) <= limit:
            piece = self._piece(at, PAGE_SIZE - at % PAGE_SIZE)
            if isinstance(piece, Missing):
                raise _fault(at, piece)
            end = piece.find(b"\0")
            if end >= 0:
                text += piece[:end]
                return text if len(text) <= limit else None
            text += piece
            at += len(piece)
        return None

    def where_is(self, maddr: int) -> FilePlace | None:
        """Where in the dump's files the data of a byte lies, or None where there is none."""
        try:
            return self.pages.where_is(maddr)
        except (OSError, FormatError):  # what says so cannot itself be read
            return None

    def _gather(self, maddr: int, size: int) -> tuple[bytes, Missing | None]:
        # as many bytes as are there, at most size, and what ended them before
        at, end = int(maddr), int(maddr) + size
        parts: list[bytes] = []
        missing = None
        while at < end:
            part = self._piece(at, end - at)
            if isinstance(part, Missing):
                missing = part
                break
            parts.append(part)
            at += len(part)
        return (parts[0] if len(parts) == 1 else b"".join(parts)), missing

    def _piece(self, at: int, size: int) -> bytes | Missing:
        # 1 to size bytes at a place, through the cache unless they are many pages
        skip = at % PAGE_SIZE
        start = at - skip
        held, whole = self._cache[start // PAGE_SIZE % CACHE_PAGES]
        if held == start:
            return whole[skip : skip + size]
        count = -(-(skip + size) // PAGE_SIZE)
        if count >= _RUN and (run := self._run(start, count)):
            return run if not skip and len(run) <= size else run[skip : skip + size]
        page = self._page(start)
        if isinstance(page, bytes):
            self._cache[start // PAGE_SIZE % CACHE_PAGES] = (start, page)
            return page[skip : skip + size]
        if isinstance(page, PartialPage):
            return page.read(skip, size)
        return page

    def _run(self, start: int, count: int) -> bytes:
        with self._lock:
            try:
                return self.pages.run(Mfn(start // PAGE_SIZE), count)
            except (OSError, FormatError):
                return b""  # page by page, it is known which of them cannot be read

    def _page(self, start: int) -> bytes | PartialPage | Missing:
        try:
            with self._lock:
                page = self.pages.page(Mfn(start // PAGE_SIZE))
        except OSError as error:
            if is_out_of_reach(error):
                raise self._named(start, error) from error
            self.refused += 1
            what = reason_of(error)
            page = Missing(damage=f"cannot be read: {what}")
        if isinstance(page, Missing) and page.damage:
            return Missing(damage=self._noted(start, page.damage))
        return page

    def _noted(self, start: int, damage: str) -> str:
        # remembers a damaged page, and names the place of its data
        self.damaged += 1
        known = self.unreadable.get(Maddr(start))
        if known is None and len(self.unreadable) < MAX_UNREADABLE:
            place = self.where_is(start)
            where = f" ({printable(place.path)}, file offset {place.offset:#x})" if place else ""
            known = self.unreadable[Maddr(start)] = damage + where
        return known or damage

    def _named(self, start: int, error: OSError) -> OSError:
        # the reason_of with file and offset, where the source has not named them
        place = self.where_is(start) if error.filename is None else None
        if place is None:
            return error
        what = f"{error.strerror or error} (file offset {place.offset:#x})"
        return OSError(error.errno, what, place.path)


def _fault(maddr: int, missing: Missing) -> MemoryFault:
    return MemoryFault(Maddr(maddr), excluded=missing.excluded, reason=missing.damage)
