"""Addresses: what is not mapped, what is not in the dump, and searches that lose nothing."""

from __future__ import annotations

import copy
import json
import pickle
import re
import struct
from typing import TYPE_CHECKING, ClassVar
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import pae_host
from tests.builders.machine import Machine, machine
from tests.support import ROOT, tool
from vmcoretool import errors
from vmcoretool.addresses import MIB, PAGE_SIZE, FileOffset, Maddr, Vaddr
from vmcoretool.budget import Budget
from vmcoretool.errors import MemoryFault, TableFault, TranslationFault, VmcoreError
from vmcoretool.linux.vmcoreinfo import search_vmcoreinfo
from vmcoretool.memory import pae, x86_64
from vmcoretool.memory.paging import Run
from vmcoretool.memory.physical import PhysicalMemory
from vmcoretool.memory.search import windows, words
from vmcoretool.memory.virtual import VirtualMemory
from vmcoretool.vmcore import open_vmcore
from vmcoretool.xen.build_id import find_build_id
from vmcoretool.xen.console import read_console
from vmcoretool.xen.frame_table import FrameTable
from vmcoretool.xen.image.image import Image
from vmcoretool.xen.image.layouts import LAYOUTS
from vmcoretool.xen.ring import Ring, find_ring
from vmcoretool.xen.vmcoreinfo import find_image_notes, find_text

if TYPE_CHECKING:
    from pathlib import Path

# --- errors -----------------------------------------------------------------------------------

WALK = {"level": 2, "table": Maddr(0x5000), "index": 7, "steps": ((4, Maddr(0x1000), 1, 0x2001),)}
SPECIAL = {
    "MemoryFault": MemoryFault(Maddr(0x1234), excluded=True),
    "TableFault": TableFault(
        Vaddr(0xFFFF),
        cause=MemoryFault(Maddr(0x5000), reason="is damaged"),
        **WALK,  # type: ignore[arg-type]
    ),
    "TranslationFault": TranslationFault(Vaddr(0xFFFF), entry=0, reason="not present", **WALK),  # type: ignore[arg-type]
}


def every_error() -> list[type[VmcoreError]]:
    return [
        one
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, VmcoreError)
    ]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_survives_pickling(kind: type[VmcoreError]) -> None:
    error = SPECIAL.get(kind.__name__) or kind(
        "it is damaged", path="vmcore", where=FileOffset(0x40), cure="get it again"
    )
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(again) is kind
        assert str(again) == str(error)
        assert vars(again) == vars(error)
        assert again.args == error.args


def test_tree_of_errors_is_complete() -> None:
    tree = (errors.__doc__ or "").split("::")[1]
    for kind in every_error():
        assert re.search(rf"^ +{kind.__name__}\b", tree, re.MULTILINE)
        assert kind.__name__ in __import__("vmcoretool").__all__


def test_not_mapped_is_not_what_the_dump_lacks() -> None:
    table = bytearray(PAGE_SIZE)
    struct.pack_into("<Q", table, 8, 0x9000 | 1)
    memory = machine(bytes(table), 0x1000)
    space = VirtualMemory(memory, Maddr(0x1000), x86_64)
    with pytest.raises(TranslationFault, match="slot 0 = 0x0: not present") as unmapped:
        space.read(0x10, 1)
    assert not isinstance(unmapped.value, TableFault)
    with pytest.raises(TableFault, match="level 3 table 0x9000 slot 0: the table page is") as gone:
        space.read(1 << 39, 1)
    assert not isinstance(gone.value, TranslationFault)
    assert gone.value.maddr == 0x9000
    assert gone.value.steps == ((4, 0x1000, 1, 0x9001),)
    for error in (unmapped.value, gone.value):
        assert isinstance(error, MemoryFault)  # for one more release
        assert isinstance(error, errors.AddressError)


def test_three_levels_keep_their_steps() -> None:
    table = bytearray(PAGE_SIZE)
    struct.pack_into("<Q", table, 24, 0x9000 | 1)
    memory = machine(bytes(table), 0x1000)
    with pytest.raises(TableFault) as gone:
        pae.walk(memory, Maddr(0x1000), Vaddr(0xFF10_0000))
    assert gone.value.steps == ((3, 0x1000, 3, 0x9001),)


# --- virtual memory ---------------------------------------------------------------------------


