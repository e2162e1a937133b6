"""The hypervisor's own virtual memory, read through its page tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import Maddr, Vaddr
from vmcoretool.memory import x86_64
from vmcoretool.memory.virtual import VirtualMemory

if TYPE_CHECKING:
    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.xen.image.image import Image

HYPERVISOR_START: Final = 0xFFFF_8000_0000_0000
"""HYPERVISOR_VIRT_START: slot 256 (xen/include/public/arch-x86/xen-x86_64.h)."""
HYPERVISOR_END: Final = 0xFFFF_8800_0000_0000
"""HYPERVISOR_VIRT_END: slot 272; a PV guest's kernel may use what lies above."""


class XenSpace(VirtualMemory):
    """What the hypervisor sees at its virtual addresses.

    Tables decide.  Where one of them is damaged or not in the dump, as in filtered ones, the image
    and the direct map are known to be linear all the same.
    """

    __slots__ = ("directmap_start", "image")

    def __init__(self, memory: PhysicalMemory, image: Image, directmap_start: Vaddr) -> None:
        super().__init__(memory, image.root, x86_64, self._linear)
        self.image = image
        self.directmap_start = directmap_start

    def _linear(self, vaddr: int) -> Maddr | None:
        maddr = self.image.maddr_of(vaddr)
        if maddr is not None:
            return maddr
        offset = vaddr - self.directmap_start
        if 0 <= offset < HYPERVISOR_END - self.directmap_start and (
            self.memory.pages.is_present(offset)
        ):
            return Maddr(offset)
        return None
