"""Four-level x86_64 paging: Intel SDM volume 3, chapter 4.5.

::

    vaddr   63..48 sign  47..39 level 4  38..30 level 3  29..21 level 2  20..12 level 1  11..0

A cr3 is masked as entries are: its low bits may hold a PCID.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import Maddr, Vaddr
from vmcoretool.errors import MemoryFault
from vmcoretool.memory.paging import (
    FRAME_MASK,
    NX,
    PAGE_SIZE_BIT,
    PRESENT,
    Level,
    Run,
    Step,
    Translation,
    frame,
    walk_levels,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.memory.physical import PhysicalMemory

__all__ = [
    "FRAME_MASK",
    "LEVELS",
    "NX",
    "PAGE_SIZE_BIT",
    "PRESENT",
    "Leaves",
    "Run",
    "Step",
    "Translation",
    "frame",
    "leaves",
    "misfit",
    "root_of",
    "slot_of",
    "walk",
]

LEVELS: tuple[Level, ...] = (
    Level(4, 39, 511, leaves=False),
    Level(3, 30, 511, leaves=True),
    Level(2, 21, 511, leaves=True),
    Level(1, 12, 511, leaves=True),
)
MAX_RUNS: Final = 8192
MAX_TABLES: Final = 64
_LEVEL_SHIFT: Final = {level.number: level.shift for level in LEVELS}
_SIGN_BIT: Final = 47
_ALL_ONES: Final = (1 << 17) - 1


def root_of(cr3: int, /) -> Maddr:
    """The address of the level 4 table in a cr3."""
    return frame(cr3)


def slot_of(vaddr: int, level: int) -> int:
    """Which of the 512 entries of a table of this level translates ``vaddr``."""
    return vaddr >> _LEVEL_SHIFT[level] & 511


def walk(memory: PhysicalMemory, root: Maddr, vaddr: Vaddr) -> Translation:
    """Translate ``vaddr`` from the level 4 table at ``root``.

    Raises:
        TranslationFault: nothing is mapped there; with the level, table and entry where it ended.
        TableFault: a table on the way is not in the dump.
    """
    return walk_levels(memory, frame(root), vaddr, LEVELS)


def misfit(vaddr: int, /) -> str:
    """Why no such address exists (Intel SDM volume 1, 3.3.7.1), or ""."""
    high = vaddr >> _SIGN_BIT
    if high in (0, _ALL_ONES):
        return ""
    meant = vaddr & (1 << _SIGN_BIT + 1) - 1
    extended = meant | _ALL_ONES << _SIGN_BIT if meant >> _SIGN_BIT else meant
    return (
        f"{vaddr:#x} is no address of x86_64: bits 63 to 48 must repeat bit 47; "
        f"{extended:#x} would be one"
    )


class Leaves(NamedTuple):
    """What is mapped below one table.

    Attributes:
        runs: in ascending vaddr; what lower tables map that are not in the dump is left out.
        complete: False when there were more than MAX_RUNS runs or MAX_TABLES lower tables, which no
            image has.
    """

    runs: tuple[Run, ...]
    complete: bool


def leaves(memory: PhysicalMemory, table: Maddr, level: int, vaddr: Vaddr) -> Leaves:
    """All mappings below the level 2 or level 1 table that translates from ``vaddr`` on.

    Raises:
        MemoryFault: ``table`` itself is not in the dump.
    """
    runs: list[Run] = []
    room = [MAX_TABLES]
    for run in _leaves(memory, table, level, vaddr, room):
        last = runs[-1] if runs else None
        if last and (last.vaddr + last.size, last.maddr + last.size) == run[:2]:
            runs[-1] = Run(last.vaddr, last.maddr, last.size + run.size)
        elif len(runs) == MAX_RUNS:
            room[0] = -1
            break
        else:
            runs.append(run)
    return Leaves(tuple(runs), complete=room[0] >= 0)


def _leaves(
    memory: PhysicalMemory, table: Maddr, level: int, vaddr: Vaddr, room: list[int]
) -> Iterator[Run]:
    size = 1 << _LEVEL_SHIFT[level]
    for index, entry in enumerate(memory.read_table(table)):
        if not entry & PRESENT:
            continue
        at = Vaddr(vaddr + index * size)
        if level == 1 or entry & PAGE_SIZE_BIT:
            yield Run(at, Maddr(frame(entry) & -size), size)
            continue
        room[0] -= 1
        if room[0] < 0:
            return
        with suppress(MemoryFault):
            yield from _leaves(memory, frame(entry), level - 1, at, room)
