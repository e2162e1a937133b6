"""What contradicts an image that page tables show.

Where level 2 entries changed places, the image is as good as any, but at another address by a
multiple of what one entry maps, and pgd_l4 with it, so that one variable at least has to be where
VMCOREINFO_XEN says; or code is not where the CPUs ran.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import Vaddr
from vmcoretool.errors import MemoryFault, TranslationFault
from vmcoretool.memory.x86_64 import walk
from vmcoretool.xen.image.idle_table import check_idle_table, idle_table_of
from vmcoretool.xen.image.image import BASE_ALIGNMENT
from vmcoretool.xen.image.layouts import WINDOW_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.xen.image.image import Image

_UPPER_HALF: Final = 0xFFFF_8000_0000_0000


def contradiction(
    memory: PhysicalMemory,
    image: Image,
    rips: Iterable[int],
    pgd_l4: Vaddr | None,
    pointers: Iterable[Vaddr],
) -> str:
    """Why the tables that show an image must be damaged, or "".

    Args:
        memory: of the dump.
        image: a relocated one.
        rips: where the CPUs ran, as far as it is known.
        pgd_l4: the idle page table's address by VMCOREINFO_XEN.
        pointers: where VMCOREINFO_XEN has variables that point to a struct.
    """
    return _without_code(memory, image, rips) or _moved(memory, image, pgd_l4, pointers)


def _without_code(memory: PhysicalMemory, image: Image, rips: Iterable[int]) -> str:
    start = image.layout.virt_start
    inside = [rip for rip in rips if start <= rip < start + WINDOW_SIZE]
    for rip in inside:
        try:
            base = walk(memory, image.root, Vaddr(rip)).maddr - (rip - start)
        except TranslationFault:
            continue
        except MemoryFault:
            return ""  # the table that would tell is not in the dump
        # in the image; or elsewhere, as livepatches and stubs are
        if base == image.base or base % BASE_ALIGNMENT:
            return ""
    if not inside:
        return ""
    return (
        f"its tables show an image at {image.base:#x}, but the CPUs ran at {inside[0]:#x}, which "
        "is not in it: the tables are damaged"
    )


def _moved(
    memory: PhysicalMemory, image: Image, pgd_l4: Vaddr | None, pointers: Iterable[Vaddr]
) -> str:
    if pgd_l4 is None:
        return ""
    maddr = image.maddr_of(pgd_l4)
    if maddr is not None and check_idle_table(memory, image.layout, pgd_l4, maddr):
        return ""
    idle = idle_table_of(memory, image, None)
    shows = f"its tables show an image at {image.base:#x}"
    if idle is None:
        # an image that is seen a multiple of BASE_ALIGNMENT off holds its tables all the same
        if any(_holds_pointer(memory, image, variable) for variable in pointers):
            return ""
        there = maddr is not None and memory.pages.is_present(maddr)
        what = "is another page" if there else "is not in the dump"
        return (
            f"{shows}, but {pgd_l4:#x}, VMCOREINFO_XEN's idle page table, {what}, and no other "
            "variable shows that none of the tables is damaged"
        )
    if (idle.vaddr - pgd_l4) % BASE_ALIGNMENT:
        return ""
    return (
        f"{shows}, with the idle page table at {idle.vaddr:#x}, but VMCOREINFO_XEN has that at "
        f"{pgd_l4:#x}: one of them is damaged"
    )


def _holds_pointer(memory: PhysicalMemory, image: Image, variable: Vaddr) -> bool:
    # whether a pointer is where one is to be: an address that the tables map
    maddr = image.maddr_of(variable)
    if maddr is None:
        return False
    try:
        pointer = memory.read_u64(maddr)
        if pointer % 8 or pointer < _UPPER_HALF:
            return False
        walk(memory, image.root, Vaddr(pointer))
    except MemoryFault:
        return False
    return True
