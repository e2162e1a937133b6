"""What a container format must get right: which machine pages it holds, one at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import PAGE_SIZE, FileOffset, Maddr, Mfn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmcoretool.addresses import Extent


class Missing(NamedTuple):
    """Why a page has no bytes.

    Attributes:
        excluded: True when the dump describes the page but left its data out, or lost it.
        damage: what is wrong with data that should be there, as words that follow "the page";
            "" where none should be there.
    """

    excluded: bool = False
    damage: str = ""


ABSENT: Final = Missing()
EXCLUDED: Final = Missing(excluded=True)


class PartialPage(NamedTuple):
    """A page of which the dump holds pieces: a range of the format starts or ends inside it.

    Attributes:
        pieces: (offset in the page, bytes), ascending, without overlap.
        excluded: (start, end) offsets in the page that the dump describes without data.
    """

    pieces: tuple[tuple[int, bytes], ...]
    excluded: tuple[tuple[int, int], ...] = ()

    def read(self, skip: int, size: int) -> bytes | Missing:
        """From 1 to ``size`` bytes at an offset in the page, or why that byte is missing."""
        for start, data in self.pieces:
            if start <= skip < start + len(data):
                return data[skip - start : skip - start + size]
        return EXCLUDED if any(low <= skip < high for low, high in self.excluded) else ABSENT


class Place(NamedTuple):
    """Where the data of a byte lies.

    Attributes:
        path: the file.
        offset: in the file, inside all layers around the dump.  Of a packed page, where its packed
            data begins.
        size: how many bytes lie there: up to the end of the page or, where it is packed, of its
            packed data.
    """

    path: str
    offset: FileOffset
    size: int


class PageReader(ABC):
    """Machine memory of one container, in aligned pages of 4 KiB.

    A format implements :meth:`page` and :meth:`extents`; the others have answers that follow from
    these two, and are implemented where a format knows better or faster.  Splitting, joining,
    caching and locking are :class:`~vmcoretool.memory.physical.PhysicalMemory`'s: it calls
    :meth:`page` and :meth:`run` from one thread at a time.
    """

    __slots__ = ()

    @abstractmethod
    def page(self, mfn: Mfn) -> bytes | PartialPage | Missing:
        """The 4096 bytes of a machine page, or why they are missing.

        Raises:
            OSError: the system could not read; it costs this page only.
        """

    @abstractmethod
    def extents(self) -> Iterable[Extent]:
        """The machine memory that the dump describes, sorted and disjoint; made as it is asked."""

    def stored(self) -> Iterable[Extent]:
        """The memory that may be present and hold anything but zeros, sorted and disjoint."""
        return self.extents()

    def run(self, mfn: Mfn, count: int) -> bytes:
        """Up to ``count`` whole pages from ``mfn`` on, read at once; optional, for speed.

        It ends before the first page that is not whole, or not at hand in the same piece of the
        file; b"" where :meth:`page` is to be asked.

        Raises:
            OSError: as :meth:`page`.
        """
        del mfn, count
        return b""

    def next_page(self, mfn: Mfn) -> Mfn:
        """The first page from ``mfn`` on that may be present, or any one before; for speed."""
        return mfn

    def is_present(self, maddr: int) -> bool:
        """Whether the byte's data is in the dump, damaged or not."""
        page = self.page(Mfn(maddr // PAGE_SIZE))
        if isinstance(page, PartialPage):
            return isinstance(page.read(maddr % PAGE_SIZE, 1), bytes)
        return isinstance(page, bytes) or bool(page.damage)

    def is_excluded(self, maddr: int) -> bool:
        """Whether the dump describes the byte but left its data out, or lost it."""
        page = self.page(Mfn(maddr // PAGE_SIZE))
        if isinstance(page, PartialPage):
            return page.read(maddr % PAGE_SIZE, 1) == EXCLUDED
        return page == EXCLUDED

    @property
    def present_pages(self) -> int:
        """How many pages have data in the dump."""
        return sum(extent.end - extent.start for extent in self.extents()) // PAGE_SIZE

    @property
    def excluded_pages(self) -> int:
        """How many pages the dump describes but left out, or lost."""
        return 0

    @property
    def end(self) -> Maddr:
        """First address behind all memory that the dump describes."""
        return max((extent.end for extent in self.extents()), default=Maddr(0))

    def where_is(self, maddr: int) -> Place | None:
        """Where the data of a byte lies, or None where there is none."""
        del maddr
        return None
