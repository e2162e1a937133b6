"""Three-level x86 PAE paging: Intel SDM volume 3, chapter 4.4.

::

    vaddr (32 bits)   31..30 level 3 (4 entries, 32-byte aligned)   29..21 level 2   20..12 level 1

Bit 7 of a level 3 entry is reserved: an entry that has it set translates nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import Maddr, Vaddr
from vmcoretool.memory.paging import Level, walk_levels

if TYPE_CHECKING:
    from vmcoretool.memory.paging import Translation
    from vmcoretool.memory.physical import PhysicalMemory

ROOT_MASK: Final = 0xFFFF_FFE0
LEVELS: tuple[Level, ...] = (
    Level(3, 30, 3, leaves=False),
    Level(2, 21, 511, leaves=True),
    Level(1, 12, 511, leaves=True),
)


def root_of(cr3: int, /) -> Maddr:
    """The address of the four-entry table in a cr3."""
    return Maddr(cr3 & ROOT_MASK)


def walk(memory: PhysicalMemory, root: Maddr, vaddr: Vaddr) -> Translation:
    """Translate ``vaddr`` from the four-entry level 3 table at ``root``.

    Raises:
        TranslationFault: nothing is mapped there; with the level, table and entry where it ended.
        TableFault: a table on the way is not in the dump.
    """
    return walk_levels(memory, root_of(root), vaddr, LEVELS)


def misfit(vaddr: int, /) -> str:
    """Why no 32-bit processor has such an address, or ""."""
    return "" if vaddr < 1 << 32 else f"{vaddr:#x} is no address of 32-bit x86: it has 32 bits"
