"""Who crashed and why: real samples first, then built memory and damage."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import variants
from tests.builders.memory import (
    NOTHING,
    PAGE,
    Filtered,
    Runs,
    kernel_notes,
    kernel_page,
    kernel_tables,
    memory_of,
)
from tests.support import ROOT, XEN_SAMPLES, BytesSource, open_bytes, run, truth
from vmcoretool import LogError, Maddr, MemoryFault, open_vmcore
from vmcoretool.addresses import Vaddr
from vmcoretool.budget import Budget
from vmcoretool.cli.main import run as run_here
from vmcoretool.errors import TranslationFault
from vmcoretool.host.signature import normalised
from vmcoretool.inspection.inspect import inspect_vmcore, locate
from vmcoretool.linux.kernel import find_kernel
from vmcoretool.linux.printk import log_lines
from vmcoretool.linux.vmcoreinfo import search_vmcoreinfo
from vmcoretool.memory.physical import PhysicalMemory
from vmcoretool.memory.x86_64 import Run
from vmcoretool.notes.elf_note import Note
from vmcoretool.notes.vmcoreinfo import parse_vmcoreinfo
from vmcoretool.printable import log_line
from vmcoretool.vmcore import read_vmcore
from vmcoretool.xen.console import Console, read_console
from vmcoretool.xen.domains import parse_shared_info
from vmcoretool.xen.frame_table import FrameTable
from vmcoretool.xen.image.image import Image
from vmcoretool.xen.image.layouts import LAYOUTS
from vmcoretool.xen.panic import read_crash_text
from vmcoretool.xen.ring import Ring, find_ring
from vmcoretool.xen.trace_text import read_trace

if TYPE_CHECKING:
    from vmcoretool.host.host import Host


def release_of(sample: Path) -> tuple[int, ...]:
    return tuple(map(int, sample.name.split("-")[1].split(".")))


SAMPLES = ROOT / "samples"
# before 4.4 the slices were cut without the memory of domains
WITH_DOMAINS = [path for path in XEN_SAMPLES if release_of(path) >= (4, 4)]
SLICES_WITHOUT_VCPUS = ("xen-4.4-", "xen-4.8-")
WHOLE = sorted(Path(os.environ.get("VMCORETOOL_DUMPS", "/nonexistent")).glob("*/vmcore"))
# what the truth's cause means for the headline
HEADLINES = {
    "hypervisor panic: could not set up dom0": "FATAL PAGE FAULT",
    "hypervisor panic: could not set up dom0 (bzImage not ELF)": "Could not set up DOM0 guest OS",
    "'C' debug key": "'C' pressed -> triggering crashdump",
}

# --- real samples -----------------------------------------------------------------------------


@pytest.mark.parametrize("sample", XEN_SAMPLES, ids=lambda path: path.name)
def test_console_and_cause(sample: Path) -> None:
    true = truth(sample)
    with open_vmcore(sample / "vmcore") as vmcore:
        inspection = inspect_vmcore(vmcore)
        host = locate(vmcore).host()
        assert host.console is not None
        lines = host.console.lines
    text = b"\n".join(lines).decode("latin-1")
    if not host.console.wrapped:
        assert " ".join(true["xen_version"].split()[:1]) in text
    headline = true.get("crash_line") or HEADLINES.get(true["cause"], "crashed: Executing kexec")
    assert headline in text
    assert inspection.crash.panic is not None
    panic = inspection.crash.panic
    assert panic in headline or headline in panic
    if "crashed_cpu" in true:
        assert inspection.crash.cpu == true["crashed_cpu"]
    command_line = true.get("xen_cmdline")
    if command_line and inspection.crash.command_line:
        words = command_line.replace("(source tree)", "").split()
        assert inspection.crash.command_line.split()[-len(words) :] == words


@pytest.mark.parametrize("sample", WITH_DOMAINS, ids=lambda path: path.name)
def test_domains(sample: Path) -> None:
    true = truth(sample)
    wanted = true.get("domains")
    if wanted is None:
        wanted = [{"id": 0, "type": "pv"}]
        wanted += [{"id": one["domid"], "type": one["type"]} for one in true["domU"]]
    with open_vmcore(sample / "vmcore") as vmcore:
        inspection = inspect_vmcore(vmcore)
        host = locate(vmcore).host()
        assert host.dom0_p2m is not None
        assert host.dom0_p2m.agree
    told = [{"id": one.id, "type": one.type} for one in inspection.domains]
    assert told == [{"id": one["id"], "type": one["type"]} for one in wanted]
    if not sample.name.startswith(SLICES_WITHOUT_VCPUS):
        assert all(domain.vcpus for domain in inspection.domains)
    for domain in inspection.domains:
        assert (domain.p2m_mfn is None) == (domain.type == "hvm")
    owners = {use.address_space for use in inspection.cpus}
    if sample.name.startswith(SLICES_WITHOUT_VCPUS):
        owners.discard(None)
    assert owners <= {"idle", *(f"domain {one['id']}" for one in wanted)}


def test_host_without_dom0_has_no_domains_and_says_why() -> None:
    done = run("domains", SAMPLES / "xen-3.2-hypervisor-panic/vmcore")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "neither the notes nor the image hold VMCOREINFO_XEN" in done.stderr


def test_cpu_that_ran_a_pvh_guest_is_told() -> None:
    done = run("cpus", "--json", SAMPLES / "xen-4.17-pv-and-pvh/vmcore")
    rows = json.loads(done.stdout)
    assert [row["address_space"] for row in rows] == ["domain 2", "domain 0"]
    assert "struct vcpu" in rows[0]["basis"]
    assert [row["crashed"] for row in rows] == [False, True]
    assert rows[0]["registers"]["cr3"] == rows[0]["cr3"]


def test_dmesg_and_vmcoreinfo_of_dom0() -> None:
    sample = SAMPLES / "xen-4.17-dom0-panic/vmcore"
    done = run("dmesg", sample)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("[    0.000000] Linux version 6.1.0")
    assert any("Kernel panic - not syncing: sysrq triggered crash" in line for line in lines)
    info = run("vmcoreinfo", "--source", "linux", sample)
    assert info.stdout.startswith("OSRELEASE=6.1.0-56-amd64\nBUILD-ID=eb4f")
    assert "memory of domain 0" in info.stderr
    other = run("vmcoreinfo", "--domain", "3", sample)
    assert (other.returncode, other.stdout) == (1, "")
    assert "none is of domain 3" in other.stderr
    inspection = json.loads(run("inspect", "--json", sample).stdout)
    build_id = run("vmcoreinfo", "--source", "linux", "--get", "BUILD-ID", sample).stdout.strip()
    assert inspection["dom0"]["build_id"] == build_id
    assert inspection["dom0"]["release"] == "6.1.0-56-amd64"
    assert inspection["dom0"]["vmcoreinfo_source"] == "memory"


def test_log_that_is_not_in_the_dump() -> None:
    done = run("dmesg", SAMPLES / "xen-4.14-dom0-panic/vmcore")
    assert done.returncode == 1
    assert "its memory is not in the dump" in done.stderr
    done = run("dmesg", "--domain", "2", SAMPLES / "xen-4.17-pv-and-pvh/vmcore")
    assert done.returncode == 1
    assert "HVM or PVH" in done.stderr
    done = run("dmesg", "--domain", "7", SAMPLES / "xen-4.17-pv-and-pvh/vmcore")
    assert "no domain 7; found: 0, 1, 2" in done.stderr


@pytest.mark.parametrize("command", ["console", "cpus", "domains", "dmesg"])
def test_not_a_xen_host(command: str) -> None:
    done = run(command, SAMPLES / "linux-native/vmcore")
    assert done.returncode == 6
    assert "native Linux" in done.stderr


def test_other_commands_end_with_1_where_the_address_is_not_proved(tmp_path: Path) -> None:
    # "1: a Xen host dump, but the address is reported, disputed or unknown, or another finding is
    # at level error"
    data = (SAMPLES / "xen-4.17-dom0-panic/vmcore").read_bytes()
    disputed = tmp_path / "disputed"
    disputed.write_bytes(variants.shifted(data))
    cut = tmp_path / "cut"
    cut.write_bytes(data[:-1])
    for path, said in ((disputed, "address is disputed"), (cut, "cut short")):
        done = run("console", path)
        assert done.returncode == 1
        assert done.stdout
        assert said in done.stderr
    assert run("console", SAMPLES / "xen-4.17-dom0-panic/vmcore").returncode == 0


def test_vtop_and_read() -> None:
    sample = SAMPLES / "xen-4.17-dom0-panic/vmcore"
    idle = json.loads(run("inspect", "--json", sample).stdout)["idle_page_table"]
    done = run("vtop", "--json", sample, idle["vaddr"])
    row = json.loads(done.stdout)
    assert row["maddr"] == idle["maddr"]
    assert [step["level"] for step in row["steps"]] == [4, 3, 2, 1][: len(row["steps"])]
    by_vaddr = run("read", "--json", sample, idle["vaddr"], "64")
    by_maddr = run("read", "--json", "--space", "machine", sample, idle["maddr"], "64")
    assert json.loads(by_vaddr.stdout)["bytes"] == json.loads(by_maddr.stdout)["bytes"]
    dump = run("read", sample, idle["vaddr"], "0x20").stdout.splitlines()
    assert len(dump) == 2
    assert dump[0].startswith(idle["vaddr"].removeprefix("0x"))
    for words in (("vtop", sample, "0x1000"), ("read", sample, "0x1000", "1")):
        done = run(*words)
        assert done.returncode == 1
        assert "0x1000" in done.stderr
        assert "not in the dump" in done.stderr or "not present" in done.stderr
    done = run("vtop", "--json", sample, "0x1000")  # as far as the walk comes
    row = json.loads(done.stdout)
    assert (row["maddr"], row["present"]) == (None, None)
    assert row["fault"]
    assert all(set(step) == {"level", "table", "slot", "entry"} for step in row["steps"])
    done = run("vtop", sample, "0x800000000000")
    assert (done.returncode, done.stdout) == (1, "")
    assert "0xffff800000000000 would be one" in done.stderr
    assert run("vtop", sample, "4096").returncode == 2
    assert run("vtop", "--space", "moon", sample, "0x1000").returncode == 2
    assert run("vtop", "--space", "cpu9", sample, "0x1000").returncode == 1
    assert run("vtop", "--space", "dom9", sample, "0x1000").returncode == 1


def test_raw_console_is_the_bytes() -> None:
    sample = SAMPLES / "xen-4.17-ring-wrapped/vmcore"
    done = run("console", "--raw", sample)
    with open_vmcore(sample) as vmcore:
        host = locate(vmcore).host()
        assert host.console is not None
        assert done.stdout.encode("latin-1") == host.console.text
        assert host.console.wrapped
    assert "older lines are lost" in done.stderr


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.parent.name)
def test_whole_dump(path: Path) -> None:
    true = json.loads((path.parent / "truth.json").read_text())
    log = (path.parent / "boot.log").read_text(errors="replace")
    with open_vmcore(path) as vmcore:
        host = locate(vmcore).host()
        assert host.console is not None
        assert all(line.decode("latin-1") in log for line in host.console.lines)
        assert len(host.domains) == 1 + len(true["domU"])
        forwards, candidates = host.linux_vmcoreinfo()
        backwards, _ = host.linux_vmcoreinfo(backwards=True)
        assert forwards is not None
        assert forwards == backwards
        assert all(one.owner is not None for one in candidates)
        dom0 = host.domain(0)
        assert dom0 is not None
        lines = host.kernel_log(dom0, forwards.info)
        assert b"Rebooting in 10 seconds" in lines[-1]
        assert host.dom0_kernel is not None
        assert host.dom0_kernel.build_id == forwards.info.entries["BUILD-ID"]


# --- the ring ---------------------------------------------------------------------------------

NO_IMAGE = Image(LAYOUTS[0], Maddr(0), Maddr(0), (), 0, 0, (), ())


LINES = st.lists(st.text("abcdefgh :=0123", min_size=0, max_size=60), min_size=1, max_size=900)


@given(LINES)
def test_console_is_oldest_complete_line_first(words: list[str]) -> None:
    size = 1 << 14
    lines = [b"(XEN) " + word.encode() for word in words]
    text = b"\n".join(lines) + b"\n"
    ring = bytearray(size)
    for at, byte in enumerate(text):
        ring[at % size] = byte
    console = read_console(NOTHING, NO_IMAGE, Ring(None, Maddr(0), bytes(ring)))
    assert all(line in bytes(ring + ring) for line in console.lines)
    if len(text) < size - 64:
        assert console.lines == tuple(lines)
    elif console.wrapped and "cut" in console.basis:
        kept = console.lines
        assert kept == tuple(lines[len(lines) - len(kept) :])
        assert len(text) - size <= sum(len(line) + 1 for line in lines[: len(lines) - len(kept)])


@pytest.mark.parametrize("by", [-8, 8, -4])
def test_ring_by_its_pointer_and_the_size_beside(by: int) -> None:
    data = bytearray(PAGE)
    struct.pack_into("<Q", data, 0x800, 0xFFFF_8300_0020_0000)
    struct.pack_into("<I", data, 0x800 + by, 0x4000)
    text = b"(XEN) one\n(XEN) two\n"
    pages = {0x100: bytes(data), 0x200: text.ljust(PAGE, b"\0")}
    run = Run(Vaddr(0xFFFF_82D0_4020_0000), Maddr(0x10_0000), PAGE)
    image = NO_IMAGE._replace(runs=(run,))
    ring = find_ring(PhysicalMemory(Filtered(pages, 0x100_0000)), image, run.vaddr, Budget())
    assert ring is not None
    assert ring.pointer == run.vaddr + 0x800
    assert ring.data == text.ljust(0x4000, b"\0")
    assert find_ring(memory_of(pages), image, run.vaddr, Budget()) is None


@pytest.mark.parametrize("counted", [True, False])
def test_text_behind_the_newest_line_is_not_the_consoles(*, counted: bool) -> None:
    # the ring is not cleared before use: GRUB's strings stood in a real one
    text = b"(XEN) one\n(XEN) two\n"
    ring = (text + b"rmal\nhalt: extcmd acpi\n").ljust(0x4000, b"\0")
    data = bytearray(PAGE)
    if counted:
        struct.pack_into("<II", data, 0x400, len(text), 0)
    image = NO_IMAGE._replace(runs=(Run(Vaddr(0xFFFF_82D0_4020_0000), Maddr(0x10_0000), PAGE),))
    memory = memory_of({0x100: bytes(data)})
    console = read_console(memory, image, Ring(None, Maddr(0), ring))
    assert console.lines == (b"(XEN) one", b"(XEN) two")
    assert ("conringp" in console.basis) is counted


@pytest.mark.parametrize(
    ("lines", "panic", "cpu"),
    [
        (
            [
                b"(XEN) RIP:    e008:[<ffff82d040314416>] f+0x12/0x20",
                b"(XEN) Panic on CPU 3:",
                b"(XEN) FATAL TRAP: vec 2, NMI[0000]",
                b"(XEN) ****************************************",
                b"(XEN) Executing kexec image on cpu3",
            ],
            b"FATAL TRAP: vec 2, NMI[0000]",
            3,
        ),
        ([b"(XEN) Domain 0 crashed: Executing crash image on cpu 1"], b"Domain 0 crashed", 1),
        (
            [b"(XEN) [2026-11-24 03:46:00.123] Hardware Dom0 crashed: x"],
            b"Hardware Dom0 crashed",
            None,
        ),
        (
            [
                b"(XEN) [0000001234abcdef] Hardware Dom7 shutdown: watchdog rebooting machine",
                b"(XEN) [0000001234abcdf0] Executing kexec image on cpu2",
            ],
            b"Hardware Dom7 shutdown: watchdog",
            2,
        ),
        ([b"(XEN) Domain 3 (vcpu#0) crashed on cpu#1:"], None, None),
        ([b"(d1) Hardware Dom0 crashed: said by a guest"], None, None),
        ([b"(XEN) nothing happened"], None, None),
        ([b"(XEN) Executing kexec image on cpu0"], b"Executing kexec image", 0),
    ],
)
def test_headline_and_cpu(lines: list[bytes], panic: bytes | None, cpu: int | None) -> None:
    told = read_crash_text(lines)
    assert told.cpu == cpu
    assert (told.panic is None) == (panic is None)
    assert (told.panic or "").startswith((panic or b"").decode())
    assert told.rip == (0xFFFF82D040314416 if cpu == 3 else None)


STARS = b"(XEN) ****************************************"


@pytest.mark.parametrize(
    ("before", "message", "panic"),
    [
        (
            b"Watchdog timer detects that CPU3 is stuck!",
            b"FATAL TRAP: vector = 2 (nmi)",
            "Watchdog timer detects that CPU3 is stuck! - FATAL TRAP: vector = 2 (nmi)",
        ),
        (b"NMI - MEMORY ERROR", b"FATAL TRAP: vec 2, NMI[0000]", "NMI - MEMORY ERROR - FATAL TRAP"),
        (
            b"Fatal machine check: MCE: No CPU to recover",
            b"HARDWARE ERROR",
            "Fatal machine check: MCE: No CPU to recover - HARDWARE ERROR",
        ),
        (
            b"Xen stack overflow (dumping trace ffff8300cfdf6fa8-ffff8300cfdf7000):",
            b"DOUBLE FAULT -- system shutdown",
            "Xen stack overflow - DOUBLE FAULT -- system shutdown",
        ),
        (
            b"No stack overflow detected. Skipping stack trace.",
            b"DOUBLE FAULT -- system shutdown",
            "No stack overflow detected - DOUBLE FAULT -- system shutdown",
        ),
        (b"Xen BUG at common/x.c:12", b"Xen BUG at common/x.c:12", "Xen BUG at common/x.c:12"),
        (
            b"Assertion '!in_irq()' failed at common/x.c:7",
            b"Assertion '!in_irq()' failed at common/x.c:7",
            "Assertion '!in_irq()' failed at common/x.c:7",
        ),
        (b"Watchdog timer detects that CPU3 is stuck!", b"out of memory", "out of memory"),
        # said of an NMI that the host survived
        (
            b"Uhhuh. NMI received for unknown reason 3d.",
            b"FATAL TRAP: vector = 6 (invalid opcode)",
            "FATAL TRAP: vector = 6 (invalid opcode)",
        ),
        (
            b"Fatal machine check: x",
            b"FATAL TRAP: vector = 18 (machine check)",
            "Fatal machine check: x - FATAL TRAP: vector = 18 (machine check)",
        ),
    ],
)
def test_headline_says_what_a_trap_was(before: bytes, message: bytes, panic: str) -> None:
    lines = [b"(XEN) " + before, *[b"(XEN) CPU4 @ e008:ffff82d08022bc40 (f+0x1/0x2)"] * 300]
    lines += [STARS, b"(XEN) Panic on CPU 3:", b"(XEN) " + message, STARS]
    assert (read_crash_text(lines).panic or "").startswith(panic)
    # of an earlier crash, or said by a guest
    for not_ours in ([b"(XEN) " + before, b"(XEN) Panic on CPU 0:", STARS], [b"(d1) " + before]):
        found = read_crash_text([*not_ours, *lines[-3:]]).panic
        assert found == message.decode()


def test_function_of_the_registers_stands_where_no_trace_was_printed() -> None:
    lines = [
        b"(XEN) RIP:    e033:[<ffffffff81001234>] guest+0x1/0x2",
        b"(XEN) RIP:    e008:[<ffff82d08023c0a0>] common/spinlock.c#_spin_lock+0x40/0x70",
        b"(XEN) Panic on CPU 3:",
    ]
    assert read_trace(lines).frames == ("_spin_lock",)
    assert read_trace([lines[0], lines[2]]).frames == ()


def test_trace_of_an_overflown_stack_is_one() -> None:
    lines = [
        b"(XEN) *** DOUBLE FAULT ***",
        b"(XEN) Xen stack overflow (dumping trace ffff8300cfdf6fa8-ffff8300cfdf7000):",
        b"(XEN)    [<ffff82d04031fd4f>] common/a.c#deep+0x29/0xc1",
        b"(XEN)    [<ffff82d04031fe4f>] deeper+0x29/0xc1",
        b"(XEN) ",
        b"(XEN) Panic on CPU 3:",
    ]
    assert read_trace(lines).frames == ("deep", "deeper")


def test_where_the_hypervisor_faulted_is_not_what_was_printed_for_others() -> None:
    before = [
        b"(XEN) CPU:    1",
        b"(XEN) RIP:    e008:[<ffff82d040111111>] warned()",
        b"(XEN) CPU:    0",
        b"(XEN) RIP:    e033:[<ffffffff81001234>]",
    ]
    panic = [b"(XEN) Panic on CPU 0:", b"(XEN) no memory", b"(XEN) *****"]
    assert read_crash_text([*before, *panic]).rip is None
    own = [b"(XEN) CPU:    0", b"(XEN) RIP:    e008:[<ffff82d040222222>] f()"]
    assert read_crash_text([*own, *before, *panic]).rip == 0xFFFF82D040222222


def test_signature_has_no_addresses_and_cpus() -> None:
    one = normalised("Xen BUG at x.c:12, CPU 3 pid 77 d1v0 ffff82d040314416 0x1234")
    two = normalised("Xen BUG at x.c:12, CPU 0 pid 9 d2v1 ffff82d040000000 0x99")
    assert one == two
    assert normalised("bad mfn 1a2b of it") == normalised("bad mfn=77 of it").replace("=", " ")
    assert normalised("FATAL TRAP: vec 2") != normalised("FATAL TRAP: vec 6")


# --- damaged lists ----------------------------------------------------------------------------


def damaged(change: dict[int, bytes]) -> Host:
    """The two-domu sample with other bytes at machine addresses."""
    data = bytearray((SAMPLES / "xen-4.17-two-domus/vmcore").read_bytes())
    with read_vmcore(BytesSource(bytes(data))) as vmcore:
        for maddr, value in change.items():
            place = vmcore.memory.where_is(maddr)
            assert place is not None
            at = place.offset
            data[at : at + len(value)] = value
    return locate(read_vmcore(BytesSource(bytes(data)))).host()


def list_places() -> tuple[int, list[Maddr], int]:
    """Machine addresses of domain_list and of each next_in_list, and the first pointer."""
    with open_vmcore(SAMPLES / "xen-4.17-two-domus/vmcore") as vmcore:
        host = locate(vmcore).host()
        assert host.space is not None
        assert host.vmcoreinfo is not None
        head = host.vmcoreinfo.symbol("domain_list")
        offset = host.vmcoreinfo.offset("domain.next_in_list")
        assert head is not None
        assert offset is not None
        nexts = [host.space.maddr(one.vaddr + offset) for one in host.domains]
        return host.space.maddr(head), nexts, host.domains[0].vaddr


def word(value: int) -> bytes:
    return struct.pack("<Q", value)


def test_damaged_domain_lists_end_with_a_reason() -> None:
    head, nexts, first = list_places()
    loop = damaged({nexts[1]: word(first)}).domain_list
    assert [one.id for one in loop.domains] == [0, 1]
    assert "leads back" in loop.trouble
    wild = damaged({nexts[0]: word(0x4141414141414141)}).domain_list
    assert len(wild.domains) == 1
    assert "no struct domain" in wild.trouble
    gone = damaged({nexts[2]: word(first + 0x4000_0000)}).domain_list
    assert len(gone.domains) == 3
    assert gone.trouble
    itself = damaged({head: word(first), nexts[0]: word(first)}).domain_list
    assert len(itself.domains) == 1
    with open_vmcore(SAMPLES / "xen-4.17-two-domus/vmcore") as vmcore:
        host = locate(vmcore).host()
        assert host.vmcoreinfo is not None
        own_address = host.vmcoreinfo.symbol("domain_list")
        second = host.domains[1].vaddr
    assert own_address is not None
    at_itself = damaged({head: word(own_address)}).domain_list
    assert at_itself.domains == ()
    assert "no struct domain" in at_itself.trouble
    downwards = damaged({head: word(second), nexts[1]: word(first)}).domain_list
    assert [one.id for one in downwards.domains] == [1]
    assert "id 0 has no place there" in downwards.trouble


def test_owner_is_found_where_xen_tells_a_wrong_offset() -> None:
    # Xen 3.4 to 4.0.1 name the member before it
    path = SAMPLES / "xen-4.17-two-domus/vmcore"
    with open_vmcore(path) as vmcore:
        host = locate(vmcore).host()
        assert host.vmcoreinfo is not None
        right = f"OFFSET(page_info._domain)={host.vmcoreinfo.offset('page_info._domain')}"
        true = host.domains
        uses = host.cpus
    data = path.read_bytes()
    assert right.encode() in data
    wrong = f"OFFSET(page_info._domain)={16:0{len(right) - 26}}".encode()
    host = locate(read_vmcore(BytesSource(data.replace(right.encode(), wrong)))).host()
    assert host.domains == true
    assert host.cpus == uses


@given(st.binary(min_size=8, max_size=64), st.integers(0, 2000))
def test_garbage_in_struct_domain(garbage: bytes, at: int) -> None:
    _, nexts, _ = list_places()
    host = damaged({(nexts[0] & -PAGE) + at: garbage})
    assert len(host.domains) <= 3
    assert host.cpus
    for domain in host.domains:
        list(host.roots(domain))


def test_finding_for_a_p2m_tree_of_garbage() -> None:
    with open_vmcore(SAMPLES / "xen-4.17-two-domus/vmcore") as vmcore:
        host = locate(vmcore).host()
        shared = host.domains[0].shared_info
        assert shared is not None
        assert not any(host.p2m_trouble(domain) for domain in host.domains)
        others = host.domains[1].shared_info
        assert others is not None
    garbage = damaged({shared.maddr + 0xC18: word(others.maddr // PAGE)})
    assert f"mfn {others.maddr // PAGE:#x}, no page of the domain" in garbage.p2m_trouble(
        garbage.domains[0]
    )
    found = {one.code for one in inspect_vmcore(garbage.vmcore).findings}
    assert {"p2m-damaged", "dom0-p2m-disputed"} <= found


def test_finding_for_a_list_that_leads_nowhere() -> None:
    head, _, _ = list_places()
    vmcore = damaged({head: word(0x4141414141414141)}).vmcore
    inspection = inspect_vmcore(vmcore)
    assert inspection.domains == ()
    assert "domain-list-damaged" in [one.code for one in inspection.findings]


def test_finding_for_a_list_that_ends_early() -> None:
    _, nexts, first = list_places()
    data = damaged({nexts[1]: word(first)}).vmcore
    found = [one.code for one in inspect_vmcore(data).findings]
    assert "domain-list-damaged" in found


# --- shared info -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [8, 4])
def test_shared_info_of_both_widths(size: int) -> None:
    page = bytearray(PAGE)
    clock, arch = (0xC00, 0xC10) if size == 8 else (0x900, 0x90C)
    struct.pack_into("<3I", page, clock, 8, 1_795_000_000, 999_999_999)
    struct.pack_into("<2Q" if size == 8 else "<2I", page, arch, 0x1000, 0x2222)
    told = parse_shared_info(bytes(page), Maddr(0x5000))
    assert told is not None
    assert (told.word_size, told.max_pfn, told.frame_list_list) == (size, 0x1000, 0x2222)
    struct.pack_into("<I", page, clock, 7)  # being written
    assert parse_shared_info(bytes(page), Maddr(0)) is None
    assert parse_shared_info(bytes(PAGE), Maddr(0)) is None
    assert parse_shared_info(b"\xff" * PAGE, Maddr(0)) is None


# --- Linux ------------------------------------------------------------------------------------


def vmcoreinfo(text: str) -> Any:
    note = Note(owner="VMCOREINFO", type=0, desc=text.encode(), offset=0, desc_offset=0)  # type: ignore[arg-type]
    return parse_vmcoreinfo(note)


def reader(blocks: dict[int, bytes]) -> Any:
    def read(vaddr: int, size: int) -> bytes:
        for start, block in blocks.items():
            if start <= vaddr and vaddr + size <= start + len(block):
                return block[vaddr - start : vaddr - start + size]
        raise MemoryFault(Maddr(vaddr))

    return read


def test_byte_ring_of_before_3_5() -> None:
    info = vmcoreinfo(
        "SYMBOL(log_buf)=100\nSYMBOL(log_buf_len)=108\nSYMBOL(log_end)=10c\nSYMBOL(logged_chars)=110\n"
    )
    head = struct.pack("<QIII", 0x1000, 16, 21, 16)
    blocks = {0x100: head, 0x1000: b"two\nthree\n<6>old"}
    assert list(log_lines(info, reader(blocks))) == [b"oldtwo", b"t"]
    short = vmcoreinfo(
        "SYMBOL(log_buf)=100\nSYMBOL(log_buf_len)=104\nSYMBOL(log_end)=108\nSYMBOL(logged_chars)=10c\n"
    )
    blocks[0x100] = struct.pack("<IIII", 0x1000, 16, 21, 16)
    assert list(log_lines(short, reader(blocks), 4)) == [b"oldtwo", b"t"]
    blocks[0x1000] = b"abc\n".ljust(16, b"\0")
    blocks[0x100] = struct.pack("<QIII", 0x1000, 16, 4, 4)
    assert list(log_lines(info, reader(blocks))) == [b"abc"]


@pytest.mark.parametrize(("word_size", "letter"), [(8, "Q"), (4, "I")])
def test_ring_of_both_widths(word_size: int, letter: str) -> None:
    keys = "SYMBOL(prb)=100\nSIZE(prb_desc)={desc}\nSIZE(printk_info)=16\n"
    keys += "OFFSET(printk_ringbuffer.desc_ring)=0\nOFFSET(printk_ringbuffer.text_data_ring)=64\n"
    keys += "OFFSET(prb_desc_ring.count_bits)=0\nOFFSET(prb_desc_ring.descs)=8\n"
    keys += "OFFSET(prb_desc_ring.infos)=16\nOFFSET(prb_desc_ring.head_id)=24\n"
    keys += "OFFSET(prb_desc_ring.tail_id)=32\nOFFSET(prb_data_ring.size_bits)=0\n"
    keys += "OFFSET(prb_data_ring.data)=8\nOFFSET(atomic_long_t.counter)=0\n"
    keys += "OFFSET(prb_desc.state_var)=0\nOFFSET(prb_desc.text_blk_lpos)={word}\n"
    keys += "OFFSET(prb_data_blk_lpos.begin)=0\nOFFSET(prb_data_blk_lpos.next)={word}\n"
    keys += "OFFSET(printk_info.ts_nsec)=0\nOFFSET(printk_info.text_len)=8\n"
    info = vmcoreinfo(keys.format(desc=3 * word_size, word=word_size))
    bits = 8 * word_size
    newest = (1 << bits - 2) - 1  # ids count from just before they wrap
    ring = bytearray(128)
    for at, value in ((0, 1), (8, 0x1000), (16, 0x2000), (24, newest), (32, newest - 1)):
        struct.pack_into(f"<{letter}", ring, at, value)
    struct.pack_into("<I", ring, 64, 6)
    struct.pack_into(f"<{letter}", ring, 72, 0x3000)
    descs = bytearray(6 * word_size)
    data = bytearray(64)
    for number, start, text in ((newest - 1, 0, b"one"), (newest, 32, b"two")):
        state = 2 << bits - 2 | number
        values = (state, start, start + 16)
        struct.pack_into(f"<3{letter}", descs, number % 2 * 3 * word_size, *values)
        data[start + word_size : start + word_size + 3] = text
    infos = struct.pack("<QHxxxxxx", 1_500_000, 3) * 2
    blocks = {
        0x100: struct.pack(f"<{letter}", 0x200),
        0x200: bytes(ring),
        0x1000: bytes(descs),
        0x2000: infos,
        0x3000: bytes(data),
    }
    assert list(log_lines(info, reader(blocks), word_size)) == [
        b"[    0.001500] one",
        b"[    0.001500] two",
    ]


def test_records_of_3_5_to_5_9() -> None:
    keys = "SYMBOL(log_buf)=100\nSYMBOL(log_buf_len)=108\nSYMBOL(log_first_idx)=10c\n"
    keys += "SYMBOL(log_next_idx)=110\nSIZE(printk_log)=16\nOFFSET(printk_log.ts_nsec)=0\n"
    keys += "OFFSET(printk_log.len)=8\nOFFSET(printk_log.text_len)=10\n"

    def record(stamp: int, text: bytes) -> bytes:
        length = 16 + len(text) + -len(text) % 8
        return (struct.pack("<QHHHBB", stamp, length, len(text), 0, 0, 0) + text).ljust(
            length, b"\0"
        )

    second = record(3_000_001_000, b"second\nline")
    first = record(1_500_000, b"first")
    data = (second.ljust(64, b"\0") + first + bytes(16)).ljust(128, b"\0")
    blocks = {0x100: struct.pack("<QIII", 0x1000, 128, 64, len(second)), 0x1000: data}
    assert list(log_lines(vmcoreinfo(keys), reader(blocks))) == [
        b"[    0.001500] first",
        b"[    3.000001] second",
        b"[    3.000001] line",
    ]
    # a record of length 0 everywhere must not turn for ever
    blocks[0x1000] = bytes(128)
    assert list(log_lines(vmcoreinfo(keys), reader(blocks))) == []


@given(st.binary(min_size=128, max_size=128), st.integers(0, 200), st.integers(0, 200))
def test_garbage_records_end(data: bytes, first: int, following: int) -> None:
    keys = "SYMBOL(log_buf)=100\nSYMBOL(log_buf_len)=108\nSYMBOL(log_first_idx)=10c\n"
    keys += "SYMBOL(log_next_idx)=110\nSIZE(log)=16\nOFFSET(log.ts_nsec)=0\nOFFSET(log.len)=8\n"
    keys += "OFFSET(log.text_len)=10\n"
    blocks = {0x100: struct.pack("<QIII", 0x1000, 128, first, following), 0x1000: data}
    assert len(list(log_lines(vmcoreinfo(keys), reader(blocks)))) < 2000


def test_log_that_nothing_describes() -> None:
    with pytest.raises(LogError, match="names no log"):
        list(log_lines(vmcoreinfo("OSRELEASE=6.1\n"), reader({})))
    with pytest.raises(LogError, match="lacks"):
        list(log_lines(vmcoreinfo("SYMBOL(prb)=100\n"), reader({0x100: bytes(64)})))
    with pytest.raises(LogError, match="not in the dump"):
        list(log_lines(vmcoreinfo("SYMBOL(prb)=100\n"), reader({})))


def note_page(release: str) -> bytes:
    text = f"OSRELEASE={release}\nPAGESIZE=4096\n".encode()
    header = struct.pack("<III", 11, len(text), 0) + b"VMCOREINFO\0\0"
    return (header + text).ljust(PAGE, b"\0")


@pytest.mark.parametrize("backwards", [False, True])
def test_search_finds_whole_notes_only(*, backwards: bool) -> None:
    pages = {
        3: note_page("6.1"),
        9: note_page("5.4")[:24].ljust(PAGE, b"\0"),  # a header without a text
        20: b"x" * 100 + b"VMCOREINFO\0\0OSRELEASE=%s\n".ljust(PAGE - 100, b"\0"),
        33: note_page("4.19"),
    }
    found = list(search_vmcoreinfo(memory_of(pages), Budget(), backwards=backwards))
    releases = ["6.1", "4.19"]
    assert [one.info.entries["OSRELEASE"] for one in found] == (
        releases[::-1] if backwards else releases
    )


def test_memory_that_was_counted_in_part_is_said_so() -> None:
    done = run("domains", "--json", SAMPLES / "xen-4.17-pv-and-pvh/vmcore")
    rows = json.loads(done.stdout)
    assert not any(row["memory_pages_exact"] for row in rows)
    assert {row["memory_pages"] for row in rows if not row["memory_pages"]} <= {None}
    assert "too low" in done.stderr


def test_guest_with_the_kernel_of_another_is_recognised_and_no_other() -> None:
    same = kernel_page("6.1.0-1-amd64", b"\x11" * 20)
    root, pages = kernel_tables(0x100, same)
    others = {
        0x200: same,
        0x300: kernel_page("6.1.0-1-amd64", b"\x22" * 20),
        0x400: kernel_page("6.1.0-2-amd64", b"\x11" * 20),
    }
    for first, content in others.items():
        pages |= kernel_tables(first, content)[1]
    memory = memory_of(pages)
    dom0 = find_kernel(memory, root)
    assert dom0 is not None
    assert (dom0.release, dom0.build_id) == ("6.1.0-1-amd64", "11" * 20)
    for first in others:
        alone = find_kernel(memory, Maddr(first << 12))
        assert find_kernel(memory, Maddr(first << 12), (dom0,)) == alone
        assert (alone == dom0) == (first == 0x200)


RING = 0x4000
COUNTERS = 0xFFFF_82D0_4040_0000


def ring_after(history: bytes) -> bytes:
    ring = bytearray(RING)
    for at, byte in enumerate(history[-RING:], max(len(history) - RING, 0)):
        ring[at % RING] = byte
    return bytes(ring)


def console_after(history: bytes, *, counted: bool, decoy: bool = False) -> Console:
    """What is read of a ring that this was written to; the counters lie behind the pointer."""
    page = bytearray(PAGE)
    written = len(history)
    if counted:
        struct.pack_into("<II", page, 0x400, written, max(written - RING, 0))
    constants = bytearray(PAGE)
    if decoy:  # read-only data before the pointer that looks like other counters
        struct.pack_into("<II", constants, 0x100, written + 77, max(written + 77 - RING, 0))
    run = Run(Vaddr(COUNTERS - PAGE), Maddr(0x10_0000), 2 * PAGE)
    memory = memory_of({0x100: bytes(constants), 0x101: bytes(page)})
    ring = Ring(Vaddr(COUNTERS), Maddr(0), ring_after(history))
    return read_console(memory, NO_IMAGE._replace(runs=(run,)), ring)


LINE = st.builds(
    lambda who, text: who + text.encode() + b"\n",
    st.sampled_from([b"(XEN) ", b"(XEN) [2026-11-24 03:46:00] ", b"(d1) "]),
    st.text("abc 0123:", min_size=20, max_size=60),
)


def oldest_whole_line_first(history: bytes) -> bytes:
    kept = history[-RING:]
    return kept if kept.startswith((b"(XEN) ", b"(d")) else kept[kept.find(b"\n") + 1 :]


class TestWrappedRing:
    """The hypervisor's console ring, oldest complete line first."""

    @given(st.lists(LINE, min_size=3, max_size=9), st.integers(0, 400), st.sampled_from([1, 0]))
    def test_newest_line_is_last_wherever_the_buffer_ends(
        self, lines: list[bytes], more: int, counted: int
    ) -> None:
        few = b"".join(lines)
        history = b"(XEN) " + b"x" * more + b"\n" + few * (2 * RING // len(few))
        console = console_after(history, counted=bool(counted), decoy=bool(counted))
        assert console.wrapped
        if counted or "could not be told" not in console.basis:
            assert console.text == oldest_whole_line_first(history)

    @pytest.mark.parametrize("split", range(1, 6))
    @pytest.mark.parametrize("counted", [True, False])
    def test_prefix_across_the_buffers_end(self, split: int, *, counted: bool) -> None:
        lines = [b"(XEN) %05d %s\n" % (number, b"y" * 54) for number in range(400)]
        first = (RING - split - 300 * len(lines[0])) % RING
        history = b"(XEN) ".ljust(first - 1, b"z") + b"\n" + b"".join(lines)
        at = first + 300 * len(lines[0])
        assert (history[at : at + 6], at % RING) == (b"(XEN) ", RING - split)
        console = console_after(history, counted=counted)
        assert console.text == oldest_whole_line_first(history)

    def test_newest_line_that_ends_where_an_old_one_starts(self) -> None:
        history = b"".join(b"(XEN) %05d %s\n" % (number, b"y" * 51) for number in range(600))
        assert RING % 64 == 0
        assert console_after(history, counted=True).text == history[-RING:]
        assert "could not be told" in console_after(history, counted=False).basis


def test_holes_of_the_machine_are_not_missing_from_the_count() -> None:
    # a frame table of 32-byte entries whose second page is not mapped, and whose third is not there
    class Space:
        def read(self, vaddr: int, size: int) -> bytes:
            page = vaddr >> 12
            if page == 1:
                raise TranslationFault(
                    Vaddr(vaddr), level=1, table=Maddr(0), index=0, entry=0, reason="not present"
                )
            if page == 2 or (vaddr + size - 1) >> 12 != page:
                raise MemoryFault(Maddr(vaddr))
            return bytes(size)

    table = FrameTable(Space(), 0, 32, 0)  # type: ignore[arg-type]
    each = PAGE // 32
    assert table.count(2 * each) == ({}, 0)
    assert table.count(3 * each) == ({}, each)


def test_frames_beyond_the_limit_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    with patch("vmcoretool.cli.domains.MAX_COUNTED", 1 << 17):
        code = run_here(["domains", str(SAMPLES / "xen-4.17-pv-and-pvh/vmcore")])
    assert code == 0  # what was left out is no fault of the dump
    assert "only the first" in capsys.readouterr().err


def test_tabs_of_a_log_are_tabs() -> None:
    assert log_line(b"rcu: \tRCU\x1b[2J") == "rcu: \tRCU\\x1b[2J"


def test_virtual_cpu_that_was_damaged_is_missed(tmp_path: Path) -> None:
    data = bytearray((SAMPLES / "xen-4.17-dom0-panic/vmcore").read_bytes())
    host = locate(open_bytes(bytes(data))).host()
    (dom0,) = host.domains
    assert (dom0.max_vcpus, len(dom0.vcpus)) == (2, 2)
    assert host.space is not None
    page = host.space.read(dom0.vcpus[1].vaddr, 64)
    at = data.index(page)
    data[at : at + 64] = bytes(64)
    damaged = tmp_path / "vmcore"
    damaged.write_bytes(data)
    done = run("domains", damaged)
    assert done.returncode == 1
    assert "domain 0: 1 of its 2 virtual CPUs were found" in done.stderr


def test_banner_that_a_piece_cuts_is_whole() -> None:
    banner = b"Linux version 6.1.0-1-amd64 (builder@host) #1 SMP\n"
    size = 1 << 20
    image = bytearray(size)
    border = size // 2
    image[border - 30 : border - 30 + len(banner)] = banner
    notes = kernel_notes(b"\x11" * 20)
    image[border + 600 : border + 600 + len(notes)] = notes
    root, pages = kernel_tables(0x100, bytes(image))
    found = find_kernel(PhysicalMemory(Runs(pages)), root)
    assert found is not None
    assert found.banner == banner.decode().strip()
    assert found.build_id == "11" * 20


def test_word_in_brackets_is_no_guests_line() -> None:
    lines = [b"(XEN) Xen version 4.17 %05d (debian-kernel@x) debug=n\n" % n for n in range(500)]
    history = b"".join(lines)
    cut = history[-RING:]
    start = cut.find(b"(debian")
    console = console_after(history + b"(XEN) " + b"z" * (start - 7) + b"\n", counted=True)
    assert console.lines[0].startswith(b"(XEN) ")
