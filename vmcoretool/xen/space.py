"""The hypervisor's own virtual memory, read through its page tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import Maddr, Vaddr
from vmcoretool.errors import MemoryFault
from vmcoretool.memory.x86_64 import walk

if TYPE_CHECKING:
    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.xen.image.image import Image

PAGE: Final = 4096
HYPERVISOR_START: Final = 0xFFFF_8000_0000_0000
"""HYPERVISOR_VIRT_START: slot 256 (xen/include/public/arch-x86/xen-x86_64.h)."""
HYPERVISOR_END: Final = 0xFFFF_8800_0000_0000
"""HYPERVISOR_VIRT_END: slot 272; a PV guest's kernel may use what lies above."""


class XenSpace:
    """What the hypervisor sees at its virtual addresses.

    Tables decide.  Where one of them is not in the dump, as in filtered ones, the image and the
    direct map are known to be linear all the same.
    """

    def __init__(self, memory: PhysicalMemory, image: Image, directmap_start: Vaddr) -> None:
        self.memory = memory
        self.image = image
        self.directmap_start = directmap_start

    def maddr(self, vaddr: int) -> Maddr:
        """The machine address of a byte.

        Raises:
            MemoryFault: nothing is mapped there, or its tables are not in the dump.
        """
        try:
            return walk(self.memory, self.image.root, Vaddr(vaddr)).maddr
        except MemoryFault:
            linear = self.image.maddr_of(vaddr)
            if linear is not None:
                return linear
            offset = vaddr - self.directmap_start
            if 0 <= offset < HYPERVISOR_END - self.directmap_start and (
                self.memory.pages.is_present(offset)
            ):
                return Maddr(offset)
            raise

    def read(self, vaddr: int, size: int) -> bytes:
        """Exactly ``size`` bytes.

        Raises:
            MemoryFault: as :meth:`maddr`, or the page is not in the dump.
        """
        parts = []
        while size > 0:
            step = min(size, PAGE - vaddr % PAGE)
            parts.append(self.memory.read(self.maddr(vaddr), step))
            vaddr += step
            size -= step
        return b"".join(parts)

    def number(self, vaddr: int, size: int = 8) -> int:
        """The little-endian unsigned number of ``size`` bytes.

        Raises:
            MemoryFault: as :meth:`read`.
        """
        return int.from_bytes(self.read(vaddr, size), "little")
