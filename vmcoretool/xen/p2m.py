"""From a PV guest's pseudo-physical pages to machine pages.

A PV guest keeps the list itself and tells the hypervisor where it is, in its shared info page
(xen/include/public/arch-x86/xen.h, ``struct arch_shared_info``): as a tree of three levels whose
top is ``pfn_to_mfn_frame_list_list``, or, since 4.6, as one array at ``p2m_vaddr`` in the address
space of ``p2m_cr3``.  A Linux guest marks entries: bit 63 for a page of another domain, bit 62 for
one that is not RAM (arch/x86/include/asm/xen/page.h).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import Maddr, Mfn, Vaddr
from vmcoretool.errors import MemoryFault
from vmcoretool.memory.x86_64 import frame, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.xen.domains import SharedInfo
    from vmcoretool.xen.frame_table import FrameTable

PAGE_SHIFT: Final = 12
MAX_FRAME: Final = 1 << 40
_SAMPLES: Final = 16
_MARKS: Final = {8: 3 << 62, 4: 3 << 30}


def kinds_of(shared: SharedInfo) -> tuple[str, ...]:
    """The forms of the list that a guest has: "tree", "linear", both, or none."""
    found = []
    if 0 < shared.frame_list_list < (1 << 8 * shared.word_size) - 1:
        found.append("tree")
    if shared.p2m_cr3 and shared.p2m_vaddr and shared.word_size == 8:
        found.append("linear")
    return tuple(found)


def to_mfn(memory: PhysicalMemory, shared: SharedInfo, pfn: int, kind: str) -> Mfn | None:
    """The machine frame of a guest's frame; None where the guest has none there.

    Args:
        memory: of the dump.
        shared: of the guest.
        pfn: below ``shared.max_pfn``, else the answer is None.
        kind: one of :func:`kinds_of`.

    Raises:
        MemoryFault: a page of the list is not in the dump.
    """
    if not 0 <= pfn < shared.max_pfn:
        return None
    if kind == "linear":
        place = walk(memory, frame(shared.p2m_cr3), Vaddr(shared.p2m_vaddr + 8 * pfn)).maddr
        entry = int.from_bytes(memory.read(place, 8), "little")
    else:
        entry = _from_tree(memory, shared, pfn)
    all_ones = (1 << 8 * shared.word_size) - 1
    return None if entry == all_ones else Mfn(entry & ~_MARKS[shared.word_size])


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
    if "tree" not in kinds_of(shared):
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


def _from_tree(memory: PhysicalMemory, shared: SharedInfo, pfn: int) -> int:
    size = shared.word_size
    fan = (1 << PAGE_SHIFT) // size
    *_, leaf = _nodes(memory, shared, pfn)
    at = Maddr((leaf << PAGE_SHIFT) + size * (pfn % fan))
    return int.from_bytes(memory.read(at, size), "little")
