"""Three-level x86 PAE paging: Intel SDM volume 3, chapter 4.4.

::

    vaddr (32 bits)   31..30 level 3 (4 entries, 32-byte aligned)   29..21 level 2   20..12 level 1
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import Maddr, Vaddr
from vmcoretool.errors import TranslationFault
from vmcoretool.memory.x86_64 import PAGE_SIZE_BIT, PRESENT, Step, Translation, frame, read_entry

if TYPE_CHECKING:
    from vmcoretool.memory.physical import PhysicalMemory

ROOT_MASK: Final = 0xFFFF_FFE0
_LEVELS: Final = ((3, 30, 3), (2, 21, 511), (1, 12, 511))


def walk(memory: PhysicalMemory, root: Maddr, vaddr: Vaddr) -> Translation:
    """Translate ``vaddr`` from the four-entry level 3 table at ``root``.

    Raises:
        TranslationFault: with the level, table and entry where the walk ended.
    """
    table = Maddr(root & ROOT_MASK)
    steps: list[Step] = []
    for level, shift, mask in _LEVELS:
        index = vaddr >> shift & mask
        entry = read_entry(memory, vaddr, level, table, index)
        steps.append(Step(level, table, index, entry))
        if not entry & PRESENT:
            raise TranslationFault(
                vaddr, level=level, table=table, index=index, entry=entry, reason="not present"
            )
        if level == 1 or (level == 2 and entry & PAGE_SIZE_BIT):
            size = 1 << shift
            return Translation(
                vaddr, Maddr(frame(entry) & -size | vaddr & size - 1), size, tuple(steps)
            )
        table = frame(entry)
    raise AssertionError("level 1 always ends the walk")
