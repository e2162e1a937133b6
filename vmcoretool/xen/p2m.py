"""From a PV guest's pseudo-physical pages to machine pages: the tree, and whether it is whole.

A PV guest keeps the list itself and tells the hypervisor where it is, in its shared info page
(xen/include/public/arch-x86/xen.h, ``struct arch_shared_info``): as a tree of three levels whose
top is ``pfn_to_mfn_frame_list_list``, or, since 4.6, as one array at ``p2m_vaddr`` in the address
space of ``p2m_cr3``.  crash and makedumpfile follow the tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import PAGE_SHIFT, Maddr
from vmcoretool.errors import MemoryFault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.xen.domains import SharedInfo
    from vmcoretool.xen.frame_table import FrameTable

MAX_FRAME: Final = 1 << 40
_SAMPLES: Final = 16


def tree_trouble(
    memory: PhysicalMemory, shared: SharedInfo, frames: FrameTable, domain_id: int
) -> str:
    """What is wrong with a guest's tree, "" where a look at some of its branches shows nothing.

    The guest keeps the tree in its own memory, so it owns every page of it.  What is not in the
    dump is no fault of the tree.

    Args:
        memory: of the dump.
        shared: of the guest.
        frames: tells whose page is whose.
        domain_id: the guest.
    """
    if not 0 < shared.frame_list_list < (1 << 8 * shared.word_size) - 1:
        return ""
    for pfn in range(0, shared.max_pfn, max(shared.max_pfn // _SAMPLES, 1)):
        try:
            for node in _nodes(memory, shared, pfn):
                if node >= MAX_FRAME or frames.owner(node << PAGE_SHIFT) != domain_id:
                    return f"the way to pfn {pfn:#x} leads to mfn {node:#x}, no page of the domain"
        except MemoryFault:
            continue
    return ""


def _nodes(memory: PhysicalMemory, shared: SharedInfo, pfn: int) -> Iterator[int]:
    # the pages of the tree on the way to a frame's entry, the top first
    size = shared.word_size
    fan = (1 << PAGE_SHIFT) // size
    node = shared.frame_list_list
    yield node
    for index in (pfn // fan // fan, pfn // fan % fan):
        at = Maddr((node << PAGE_SHIFT) + size * (index % fan))
        node = int.from_bytes(memory.read(at, size), "little")
        yield node
