"""Properties; each quotes the sentence it checks."""

from __future__ import annotations

import shlex
import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import notes as build
from tests.builders.elf_core import ElfCore, Load
from tests.builders.memory import pages_at
from tests.support import inspect_bytes, open_bytes
from vmcoretool import (
    CrashCommand,
    Maddr,
    MemoryFault,
    TranslationFault,
    Vaddr,
    VmcoreError,
)
from vmcoretool.addresses import FileOffset
from vmcoretool.debuggers.session import file_argument
from vmcoretool.evidence.api import Evidence, Silence, Strength
from vmcoretool.evidence.weigh import weigh
from vmcoretool.inspection.as_json import inspection_json
from vmcoretool.memory.extents import ExtentMap
from vmcoretool.memory.physical import PhysicalMemory
from vmcoretool.memory.x86_64 import Run, leaves, walk
from vmcoretool.notes.elf_note import walk_notes
from vmcoretool.printable import printable
from vmcoretool.render.text import inspection_text

if TYPE_CHECKING:
    from random import Random

SMALL = st.integers(0, 300)
RANGES = st.lists(st.tuples(SMALL, SMALL), max_size=12)
OWNERS = st.sampled_from([b"CORE", b"Xen", b"VMCOREINFO", b"VMCOREINFO_XEN", b"QEMU", b"ACME"])
TYPES = st.sampled_from([0, 1, 4, 0x1000001, 0x1000002, 0x2000000, 0x10000001, 0xFFFFFFFF])
PLAIN_NOTES = st.lists(st.tuples(OWNERS, TYPES, st.binary(min_size=1, max_size=80)), max_size=8)


class TestNotes:
    """All notes use the 12-byte three-u32 header and 4-byte padding even in 64-bit dumps."""

    @given(PLAIN_NOTES, st.sampled_from(["little", "big"]))
    def test_written_notes_are_read_back(
        self, written: list[tuple[bytes, int, bytes]], order: Literal["little", "big"]
    ) -> None:
        mark = "<" if order == "little" else ">"
        blob = b"".join(build.note(*one, mark) for one in written)
        found, troubles = walk_notes(blob, FileOffset(0x1000), order)
        assert [(n.owner.encode(), n.type, n.desc) for n in found] == written
        assert troubles == ()

    @given(PLAIN_NOTES)
    def test_offsets_lead_to_the_payload(self, written: list[tuple[bytes, int, bytes]]) -> None:
        blob = b"".join(build.note(*one) for one in written)
        found, _ = walk_notes(blob, FileOffset(0), "little")
        for note in found:
            assert blob[note.desc_offset : note.desc_offset + len(note.desc)] == note.desc

    @given(st.binary(max_size=600))
    def test_arbitrary_bytes_give_notes_and_findings_and_nothing_else(self, blob: bytes) -> None:
        found, _ = walk_notes(blob, FileOffset(0), "little")
        assert sum(len(note.desc) for note in found) <= len(blob)


class TestExtents:
    """Sorted, disjoint half-open ranges; touching and overlapping ranges are merged."""

    @given(RANGES)
    def test_membership_is_that_of_the_ranges(self, ranges: list[tuple[int, int]]) -> None:
        model = {at for start, end in ranges for at in range(start, end)}
        extents = ExtentMap(ranges)
        assert {at for at in range(301) if at in extents} == model
        assert extents.total == len(model)

    @given(RANGES)
    def test_sorted_disjoint_and_merged(self, ranges: list[tuple[int, int]]) -> None:
        listed = list(ExtentMap(ranges))
        assert all(start < end for start, end in listed)
        assert all(a.end < b.start for a, b in pairwise(listed))

    @given(st.lists(st.tuples(st.integers(0, 40000), st.integers(0, 40000)), max_size=8))
    def test_pages_with_at_least_one_byte_are_counted_once(
        self, ranges: list[tuple[int, int]]
    ) -> None:
        model = {at >> 12 for start, end in ranges for at in range(start, end)}
        assert ExtentMap(ranges).page_count == len(model)


