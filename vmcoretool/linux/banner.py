"""Linux recognised by its own page tables: the banner in the mapped kernel image.

x86_64 Linux maps its image in the gigabyte from __START_KERNEL_map on
(arch/x86/include/asm/page_64_types.h), KASLR included; ``linux_banner`` is read-only data there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import MIB, Maddr, Vaddr
from vmcoretool.errors import MemoryFault
from vmcoretool.paging.x86_64 import PAGE_SIZE_BIT, PRESENT, frame, leaves, slot_of
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from vmcoretool.memory import PhysicalMemory

START_KERNEL_MAP: Final = Vaddr(0xFFFF_FFFF_8000_0000)
_LIMIT: Final = 64 * MIB
_MARK: Final = b"Linux version "


def find_banner(memory: PhysicalMemory, root: Maddr) -> str | None:
    """The start of the banner of the Linux that a level 4 table maps, or None."""
    try:
        table = root
        for level in (4, 3):
            entry = memory.read_u64(Maddr(table + 8 * slot_of(START_KERNEL_MAP, level)))
            if not entry & PRESENT or entry & PAGE_SIZE_BIT:
                return None
            table = frame(entry)
        runs = leaves(memory, table, 2, START_KERNEL_MAP).runs
    except MemoryFault:
        return None
    room = _LIMIT
    for run in runs:
        at = 0
        while at < run.size and room > 0:
            piece = memory.read_some(run.maddr + at, min(MIB, run.size - at, room))
            found = piece.find(_MARK)
            if found >= 0 and piece[found + len(_MARK) : found + len(_MARK) + 1].isdigit():
                return printable(piece[found : found + 80].split(b"\n")[0].split(b"\0")[0])
            step = len(piece) or 4096
            at += step
            room -= step
    return None
