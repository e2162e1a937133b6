"""Searches that a dump, or a guest in it, makes long: they end, and what counts is found."""

from __future__ import annotations

import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.builders.kdump import Kdump
from tests.builders.machine import Machine, with_memory
from tests.support import SAMPLES, cpu_seconds, environment_to_measure, open_bytes
from tests.test_fuzz_inputs import kdump_header
from tests.test_fuzz_memory import SAMPLE, SHORT, codes, fake_notes, limited
from tests.test_limits import frames_in_no_order
from vmcoretool.addresses import MIB, PAGE_SIZE, Maddr
from vmcoretool.budget import Budget
from vmcoretool.formats.kdump.bitmap import PageBitmap
from vmcoretool.host.host import MAX_TABLES, Host
from vmcoretool.inspection.inspect import locate
from vmcoretool.linux.vmcoreinfo import MAX_FOREIGN, search_vmcoreinfo
from vmcoretool.memory import search
from vmcoretool.memory.physical import PhysicalMemory
from vmcoretool.memory.search import machine_runs, windows
from vmcoretool.xen.console import MAX_LINES
from vmcoretool.xen.domains import Domain, Vcpu

if TYPE_CHECKING:
    from pathlib import Path

NULL = bytes(24)
BOGUS = struct.pack("<QIIQ", 5 * PAGE_SIZE, MIB, 0, 0)