LOADS = st.lists(
    st.tuples(st.integers(0, 3 * 4096), st.binary(min_size=0, max_size=5000), st.integers(0, 5000)),
    min_size=1,
    max_size=6,
)


class TestMemory:
    """Machine addresses in, bytes or a typed fault out: all or a fault naming the first missing."""

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


VADDRS = st.integers(0, (1 << 47) - 1)
LEVELS = st.sampled_from([(1, 1 << 12), (2, 1 << 21), (3, 1 << 30)])


def tables(vaddr: int, level: int, target: int, flags: int) -> dict[int, bytes]:
    """Tables at 0x1000, 0x2000, ... that map one leaf of the given level."""
    pages = {}
    for at, depth in enumerate(range(4, level - 1, -1)):
        table = bytearray(4096)
        entry = (0x1000 * (at + 2)) | 1
        if depth == level:
            entry = target | 1 | (0x80 if level > 1 else 0)
        shift = 12 + 9 * (depth - 1)
        struct.pack_into("<Q", table, (vaddr >> shift & 511) * 8, entry | flags)
        pages[0x1000 * (at + 1)] = bytes(table)
    return pages


class TestPaging:
    """4 KiB/2 MiB/1 GiB leaves; PCID and NX masked; every fault says at which level and entry."""

    @given(
        VADDRS, LEVELS, st.integers(0, 1 << 20), st.sampled_from([0, 1 << 63, 0xE66, 0x7F << 52])
    )
    def test_walk_finds_the_byte(
        self, vaddr: int, leaf: tuple[int, int], frame: int, flags: int
    ) -> None:
        level, size = leaf
        target = frame * size & (1 << 51) - 1 & -size
        memory = PhysicalMemory(pages_at(tables(vaddr, level, target, flags)))
        done = walk(memory, Maddr(0x1000 | 0xABC & 0xFFF), Vaddr(vaddr))
        assert done.maddr == target + vaddr % size
        assert done.page_size == size
        assert [step.level for step in done.steps] == list(range(4, level - 1, -1))

    @given(VADDRS, st.integers(1, 4))
    def test_fault_names_level_table_and_entry(self, vaddr: int, level: int) -> None:
        pages = {k: bytearray(v) for k, v in tables(vaddr, 1, 0x5000, 0).items()}
        table = 0x1000 * (5 - level)
        slot = vaddr >> (12 + 9 * (level - 1)) & 511
        struct.pack_into("<Q", pages[table], slot * 8, 0xF000)  # not present
        memory = PhysicalMemory(pages_at({k: bytes(v) for k, v in pages.items()}))
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
        memory = PhysicalMemory(pages_at({0x1000: bytes(table)}))
        found = leaves(memory, Maddr(0x1000), 1, Vaddr(0)).runs
        pages = {run.vaddr + at: run.maddr + at for run in found for at in range(0, run.size, 4096)}
        assert pages == {slot << 12: frame << 12 for slot, frame in mapped.items()}
        assert [run.vaddr for run in found] == sorted(run.vaddr for run in found)
        assert all(isinstance(run, Run) for run in found)


VALUES = st.one_of(st.none(), st.sampled_from([0x200000, 0x27800000, 0x27A00000]))
SOURCES = st.sampled_from(["a", "b", "c", "d"])
EVIDENCE = st.builds(
    Evidence,
    source=SOURCES,
    xen_phys_start=VALUES,
    strength=st.sampled_from(["derived", "suggested"]),
    basis=st.just("x"),
) | st.builds(
    Evidence,
    source=SOURCES,
    xen_phys_start=st.sampled_from([0x200000, 0x27800000]),
    strength=st.just("recorded"),
    basis=st.just("x"),
)
SAID = st.lists(EVIDENCE | st.builds(Silence, source=SOURCES, reason=st.just("y")), max_size=10)
RANK = {"unknown": 0, "disputed": 1, "reported": 2, "verified": 3, "not-relocatable": 3}


