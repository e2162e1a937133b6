"""Four-level x86_64 paging: Intel SDM volume 3, chapter 4.5.

::

    vaddr   63..48 sign  47..39 level 4  38..30 level 3  29..21 level 2  20..12 level 1  11..0
    entry   63 NX  62..52 ignored  51..12 frame  7 PS (a leaf, at levels 3 and 2)  0 present

Entries and cr3 are masked to bits 51..12: PCIDs (low bits of cr3), NX and software bits vary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import Maddr, Vaddr
from vmcoretool.errors import MemoryFault, TranslationFault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.memory.physical import PhysicalMemory

FRAME_MASK: Final = 0x000F_FFFF_FFFF_F000
PRESENT: Final = 1
NX: Final = 1 << 63
PAGE_SIZE_BIT: Final = 1 << 7
MAX_RUNS: Final = 8192
MAX_TABLES: Final = 64
_LEVEL_SHIFT: Final = {4: 39, 3: 30, 2: 21, 1: 12}


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


def frame(entry: int) -> Maddr:
    """The machine address in an entry or in cr3, everything else masked off."""
    return Maddr(entry & FRAME_MASK)


def slot_of(vaddr: int, level: int) -> int:
    """Which of the 512 entries of a table of this level translates ``vaddr``."""
    return vaddr >> _LEVEL_SHIFT[level] & 511


def walk(memory: PhysicalMemory, root: Maddr, vaddr: Vaddr) -> Translation:
    """Translate ``vaddr`` from the level 4 table at ``root``.

    Raises:
        TranslationFault: with the level, table and entry where the walk ended.
    """
    table, level = frame(root), 4
    steps: list[Step] = []
    while True:
        index = slot_of(vaddr, level)
        try:
            entry = read_entry(memory, vaddr, level, table, index)
        except TranslationFault as error:
            error.steps = tuple(steps)
            raise
        steps.append(Step(level, table, index, entry))
        reason = _refusal(entry, level)
        if reason:
            raise TranslationFault(
                vaddr,
                level=level,
                table=table,
                index=index,
                entry=entry,
                reason=reason,
                steps=tuple(steps),
            )
        if level == 1 or entry & PAGE_SIZE_BIT:
            size = 1 << _LEVEL_SHIFT[level]
            start = frame(entry) & -size
            return Translation(vaddr, Maddr(start | vaddr & size - 1), size, tuple(steps))
        table, level = frame(entry), level - 1


def read_entry(memory: PhysicalMemory, vaddr: Vaddr, level: int, table: Maddr, index: int) -> int:
    """The entry of a table on the way to ``vaddr``.

    Raises:
        TranslationFault: the table page is not in the dump.
    """
    try:
        return memory.read_u64(Maddr(table + 8 * index))
    except MemoryFault as error:
        reason = f"the table page {error.reason}"
        raise TranslationFault(
            vaddr, level=level, table=table, index=index, entry=None, reason=reason
        ) from error


def _refusal(entry: int, level: int) -> str:
    if not entry & PRESENT:
        return "not present"
    if level == 4 and entry & PAGE_SIZE_BIT:
        return "a leaf, which level 4 cannot have"
    return ""


class Leaves(NamedTuple):
    """What is mapped below one table.

    Attributes:
        runs: in ascending vaddr.
        missing_tables: lower tables that are not in the dump.
        complete: False when there were more than MAX_RUNS runs or MAX_TABLES lower tables, which no
            image has.
    """

    runs: tuple[Run, ...]
    missing_tables: tuple[Maddr, ...]
    complete: bool


def leaves(memory: PhysicalMemory, table: Maddr, level: int, vaddr: Vaddr) -> Leaves:
    """All mappings below the level 2 or level 1 table that translates from ``vaddr`` on.

    Raises:
        MemoryFault: ``table`` itself is not in the dump; missing lower tables are listed instead.
    """
    runs: list[Run] = []
    missing: list[Maddr] = []
    budget = [MAX_TABLES]
    for run in _leaves(memory, table, level, vaddr, missing, budget):
        last = runs[-1] if runs else None
        if last and (last.vaddr + last.size, last.maddr + last.size) == run[:2]:
            runs[-1] = Run(last.vaddr, last.maddr, last.size + run.size)
        elif len(runs) == MAX_RUNS:
            budget[0] = -1
            break
        else:
            runs.append(run)
    return Leaves(tuple(runs), tuple(missing), complete=budget[0] >= 0)


def _leaves(  # noqa: PLR0913, PLR0917 - one state of a recursion
    memory: PhysicalMemory,
    table: Maddr,
    level: int,
    vaddr: Vaddr,
    missing: list[Maddr],
    budget: list[int],
) -> Iterator[Run]:
    size = 1 << _LEVEL_SHIFT[level]
    for index, entry in enumerate(memory.read_table(table)):
        if not entry & PRESENT:
            continue
        at = Vaddr(vaddr + index * size)
        if level == 1 or entry & PAGE_SIZE_BIT:
            yield Run(at, Maddr(frame(entry) & -size), size)
            continue
        budget[0] -= 1
        if budget[0] < 0:
            return
        try:
            yield from _leaves(memory, frame(entry), level - 1, at, missing, budget)
        except MemoryFault as error:
            missing.append(error.maddr)
