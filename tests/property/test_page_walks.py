"""Page walks of x86-64."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from tests.builders.memory import memory_of
from tests.property.strategies import LEVELS, VADDRS
from vmcoretool import Maddr, TranslationFault, Vaddr
from vmcoretool.memory.x86_64 import Run, leaves, walk


def tables(vaddr: int, level: int, target: int, flags: int) -> dict[int, bytes]:
    """Frames 1, 2, ... of tables that map one leaf of the given level."""
    pages = {}
    for at, depth in enumerate(range(4, level - 1, -1)):
        table = bytearray(4096)
        entry = (0x1000 * (at + 2)) | 1
        if depth == level:
            entry = target | 1 | (0x80 if level > 1 else 0)
        shift = 12 + 9 * (depth - 1)
        struct.pack_into("<Q", table, (vaddr >> shift & 511) * 8, entry | flags)
        pages[at + 1] = bytes(table)
    return pages


class TestPaging:
    """Intel SDM vol. 3, 4.5: an entry whose P flag is 0 maps nothing; PS ends the walk early.

    "Bits 51:21 are from the PDE. Bits 20:0 are from the original linear address."
    """

    @given(
        VADDRS, LEVELS, st.integers(0, 1 << 20), st.sampled_from([0, 1 << 63, 0xE66, 0x7F << 52])
    )
    def test_walk_finds_the_byte(
        self, vaddr: int, leaf: tuple[int, int], frame: int, flags: int
    ) -> None:
        level, size = leaf
        target = frame * size & (1 << 51) - 1 & -size
        memory = memory_of(tables(vaddr, level, target, flags))
        done = walk(memory, Maddr(0x1000 | 0xABC & 0xFFF), Vaddr(vaddr))
        assert done.maddr == target + vaddr % size
        assert done.page_size == size
        assert [step.level for step in done.steps] == list(range(4, level - 1, -1))

    @given(VADDRS, st.integers(1, 4))
    def test_fault_names_level_table_and_entry(self, vaddr: int, level: int) -> None:
        pages = {frame: bytearray(page) for frame, page in tables(vaddr, 1, 0x5000, 0).items()}
        table = 0x1000 * (5 - level)
        slot = vaddr >> (12 + 9 * (level - 1)) & 511
        struct.pack_into("<Q", pages[table >> 12], slot * 8, 0xF000)  # not present
        memory = memory_of({frame: bytes(page) for frame, page in pages.items()})
        try:
            walk(memory, Maddr(0x1000), Vaddr(vaddr))
        except TranslationFault as fault:
            assert (fault.level, fault.table, fault.index) == (level, table, slot)
            assert fault.entry == 0xF000
            assert hex(vaddr) in str(fault)
        else:
            raise AssertionError("no fault")

    @given(st.dictionaries(st.integers(0, 511), st.integers(0, 1 << 30), max_size=20))
    def test_leaves_are_the_mapped_pages_in_order(self, mapped: dict[int, int]) -> None:
        table = bytearray(4096)
        for slot, frame in mapped.items():
            struct.pack_into("<Q", table, slot * 8, frame << 12 | 1)
        memory = memory_of({1: bytes(table)})
        found = leaves(memory, Maddr(0x1000), 1, Vaddr(0)).runs
        pages = {run.vaddr + at: run.maddr + at for run in found for at in range(0, run.size, 4096)}
        assert pages == {slot << 12: frame << 12 for slot, frame in mapped.items()}
        assert [run.vaddr for run in found] == sorted(run.vaddr for run in found)
        assert all(isinstance(run, Run) for run in found)
