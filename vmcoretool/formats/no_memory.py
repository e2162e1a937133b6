"""The PageReader of inputs that hold no memory at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmcoretool.memory.pages import ABSENT, Missing, PageReader

if TYPE_CHECKING:
    from vmcoretool.addresses import Extent, Mfn


class NoMemory(PageReader):
    """No page is present, none is described."""

    def page(self, mfn: Mfn) -> Missing:
        """None."""
        del mfn
        return ABSENT

    def extents(self) -> tuple[Extent, ...]:
        """None."""
        return ()
