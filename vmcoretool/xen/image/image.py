"""The hypervisor's image as page tables map it.

Xen links its image to a window of 1 GiB that starts at XEN_VIRT_START and maps it linearly::

    machine = vaddr - XEN_VIRT_START + xen_phys_start

so every page of the image that a table maps yields the same base.  A base alone is weak, since Xen
has other linear areas.  It is held for an image only with an anchor that no other area has:

* the window's own level 3 and level 2 tables lie in the image they map, because Xen keeps them in
  its .data or .bss, or
* VMCOREINFO_XEN's pgd_l4 lies in the mapped image, or
* the idle page table does; see ``vmcoretool.xen.image.idle_table``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB, PAGE_SIZE, Maddr, Vaddr
from vmcoretool.errors import MemoryFault
from vmcoretool.memory.search import run_of
from vmcoretool.memory.x86_64 import PAGE_SIZE_BIT, PRESENT, Run, Step, frame, leaves, slot_of, walk
from vmcoretool.xen.image.layouts import DIRECTMAPS, LAYOUTS, DirectMap, XenLayout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.memory.physical import PhysicalMemory

AGREEMENT: Final = 0.95
"""Share of the mapped pages that must yield the base: 4.14 and later map one page elsewhere."""
BASE_ALIGNMENT: Final = 2 * MIB
BASE_LIMIT: Final = 1 << 32
"""Xen loads and relocates below 4 GiB, 2 MiB aligned, and never at 0 (xen/arch/x86/setup.c)."""
_CANDIDATES: Final = 4
_RIVAL: Final = 8
"""Pages at one other base that are no chance: what lies above the image is scattered."""


class Window(NamedTuple):
    """What one root maps where a layout has the image.

    Attributes:
        layout: the row of the layout table.
        steps: slots of level 4 and level 3 that lead to the window's level 2 table.
        runs: everything mapped in the window.
    """

    layout: XenLayout
    steps: tuple[Step, Step]
    runs: tuple[Run, ...]


class Image(NamedTuple):
    """A hypervisor image that one root table maps.

    Attributes:
        layout: the row of the layout table that the page tables support.
        root: the level 4 table that was walked.
        base: xen_phys_start; 0 for a layout that does not relocate.
        runs: the image's mapped pages, all of which yield ``base``.
        agreeing: how many pages these are.
        mapped: how many pages are mapped up to the last agreeing one.
        steps: the slots that lead to the window's level 2 table.
        anchors: why this is an image, not another linear area.
    """

    layout: XenLayout
    root: Maddr
    base: Maddr
    runs: tuple[Run, ...]
    agreeing: int
    mapped: int
    steps: tuple[Step, ...]
    anchors: tuple[str, ...]

    def maddr_of(self, vaddr: int) -> Maddr | None:
        """The machine address of a byte of the image, None outside its mapped pages."""
        run = run_of(self.runs, vaddr)
        return Maddr(vaddr - run.vaddr + run.maddr) if run else None

    def vaddr_of(self, maddr: int) -> Vaddr | None:
        """The hypervisor virtual address of a byte of the image, None outside its pages."""
        for run in self.runs:
            if run.maddr <= maddr < run.maddr + run.size:
                return Vaddr(maddr - run.maddr + run.vaddr)
        return None


def image_slot(memory: PhysicalMemory, root: Maddr) -> Step | None:
    """Slot 261 of a level 4 table, which all windows share; None when it is empty.

    Xen copies it from the idle table into every table it makes, so tables that agree in its frame
    map the same image.

    Raises:
        MemoryFault: the root table is not in the dump.
    """
    return _entry(memory, root, 4, LAYOUTS[0].virt_start)


def find_windows(memory: PhysicalMemory, upper: Step) -> tuple[Window, ...]:
    """The windows that exist below slot 261; which do is for the tables to say, not for a version.

    Raises:
        MemoryFault: the level 3 table of slot 261 is not in the dump.
    """
    found = []
    for layout in LAYOUTS:
        middle = _entry(memory, frame(upper.entry), 3, layout.virt_start)
        if middle is None or middle.entry & PAGE_SIZE_BIT:
            continue
        try:
            mapped = leaves(memory, frame(middle.entry), 2, layout.virt_start)
        except MemoryFault:
            continue
        if mapped.complete:
            found.append(Window(layout, (upper, middle), mapped.runs))
    return tuple(found)


def find_image(window: Window, root: Maddr, pgd_l4: Vaddr | None) -> Image | None:
    """The relocated image in a window, or None when nothing in it is one.

    Args:
        window: what the root maps.
        root: machine address of the level 4 table.
        pgd_l4: what VMCOREINFO_XEN says of the idle table, a hint that need not be true.
    """
    weights: dict[int, int] = {}
    for run in window.runs:
        shift = run.maddr - run.vaddr
        weights[shift] = weights.get(shift, 0) + run.size
    for shift in sorted(weights, key=lambda one: -weights[one])[:_CANDIDATES]:
        base = window.layout.virt_start + shift
        if not _is_base(base):
            continue
        image = image_at(window, root, Maddr(base))
        if image:
            anchors = tuple(_anchors(image, pgd_l4))
            if anchors:
                return image._replace(anchors=anchors)
    return None


def image_at(window: Window, root: Maddr, base: Maddr) -> Image | None:
    """The pages of a window that yield ``base``, if they are nearly all of them; no anchor yet.

    The image is linear, so it ends with the last page that agrees; what the window maps above
    (fixmap, per-CPU stubs, livepatches) is something else, unless it is an image at another base:
    where one damaged entry shows the same pages at two addresses, neither is proved.
    """
    shift = base - window.layout.virt_start
    ours = tuple(run for run in window.runs if run.maddr - run.vaddr == shift)
    if not ours:
        return None
    end = ours[-1].vaddr + ours[-1].size
    agreeing = sum(run.size for run in ours) // PAGE_SIZE
    mapped = sum(run.size for run in window.runs if run.vaddr < end) // PAGE_SIZE
    mapped += _rival_pages(window, base, end)
    if agreeing < AGREEMENT * mapped:
        return None
    return Image(window.layout, root, base, ours, agreeing, mapped, window.steps, ())


def _rival_pages(window: Window, base: Maddr, end: int) -> int:
    # Pages from ``end`` on that make images at other bases.
    rivals: dict[int, int] = {}
    for run in window.runs:
        other = run.maddr - run.vaddr + window.layout.virt_start
        if run.vaddr >= end and other != base and _is_base(other):
            rivals[other] = rivals.get(other, 0) + run.size // PAGE_SIZE
    return sum(count for count in rivals.values() if count >= _RIVAL)


def _is_base(value: int) -> bool:
    return value % BASE_ALIGNMENT == 0 and 0 < value < BASE_LIMIT


def find_directmap(memory: PhysicalMemory, image: Image) -> DirectMap | None:
    """The direct map of an image's tables, told by where the root table itself is mapped."""
    for row in DIRECTMAPS:
        try:
            done = walk(memory, image.root, Vaddr(row.start + image.root))
        except MemoryFault:
            continue
        if done.maddr == image.root:
            return row
    return None


def _entry(memory: PhysicalMemory, table: Maddr, level: int, vaddr: Vaddr) -> Step | None:
    index = slot_of(vaddr, level)
    entry = memory.read_u64(Maddr(frame(table) + 8 * index))
    return Step(level, frame(table), index, entry) if entry & PRESENT else None


def _anchors(image: Image, pgd_l4: Vaddr | None) -> Iterator[str]:
    if all(image.vaddr_of(frame(step.entry)) is not None for step in image.steps):
        yield "its level 3 and level 2 tables lie in the image they map"
    if pgd_l4 is not None and pgd_l4 % PAGE_SIZE == 0:
        maddr = image.maddr_of(pgd_l4)
        if maddr is not None:
            yield f"pgd_l4 {pgd_l4:#x} is mapped to {maddr:#x} in it"
