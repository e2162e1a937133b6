"""Machine memory of a dump: bytes, or a typed fault that names the first missing byte."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Protocol

from vmcoretool.addresses import PAGE_SIZE, Maddr
from vmcoretool.errors import MemoryFault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmcoretool.addresses import Extent

CACHE_PAGES: Final = 1024
MAX_UNREADABLE: Final = 1 << 20
"""Damaged pages that are remembered: more say nothing new."""
_U64: Final = struct.Struct("<Q")
_TABLE: Final = struct.Struct("<512Q")


class PageReader(Protocol):
    """The one thing a container must get right: which bytes of machine memory it holds."""

    @property
    def present_pages(self) -> int:
        """How many pages have data in the dump."""

    @property
    def excluded_pages(self) -> int:
        """How many pages the dump describes but left out, or lost."""

    def extents(self) -> Iterable[Extent]:
        """The machine memory that the dump describes, sorted and disjoint."""

    def is_present(self, maddr: int) -> bool:
        """Whether the byte's data is in the dump."""

    def is_excluded(self, maddr: int) -> bool:
        """Whether the dump describes the byte but left its data out, or lost it."""

    def stored(self) -> Iterable[Extent]:
        """The present memory that may hold anything but zeros: holes of a sparse file are out."""

    def read_at(self, maddr: int, size: int) -> bytes:
        """From 1 to ``size`` bytes at ``maddr``; b"" when that byte is not present.

        A short answer says only that this piece of the file ends, not that memory does.

        Raises:
            MemoryFault: the data is there but damaged; the fault's ``reason`` says how.
        """


class PhysicalMemory:
    """Machine memory read by any address and size, with a small page cache.

    x86 only as far as :meth:`read_u64` and :meth:`read_table` go: they are little-endian.
    """

    __slots__ = ("_cache", "pages", "unreadable")

    def __init__(self, pages: PageReader) -> None:
        """Memory of ``pages``; ``unreadable`` collects the pages whose reading met damage."""
        self.pages = pages
        self.unreadable: set[Maddr] = set()
        # each page has one place; a place is read and replaced as a whole, so threads may share it
        self._cache: list[tuple[int, bytes]] = [(-1, b"")] * CACHE_PAGES

    def read(self, maddr: Maddr, size: int) -> bytes:
        """Exactly ``size`` bytes at ``maddr``.

        Raises:
            MemoryFault: naming the first byte that the dump does not hold.
        """
        parts: list[bytes] = []
        at = int(maddr)
        while size > 0:
            part = self._piece(at, size)
            parts.append(part)
            at += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_some(self, maddr: int, size: int) -> bytes:
        """Like :meth:`PageReader.read_at`, but b"" for damaged data too; for searches."""
        try:
            return self._read_at(maddr, size)
        except MemoryFault:
            return b""

    def read_u64(self, maddr: Maddr) -> int:
        """The little-endian 64-bit word at ``maddr``.

        Raises:
            MemoryFault: as :meth:`read`.
        """
        value: int = _U64.unpack(self.read(maddr, 8))[0]
        return value

    def read_table(self, maddr: Maddr) -> tuple[int, ...]:
        """The 512 entries of the page-table page at ``maddr`` (rounded down to its page).

        Raises:
            MemoryFault: as :meth:`read`.
        """
        return _TABLE.unpack(self.read(Maddr(maddr & -PAGE_SIZE), PAGE_SIZE))

    def read_c_string(self, maddr: Maddr, limit: int) -> bytes | None:
        """The bytes at ``maddr`` up to a NUL, without it; None when no NUL within ``limit``.

        Raises:
            MemoryFault: the memory ends before a NUL was found.
        """
        text = b""
        at = int(maddr)
        while len(text) <= limit:
            piece = self._piece(at, PAGE_SIZE - at % PAGE_SIZE)
            end = piece.find(b"\0")
            if end >= 0:
                text += piece[:end]
                return text if len(text) <= limit else None
            text += piece
            at += len(piece)
        return None

    def _piece(self, at: int, size: int) -> bytes:
        # 1 to size bytes at a place, through the cache when they lie in one page.
        start = at & -PAGE_SIZE
        if at + size <= start + PAGE_SIZE:
            held, page = self._cache[start // PAGE_SIZE % CACHE_PAGES]
            if held == start or (page := self._fill(start)):
                return page[at - start : at - start + size]
        piece = self._read_at(at, size)
        if not piece:
            raise MemoryFault(Maddr(at), excluded=self.pages.is_excluded(at))
        return piece

    def _read_at(self, at: int, size: int) -> bytes:
        try:
            return self.pages.read_at(at, size)
        except MemoryFault:
            if len(self.unreadable) < MAX_UNREADABLE:
                self.unreadable.add(Maddr(at & -PAGE_SIZE))
            raise

    def _fill(self, start: int) -> bytes:
        # Takes a whole page into the cache; b"" where only part of it is present.
        page = self._read_at(start, PAGE_SIZE)
        if len(page) < PAGE_SIZE:
            return b""
        self._cache[start // PAGE_SIZE % CACHE_PAGES] = (start, page)
        return page
