"""What all paging modes of x86 have in common: entries, and the walk from table to table.

::

    entry   63 NX  62..52 ignored  51..12 frame  7 PS (a leaf, above level 1)  0 present

Entries are masked to bits 51..12: NX and software bits vary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from vmcoretool.addresses import Maddr, Vaddr
from vmcoretool.errors import MemoryFault, TableFault, TranslationFault

if TYPE_CHECKING:
    from vmcoretool.memory.physical import PhysicalMemory

FRAME_MASK: Final = 0x000F_FFFF_FFFF_F000
PRESENT: Final = 1
NX: Final = 1 << 63
PAGE_SIZE_BIT: Final = 1 << 7


class Step(NamedTuple):
    """One level of a walk: ``slot`` of the page at ``table`` holds ``entry``."""

    level: int
    table: Maddr
    slot: int
    entry: int

    def __str__(self) -> str:
        return f"L{self.level} {self.table:#x}[{self.slot}] = {self.entry:#x}"


class Translation(NamedTuple):
    """A finished walk: ``vaddr`` is the byte ``maddr``, in a leaf of ``page_size`` bytes."""

    vaddr: Vaddr
    maddr: Maddr
    page_size: int
    steps: tuple[Step, ...]


class Run(NamedTuple):
    """Virtually and physically contiguous mapped memory, ``size`` bytes of it."""

    vaddr: Vaddr
    maddr: Maddr
    size: int


class Level(NamedTuple):
    """One level of a paging mode.

    Attributes:
        number: 1 for the last.
        shift: of the address's bits that select the slot; a leaf maps ``1 << shift`` bytes.
        mask: of these bits.
        leaves: whether an entry with PS set is a leaf; the last level has leaves only.
    """

    number: int
    shift: int
    mask: int
    leaves: bool


class Paging(Protocol):
    """A paging mode; the modules :mod:`.x86_64` and :mod:`.pae` are two."""

    LEVELS: tuple[Level, ...]

    def root_of(self, cr3: int, /) -> Maddr:
        """The address of the top table in a cr3."""

    def walk(self, memory: PhysicalMemory, root: Maddr, vaddr: Vaddr) -> Translation:
        """Translate an address from the table at ``root``.

        Raises:
            TranslationFault: nothing is mapped there.
            TableFault: a table on the way is not in the dump.
        """

    def misfit(self, vaddr: int, /) -> str:
        """Why no such virtual address exists in the mode, or ""."""


def frame(entry: int) -> Maddr:
    """The machine address in an entry or in cr3, everything else masked off."""
    return Maddr(entry & FRAME_MASK)


def walk_levels(
    memory: PhysicalMemory, table: Maddr, vaddr: Vaddr, levels: tuple[Level, ...]
) -> Translation:
    """Translate ``vaddr`` from the top table, through all levels of a mode.

    Raises:
        TranslationFault: nothing is mapped there; with the level, table and entry where it ended.
        TableFault: a table on the way is not in the dump.
    """
    steps: list[Step] = []
    for level, shift, mask, has_leaves in levels:
        index = vaddr >> shift & mask
        try:
            entry = memory.read_u64(Maddr(table + 8 * index))
        except MemoryFault as error:
            raise TableFault(
                vaddr, level=level, table=table, index=index, cause=error, steps=tuple(steps)
            ) from error
        steps.append(Step(level, table, index, entry))
        leaf = level == 1 or entry & PAGE_SIZE_BIT
        if not entry & PRESENT or (leaf and not has_leaves):
            raise _not_mapped(vaddr, steps)
        if leaf:
            size = 1 << shift
            start = entry & FRAME_MASK & -size
            return Translation(vaddr, Maddr(start | vaddr & size - 1), size, tuple(steps))
        table = Maddr(entry & FRAME_MASK)
    raise AssertionError("level 1 always ends the walk")


def _not_mapped(vaddr: Vaddr, steps: list[Step]) -> TranslationFault:
    level, table, index, entry = steps[-1]
    absent = "not present"
    reason = f"a leaf, which level {level} cannot have" if entry & PRESENT else absent
    return TranslationFault(
        vaddr,
        level=level,
        table=table,
        index=index,
        entry=entry,
        reason=reason,
        steps=tuple(steps),
    )
