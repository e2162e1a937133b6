"""Built hosts for what no real dump at hand shows: each layout without notes, stale and nested
images, other architectures, scans that are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.builders import notes, pae_host
from tests.builders.elf_core import ElfCore, Load
from tests.builders.memory import PAGE
from tests.builders.xen_host import L2_DIRECT, L2_WINDOW, XenHost
from tests.support import ROOT, BytesSource, inspect_bytes, open_bytes, tool
from vmcoretool import Inspection, TruncatedError, inspect_vmcore, open_vmcore
from vmcoretool.budget import Budget
from vmcoretool.cli.exits import exit_code
from vmcoretool.vmcore import read_vmcore
from vmcoretool.xen.image.layouts import DIRECTMAPS, LAYOUTS

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = ROOT / "samples/xen-4.17-dom0-panic/vmcore"
STARTS = [layout.virt_start for layout in LAYOUTS]


def outcome(inspection: Inspection) -> tuple[str, int | None]:
    return inspection.verdict.status, inspection.verdict.xen_phys_start


def codes(inspection: Inspection) -> list[str]:
    return [found.code for found in inspection.findings]


def sources(inspection: Inspection, strength: str = "derived") -> list[str]:
    return [one.source for one in inspection.verdict.evidence if one.strength == strength]


@pytest.mark.parametrize("start", STARTS, ids=hex)
@pytest.mark.parametrize("directmap", [row.start for row in DIRECTMAPS], ids=hex)
@pytest.mark.parametrize("small", [False, True])
def test_every_layout_is_recovered_without_any_note(
    start: int, directmap: int, *, small: bool
) -> None:
    host = XenHost(virt_start=start, directmap=directmap, small_pages=small)
    inspection = inspect_bytes(host.build(b""))
    assert outcome(inspection) == ("verified", host.base)
    assert inspection.kind == "xen-host"
    assert sources(inspection) == ["memory-scan"]
    assert inspection.idle_page_table is not None
    assert inspection.idle_page_table.maddr == host.idle
    assert inspection.commands[0].requires_option
    assert inspection.xen is not None
    assert inspection.xen.directmap is not None
    assert inspection.xen.directmap.start == directmap
    assert ("directmap-unusual" in codes(inspection)) == (directmap != DIRECTMAPS[0].start)


def test_no_scan_leaves_it_unknown_and_says_why() -> None:
    host = XenHost()
    inspection = inspect_vmcore(open_bytes(host.build(b"")), scan="never")
    assert outcome(inspection)[0] == "unknown"
    reasons = {one.source: one.reason for one in inspection.verdict.silent}
    assert reasons["memory-scan"] == reasons["candidate-scan"] == "--no-scan given"


def test_scan_always_adds_evidence_and_changes_nothing() -> None:
    host = XenHost()
    inspection = inspect_vmcore(open_bytes(host.build()), scan="always")
    assert outcome(inspection) == ("verified", host.base)
    assert sources(inspection) == [
        "page-tables",
        "idle-page-table",
        "candidate-scan",
        "memory-scan",
    ]


def test_strings_alone_lead_to_the_idle_table() -> None:
    # no cr3, no word 8: the candidates below the strings put pgd_l4 where it proves itself
    host = XenHost()
    inspection = inspect_bytes(host.build(host.note_blob(words=9, cr3=False)))
    assert outcome(inspection) == ("verified", host.base)
    assert sources(inspection) == ["idle-page-table"]
    assert sources(inspection, "suggested") == ["string-pointers", "registers"]


def test_pgd_l4_alone_is_enough_for_the_candidate_scan() -> None:
    host = XenHost()
    inspection = inspect_bytes(host.build(notes.vmcoreinfo_xen(host.pgd_l4)))
    assert outcome(inspection) == ("verified", host.base)
    assert sources(inspection) == ["candidate-scan"]


def test_unproven_candidates_are_listed() -> None:
    host = XenHost()
    del host.pages[host.root]
    del host.pages[host.idle]
    inspection = inspect_bytes(host.build(host.note_blob(words=9)))
    assert outcome(inspection) == ("unknown", None)
    listed = [one.xen_phys_start for one in inspection.verdict.evidence]
    assert len(listed) == 8
    assert host.base in listed
    assert exit_code(inspection) == 1


@pytest.mark.parametrize("stale", [0x4000000, 0x0])
def test_stale_copy_that_refers_to_itself_is_resolved_by_cr3(stale: int) -> None:
    host = XenHost()
    host.write_image(stale, self_reference=True)
    inspection = inspect_vmcore(open_bytes(host.build(host.note_blob(words=9))), scan="always")
    assert outcome(inspection) == ("verified", host.base)
    assert {one.xen_phys_start for one in inspection.verdict.contradicting} == {stale}


@pytest.mark.parametrize("stale", [0x4000000, 0x0])
def test_stale_copy_without_cr3_is_an_honest_dispute(stale: int) -> None:
    host = XenHost()
    host.write_image(stale, self_reference=True)
    inspection = inspect_bytes(host.build(b""))
    assert outcome(inspection) == ("disputed", None)
    assert {one.xen_phys_start for one in inspection.verdict.evidence} == {host.base, stale}
    assert all("other tables" in one.basis for one in inspection.verdict.evidence)
    assert exit_code(inspection) == 1
    assert not any(command.ready for command in inspection.commands)


@pytest.mark.parametrize("notes", [True, False])
def test_direct_map_in_the_windows_place_proves_no_base(notes: bool) -> None:  # noqa: FBT001
    # two tables in each other's place: the window then shows all memory from address 0 on
    host = XenHost(base=0x200000)
    window, direct = host.page(host.base + L2_WINDOW), host.page(host.base + L2_DIRECT)
    window[:], direct[:] = bytes(direct), bytes(window)
    verdict = inspect_bytes(host.build(host.note_blob(words=9) if notes else b"")).verdict
    assert (verdict.status, verdict.xen_phys_start) == ("unknown", None)


def test_stale_copy_without_self_reference_counts_for_nothing() -> None:
    host = XenHost()
    host.write_image(0x0, self_reference=False)
    assert outcome(inspect_bytes(host.build(b""))) == ("verified", host.base)


def test_guest_tables_refer_to_themselves_and_count_for_nothing() -> None:
    host = XenHost()
    for guest in range(0x30000000, 0x30000000 + 40 * PAGE, PAGE):
        table = bytearray(host.pages[host.root])
        table[258 * 8 : 258 * 8 + 8] = (guest | 0x63).to_bytes(8, "little")
        host.pages[guest] = table
    inspection = inspect_bytes(host.build(b""))
    assert outcome(inspection) == ("verified", host.base)
    assert "41 other tables" in inspection.verdict.evidence[0].basis


LINUX_NOTE = notes.note(b"VMCOREINFO", 0, b"OSRELEASE=6.1.0\nPAGESIZE=4096\n")


def test_nested_image_does_not_make_a_linux_dump_a_xen_host() -> None:
    host = XenHost()
    data = host.build(notes.prstatus() + LINUX_NOTE)
    inspection = inspect_vmcore(open_bytes(data), scan="always")
    assert inspection.kind == "linux"
    assert codes(inspection) == ["nested-xen-image"]
    assert exit_code(inspection) == 6


def test_linux_headers_are_not_searched_unasked() -> None:
    source = BytesSource(XenHost().build(notes.prstatus() + LINUX_NOTE))
    assert inspect_vmcore(read_vmcore(source)).kind == "linux"
    assert source.bytes_read < 200_000


def test_nested_image_where_the_cr3_leads_elsewhere() -> None:
    host = XenHost()
    host.pages[0x50000000] = bytearray(PAGE)
    data = host.build(notes.prstatus() + notes.qemu_cpu(0x50000000))
    assert inspect_bytes(data).kind == "unknown"
    inspection = inspect_vmcore(open_bytes(data), scan="always")
    assert (inspection.kind, codes(inspection)) == ("unknown", ["nested-xen-image"])
    assert exit_code(inspection) == 6


def test_qemu_dump_of_a_xen_host_has_no_xen_note() -> None:
    host = XenHost()
    blob = notes.prstatus(host.virt_start + 0x200123) + notes.qemu_cpu(host.root)
    inspection = inspect_bytes(host.build(blob))
    assert inspection.kind == "xen-host"
    assert outcome(inspection) == ("verified", host.base)


def test_linux_is_recognised_by_its_own_tables() -> None:
    # QEMU dump: the cr3 maps a kernel image whose banner says Linux
    banner = b"Linux version 6.1.0 (built)\n".ljust(PAGE, b"\0")
    level4, level3, level2 = bytearray(PAGE), bytearray(PAGE), bytearray(PAGE)
    level4[511 * 8 : 512 * 8] = (0x2001).to_bytes(8, "little")
    level3[510 * 8 : 511 * 8] = (0x3001).to_bytes(8, "little")
    level2[8 * 8 : 9 * 8] = (0x200000 | 0x81).to_bytes(8, "little")
    tables = bytes(level4 + level3 + level2)
    blob = notes.prstatus() + notes.qemu_cpu(0x1000)
    data = ElfCore([Load(0x1000, tables), Load(0x205000, banner)], [blob]).build()
    inspection = inspect_bytes(data)
    assert inspection.kind == "linux"
    assert exit_code(inspection) == 6


# --- other architectures ----------------------------------------------------------------------


@pytest.mark.parametrize("words", [8, 9, 10])
@pytest.mark.parametrize(("machine", "bits"), [(3, 32), (3, 64), (62, 32)])
def test_x86_32_is_not_relocatable(words: int, machine: int, bits: int) -> None:
    inspection = inspect_bytes(pae_host.build(words=words, machine=machine, bits=bits))
    assert outcome(inspection) == ("not-relocatable", None)
    assert inspection.commands[0].argv == ("crash", "xen-syms", "vmcore")
    assert not inspection.commands[0].requires_option
    idle = inspection.idle_page_table
    assert idle is not None
    assert (idle.maddr, idle.alias, idle.levels, idle.proven) == (pae_host.IDLE, "pgd_l3", 3, True)
    assert exit_code(inspection) == 0


def test_ia64_is_named_with_the_reason() -> None:
    blob = notes.crash_info([3, 2, 0, 0, 0, 0, 0, 0, 99])
    inspection = inspect_bytes(ElfCore([Load(0, b"x" * PAGE)], [blob], machine=50).build())
    assert outcome(inspection) == ("not-relocatable", None)
    assert "ia64" in inspection.verdict.evidence[0].basis
    assert "architecture-not-supported" in codes(inspection)


@pytest.mark.parametrize("machine", [183, 243, 9999])
def test_other_machines_are_no_xen_hosts(machine: int) -> None:
    data = ElfCore([Load(0, b"x" * PAGE)], [notes.prstatus()], machine=machine).build()
    assert exit_code(inspect_bytes(data)) == 6


# --- the boot log -----------------------------------------------------------------------------


def with_ring(host: XenHost, text: bytes) -> None:
    ring = 0x3000000
    data = text.ljust(16384, b"\0")
    for at in range(0, 16384, PAGE):
        host.pages[ring + at] = bytearray(data[at : at + PAGE])
    page = host.page(host.base + 0x45E000)
    page[0xD60:0xD64] = (16384).to_bytes(4, "little")
    page[0xD68:0xD70] = (host.directmap + ring).to_bytes(8, "little")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(XEN) Xen image load base address: 0x27800000\n", 0x27800000),
        ("(XEN) Xen image load base address: 0\n(XEN) x\n", None),
        (
            (
                "(XEN) Xen image load base address: 0x200000\n"
                "(XEN) New Xen image base address: 0x27800000\n"
            ),
            0x27800000,
        ),
        ("(XEN) [2026-11-23 09:00:00] New Xen image base address: 0x27800000\n", 0x27800000),
        ("(d1) New Xen image base address: 0x12345678\n(XEN) x\n", None),
        ("(d1) (XEN) New Xen image base address: 0x12345678\n(XEN) x\n", None),
    ],
)
def test_lines_of_the_boot_log(text: str, said: int | None) -> None:
    host = XenHost()
    with_ring(host, b"\n" + text.encode())
    inspection = inspect_bytes(host.build())
    found = [one for one in inspection.verdict.evidence if one.source == "boot-log"]
    assert [one.xen_phys_start for one in found] == ([] if said is None else [said])
    assert all(one.strength == "recorded" for one in found)


def test_forged_line_never_carries_proof() -> None:
    host = XenHost()
    with_ring(host, b"(XEN) New Xen image base address: 0x10000000\n")
    inspection = inspect_bytes(host.build())
    assert outcome(inspection) == ("disputed", host.base)


# --- scans that end early ---------------------------------------------------------------------


def test_caller_can_stop_a_scan() -> None:
    seen: list[tuple[str, int, int]] = []

    def watch(name: str, done: int, total: int) -> bool:
        seen.append((name, done, total))
        return False

    inspection = inspect_vmcore(open_bytes(XenHost().build(b""), Budget(watch=watch)))
    assert inspection.interrupted
    assert len(seen) == 1
    assert seen[0][:2] == ("memory-scan", 0)
    assert exit_code(inspection) == 130


def sparse_file(path: Path, size: int) -> None:
    """A note-less dump without any image, all of whose pages are stored."""
    with path.open("wb") as file:
        file.write(ElfCore([Load(0x1000, b"")], []).build()[:64])
        header = bytearray(64 + 56)
        header[:64] = ElfCore([Load(0, b"")], []).build()[:64]
        header[64:120] = b"".join(
            value.to_bytes(width, "little")
            for value, width in (
                *((1, 4), (7, 4), (4096, 8), (0, 8), (0, 8)),
                *((size, 8), (size, 8), (0, 8)),
            )
        )
        file.seek(0)
        file.write(header)
        file.seek(4096)
        block = b"\x01" * (1 << 20)
        for _ in range(size >> 20):
            file.write(block)


SLOW = """
import os, sys, time
pread = os.pread
def slow(fd, size, offset):
    time.sleep(0.05)
    return pread(fd, size, offset)