@pytest.mark.parametrize("row", [NULL, BOGUS], ids=["null", "bogus"])
def test_bitmap_that_claims_a_million_pages_nobody_wrote(tmp_path: Path, row: bytes) -> None:
    frames = 1 << 20
    bits = b"\xff" * (frames // 8)
    path = tmp_path / "vmcore"
    path.write_bytes(kdump_header(len(bits)) + bits + bits + row * frames)
    done = limited("inspect", "--json", path)
    assert {"page-unreadable", "work-limited"} <= set(codes(done))


def test_bitmap_with_a_page_here_and_there_over_hundreds_of_gib(tmp_path: Path) -> None:
    """More stretches of pages than a search is told of: what lies between them is skipped."""
    pages = 3 << 15
    bits = (b"\1" + bytes(127)) * pages
    path = tmp_path / "vmcore"
    with path.open("wb") as file:
        file.write(kdump_header(len(bits)) + bits + bits)
        file.truncate(file.tell() + 24 * pages + PAGE_SIZE)
    done = limited("inspect", "--json", path)
    assert "page-unreadable" in codes(done)


def test_damaged_pages_end_a_search_and_a_few_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = dict.fromkeys(range(0, 600, 3), b"a" * PAGE_SIZE)
    damaged = frozenset(range(600)) - pages.keys()
    memory = PhysicalMemory(Machine(pages, damaged))
    found = list(windows(memory, machine_runs(memory)))
    assert [window.at for window in found] == [frame * PAGE_SIZE for frame in pages]
    monkeypatch.setattr(search, "MAX_DAMAGED", 100)
    budget = Budget()
    work = budget.work("a search", steps=1 << 62)
    memory = PhysicalMemory(Machine(pages, damaged))
    assert len(list(windows(memory, machine_runs(memory), work))) < len(found)
    assert budget.cut_off == ("a search",)


@pytest.mark.parametrize("first", [0, 7, 8, 4095, 524_287, 524_288, 1_200_000])
def test_next_page_of_a_bitmap_passes_over_none(first: int) -> None:
    class Bits:
        path, complete = "vmcore", True
        data = bytearray(160_000)
        size = len(data)

        def pread(self, size: int, offset: int) -> bytes:
            return bytes(self.data[offset : offset + size])

    source = Bits()
    frames = 8 * source.size
    for frame in (3, 4095, 4096, 700_001):
        source.data[frame >> 3] |= 1 << (frame & 7)
    bitmap = PageBitmap(source, 0, source.size, frames)  # type: ignore[arg-type]
    at, steps = first, 0
    while at < frames and at not in bitmap:
        at = bitmap.next_set(at)
        steps += 1
        assert steps < 20
    wanted = next((frame for frame in (3, 4095, 4096, 700_001) if frame >= first), frames)
    assert at == wanted


# --- Linux's VMCOREINFO -----------------------------------------------------------------------


def note_of(release: str) -> bytes:
    text = f"OSRELEASE={release}\nPAGESIZE=4096\n".encode()
    return struct.pack("<III", 11, len(text), 0) + b"VMCOREINFO\0\0" + text


@pytest.mark.parametrize("backwards", [False, True])
def test_fakes_in_a_guests_pages_use_nothing_up(*, backwards: bool) -> None:
    fakes = fake_notes(23, SHORT, 4 * MIB)
    own = bytes(40) + note_of("6.1")
    data = own.ljust(PAGE_SIZE, b"\0") + fakes + own if backwards else fakes + own
    pages = {at // PAGE_SIZE: data[at : at + PAGE_SIZE] for at in range(0, len(data), PAGE_SIZE)}
    budget = Budget()
    first = PAGE_SIZE if backwards else 0
    found = list(
        search_vmcoreinfo(
            PhysicalMemory(Machine(pages)),
            budget,
            is_foreign=lambda maddr: first <= maddr < first + len(fakes),
            backwards=backwards,
        )
    )
    assert found[-1].info.entries["OSRELEASE"] == "6.1"
    assert len(found) <= MAX_FOREIGN + 1 + backwards
    assert budget.cut_off == ()


def test_dom0s_note_is_found_behind_a_guests_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = fake_notes(23, SHORT, 4 * MIB)
    at = PAGE_SIZE + len(fakes)
    data = with_memory(SAMPLE.read_bytes(), (PAGE_SIZE, fakes), (at, note_of("6.1-dom0")))

    def owner(_: Host, maddr: Maddr) -> int:
        return 1 if maddr < at else 0

    monkeypatch.setattr(Host, "_owner", owner)
    with open_bytes(data) as vmcore:
        chosen, candidates = locate(vmcore).host().linux_vmcoreinfo()
        assert chosen is not None
        assert chosen.info.entries["OSRELEASE"] == "6.1-dom0"
        assert len(candidates) <= MAX_FOREIGN + 1
        assert vmcore.budget.cut_off == ()


# --- guests' page tables ----------------------------------------------------------------------


def test_words_of_virtual_cpus_that_may_all_be_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = next(path for path in SAMPLES if path.name == "xen-4.17-dom0-panic")
    words = struct.pack("<512Q", *range(PAGE_SIZE, 513 * PAGE_SIZE, PAGE_SIZE))
    with open_bytes((sample / "vmcore").read_bytes()) as vmcore:
        host = locate(vmcore).host()
        assert host.space is not None
        assert host.frames is not None
        tried = 0

        def read_u64(maddr: Maddr) -> int:
            nonlocal tried
            tried += 1
            return 0

        monkeypatch.setattr(type(host.space), "read", lambda *_: words)
        monkeypatch.setattr(type(host.memory), "read_u64", lambda _, maddr: read_u64(maddr))
        vcpus = tuple(Vcpu(number, 8 * number, 0) for number in range(8192))
        for number in range(3):
            domain = Domain(number + 1, 8, "pv", None, vcpus, "")
            assert list(host.roots(domain)) == []
        assert tried <= MAX_TABLES
        assert vmcore.budget.cut_off == ("looking for the domains' page tables",)


# --- Xen's console ----------------------------------------------------------------------------

RINGS = {
    "empty lines": b"\n",
    "own lines": b"(XEN) \n",
    "panics": b"(XEN) Panic on CPU 1:\n",
    "bases": b"(XEN) New Xen image base address: 0x27800000\n",
    "one line": b"(XEN) New Xen image base address: 0x27800000",
}
READ = f"""
import resource, sys
seconds = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
resource.setrlimit(resource.RLIMIT_AS, ({256 * MIB}, {256 * MIB}))
from vmcoretool.addresses import Maddr
from vmcoretool.memory.physical import PhysicalMemory
from vmcoretool.formats.no_memory import NoMemory
from vmcoretool.xen.console import base_lines, read_console
from vmcoretool.xen.image.image import Image
from vmcoretool.xen.image.layouts import LAYOUTS
from vmcoretool.xen.panic import read_crash_text
from vmcoretool.xen.ring import Ring
from vmcoretool.xen.trace_text import read_stamp, read_trace
line = bytes.fromhex(sys.argv[1])
ring = Ring(None, Maddr(0), (line * ({1 << 25} // len(line) + 1))[: {1 << 25}])
image = Image(LAYOUTS[0], Maddr(0), Maddr(0), (), 0, 0, (), ())
console = read_console(PhysicalMemory(NoMemory()), image, ring)
lines = console.lines
read_crash_text(lines), read_trace(lines), read_stamp(lines), base_lines(ring)
print(len(lines), console.lines_left_out)
"""


@pytest.mark.parametrize("kind", RINGS)
def test_long_ring_full_of_one_line(kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ, RINGS[kind].hex(), str(cpu_seconds(5))],
        capture_output=True,
        check=False,
        env=environment_to_measure(),
    )
    assert done.returncode == 0, done.stderr[-500:]
    lines, left_out = map(int, done.stdout.split())
    assert lines <= MAX_LINES
    assert (left_out > 0) == (kind != "one line")


def test_what_lies_behind_a_page_bitmap_is_skipped_at_once() -> None:
    # a kdump file that ends within its bitmap, and page tables that lead far behind it
    memory = open_bytes(Kdump({1: b"a" * PAGE_SIZE, 700: b"b" * PAGE_SIZE}).build()).memory
    far = Maddr(1 << 30)
    assert memory.gap(far, 1 << 40) == 1 << 40
    assert memory.gap(Maddr(2 * PAGE_SIZE), 1 << 30) == 698 * PAGE_SIZE
    assert memory.gap(Maddr(700 * PAGE_SIZE), 1 << 30) == 0


def test_pages_that_a_guests_dump_lost_are_not_searched(tmp_path: Path) -> None:
    path = tmp_path / "vmcore"
    path.write_bytes(frames_in_no_order(1 << 20))
    done = limited("inspect", "--json", path)  # it was 9 seconds
    assert done.code == 6
    assert "truncated" in codes(done)
