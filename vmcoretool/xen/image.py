"""The hypervisor's image as page tables map it, and the idle page table inside it.

Xen links its image to a window of 1 GiB that starts at XEN_VIRT_START and maps it linearly::

    machine = vaddr - XEN_VIRT_START + xen_phys_start

so every page of the image that a table maps yields the same base.  A base alone is weak: Xen has
other linear areas.  It is held for an image only with an anchor that no other area has:

* the idle page table: a page ``g`` whose slot 258 refers to ``g``, and whose own tables lead from
  an address of the window to ``g`` (exact on every real dump tried; slot 258 alone is not, since
  all tables that Xen fills refer to themselves there), or
* the window's own level 3 and level 2 tables lie in the image they map, because Xen keeps them in
  its .data or .bss, or
* VMCOREINFO_XEN's pgd_l4 lies in the mapped image.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB, PAGE_SIZE, Maddr, Vaddr
from vmcoretool.errors import MemoryFault
from vmcoretool.paging.x86_64 import (
    PAGE_SIZE_BIT,
    PRESENT,
    Run,
    Step,
    frame,
    leaves,
    slot_of,
    walk,
)
from vmcoretool.xen.layouts import (
    LAYOUTS,
    LINEAR_PT_SLOT,
    NOT_RELOCATED,
    WINDOW_SIZE,
    XenLayout,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vmcoretool.memory import PhysicalMemory

AGREEMENT: Final = 0.95
"""Share of the mapped pages that must yield the base: 4.14 and later map one page elsewhere."""
BASE_ALIGNMENT: Final = 2 * MIB
BASE_LIMIT: Final = 1 << 32
"""Xen loads and relocates below 4 GiB, 2 MiB aligned, and never at 0 (xen/arch/x86/setup.c)."""
NOT_RELOCATED_LIMIT: Final = 16 * MIB
_SEARCH_BLOCK: Final = 16 * PAGE_SIZE


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


class Image(NamedTuple):
    """A hypervisor image that one root table maps.

    Attributes:
        layout: the row of the layout table that the page tables support.
        root: the level 4 table that was walked.
        base: xen_phys_start; 0 for a layout that does not relocate.
        runs: the image's mapped pages, all of which yield ``base``.
        agreeing: how many pages these are.
        mapped: how many pages are mapped up to the last agreeing one.
        steps: the walk to the window's level 2 table.
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
        for run in self.runs:
            if run.vaddr <= vaddr < run.vaddr + run.size:
                return Maddr(vaddr - run.vaddr + run.maddr)
        return None

    def vaddr_of(self, maddr: int) -> Vaddr | None:
        """The hypervisor virtual address of a byte of the image, None outside its pages."""
        for run in self.runs:
            if run.maddr <= maddr < run.maddr + run.size:
                return Vaddr(maddr - run.maddr + run.vaddr)
        return None


def find_images(memory: PhysicalMemory, root: Maddr, pgd_l4: Vaddr | None) -> tuple[Image, ...]:
    """The relocated images that the level 4 table at ``root`` maps: usually one, or none.

    Every layout's window is tried; which of them exist is for the tables to say.

    Args:
        memory: of the dump.
        root: machine address of a level 4 table.
        pgd_l4: what VMCOREINFO_XEN says of the idle table, a hint that need not be true.

    Raises:
        MemoryFault: the root table, or the level 3 table of slot 261, is not in the dump.
    """
    found = []
    upper = image_slot(memory, root)
    if upper is None:
        return ()
    for layout in LAYOUTS:
        middle = _entry(memory, frame(upper.entry), 3, layout.virt_start)
        if middle is None or middle.entry & PAGE_SIZE_BIT:
            continue
        try:
            image = _image(memory, layout, root, (upper, middle), pgd_l4)
        except MemoryFault:
            continue
        if image:
            found.append(image)
    return tuple(found)


def image_slot(memory: PhysicalMemory, root: Maddr) -> Step | None:
    """Slot 261 of a level 4 table, which all windows share; None when it is empty.

    Xen copies it from the idle table into every table it makes, so tables that agree in its frame
    map the same image.

    Raises:
        MemoryFault: the root table is not in the dump.
    """
    return _entry(memory, root, 4, LAYOUTS[0].virt_start)


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
    if any(entry & PRESENT for entry in (*table[1:256], *table[272:])):
        return None
    idle = check_idle_table(memory, layout, Vaddr(layout.virt_start + root), root)
    if idle is None:
        return None
    run = Run(layout.virt_start, Maddr(0), NOT_RELOCATED_LIMIT)
    anchors = ("the root is the idle page table and has no guest's slots",)
    return Image(layout, root, Maddr(0), (run,), 1, 1, idle.steps[1:], anchors)


