"""Machine memory of a few pages, without a dump around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmcoretool.addresses import PAGE_SIZE, Extent, Maddr, Mfn
from vmcoretool.memory.extents import ExtentMap
from vmcoretool.memory.pages import ABSENT, EXCLUDED, Missing, PageReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Pages(PageReader):
    """``pages`` maps frame numbers to bytes; ``excluded`` frames were left out."""

    def __init__(self, pages: Mapping[int, bytes], excluded: Iterable[int] = ()) -> None:
        self.pages = pages
        self.excluded = frozenset(excluded)

    def page(self, mfn: Mfn) -> bytes | Missing:
        page = self.pages.get(mfn)
        if page is None:
            return EXCLUDED if mfn in self.excluded else ABSENT
        return page

    def extents(self) -> Iterable[Extent]:
        return ExtentMap(map(_bounds, {*self.pages, *self.excluded}))

    def stored(self) -> Iterable[Extent]:
        # one extent for each page, so that searches meet as many borders as can be
        return [Extent(Maddr(low), Maddr(high)) for low, high in map(_bounds, sorted(self.pages))]


def _bounds(frame: int) -> tuple[int, int]:
    return frame * PAGE_SIZE, (frame + 1) * PAGE_SIZE


def pages_at(pages: Mapping[int, bytes]) -> Pages:
    """The same of pages by their machine addresses."""
    return Pages({maddr // PAGE_SIZE: page for maddr, page in pages.items()})
