"""The idle page table: the one page that proves itself, and with it the image's place.

Page ``g`` is the idle table iff its slot 258 refers to ``g`` *and* an address of the image window,
walked through ``g``, leads to ``g``.  Slot 258 alone proves nothing: every table that Xen fills
refers to itself there.  The rule is exact on all real dumps tried, 3.1 to 4.20.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB, PAGE_SIZE, Maddr, Vaddr
from vmcoretool.errors import MemoryFault, TranslationFault
from vmcoretool.memory.search import windows, words
from vmcoretool.memory.x86_64 import PRESENT, Run, Step, frame, walk
from vmcoretool.xen.image.image import BASE_ALIGNMENT, BASE_LIMIT, Image, Window, image_at
from vmcoretool.xen.image.layouts import (
    LAYOUTS,
    LINEAR_PT_SLOT,
    NOT_RELOCATED,
    WINDOW_SIZE,
    XenLayout,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vmcoretool.memory.physical import PhysicalMemory

NOT_RELOCATED_LIMIT: Final = 16 * MIB
"""A hypervisor that is not relocated lies, with its heap, below this (xenheap, Xen up to 3.1)."""
_SEARCH_BLOCK: Final = 16 * PAGE_SIZE
_BEFORE_XEN: Final = slice(1, 256)
_BEHIND_XEN: Final = slice(272, 512)


class IdleTable(NamedTuple):
    """A page proven to be idle_pg_table (idle_pg_table_4 up to 3.1, pgd_l4 in VMCOREINFO_XEN).

    Attributes:
        layout: the row whose window ``vaddr`` is in.
        vaddr: its hypervisor virtual address.
        maddr: where it lies.
        steps: slot 258, then the walk from ``vaddr`` through the page back to itself.
    """

    layout: XenLayout
    vaddr: Vaddr
    maddr: Maddr
    steps: tuple[Step, ...]

    @property
    def base(self) -> Maddr:
        """The xen_phys_start that follows; 0 for a layout that does not relocate."""
        return Maddr(self.maddr - (self.vaddr - self.layout.virt_start))

    @property
    def xen_phys_start(self) -> Maddr | None:
        """The base, None for a layout that does not relocate."""
        return self.base if self.layout.relocatable else None


def check_idle_table(
    memory: PhysicalMemory, layout: XenLayout, vaddr: Vaddr, maddr: Maddr
) -> IdleTable | None:
    """The page at ``maddr`` as idle page table, or None when it is not or cannot be checked."""
    try:
        entry = memory.read_u64(Maddr(maddr + 8 * LINEAR_PT_SLOT))
        if not entry & PRESENT or frame(entry) != maddr:
            return None
        back = walk(memory, maddr, vaddr)
    except MemoryFault:
        return None
    if back.maddr != maddr or not layout.virt_start <= vaddr:
        return None
    return IdleTable(layout, vaddr, maddr, (Step(4, maddr, LINEAR_PT_SLOT, entry), *back.steps))


def is_refuted(memory: PhysicalMemory, vaddr: Vaddr, maddr: Maddr) -> bool:
    """Whether the page at ``maddr`` is seen not to be the idle table that ``vaddr`` names.

    What is not in the dump, the page or a table on its way back, refutes nothing.
    """
    try:
        entry = memory.read_u64(Maddr(maddr + 8 * LINEAR_PT_SLOT))
    except MemoryFault:
        return False
    if not entry & PRESENT or frame(entry) != maddr:
        return True
    try:
        return walk(memory, maddr, vaddr).maddr != maddr
    except TranslationFault:
        return True
    except MemoryFault:
        return False


def idle_table_of(memory: PhysicalMemory, image: Image, pgd_l4: Vaddr | None) -> IdleTable | None:
    """The idle page table of an image, or None when its page is not in the dump.

    VMCOREINFO_XEN's pgd_l4 and the root are tried first; without them all pages of the image are,
    nearest to the window's tables first, where every Xen so far has put it.
    """
    hints = [pgd_l4] if pgd_l4 is not None else []
    root = image.vaddr_of(image.root)
    if root is not None:
        hints.append(root)
    for vaddr in hints:
        maddr = image.maddr_of(vaddr)
        if maddr is None or maddr % PAGE_SIZE:
            continue
        idle = check_idle_table(memory, image.layout, vaddr, maddr)
        if idle:
            return idle
    for vaddr, maddr in _self_references(memory, image):
        idle = check_idle_table(memory, image.layout, vaddr, maddr)
        if idle:
            return idle
    return None


def idle_table_at(memory: PhysicalMemory, base: Maddr, pgd_l4: Vaddr) -> IdleTable | None:
    """The idle page table where a supposed xen_phys_start puts pgd_l4, if it proves itself."""
    layout = layout_of(pgd_l4)
    if layout is None or base % BASE_ALIGNMENT or not 0 < base < BASE_LIMIT or pgd_l4 % PAGE_SIZE:
        return None
    return check_idle_table(memory, layout, pgd_l4, Maddr(pgd_l4 - layout.virt_start + base))


def layout_of(pgd_l4: Vaddr) -> XenLayout | None:
    """The layout whose window an image symbol is in."""
    start = pgd_l4 & -WINDOW_SIZE
    return next((row for row in LAYOUTS if row.virt_start == start), None)


def idle_table_from_page(
    memory: PhysicalMemory, maddr: Maddr, windows: Iterable[Window]
) -> tuple[IdleTable, Image] | None:
    """The page as idle table of the window it lies in, with the image; no base is known before.

    Args:
        memory: of the dump.
        maddr: a page whose slot 258 refers to itself.
        windows: what that page maps.
    """
    for window in windows:
        for run in window.runs:
            if not run.maddr <= maddr < run.maddr + run.size:
                continue
            base = Maddr(run.maddr - (run.vaddr - window.layout.virt_start))
            if base % BASE_ALIGNMENT or not 0 <= base < BASE_LIMIT:
                continue
            vaddr = Vaddr(maddr - run.maddr + run.vaddr)
            idle = check_idle_table(memory, window.layout, vaddr, maddr)
            image = image_at(window, maddr, base)
            if idle and image:
                return idle, image
    return None


def find_not_relocated(memory: PhysicalMemory, root: Maddr) -> Image | None:
    """The image of a Xen up to 3.1, which stays at 1 MiB and is mapped by the direct map alone.

    Every table that Xen fills has a direct map, so the root itself must be the idle table (in 3.1
    every CPU is switched to it before the crash kernel starts), lie in the first 16 MiB, and have
    none of the slots that guests use.  The caller must know from elsewhere that the hypervisor ran
    there: other eras may keep an idle table as low.

    Raises:
        MemoryFault: the root table is not in the dump.
    """
    layout = NOT_RELOCATED
    if root >= NOT_RELOCATED_LIMIT:
        return None
    table = memory.read_table(root)
    if any(entry & PRESENT for entry in (*table[_BEFORE_XEN], *table[_BEHIND_XEN])):
        return None
    idle = check_idle_table(memory, layout, Vaddr(layout.virt_start + root), root)
    if idle is None:
        return None
    run = Run(layout.virt_start, Maddr(0), NOT_RELOCATED_LIMIT)
    anchors = ("the root is the idle page table and has no guest's slots",)
    return Image(layout, root, Maddr(0), (run,), 1, 1, idle.steps[1:], anchors)


def _self_references(memory: PhysicalMemory, image: Image) -> Iterator[tuple[Vaddr, Maddr]]:
    # Pages of the image whose slot 258 refers to themselves, nearest to the window's tables first.
    shift = image.runs[0].maddr - image.runs[0].vaddr
    near = frame(image.steps[0].entry) - shift + _SEARCH_BLOCK // 2
    for window in windows(memory, image.runs, step=_SEARCH_BLOCK, ahead=0, near=near):
        data = window.data[: window.own & -PAGE_SIZE]
        for page, entry in enumerate(words(data, "Q", LINEAR_PT_SLOT, PAGE_SIZE // 8)):
            vaddr = Vaddr(window.at + page * PAGE_SIZE)
            if entry & PRESENT and frame(entry) == vaddr + shift:
                yield vaddr, Maddr(vaddr + shift)
