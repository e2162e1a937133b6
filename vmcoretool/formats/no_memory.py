"""The PageReader of inputs that hold no memory at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmcoretool.addresses import Extent


class NoMemory:
    """No page is present, none is described."""

    present_pages = 0
    excluded_pages = 0

    def extents(self) -> tuple[Extent, ...]:
        """As :meth:`vmcoretool.memory.physical.PageReader.extents`."""
        return ()

    def stored(self) -> tuple[Extent, ...]:
        """As :meth:`vmcoretool.memory.physical.PageReader.stored`."""
        return ()

    def is_present(self, maddr: int) -> bool:
        """As :meth:`vmcoretool.memory.physical.PageReader.is_present`."""
        del maddr
        return False

    def is_excluded(self, maddr: int) -> bool:
        """As :meth:`vmcoretool.memory.physical.PageReader.is_excluded`."""
        del maddr
        return False

    def read_at(self, maddr: int, size: int) -> bytes:
        """As :meth:`vmcoretool.memory.physical.PageReader.read_at`."""
        del maddr, size
        return b""