os.pread = slow
sys.path.insert(0, {root!r})
from vmcoretool.cli.entry import main
sys.argv = ["vmcoretool", "inspect", {path!r}]
main()
"""


def test_ctrl_c_prints_what_is_known_and_exits_130(tmp_path: Path) -> None:
    path = tmp_path / "big"
    sparse_file(path, 64 << 20)
    program = SLOW.format(root=str(ROOT), path=str(path))
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert b"memory dump" in out


def test_file_that_shrinks_under_the_scan_is_a_typed_error(tmp_path: Path) -> None:
    path = tmp_path / "big"
    sparse_file(path, 8 << 20)

    def watch(name: str, done: int, total: int) -> bool:
        del name, total
        if done:
            os.truncate(path, 1 << 20)
        return True

    budget = Budget(watch=watch)
    with (
        open_vmcore(path, budget=budget) as vmcore,
        pytest.raises(TruncatedError, match="shorter"),
    ):
        inspect_vmcore(vmcore)


def test_file_that_is_deleted_under_the_scan_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "big"
    sparse_file(path, 2 << 20)
    with open_vmcore(path) as vmcore:
        path.unlink()
        assert inspect_vmcore(vmcore).kind == "unknown"


def test_holes_of_a_sparse_file_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    host = XenHost()
    size = 1 << 34
    header = ElfCore([Load(0, b"")], []).build()[:64]
    fields = ((1, 4), (7, 4), (4096, 8), (0, 8), (0, 8), (size, 8), (size, 8), (0, 8))
    header += b"".join(value.to_bytes(width, "little") for value, width in fields)
    with path.open("wb") as file:
        file.write(header)
        for maddr, page in host.pages.items():
            file.seek(4096 + maddr)
            file.write(page)
        file.truncate(4096 + size)
    with open_vmcore(path) as vmcore:
        stored = sum(extent.end - extent.start for extent in vmcore.container.pages.stored())
        assert outcome(inspect_vmcore(vmcore)) == ("verified", host.base)
    assert stored < 64 << 20


@pytest.mark.parametrize("option", ["--scan", "--no-scan"])
def test_scan_options(option: str) -> None:
    arguments: list[Any] = ["inspect", "-q", option, SAMPLE]
    assert tool(*arguments).stdout == b"0x27800000 verified\n"