def scattered(count: int) -> tuple[VirtualMemory, bytes]:
    """Pages in falling order behind one level 1 table, from virtual 0 on; every fifth is absent."""
    pages = {1: struct.pack("<Q", 0x2001), 2: struct.pack("<Q", 0x3001)}
    pages[3] = struct.pack("<Q", 0x4001)
    table, text = bytearray(PAGE_SIZE), bytearray()
    for at in range(count):
        page = bytes([at % 255 + 1]) * PAGE_SIZE
        text += page
        if at % 5 != 4:
            struct.pack_into("<Q", table, 8 * at, (1000 - at) * PAGE_SIZE | 1)
            pages[1000 - at] = page
    pages[4] = bytes(table)
    return VirtualMemory(PhysicalMemory(Machine(pages)), Maddr(PAGE_SIZE), x86_64), bytes(text)


@given(st.integers(0, 20 * PAGE_SIZE), st.integers(0, 3 * PAGE_SIZE))
def test_reads_are_the_bytes_or_the_first_that_is_missing(at: int, size: int) -> None:
    space, text = scattered(20)
    hole = next((one for one in range(at, at + size) if one // PAGE_SIZE % 5 == 4), None)
    hole = at + size if hole is None else hole
    if hole < at + size or at + size > len(text):
        with pytest.raises(TranslationFault) as fault:
            space.read(at, size)
        assert fault.value.vaddr == min(hole, len(text))
    else:
        assert space.read(at, size) == text[at : at + size]


def test_strings_and_runs() -> None:
    space, _ = scattered(20)
    work = Budget().work("runs")
    runs = list(space.runs(0, 1 << 47, work))
    mapped = [at * PAGE_SIZE for at in range(20) if at % 5 != 4]
    assert [run.vaddr for run in runs] == mapped
    assert all(run.maddr == 1000 * PAGE_SIZE - run.vaddr for run in runs)
    few = Budget()
    assert len(list(space.runs(0, 1 << 47, few.work("runs", steps=3)))) == 3
    assert few.cut_off == ("runs",)
    data = b"x" * 4000 + b"ab\0c".ljust(5000, b"d")
    pages = {at: data[at * PAGE_SIZE : (at + 1) * PAGE_SIZE] for at in range(3)}
    pages |= {8: struct.pack("<Q", 0x9001), 9: struct.pack("<Q", 0x81)}
    text = VirtualMemory(PhysicalMemory(Machine(pages)), Maddr(0x8000), x86_64)
    assert text.c_string(4000, 100) == b"ab"
    assert text.c_string(0, 3999) is None
    assert text.c_string(3999, 3) == b"xab"
    assert text.c_string(3999, 2) is None
    assert text.number(4000, 2) == 0x6261


def pae_file(folder: Path) -> Path:
    """A 32-bit host with a guest's mapping of 2 MiB at 0x600000 in the lower half."""
    data = bytearray(pae_host.build())
    level3, level2 = len(data) - 2 * PAGE_SIZE, len(data) - PAGE_SIZE
    struct.pack_into("<Q", data, level3, pae_host.L2 | 1)
    struct.pack_into("<Q", data, level2 + 3 * 8, 0x600000 | 0xE3)
    path = folder / "vmcore"
    path.write_bytes(data)
    return path


def test_32_bit_hosts_are_walked_by_their_own_tables(tmp_path: Path) -> None:
    path = pae_file(tmp_path)
    done = tool("vtop", "--json", "--space", "cpu0", path, "0xff100000")
    row = json.loads(done.stdout)
    assert row["maddr"] == "0x100000"
    assert [step["level"] for step in row["steps"]] == [3, 2]
    done = tool("read", "--json", "--space", "cpu0", path, "0xff150000", "2")
    assert json.loads(done.stdout)["bytes"] == b".0".hex()
    done = tool("vtop", "--space", "cpu0", path, "0xffff82d040200000")
    assert done.returncode == 1
    assert b"no address of 32-bit x86" in done.stderr


# --- windows ----------------------------------------------------------------------------------


@given(
    st.integers(1, 6),
    st.frozensets(st.integers(0, 11), max_size=4),
    st.lists(st.integers(0, 12 * PAGE_SIZE - 40), max_size=8),
    st.sampled_from([None, 0, 5 * PAGE_SIZE, 99 * PAGE_SIZE]),
    st.booleans(),
)
def test_what_a_window_cuts_is_found_once(
    step: int,
    damaged: frozenset[int],
    places: list[int],
    near: int | None,
    backwards: bool,  # noqa: FBT001 - given by hypothesis
) -> None:
    data = bytearray(12 * PAGE_SIZE)
    thing = b"\xfe" + b"thing".ljust(39, b"\xff")
    for at in places:
        data[at : at + len(thing)] = thing
    memory = machine(bytes(data), 0, damaged)
    whole = {
        at
        for at in range(len(data))
        if data.startswith(thing, at)
        and not damaged & set(range(at // PAGE_SIZE, (at + len(thing) - 1) // PAGE_SIZE + 1))
    }
    runs = [
        Run(Vaddr(0), Maddr(0), 7 * PAGE_SIZE),
        Run(Vaddr(7 * PAGE_SIZE), Maddr(7 << 12), 5 << 12),
    ]
    found: list[int] = []
    own = 0
    for window in windows(
        memory, runs, step=step * PAGE_SIZE, ahead=40, near=near, backwards=backwards
    ):
        own += window.own
        found += [
            window.at + at for at in window.find(b"thing", 1) if window.data.startswith(thing, at)
        ]
    assert sorted(found) == sorted(whole)
    assert own == len(data) - len(damaged) * PAGE_SIZE


def test_numbers_are_little_endian_everywhere() -> None:
    data = bytes(range(1, 24))
    assert list(words(data, "Q")) == list(struct.unpack("<2Q", data[:16]))
    assert list(words(data, "I", 1, 2)) == list(struct.unpack("<5I", data[:20])[1::2])
    swapped = b"".join(data[at : at + 4][::-1] for at in range(0, 20, 4))
    with patch("vmcoretool.memory.search.sys.byteorder", "big"):
        assert list(words(data, "I")) == list(struct.unpack("<5I", swapped))


IMAGE_AT = 4 * MIB
START = LAYOUTS[0].virt_start


def image_of(data: bytes) -> tuple[PhysicalMemory, Image]:
    run = Run(START, Maddr(IMAGE_AT), len(data))
    image = Image(LAYOUTS[0], Maddr(0), Maddr(IMAGE_AT), (run,), 1, 1, (), ())
    return machine(data, IMAGE_AT), image


def xen_note() -> bytes:
    text = b"PAGESIZE=4096\n" + b"".join(b"SIZE(x%d)=%d\n" % (at, at) for at in range(40))
    text += b"SYMBOL(pgd_l4)=ffff82d040400000\n"
    return struct.pack("<III", 15, 4068, 0) + b"VMCOREINFO_XEN\0\0" + text.ljust(4068, b"\0")


@pytest.mark.parametrize("before", [4, 8, 12, 300, 700])
def test_note_across_two_blocks_is_whole(before: int) -> None:
    data = bytearray(3 * 65_536)
    at = 65_536 - before
    data[at : at + 4096] = xen_note()
    memory, image = image_of(bytes(data))
    info = find_image_notes(memory, image).vmcoreinfo
    assert info is not None
    assert info.symbol("pgd_l4") == 0xFFFF_82D0_4040_0000
    assert len(info.entries) == 42


@pytest.mark.parametrize("before", [4, 8, 16, 20])
def test_build_id_across_two_blocks(before: int) -> None:
    data = bytearray(3 * 65_536)
    note = struct.pack("<III", 4, 20, 3) + b"GNU\0" + bytes(range(1, 21))
    data[65_536 - before : 65_536 - before + len(note)] = note
    memory, image = image_of(bytes(data))
    assert find_build_id(memory, image, START) == bytes(range(1, 21)).hex()


@pytest.mark.parametrize("by", [-8, 8, -4])
@pytest.mark.parametrize("place", [65_536 - 8, 65_536, 0])
def test_ring_pointer_beside_a_blocks_border(by: int, place: int) -> None:
    if place + by < 0:
        return
    data = bytearray(3 * 65_536)
    struct.pack_into("<Q", data, place, 0xFFFF_8300_0000_0000 + 64 * MIB)
    struct.pack_into("<I", data, place + by, 0x4000)
    memory, image = image_of(bytes(data))
    text = b"(XEN) one\n".ljust(0x4000, b"\0")
    pages = memory.pages.pages  # type: ignore[attr-defined]
    pages.update(
        {(64 * MIB + at) // PAGE_SIZE: text[at:][:PAGE_SIZE] for at in range(0, 0x4000, PAGE_SIZE)}
    )
    ring = find_ring(memory, image, START, Budget())
    assert ring is not None
    assert ring.pointer == START + place


@pytest.mark.parametrize("at", [0x400, 0x404])
def test_counters_are_four_bytes_aligned(at: int) -> None:
    text = b"(XEN) one\n(XEN) two\n"
    ring = Ring(None, Maddr(0), (text + b"rmal\nhalt: extcmd acpi\n").ljust(0x4000, b"\0"))
    data = bytearray(PAGE_SIZE)
    struct.pack_into("<II", data, at, len(text), 0)
    memory, image = image_of(bytes(data))
    assert "conringp" in read_console(memory, image, ring).basis


def test_conringc_is_no_conringp() -> None:
    # of a ring that has wrapped once: conringc fits as well, with the word behind it
    lines = [b"(XEN) %05d %s\n" % (number, b"y" * 51) for number in range(300)]
    history = b"".join(lines)
    size = 0x4000
    ring = Ring(None, Maddr(0), history[size:] + history[len(history) - size : size])
    data = struct.pack("<II", len(history), len(history) - size)
    memory, image = image_of(bytes(0x400) + data)
    assert str(len(history)) in read_console(memory, image, ring).basis


def test_text_behind_a_damaged_page_is_found() -> None:
    data = bytearray(2 * MIB)
    data[0x5000:0x6000] = xen_note()
    border = MIB - 10
    assert find_text(machine(bytes(data), 0, frozenset([0])), Budget()) == 0x5000
    data[0x5000:0x6000] = bytes(0x1000)
    data[border : border + 4096] = xen_note()
    assert find_text(machine(bytes(data), 0), Budget()) == border


@pytest.mark.parametrize("backwards", [False, True])
def test_linux_note_across_two_blocks(*, backwards: bool) -> None:
    text = b"OSRELEASE=6.1\nPAGESIZE=4096\n" + b"A=1\n" * 200
    note = struct.pack("<III", 11, len(text), 0) + b"VMCOREINFO\0\0" + text
    data = bytearray(2 * MIB)
    for before in (4, 30, 600):
        data[MIB - before : MIB - before + len(note)] = note
        (found,) = search_vmcoreinfo(machine(bytes(data), 0), Budget(), backwards=backwards)
        assert found.info.raw == text
        data[MIB - before : MIB - before + len(note)] = bytes(len(note))


# --- the frame table --------------------------------------------------------------------------


def test_frame_number_of_one_domain_is_the_lower_half_of_anothers_address() -> None:
    # entries of 8 bytes whose owner stands first
    entries = {0x10: 0x1234, 0x11: 0x5000_0000}

    class Space:
        maddrs: ClassVar = {0xFFFF_8300_5000_0000: 0x123_4000, 0xFFFF_8300_0000_1234: 0x777_7000}

        def maddr(self, vaddr: int) -> int:
            return self.maddrs[vaddr]

        def number(self, vaddr: int, size: int) -> int:
            assert size == 4
            return entries.get(vaddr // 8, 0)

    table = FrameTable(Space(), 0, 8, 0)  # type: ignore[arg-type]
    table.know(0xFFFF_8300_5000_0000, 1)
    table.know(0xFFFF_8300_0000_1234, 2)
    assert table.owner(0x11000) == 1  # the lower half of an address, which no frame number is
    assert table.owner(0x10000) == 2
    other = FrameTable(Space(), 0, 8, 0)  # type: ignore[arg-type]
    other.know(0xFFFF_8300_5000_0000, 1)
    other.know(0xFFFF_8300_0000_1234, 2)
    assert other.owner(0x10000) == 1  # not decided yet: frame numbers since 3.4


def test_samples_need_a_small_part_of_the_allowances() -> None:
    with open_vmcore(ROOT / "samples/xen-4.17-two-domus/vmcore") as vmcore:
        from vmcoretool import inspect_vmcore

        assert inspect_vmcore(vmcore).domains
        assert vmcore.budget.cut_off == ()