class TestWeigh:
    """Weighing that holds."""

    @given(SAID, st.randoms())
    def test_permuting_findings_never_changes_the_verdict(
        self, said: list[Evidence | Silence], random: Random
    ) -> None:
        before = weigh(said)
        shuffled = list(said)
        random.shuffle(shuffled)
        after = weigh(shuffled)
        assert (after.status, after.xen_phys_start) == (before.status, before.xen_phys_start)

    @given(SAID, SOURCES, st.sampled_from(["recorded", "derived", "suggested"]))
    def test_agreement_never_lowers_the_verdict(
        self, said: list[Evidence | Silence], source: str, strength: Strength
    ) -> None:
        before = weigh(said)
        if before.xen_phys_start is None:
            return
        more = Evidence(
            source=source,
            xen_phys_start=before.xen_phys_start,
            strength=strength,
            basis="x",
        )
        after = weigh([*said, more])
        assert RANK[after.status] >= RANK[before.status]
        assert after.xen_phys_start == before.xen_phys_start

    @given(SAID)
    def test_recorded_values_never_make_verified(self, said: list[Evidence | Silence]) -> None:
        verdict = weigh(said)
        if verdict.status in ("verified", "not-relocatable"):
            assert any(one.strength == "derived" for one in verdict.supporting)

    @given(SAID)
    def test_a_recorded_contradiction_is_never_verified(
        self, said: list[Evidence | Silence]
    ) -> None:
        verdict = weigh(said)
        if any(one.strength == "recorded" for one in verdict.contradicting):
            assert verdict.status not in ("verified", "not-relocatable")

    @given(SAID)
    def test_nothing_said_is_lost(self, said: list[Evidence | Silence]) -> None:
        verdict = weigh(said)
        heard = [*verdict.evidence, *verdict.silent]
        assert sorted(map(repr, heard)) == sorted(map(repr, said))


class TestCommands:
    """Shell-quoted for any file name."""

    @given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
    def test_shell_reads_back_the_arguments(self, name: str) -> None:
        argv = ("crash", "--xen_phys_start", "0x27800000", "xen-syms", file_argument(name))
        command = CrashCommand(
            purpose="",
            target="hypervisor",
            argv=argv,
            ready=False,
            requires_option=False,
            caveats=(),
        )
        assert tuple(shlex.split(command.shell())) == argv
        assert command.display().isprintable()
        assert command.display().isascii()

    @given(st.binary())
    def test_nothing_from_a_dump_is_shown_unescaped(self, raw: bytes) -> None:
        shown = printable(raw)
        assert shown.isascii()
        assert shown.isprintable() or not shown


class TestInspection:
    """Arbitrary bytes give a result or a VmcoreError, nothing else."""

    @given(st.binary(max_size=300), st.binary(max_size=100))
    def test_arbitrary_headers_and_notes(self, tail: bytes, blob: bytes) -> None:
        for data in (
            b"\x7fELF\x02\x01" + tail,
            b"\x7fELF\x01\x02" + tail,
            ElfCore([Load(0, tail)], [blob + build.crash_regs(0x1000)]).build(),
        ):
            try:
                inspection = inspect_bytes(data)
            except VmcoreError:
                continue
            assert inspection_text(inspection).isascii()
            assert inspection_json(inspection).isascii()

    @given(st.lists(st.binary(min_size=8, max_size=8), max_size=60), st.integers(0, 511))
    def test_arbitrary_page_tables(self, entries: list[bytes], start: int) -> None:
        # every table entry leads into the same few pages: loops, self-references, leaves
        page = bytearray(4096)
        for at, entry in enumerate(entries):
            slot = (start + at) % 512
            page[slot * 8 : slot * 8 + 8] = entry
        for slot in (258, 261, 321, 322, 50, 274):
            struct.pack_into("<Q", page, slot * 8, 0x1000 | 1)
        blob = build.prstatus() + build.crash_regs(0x1000)
        inspection = inspect_bytes(ElfCore([Load(0x1000, bytes(page))], [blob]).build())
        assert inspection.kind == "xen-host"