def check_idle_table(
    memory: PhysicalMemory, layout: XenLayout, vaddr: Vaddr, maddr: Maddr
) -> IdleTable | None:
    """The page at ``maddr`` as idle page table, or None when it is not or cannot be checked.

    It is the idle table iff its slot 258 refers to itself and ``vaddr``, an address of the image
    window, leads through it to itself.
    """
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


def find_idle_table(memory: PhysicalMemory, image: Image, pgd_l4: Vaddr | None) -> IdleTable | None:
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
    """The idle page table where a claimed xen_phys_start puts pgd_l4, if the page proves itself."""
    start = pgd_l4 & -WINDOW_SIZE
    layout = next((row for row in LAYOUTS if row.virt_start == start), None)
    if layout is None or base % BASE_ALIGNMENT or not 0 < base < BASE_LIMIT or pgd_l4 % PAGE_SIZE:
        return None
    return check_idle_table(memory, layout, pgd_l4, Maddr(pgd_l4 - start + base))


def _entry(memory: PhysicalMemory, table: Maddr, level: int, vaddr: Vaddr) -> Step | None:
    index = slot_of(vaddr, level)
    entry = memory.read_u64(Maddr(frame(table) + 8 * index))
    return Step(level, frame(table), index, entry) if entry & PRESENT else None


def _image(
    memory: PhysicalMemory,
    layout: XenLayout,
    root: Maddr,
    steps: tuple[Step, Step],
    pgd_l4: Vaddr | None,
) -> Image | None:
    tables = frame(steps[0].entry), frame(steps[1].entry)
    runs = leaves(memory, tables[1], 2, layout.virt_start).runs
    weights: Counter[int] = Counter()
    for run in runs:
        weights[run.maddr - run.vaddr] += run.size
    for shift, _ in weights.most_common(4):
        base = layout.virt_start + shift
        if base % BASE_ALIGNMENT or not 0 < base < BASE_LIMIT:
            continue
        image = _agreeing(layout, root, Maddr(base), runs, steps)
        anchors = tuple(_anchors(image, tables, pgd_l4))
        if anchors and image.agreeing >= AGREEMENT * image.mapped:
            return image._replace(anchors=anchors)
    return None


def _agreeing(
    layout: XenLayout, root: Maddr, base: Maddr, runs: tuple[Run, ...], steps: tuple[Step, ...]
) -> Image:
    # The image is linear, so it ends with the last page that agrees; what the window maps above
    # (fixmap, per-CPU stubs, livepatches) is something else.
    ours = tuple(run for run in runs if run.maddr - run.vaddr == base - layout.virt_start)
    end = ours[-1].vaddr + ours[-1].size
    return Image(
        layout=layout,
        root=root,
        base=base,
        runs=ours,
        agreeing=sum(run.size for run in ours) // PAGE_SIZE,
        mapped=sum(run.size for run in runs if run.vaddr < end) // PAGE_SIZE,
        steps=steps,
        anchors=(),
    )


def _anchors(image: Image, tables: Iterable[Maddr], pgd_l4: Vaddr | None) -> Iterator[str]:
    if all(image.vaddr_of(table) is not None for table in tables):
        yield "its level 3 and level 2 tables lie in the image they map"
    if pgd_l4 is not None and pgd_l4 % PAGE_SIZE == 0:
        maddr = image.maddr_of(pgd_l4)
        if maddr is not None:
            yield f"pgd_l4 {pgd_l4:#x} is mapped to {maddr:#x} in it"


def _self_references(memory: PhysicalMemory, image: Image) -> Iterator[tuple[Vaddr, Maddr]]:
    # Pages of the image whose slot 258 refers to themselves, nearest to the window's tables first.
    near = frame(image.steps[0].entry)
    blocks = [
        (Vaddr(run.vaddr + at), Maddr(run.maddr + at), min(_SEARCH_BLOCK, run.size - at))
        for run in image.runs
        for at in range(0, run.size, _SEARCH_BLOCK)
    ]
    blocks.sort(key=lambda block: abs(block[1] - near))
    for vaddr, maddr, size in blocks:
        for at, entry in _slot_258(memory, maddr, size):
            if entry & PRESENT and frame(entry) == maddr + at:
                yield Vaddr(vaddr + at), Maddr(maddr + at)


def _slot_258(memory: PhysicalMemory, maddr: Maddr, size: int) -> Iterator[tuple[int, int]]:
    # (offset, entry) of each page of a block; one read where all of it is in the dump.
    try:
        block = memory.read(maddr, size)
    except MemoryFault:
        if size > PAGE_SIZE:
            for at in range(0, size, PAGE_SIZE):
                for _, entry in _slot_258(memory, Maddr(maddr + at), PAGE_SIZE):
                    yield at, entry
        return
    for at in range(0, size, PAGE_SIZE):
        start = at + 8 * LINEAR_PT_SLOT
        yield at, int.from_bytes(block[start : start + 8], "little")
