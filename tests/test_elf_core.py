from __future__ import annotations

import pytest

from tests.builders import notes
from tests.builders.elf_core import ElfCore, Load
from tests.builders.memory import PAGE
from tests.support import BytesSource, open_bytes
from vmcoretool import (
    FormatError,
    Maddr,
    MemoryFault,
    TruncatedError,
    UnknownFormatError,
    UnsupportedFormatError,
)
from vmcoretool.vmcore import read_vmcore

NOTE = notes.note(b"CORE", 7, b"abcd")


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("phoff", [None, 192, 0x5000])
@pytest.mark.parametrize("xnum", [False, True])
def test_every_class_order_and_place_of_the_program_headers(
    bits: int, order: str, phoff: int | None, *, xnum: bool
) -> None:
    blob = notes.note(b"CORE", 7, b"abcd", order)
    core = ElfCore(
        [Load(0x3000, b"x" * PAGE)],
        [blob],
        bits=bits,
        order=order,
        phoff=phoff,
        xnum=xnum,
        ehsize=8,
    )
    vmcore = open_bytes(core.build())
    assert vmcore.memory.read(Maddr(0x3FF0), 16) == b"x" * 16
    assert [(note.owner, note.type, note.desc) for note in vmcore.notes] == [("CORE", 7, b"abcd")]
    assert vmcore.container.machine.byte_order == ("little" if order == "<" else "big")
    assert vmcore.container.complete


def test_unsorted_segments_with_edges_inside_pages() -> None:
    core = ElfCore([Load(0x2800, b"b" * 0x400), Load(0x1000, b"a" * 0x17FF)], [NOTE])
    memory = open_bytes(core.build()).memory
    assert memory.read(Maddr(0x2000), 0x7FF) == b"a" * 0x7FF
    assert memory.read(Maddr(0x2800), 0x400) == b"b" * 0x400
    with pytest.raises(MemoryFault) as fault:
        memory.read(Maddr(0x27F0), 0x20)
    assert fault.value.maddr == 0x27FF
    with pytest.raises(MemoryFault):
        memory.read(Maddr(0x2C00), 1)


def test_reads_cross_segments_that_touch() -> None:
    core = ElfCore([Load(0x1000, b"a" * PAGE), Load(0x2000, b"b" * PAGE)], [NOTE])
    memory = open_bytes(core.build()).memory
    assert memory.read(Maddr(0x1FFE), 4) == b"aabb"


def test_memory_beyond_filesz_is_absent_never_zero() -> None:
    core = ElfCore([Load(0x1000, b"a" * PAGE, memsz=3 * PAGE)], [NOTE])
    vmcore = open_bytes(core.build())
    with pytest.raises(MemoryFault) as fault:
        vmcore.memory.read(Maddr(0x1FFF), 2)
    assert fault.value.maddr == 0x2000
    assert fault.value.excluded
    assert "left out" in str(fault.value)
    pages = vmcore.container.pages
    assert (pages.present_pages, pages.excluded_pages) == (1, 2)
    assert vmcore.container.complete


def test_segment_without_any_data_is_excluded_wherever_it_points() -> None:
    core = ElfCore([Load(0, b"", memsz=0x9F000), Load(0x100000, b"a" * PAGE)], [NOTE])
    pages = open_bytes(core.build()).container.pages
    assert (pages.present_pages, pages.excluded_pages) == (1, 0x9F)
    assert pages.is_excluded(0x9EFFF)
    assert not pages.is_excluded(0x9F000)


def test_first_of_overlapping_segments_wins() -> None:
    loads = [Load(0x3000, b"c" * PAGE), Load(0x1000, b"a" * 5 * PAGE), Load(0x2000, b"b" * PAGE)]
    vmcore = open_bytes(ElfCore(loads, [NOTE]).build())
    assert vmcore.memory.read(Maddr(0x1000), 5 * PAGE) == (
        b"a" * 2 * PAGE + b"c" * PAGE + b"a" * 2 * PAGE
    )
    assert vmcore.container.pages.present_pages == 5


def test_several_note_segments() -> None:
    blobs = [notes.note(b"CORE", 1, b"1234"), notes.note(b"Xen", 9, b"5678")]
    vmcore = open_bytes(ElfCore([Load(0, b"x" * PAGE)], blobs).build())
    assert [note.owner for note in vmcore.notes] == ["CORE", "Xen"]


