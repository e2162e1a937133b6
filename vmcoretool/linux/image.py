"""The pages that a Linux kernel maps as its image, block by block of 2 MiB.

x86_64 Linux maps its image in the gigabyte from __START_KERNEL_map on
(arch/x86/include/asm/page_64_types.h), KASLR included: first code, then read-only data, then what
is written (arch/x86/kernel/vmlinux.lds.S)::

    .text   .rodata, .notes, .BTF   .data   .bss
    r x     r nx                    rw nx   rw nx
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB, PAGE_SIZE, Maddr, Vaddr
from vmcoretool.errors import MemoryFault
from vmcoretool.memory.x86_64 import (
    FRAME_MASK,
    NX,
    PAGE_SIZE_BIT,
    PRESENT,
    Run,
    frame,
    leaves,
    slot_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vmcoretool.memory.physical import PhysicalMemory

START_KERNEL_MAP: Final = Vaddr(0xFFFF_FFFF_8000_0000)
SEARCH_LIMIT: Final = 64 * MIB
MAX_MISSES: Final = 2560
"""Absent pages after which a search ends: the dump was filtered."""
FEW_MISSES: Final = 256
"""The same for .data, of which makedumpfile leaves out pages of zeros only."""
OVERLAP: Final = 4096
PIECE: Final = MIB // 2
"""Read at once: larger ones fall out of the processor's caches before they are searched."""
_BLOCK: Final = 2 * MIB
_WRITABLE: Final = 2
_IN_A_ROW: Final = FRAME_MASK | PRESENT


class Block(NamedTuple):
    """2 MiB of the image, and what its first page may be used for."""

    vaddr: int
    entry: int
    code: bool
    writable: bool


def kernel_blocks(memory: PhysicalMemory, root: Maddr) -> tuple[Block, ...]:
    """What a level 4 table maps in the kernel image's gigabyte, in ascending order."""
    try:
        table = root
        for level in (4, 3):
            entry = memory.read_u64(Maddr(table + 8 * slot_of(START_KERNEL_MAP, level)))
            if not entry & PRESENT or entry & PAGE_SIZE_BIT:
                return ()
            table = frame(entry)
        entries = memory.read_table(table)
    except MemoryFault:
        return ()
    return tuple(
        _block(memory, START_KERNEL_MAP + slot * _BLOCK, entry)
        for slot, entry in enumerate(entries)
        if entry & PRESENT
    )


def _block(memory: PhysicalMemory, vaddr: int, entry: int) -> Block:
    first = entry
    if not entry & PAGE_SIZE_BIT:
        try:
            first = memory.read_u64(frame(entry))
        except MemoryFault:
            first = 0
    known = bool(first & PRESENT)
    code = known and not (entry | first) & NX
    return Block(vaddr, entry, code, known and bool(entry & first & _WRITABLE))


def data_first(blocks: Iterable[Block]) -> Iterator[Block]:
    """The blocks in order, those that begin with code last."""
    rows = tuple(blocks)
    yield from (block for block in rows if not block.code)
    yield from (block for block in rows if block.code)


def contents(
    memory: PhysicalMemory,
    blocks: Iterable[Block],
    *,
    piece: int = PIECE,
    limit: int = SEARCH_LIMIT,
    misses: int = MAX_MISSES,
) -> Iterator[tuple[int, bytes]]:
    """(vaddr, data) of what blocks map; what lies at a piece's end begins the next one, too.

    Args:
        memory: of the dump.
        blocks: from :func:`kernel_blocks`.
        piece: the most that is read at once.
        limit: bytes that are looked at in all.
        misses: absent pages after which it ends.
    """
    tail, end = b"", -1
    room = limit
    for block in blocks:
        if room <= 0 or misses <= 0:
            return
        for run in runs_of(memory, block):
            at = 0
            while at < run.size and room > 0 and misses > 0:
                left = min(run.size - at, room)
                data = memory.read_some(run.maddr + at, min(piece, left))
                if data:
                    start = run.vaddr + at
                    if start == end:
                        yield start - len(tail), tail + data[:OVERLAP]
                    yield start, data
                    tail, end = data[-OVERLAP:], start + len(data)
                    step = len(data)
                else:
                    step = memory.gap(run.maddr + at, left) or PAGE_SIZE
                    misses -= step // PAGE_SIZE
                at += step
                room -= step


def runs_of(memory: PhysicalMemory, block: Block) -> list[Run]:
    """What a block maps, in ascending order; nothing where its table is not in the dump."""
    if block.entry & PAGE_SIZE_BIT:
        return [Run(Vaddr(block.vaddr), Maddr(frame(block.entry) & -_BLOCK), _BLOCK)]
    try:
        entries = memory.read_table(frame(block.entry))
        start = frame(entries[0])
        # nearly always the pages lie in a row
        if [entry & _IN_A_ROW for entry in entries] == list(
            range(start | PRESENT, start + _BLOCK, PAGE_SIZE)
        ):
            return [Run(Vaddr(block.vaddr), start, _BLOCK)]
        return list(leaves(memory, frame(block.entry), 1, Vaddr(block.vaddr)).runs)
    except MemoryFault:
        return []
