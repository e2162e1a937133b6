"""x86_32 PAE Xen: never relocated, its image lies in the direct map.

The direct map covers the first 12 MiB of machine memory from 0xFF000000 on, the image is linked to
0xFF100000 and the idle page table is the four-entry level 3 table ``idle_pg_table`` (also
``idle_pg_table_l3`` up to 3.1; ``pgd_l3`` in VMCOREINFO_XEN; xen/include/asm-x86/x86_32/).  The
hypervisor left Xen with 4.3 (Xen commit 5d1181a5ea ("xen: Remove x86_32 build target.")).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import MIB, Maddr, Vaddr
from vmcoretool.errors import MemoryFault
from vmcoretool.memory.pae import walk

if TYPE_CHECKING:
    from vmcoretool.memory.paging import Translation
    from vmcoretool.memory.physical import PhysicalMemory

DIRECTMAP_START: Final = Vaddr(0xFF00_0000)
DIRECTMAP_SIZE: Final = 12 * MIB
IMAGE_START: Final = Vaddr(0xFF10_0000)


def maps_image(memory: PhysicalMemory, root: Maddr) -> Translation | None:
    """The walk that shows the image in the direct map through this table, or None."""
    try:
        done = walk(memory, root, IMAGE_START)
    except MemoryFault:
        return None
    return done if done.maddr == IMAGE_START - DIRECTMAP_START else None


def idle_table(memory: PhysicalMemory, pgd_l3: Vaddr) -> Translation | None:
    """The walk from pgd_l3 through the table it names back to that table, or None."""
    if not DIRECTMAP_START <= pgd_l3 < DIRECTMAP_START + DIRECTMAP_SIZE:
        return None
    maddr = Maddr(pgd_l3 - DIRECTMAP_START)
    try:
        done = walk(memory, maddr, pgd_l3)
    except MemoryFault:
        return None
    return done if done.maddr == maddr else None