def test_segments_of_kcore_without_physical_address_are_skipped() -> None:
    loads = [Load((1 << 64) - 1, b"v" * PAGE), Load(0x1000, b"a" * PAGE)]
    vmcore = open_bytes(ElfCore(loads, [NOTE]).build())
    assert [tuple(extent) for extent in vmcore.container.pages.extents()] == [(0x1000, 0x2000)]


def test_all_zero_physical_addresses_are_said_to_be_unusable() -> None:
    loads = [Load(0, b"a" * PAGE), Load(0, b"b" * PAGE)]
    vmcore = open_bytes(ElfCore(loads, [NOTE]).build())
    assert vmcore.container.pages.present_pages == 0
    assert "headers-odd" in [found.code for found in vmcore.findings]


@pytest.mark.parametrize("order", ["<", ">"])
def test_seventy_thousand_segments(order: str) -> None:
    loads = [Load(0x1000 * (2 * n + 1), b"") for n in range(70_000)]
    loads.append(Load(0x500, b"here"))
    vmcore = open_bytes(
        ElfCore(loads, [notes.note(b"CORE", 1, b"", order)], order=order, xnum=True).build()
    )
    assert vmcore.memory.read(Maddr(0x500), 4) == b"here"


def test_cut_in_the_data_is_said_and_the_rest_is_read() -> None:
    data = ElfCore([Load(0x1000, b"a" * PAGE), Load(0x5000, b"b" * PAGE)], [NOTE]).build()
    vmcore = open_bytes(data[: -PAGE - 100])
    assert not vmcore.container.complete
    assert vmcore.memory.read(Maddr(0x1000), 100) == b"a" * 100
    with pytest.raises(MemoryFault) as fault:
        vmcore.memory.read(Maddr(0x5000), 1)
    assert fault.value.excluded


def test_namelist_given_as_dump_says_where_it_belongs() -> None:
    with pytest.raises(UnknownFormatError, match="--xen-syms"):
        open_bytes(ElfCore([Load(0, b"x")], [NOTE], e_type=2).build())


@pytest.mark.parametrize("data", [b"", b"\x7fEL", b"hello, world\n", bytes(4096)])
def test_what_is_no_dump_is_unknown(data: bytes) -> None:
    with pytest.raises(UnknownFormatError):
        open_bytes(data)


def test_header_cut_short_is_ours_but_broken() -> None:
    with pytest.raises(TruncatedError) as error:
        open_bytes(b"\x7fELF\x02\x01\x01" + bytes(20))
    assert error.value.where == 0
    assert error.value.path == "vmcore"


def test_impossible_number_of_headers_is_refused() -> None:
    data = bytearray(ElfCore([Load(0, b"x")], [NOTE], xnum=True).build())
    shoff = int.from_bytes(data[40:48], "little")
    data[shoff + 44 : shoff + 48] = b"\xff\xff\xff\xff"
    with pytest.raises(FormatError, match="program headers"):
        open_bytes(bytes(data))


def test_several_paths_are_a_split_set_which_elf_has_not() -> None:
    data = ElfCore([Load(0, b"x")], [NOTE]).build()
    with pytest.raises(UnsupportedFormatError, match="no parts"):
        read_vmcore(BytesSource(data, "a"), BytesSource(data, "b"))


def test_gap_is_what_reading_page_by_page_finds_missing() -> None:
    loads = [
        Load(0x2800, b"b" * PAGE),
        Load(0x6000, b"c", memsz=2 * PAGE),
        Load(0x9000, b"d" * PAGE),
    ]
    memory = open_bytes(ElfCore(loads, [NOTE]).build()).memory
    for start in range(0, 0xC000, PAGE):
        gap = memory.gap(start, 0xC000 - start)
        assert not any(memory.read_some(at, PAGE) for at in range(start, start + gap, PAGE))
    assert [memory.gap(at, 0xC000 - at) for at in (0, 0x3000, 0x4000, 0x7000, 0xA000)] == [
        *(2 * PAGE, 0, 2 * PAGE, 2 * PAGE, 2 * PAGE),
    ]
    assert memory.gap(0x4000, PAGE) == PAGE
    assert memory.gap(0x4800, PAGE) == 0
