"""Machine memory of an ELF core, against a dictionary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import notes as build
from tests.builders.elf_core import ElfCore, Load
from tests.property.strategies import LOADS
from tests.support import open_bytes
from vmcoretool import Maddr, MemoryFault


class TestMemory:
    """Exactly ``size`` bytes, or a fault that names the first byte that the dump does not hold.

    "If the segment's memory size (p_memsz) is larger than the file size (p_filesz), the extra
    bytes are defined to hold the value 0" (gABI, Program Header) is what a loader does; in a
    vmcore they were left out, and are never zeros here.
    """

    @given(LOADS, st.integers(0, 5 * 4096), st.integers(0, 9000))
    def test_elf_memory_equals_a_dictionary(
        self, written: list[tuple[int, bytes, int]], maddr: int, size: int
    ) -> None:
        loads = [Load(paddr + 1, data, len(data) + more) for paddr, data, more in written]
        model: dict[int, int] = {}
        for load in reversed(loads):  # the first in the table wins
            model.update(enumerate(load.data, load.paddr))
        memory = open_bytes(ElfCore(loads, [build.note(b"CORE", 1, b"x")]).build()).memory
        wanted = range(maddr, maddr + size)
        missing = next((at for at in wanted if at not in model), None)
        try:
            got = memory.read(Maddr(maddr), size)
        except MemoryFault as fault:
            assert fault.maddr == missing
            described = any(
                load.paddr <= fault.maddr < load.paddr + (load.memsz or 0) for load in loads
            )
            assert fault.excluded == described
        else:
            assert missing is None
            assert got == bytes(model[at] for at in wanted)
