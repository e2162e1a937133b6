"""Symbol files: which belongs to a dump, what they make exact, and what crash will make of them."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.builders import variants
from tests.builders.machine import with_memory
from tests.builders.symbol_file import symbol_file
from tests.support import ROOT, tool
from vmcoretool import MissingSymbolError, NamelistError, Places, inspect_vmcore, open_vmcore
from vmcoretool.budget import Budget
from vmcoretool.debuggers.crash_caveats import linux_caveats
from vmcoretool.debuggers.crash_program import CrashProgram
from vmcoretool.debuggers.session import Sessions
from vmcoretool.explain.causes import causes_of
from vmcoretool.explain.texts import ERROR_TEXTS, ErrorText, find_texts
from vmcoretool.inspection.inspect import locate
from vmcoretool.symbols.candidates import find_candidates
from vmcoretool.symbols.dwarf import members_of
from vmcoretool.symbols.file import open_namelist

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vmcoretool import CrashCommand, Inspection
    from vmcoretool.symbols.matching import Match

SAMPLE = ROOT / "samples/xen-4.17-dom0-panic/vmcore"
OLD = ROOT / "samples/xen-3.2-hypervisor-panic/vmcore"
GUESTS = ROOT / "samples/xen-4.17-two-domus/vmcore"
EFI = ROOT / "samples/xen-4.17-xen-efi/vmcore"
CODE = 0xFFFF82D040200000
NOWHERE = Places(standard=(), build_ids=())


class Truth(NamedTuple):
    """What a symbol file of the sample's hypervisor has, by the sample's own notes."""

    build_id: bytes
    symbols: dict[str, int]
    texts: dict[int, bytes]


def truth_of(sample: Path) -> Truth:
    with open_vmcore(sample) as vmcore:
        inspection = inspect_vmcore(vmcore, places=NOWHERE)
        host = locate(vmcore, places=NOWHERE).host()
        info, xen, image = vmcore.crash_info, inspection.xen, host.image
        assert info is not None
        assert xen is not None
        assert image is not None
        told = vmcore.vmcoreinfo_xen.symbols() if vmcore.vmcoreinfo_xen else {}
        idle = inspection.idle_page_table
        assert idle
        symbols: dict[str, int] = {"idle_pg_table": idle.vaddr}
        symbols |= {name: at for name, at in told.items() if name != "pgd_l4"}
        texts = {}
        for at in info.strings:
            vaddr, text = image.vaddr_of(at), vmcore.memory.read_c_string(at, 256)
            assert vaddr is not None
            assert text is not None
            if text:
                texts[int(vaddr)] = b"\0" + text + b"\0"
        texts = {at - 1: data for at, data in texts.items()}
        return Truth(bytes.fromhex(xen.build_id or ""), symbols, texts)


@pytest.fixture(scope="module")
def truth() -> Truth:
    return truth_of(SAMPLE)


def write(path: Path, data: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def xen_syms(truth: Truth, **other: Any) -> bytes:
    given: dict[str, Any] = {
        "code_at": CODE,
        "symbols": truth.symbols,
        "build_id": truth.build_id,
        "texts": truth.texts,
        "dwarf": 4,
    }
    return symbol_file(**given | other)


def inspected(sample: Path, **places: Any) -> Inspection:
    with open_vmcore(sample) as vmcore:
        return inspect_vmcore(vmcore, places=NOWHERE._replace(**places))


def only(inspection: Inspection) -> Match:
    (match,) = inspection.symbol_files.matches
    return match


def test_the_right_one_among_decoys(tmp_path: Path, truth: Truth) -> None:
    other = bytes(20)
    right = write(tmp_path / "d" / "xen-syms-4.17", xen_syms(truth))
    write(tmp_path / "d" / "a-renamed-copy", xen_syms(truth))
    write(tmp_path / "d" / "xen-syms-4.17.7", xen_syms(truth, build_id=other))
    write(tmp_path / "d" / "xen-syms-stripped", xen_syms(truth, symbols={}))
    write(tmp_path / "d" / "vmlinux", symbol_file(code_at=0xFFFFFFFF81000000, symbols={"x": 1}))
    inspection = inspected(SAMPLE, search=(str(tmp_path),))
    assert inspection.symbol_files.chosen["hypervisor"].candidate.path == right
    said = {
        one.candidate.path.rpartition("/")[2]: (one.match, " ".join(one.reasons))
        for one in inspection.symbol_files.matches
    }
    assert said["a-renamed-copy"][0] == "matches"
    assert said["xen-syms-4.17.7"][0] == "differs"
    assert "another build: its build-id is 00" in said["xen-syms-4.17.7"][1]
    assert "stripped" in said["xen-syms-stripped"][1]
    assert said["vmlinux"][0] != "matches"
    command = inspection.commands[0]
    assert command.argv[3] == right


def test_without_build_id_symbols_decide(tmp_path: Path, truth: Truth) -> None:
    path = write(tmp_path / "xen-syms", xen_syms(truth, build_id=None))
    match = only(inspected(SAMPLE, xen_syms=(path,)))
    assert match.match == "matches"
    assert "symbols of VMCOREINFO_XEN agree" in match.reasons[0]
    wrong = truth.symbols | {"domain_list": truth.symbols["domain_list"] + 8}
    path = write(tmp_path / "xen-syms", xen_syms(truth, build_id=None, symbols=wrong))
    match = only(inspected(SAMPLE, xen_syms=(path,)))
    assert match.match == "differs"
    assert "domain_list is at" in match.reasons[0]


@pytest.mark.parametrize("change", [0, 1])
def test_without_vmcoreinfo_strings_decide(tmp_path: Path, change: int) -> None:
    # Xen 3.2 has neither a build-id nor VMCOREINFO_XEN
    old = truth_of(OLD)
    texts = {at: bytes([*data[:2], data[2] ^ change, *data[3:]]) for at, data in old.texts.items()}
    data = symbol_file(code_at=0xFFFF828C80100000, symbols=old.symbols, texts=texts)
    match = only(inspected(OLD, xen_syms=(write(tmp_path / "xen-syms", data),)))
    assert match.match == ("differs" if change else "matches")
    assert ("strings of CRASH_INFO" in match.reasons[0]) is not bool(change)


def test_map_file_tells_symbols_but_opens_nothing(tmp_path: Path, truth: Truth) -> None:
    lines = "".join(f"{at:016x} D {name}\n" for name, at in sorted(truth.symbols.items()))
    path = write(tmp_path / "xen-syms.map", lines.encode())
    inspection = inspected(SAMPLE, xen_syms=(path,))
    assert only(inspection).match == "matches"
    assert not inspection.commands[0].ready
    assert any("is a map" in caveat for caveat in inspection.commands[0].caveats)


def test_static_symbols_of_maps_carry_their_file(tmp_path: Path) -> None:
    path = write(tmp_path / "m.map", b"ffff82d040463600 d setup.c#xen_phys_start\n")
    with open_namelist(path) as namelist:
        assert namelist.address("xen_phys_start") == 0xFFFF82D040463600


@pytest.mark.parametrize("pack", [gzip.compress])
def test_packed_file_matches_and_must_be_unpacked(tmp_path: Path, truth: Truth, pack: Any) -> None:
    path = write(tmp_path / "xen-syms.gz", pack(xen_syms(truth)))
    inspection = inspected(SAMPLE, xen_syms=(path,))
    assert only(inspection).match == "matches"
    assert f"unpack it first: gunzip -k {path}" in inspection.commands[0].caveats
    assert not inspection.commands[0].ready


def test_split_debug_file_needs_its_other_half(tmp_path: Path, truth: Truth) -> None:
    half = write(tmp_path / "xen-syms-4.17.debug", xen_syms(truth, split=True))
    command = inspected(SAMPLE, search=(str(tmp_path),)).commands[0]
    assert any("holds debugging data alone" in caveat for caveat in command.caveats)
    main = write(tmp_path / "xen-syms-4.17", xen_syms(truth, dwarf=None))
    command = inspected(SAMPLE, search=(str(tmp_path),)).commands[0]
    assert command.argv[-3:-1] == (main, half)
    assert not any("DWARF: crash" in caveat or "alone" in caveat for caveat in command.caveats)


def test_no_dwarf_is_told_with_crashs_own_words(tmp_path: Path, truth: Truth) -> None:
    path = write(tmp_path / "xen-syms", xen_syms(truth, dwarf=None))
    inspection = inspected(SAMPLE, xen_syms=(path,))
    caveats = " ".join(inspection.commands[0].caveats)
    assert 'crash will say "no debugging data available"' in caveats
    assert "xen-hypervisor-4.17-amd64-dbg" in caveats
    assert "namelist-no-dwarf" in [one.code for one in inspection.findings]


def test_xen_efi_is_pointed_at_its_own_file(tmp_path: Path, truth: Truth) -> None:
    path = write(tmp_path / "xen-syms", xen_syms(truth))
    inspection = inspected(EFI, xen_syms=(path,))
    assert "this host booted xen.efi; the file belongs to xen.gz" in only(inspection).reasons[0]
    assert any("efi.elf" in caveat for caveat in inspection.commands[0].caveats)
    assert inspection.xen
    guid = bytes.fromhex(inspection.xen.build_id or "")
    data = symbol_file(code_at=CODE, symbols=truth.symbols, codeview=guid, dwarf=4)
    path = write(tmp_path / "xen-4.17.efi.elf", data)
    inspection = inspected(EFI, xen_syms=(path,))
    assert only(inspection).match == "matches"
    assert inspection.commands[0].argv[3:5] == ("--hyper", path)


def test_namelist_sources_agree_with_the_page_tables(tmp_path: Path, truth: Truth) -> None:
    with open_vmcore(SAMPLE) as vmcore:
        inspection = inspect_vmcore(vmcore, places=NOWHERE)
        host = locate(vmcore, places=NOWHERE).host()
        assert inspection.xen
        assert host.image
        start = inspection.verdict.xen_phys_start
        assert start is not None
        # where the build-id's note stands in the dump's own memory
        note = _find(vmcore, host.image, bytes.fromhex(inspection.xen.build_id or "")) - 16
    symbols = truth.symbols | {"__note_gnu_build_id_start": note}
    path = write(tmp_path / "xen-syms", xen_syms(truth, symbols=symbols))
    said = {one.source: one for one in inspected(SAMPLE, xen_syms=(path,)).verdict.evidence}
    assert said["namelist-build-id"].xen_phys_start == start
    assert said["namelist-build-id"].strength == "derived"
    assert said["string-pointers"].xen_phys_start == start
    assert said["string-pointers"].strength == "recorded"


def _has(vmcore: Any, maddr: int) -> bool:
    return bool(vmcore.memory.read_some(maddr, 8))


def _find(vmcore: Any, image: Any, wanted: bytes) -> int:
    for run in image.runs:
        for offset in range(0, run.size, 4096):
            at = vmcore.memory.read_some(run.maddr + offset, 4096).find(wanted)
            if at >= 0:
                return int(run.vaddr + offset + at)
    raise AssertionError("the build-id is not in the image")


def silences(path: str) -> dict[str, str]:
    inspection = inspected(SAMPLE, xen_syms=(path,))
    assert inspection.verdict.status == "verified"
    return {one.source: one.reason for one in inspection.verdict.silent}


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (None, "has no symbol xen_phys_start, as up to Xen 3.1"),
        (0xFFFF82D050000000, "the variable at 0xffff82d050000000 is not in the dump"),
        ("zero", "holds 0x0, no address"),
    ],
)
def test_variable_that_tells_nothing_has_a_reason(
    tmp_path: Path, truth: Truth, at: Any, said: str
) -> None:
    place = truth.symbols["idle_pg_table"] + 8 if at == "zero" else at
    more = {} if place is None else {"xen_phys_start": place}
    path = write(tmp_path / "xen-syms", xen_syms(truth, symbols=truth.symbols | more))
    assert re.search(said, silences(path)["namelist-variable"])


def test_variable_tells_what_it_holds(tmp_path: Path, truth: Truth) -> None:
    with open_vmcore(SAMPLE) as vmcore:
        image = locate(vmcore, places=NOWHERE).host().image
        assert image
        run = image.runs[-1]
        offset = next(at for at in range(0, run.size, 4096) if not _has(vmcore, run.maddr + at))
        at, maddr = run.vaddr + offset, run.maddr + offset
        start = inspect_vmcore(vmcore, places=NOWHERE).verdict.xen_phys_start
    assert start is not None
    dump = tmp_path / "vmcore"
    dump.write_bytes(with_memory(SAMPLE.read_bytes(), (maddr, start.to_bytes(8, "little"))))
    symbols = truth.symbols | {"xen_phys_start": at}
    path = write(tmp_path / "xen-syms", xen_syms(truth, symbols=symbols))
    said = {one.source: one for one in inspected(dump, xen_syms=(path,)).verdict.evidence}
    assert said["namelist-variable"].xen_phys_start == start
    assert said["namelist-variable"].strength == "recorded"
    assert said["namelist-variable"].basis == (
        f"the variable at {at:#x} (maddr {maddr:#x}), by the symbols of {path}"
    )


def test_build_id_at_another_place_has_a_reason(tmp_path: Path, truth: Truth) -> None:
    path = write(tmp_path / "xen-syms", xen_syms(truth))
    reason = silences(path)["namelist-build-id"]
    assert reason == f"{path} has no symbol __note_gnu_build_id_start"
    symbols = truth.symbols | {"__note_gnu_build_id_start": truth.symbols["idle_pg_table"]}
    path = write(tmp_path / "xen-syms", xen_syms(truth, symbols=symbols))
    assert silences(path)["namelist-build-id"].startswith("no page tables lead from 0xffff82d0")
    path = write(tmp_path / "xen-syms", xen_syms(truth, symbols=symbols, build_id=None))
    assert silences(path)["namelist-build-id"] == f"{path} has no build-id"


def test_refused_namelists_are_counted(tmp_path: Path, truth: Truth) -> None:
    other = xen_syms(truth, build_id=bytes(20))
    one = write(tmp_path / "xen-syms-1", other)
    assert silences(one)["namelist-variable"].startswith(f"{one} is not used: another build:")
    two = write(tmp_path / "xen-syms-2", other)
    inspection = inspected(SAMPLE, xen_syms=(one, two))
    said = {row.source: row.reason for row in inspection.verdict.silent}
    assert said["namelist-variable"] == "none of 2 namelists can be used"


def test_strings_alone_give_the_exact_address(tmp_path: Path) -> None:
    # no page table is left: the symbol file's strings say what suggestions only guess
    old = truth_of(OLD)
    with open_vmcore(OLD) as vmcore:
        start = inspect_vmcore(vmcore, places=NOWHERE).verdict.xen_phys_start
    data = symbol_file(code_at=0xFFFF828C80100000, symbols=old.symbols, texts=old.texts)
    path = write(tmp_path / "xen-syms", data)
    said = [
        one
        for one in inspected(OLD, xen_syms=(path,)).verdict.evidence
        if one.source == "string-pointers"
    ]
    assert [(one.xen_phys_start, one.strength) for one in said] == [(start, "recorded")]


def vmlinux(build_id: str | None = None) -> bytes:
    kernel = inspected(SAMPLE).dom0_kernel
    assert kernel is not None
    return symbol_file(
        code_at=0xFFFFFFFF81000000,
        symbols={"linux_banner": 0xFFFFFFFF82000000},
        build_id=bytes.fromhex(build_id or kernel.build_id or ""),
        texts={0xFFFFFFFF82000000: kernel.banner.encode() + b"\n\0"},
        dwarf=5,
    )


def dom0_of(inspection: Inspection) -> CrashCommand:
    return next(one for one in inspection.commands if one.target == "dom0")


def test_dom0s_kernel_by_build_id(tmp_path: Path) -> None:
    path = write(tmp_path / "vmlinux", vmlinux())
    inspection = inspected(SAMPLE, vmlinux=(path,))
    assert inspection.symbol_files.chosen["dom0"].candidate.path == path
    assert dom0_of(inspection).argv[-2] == path
    # the sample is a slice without the list itself
    assert [
        one for one in dom0_of(inspection).caveats if "memory is not in the dump" not in one
    ] == []
    assert inspection.filters[-1].argv[:3] == ("makedumpfile", "-x", path)


def test_kernel_of_another_build(tmp_path: Path) -> None:
    path = write(tmp_path / "vmlinux", vmlinux("00" * 20))
    dom0 = dom0_of(inspected(SAMPLE, vmlinux=(path,)))
    assert not dom0.ready
    assert any("does not belong to this dump: another build" in caveat for caveat in dom0.caveats)
    assert any("linux-image-6.1.0-56-amd64-dbg" in caveat for caveat in dom0.caveats)


def test_every_pv_guest_has_a_command() -> None:
    inspection = inspected(GUESTS)
    by_target = {one.target: one for one in inspection.commands}
    assert list(by_target) == ["hypervisor", "dom0", "dom1", "dom2"]
    for domain in inspection.domains[1:]:
        command = by_target[f"dom{domain.id}"]
        assert command.requires_option
        assert ("--p2m_mfn", f"{domain.p2m_mfn:#x}") == command.argv[3:5]


def test_hvm_guest_has_a_reason_instead() -> None:
    sample = ROOT / "samples/xen-4.17-pv-and-pvh/vmcore"
    inspection = inspected(sample)
    hvm = next(one.id for one in inspection.domains if one.type == "hvm")
    assert f"dom{hvm}" not in [one.target for one in inspection.commands]
    assert "domain-not-openable" in [one.code for one in inspection.findings]
    done = tool("crash", "--target", f"dom{hvm}", sample)
    assert done.returncode == 1
    assert b"HVM or PVH" in done.stderr


# -- what crash will say -----------------------------------------------------------------------


def fake_crash(folder: Path, release: str) -> dict[str, str]:
    path = folder / "bin" / "crash"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "crash {release}" && exit\necho ran "$@"\n'
    )
    path.chmod(0o755)
    return {"PATH": f"{path.parent}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("release", "ready"), [("8.0.2", False), ("8.0.3", True), ("9.0.2", True), ("9.1.0", True)]
)
def test_xen_4_17_needs_crash_8_0_3(
    tmp_path: Path, truth: Truth, release: str, *, ready: bool
) -> None:
    path = write(tmp_path / "xen-syms", xen_syms(truth))
    done = tool("inspect", "--json", "--xen-syms", path, SAMPLE, env=fake_crash(tmp_path, release))
    command = json.loads(done.stdout)["commands"][0]
    assert command["ready"] is ready, command
    assert ("fill_pcpu_struct" in " ".join(command["caveats"])) is not ready


@pytest.mark.parametrize(
    ("release", "ready"), [("8.0.6", False), ("9.0.2", False), ("9.1.0", True)]
)
def test_xen_4_20_is_too_new(tmp_path: Path, release: str, *, ready: bool) -> None:
    sample = ROOT / "samples/xen-4.20-dom0-panic/vmcore"
    path = write(tmp_path / "xen-syms", xen_syms(truth_of(sample)))
    done = tool("inspect", "--json", "--xen-syms", path, sample, env=fake_crash(tmp_path, release))
    command = json.loads(done.stdout)["commands"][0]
    assert command["ready"] is ready, command
    assert ("vcpu_vcpu_info" in " ".join(command["caveats"])) is not ready


@pytest.mark.parametrize(
    ("release", "dom0_panicked", "told"),
    [
        ("8.0.2", False, False),
        ("8.0.6", False, True),
        ("9.0.2", False, True),
        ("9.0.2", True, False),
    ],
)
def test_linux_that_did_not_panic(
    tmp_path: Path, release: str, *, dom0_panicked: bool, told: bool
) -> None:
    data = SAMPLE.read_bytes()
    if not dom0_panicked:
        data = data.replace(b"Hardware Dom0 crashed", b"Hardware Dom0 watched")
    sample = write(tmp_path / "vmcore", data)
    path = write(tmp_path / "vmlinux", vmlinux())
    environment = fake_crash(tmp_path, release)
    done = tool("inspect", "--json", "--vmlinux", path, sample, env=environment)
    caveats = json.loads(done.stdout)["commands"][1]["caveats"]
    assert any("dom0 did not panic" in caveat for caveat in caveats) is told


@pytest.mark.parametrize(
    ("panicked", "said"),
    [
        ({1: True}, None),
        ({1: False}, "its kernel did not panic"),
        ({}, "it is not known whether its kernel panicked"),
        ({2: True}, "it is not known whether its kernel panicked"),
    ],
)
@pytest.mark.parametrize("release", [None, (8, 0, 2), (9, 0, 2)])
def test_guest_whose_own_kernel_panicked_opens_in_every_crash(
    release: tuple[int, int, int] | None, panicked: dict[int, bool], said: str | None
) -> None:
    program = CrashProgram("/usr/bin/crash", release) if release else None
    with open_vmcore(GUESTS) as vmcore:
        row = inspect_vmcore(vmcore, places=NOWHERE)
        assert row.xen
        parts = (vmcore, row.verdict, row.xen, row.crash, row.domains, row.symbol_files)
        sessions = Sessions(*parts, program, panicked)
        guest = next(domain for domain in row.domains if domain.id == 1)
        texts = " ".join(caveat.text for caveat in linux_caveats(sessions, "dom1", guest))
    if release == (8, 0, 2):  # which opens them all
        said = None
    assert ("8.0.6 and later end" in texts) == (said is not None)
    assert (said or "") in texts
    assert ("here is 9.0.2" in texts) == (said is not None and release is not None)


def test_run_becomes_crash_where_it_is_ready(tmp_path: Path, truth: Truth) -> None:
    path = write(tmp_path / "xen-syms", xen_syms(truth))
    words = ("crash", "--run", "--xen-syms", path, SAMPLE, "--", "-s", "-i", "commands")
    done = tool(*words, env=fake_crash(tmp_path, "8.0.6"))
    assert done.returncode == 0
    start = f"{0x27800000:#x}"
    expected = f"ran -s -i commands --xen_phys_start {start} {path} {SAMPLE}\n"
    assert done.stdout.decode() == expected


def test_run_refuses_before_crash_would(tmp_path: Path, truth: Truth) -> None:
    path = write(tmp_path / "xen-syms", xen_syms(truth, dwarf=None))
    done = tool("crash", "--run", "--xen-syms", path, SAMPLE, env=fake_crash(tmp_path, "8.0.6"))
    assert done.returncode == 1
    assert done.stdout == b""
    assert b"crash was not started" in done.stderr
    assert b"no debugging data available" in done.stderr


def test_compressed_and_flattened_dumps_are_not_ready(tmp_path: Path, truth: Truth) -> None:
    path = write(tmp_path / "xen-syms", xen_syms(truth))
    packed = write(tmp_path / "vmcore.gz", gzip.compress(SAMPLE.read_bytes()))
    with open_vmcore(packed) as vmcore:
        command = inspect_vmcore(vmcore, places=NOWHERE._replace(xen_syms=(path,))).commands[0]
    assert not command.ready
    assert f"crash reads no gzip file: gunzip -k {packed}" in command.caveats


# -- hostile candidates ------------------------------------------------------------------------


def test_hostile_candidates_are_passed_over_with_a_reason(tmp_path: Path, truth: Truth) -> None:
    folder = tmp_path / "d"
    good = write(folder / "sub" / "xen-syms-good", xen_syms(truth))
    os.mkfifo(folder / "xen-syms-fifo")
    (folder / "sub" / "up").symlink_to("..")
    (folder / "xen-syms-loop").symlink_to("xen-syms-loop")
    write(folder / "xen-syms-empty", b"")
    write(folder / "xen-syms-cut", xen_syms(truth)[:300])
    write(folder / "xen-syms-bomb.gz", gzip.compress(bytes(64 << 20)))
    head = bytearray(xen_syms(truth))
    head[40:48] = b"\xff" * 8
    write(folder / "xen-syms-far", bytes(head))
    with (folder / "xen-syms-huge").open("wb") as file:
        file.truncate(1 << 40)
    started = time.monotonic()
    inspection = inspected(SAMPLE, search=(str(folder),))
    assert time.monotonic() - started < 30
    assert inspection.symbol_files.chosen["hypervisor"].candidate.path == good
    said = {
        one.candidate.path.rpartition("/")[2]: one.reasons[0]
        for one in inspection.symbol_files.matches
    }
    assert said["xen-syms-fifo"] == "not a regular file"
    assert "symbolic links" in said["xen-syms-loop"]
    assert said["xen-syms-empty"] == "an empty file"
    assert "past the end" in said["xen-syms-cut"]
    assert "past the end" in said["xen-syms-far"]
    assert set(said) >= {"xen-syms-bomb.gz", "xen-syms-huge"}


@pytest.mark.parametrize("size", [16, 40, 64, 200, 500])
def test_every_flipped_byte_of_a_symbol_file_is_survived(
    tmp_path: Path, truth: Truth, size: int
) -> None:
    data = bytearray(xen_syms(truth))
    for at in range(size - 16, min(size + 24, len(data))):
        for value in (0x00, 0xFF):
            damaged = bytes([*data[:at], value, *data[at + 1 :]])
            path = write(tmp_path / "xen-syms", damaged)
            try:
                with open_namelist(path) as namelist:
                    namelist.symbols()
            except NamelistError:
                continue


def test_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    found = find_candidates(NOWHERE._replace(search=(str(tmp_path / "missing"),)), Budget())
    assert found.candidates == ()
    assert "No such file" in found.reasons[0]


def test_search_ends_when_told(tmp_path: Path, truth: Truth) -> None:
    for number in range(5):
        write(tmp_path / f"xen-syms-{number}", xen_syms(truth))
    found = find_candidates(
        NOWHERE._replace(search=(str(tmp_path),)), Budget(watch=lambda _name, done, _all: done < 2)
    )
    assert len(found.candidates) == 2
    assert "interrupted" in found.reasons[-1]


@pytest.mark.parametrize(
    "content", [b"", b"one two\n", b"zz D x\n", b"\x7fELF", b"\x7fELF\x02\x01\x01" + bytes(57)]
)
def test_file_that_is_no_namelist(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "xen-syms", content)
    with pytest.raises(NamelistError), open_namelist(path):
        pass
    done = tool("console", "--xen-syms", path, SAMPLE)
    assert done.returncode == 0
    assert f"{path} is not used: ".encode() in done.stderr
    assert done.stdout == tool("console", SAMPLE).stdout


def test_missing_symbol() -> None:
    with open_namelist(sys.executable) as namelist, pytest.raises(MissingSymbolError):
        namelist.address("nothing_like_it")


# -- what symbols make exact -------------------------------------------------------------------


def own_map(folder: Path, truth: Truth, **other: int) -> str:
    symbols = truth.symbols | other
    text = "".join(f"{at:016x} D {name}\n" for name, at in symbols.items())
    return write(folder / "xen-syms.map", text.encode())


def test_namelist_of_another_build_is_not_used(tmp_path: Path, truth: Truth) -> None:
    path = own_map(tmp_path, truth, domain_list=0xFFFF82D040000000)
    done = tool("console", "--xen-syms", path, SAMPLE)
    assert done.stdout == tool("console", SAMPLE).stdout
    assert b"is not used: another build: domain_list" in done.stderr
    assert done.returncode == 0


def test_symbols_whose_pages_are_gone_change_nothing(tmp_path: Path, truth: Truth) -> None:
    far = 0xFFFF82D050000000
    path = own_map(tmp_path, truth, conring=far, conringp=far + 8)
    done = tool("console", "--xen-syms", path, SAMPLE)
    assert done.stdout == tool("console", SAMPLE).stdout
    assert b"not used" not in done.stderr


def test_symbols_tell_the_ring(tmp_path: Path, truth: Truth) -> None:
    # the text itself stands for the counter: 16384 bytes at the ring, as up to 3.3
    with open_vmcore(SAMPLE) as vmcore:
        host = locate(vmcore, places=NOWHERE).host()
        found = host.hypervisor.console
        assert found is not None
        assert host.space is not None
        ring = host.space.directmap_start + found[1].maddr
        assert host.console is not None
        expected = host.console.text
        path = own_map(tmp_path, truth, conring=ring, conringp=ring)
        exact = locate(vmcore, places=NOWHERE._replace(xen_syms=(path,))).host()
        assert exact.console is not None
        # "(XEN" read as a number of bytes: more than the ring holds
        assert exact.console.wrapped
        assert set(exact.console.text.split(b"\n")) & set(expected.split(b"\n"))
        assert exact.console.basis.startswith("the symbols conring and conringp")


# -- real tools ---------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
def test_file_that_real_tools_made(tmp_path: Path, truth: Truth) -> None:
    source = tmp_path / "x.c"
    source.write_text("int max_page = 1; int _start(void) { return max_page; }\n")
    built = tmp_path / "xen-syms"
    link = f"-Wl,--build-id=0x{truth.build_id.hex()},-Ttext-segment={CODE & ~0xFFFFF:#x}"
    command = ["gcc", "-g", "-nostdlib", "-static", "-fno-pie", "-no-pie", "-mcmodel=large", link]
    done = subprocess.run([*command, "-o", built, source], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this compiler cannot link there: {done.stderr[-200:]!r}")
    with open_namelist(str(built)) as namelist:
        assert namelist.purpose == "hypervisor"
        assert namelist.build_id == truth.build_id.hex()
        assert namelist.dwarf
        assert namelist.dwarf_version in (4, 5)
        nm = subprocess.run(["nm", built], capture_output=True, text=True, check=True).stdout
        address = next(line.split()[0] for line in nm.splitlines() if line.endswith(" max_page"))
        assert namelist.address("max_page") == int(address, 16)
    debug = tmp_path / "xen-syms.debug"
    subprocess.run(["objcopy", "--only-keep-debug", built, debug], check=True)
    subprocess.run(["strip", "-g", built], check=True)
    with open_namelist(str(debug)) as half, open_namelist(str(built)) as rest:
        assert (half.debug_only, half.dwarf) == (True, True)
        assert (rest.debug_only, rest.dwarf) == (False, False)


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
def test_members_of_a_structure(tmp_path: Path) -> None:
    folder = tmp_path / "common"
    folder.mkdir()
    source = folder / "domain.c"
    source.write_text("struct vcpu { int vcpu_id; void *vcpu_info; }; struct vcpu v;\n")
    built = tmp_path / "domain.o"
    subprocess.run(["gcc", "-g", "-c", "-o", built, "common/domain.c"], cwd=tmp_path, check=True)
    members = members_of(str(built), "common/domain.c", "vcpu")
    assert members == frozenset({"vcpu_id", "vcpu_info"})
    assert members_of(str(built), "common/domain.c", "domain") is None
    assert members_of(str(built), "common/sched.c", "vcpu") is None
    data = built.read_bytes()
    for at in range(0, len(data), 7):
        damaged = write(tmp_path / "damaged.o", data[:at] + b"\xff" + data[at + 1 :])
        members_of(damaged, "common/domain.c", "vcpu")  # whatever it says, it says it


# -- debuginfod ---------------------------------------------------------------------------------


def test_no_server_is_asked_unless_told_to(tmp_path: Path) -> None:
    program = tmp_path / "debuginfod-find"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
    program.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "DEBUGINFOD_URLS": "http://127.0.0.1:9/",
    }
    tool("inspect", SAMPLE, env=environment)
    assert not (tmp_path / "asked").exists()
    done = tool("inspect", "--json", "--debuginfod", SAMPLE, env=environment)
    assert (tmp_path / "asked").exists()
    rows = json.loads(done.stdout)["namelists"]
    assert {row["origin"] for row in rows} == {"debuginfod"}
    assert {row["match"] for row in rows} == {"undecided"}


def test_debuginfod_without_servers_says_so() -> None:
    done = tool("inspect", "--debuginfod", SAMPLE, env={"DEBUGINFOD_URLS": ""})
    assert b"DEBUGINFOD_URLS names no server" in b" ".join(done.stdout.split())
    assert done.returncode == 0


def test_hung_server_ends_by_ctrl_c(tmp_path: Path) -> None:
    program = tmp_path / "debuginfod-find"
    asked = tmp_path / "asked"
    program.write_text(f"#!/bin/sh\ntouch {asked}\nexec sleep 60\n")
    program.chmod(0o755)
    environment = dict(os.environ, PYTHONPATH=str(ROOT), DEBUGINFOD_URLS="http://127.0.0.1:9/")
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    words = [sys.executable, "-m", "vmcoretool", "inspect", "--debuginfod", str(SAMPLE)]
    with subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        while not asked.exists() and child.poll() is None:
            time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
    assert child.returncode == 130, err
    assert b"VERIFIED" in out  # what is known is shown
    assert b"Traceback" not in err


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    folder = tmp_path / "served"
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    database = tmp_path / "database"
    words = ["debuginfod", "-F", "-p", str(port), "-t", "1", "-d", str(database), str(folder)]
    environment = {
        "DEBUGINFOD_URLS": f"http://127.0.0.1:{port}/",
        "DEBUGINFOD_CACHE_PATH": str(tmp_path / "cache"),
    }
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        yield folder, environment
        child.kill()


@pytest.mark.skipif(not shutil.which("debuginfod"), reason="debuginfod is not installed")
def test_real_debuginfod_server(
    tmp_path: Path, truth: Truth, server: tuple[Path, dict[str, str]]
) -> None:
    folder, environment = server
    source = tmp_path / "x.c"
    source.write_text("int max_page = 1; int _start(void) { return max_page; }\n")
    link = f"-Wl,--build-id=0x{truth.build_id.hex()},-Ttext-segment={CODE & ~0xFFFFF:#x}"
    command = ["gcc", "-g", "-nostdlib", "-static", "-fno-pie", "-no-pie", "-mcmodel=large", link]
    subprocess.run([*command, "-o", folder / "xen-syms", source], check=True)
    rows: list[dict[str, Any]] = []
    for _ in range(40):  # until the server has looked at its folder
        shutil.rmtree(environment["DEBUGINFOD_CACHE_PATH"], ignore_errors=True)
        done = tool("inspect", "--json", "--debuginfod", SAMPLE, env=environment)
        rows = json.loads(done.stdout)["namelists"]
        if any(row["match"] == "matches" for row in rows):
            break
        time.sleep(0.5)
    (row,) = [row for row in rows if row["match"] == "matches"]
    assert row["origin"] == "debuginfod"
    assert row["build_id"] == truth.build_id.hex()
    assert row["used"]
    assert row["dwarf"]


# -- explain ------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ERROR_TEXTS, ids=lambda row: row.texts[0][:30])
def test_every_text_is_found_in_a_message_around_it(row: ErrorText) -> None:
    for text in row.texts:
        found = find_texts(f"crash: {text.upper()}\n")
        assert any(text in one.texts for one in found), text
    assert all(cause.cure for cause in causes_of(row))


def explained(text: str, *words: Any) -> dict[str, Any]:
    done = tool("explain", "--json", text, *words)
    assert b"Traceback" not in done.stderr
    return {one["cause"]: one["applies"] for one in json.loads(done.stdout)[0]["causes"]}


SIZE_0 = 'crash: invalid size request: 0  type: "__per_cpu_offset"'


def test_missing_address_applies_to_the_dump_that_lacks_it(tmp_path: Path) -> None:
    path = write(tmp_path / "vmcore", variants.nine_words(SAMPLE.read_bytes()))
    assert explained(SIZE_0, path)["address-not-recorded"] is True
    assert explained(SIZE_0, SAMPLE)["address-not-recorded"] is False
    assert explained(SIZE_0)["address-not-recorded"] is None


def test_other_namelist_applies_to_the_file_of_another_build(tmp_path: Path, truth: Truth) -> None:
    path = write(tmp_path / "xen-syms", xen_syms(truth, build_id=bytes(20)))
    assert explained(SIZE_0, "--xen-syms", path, SAMPLE)["other-namelist"] is True
    path = write(tmp_path / "xen-syms", xen_syms(truth))
    assert explained(SIZE_0, "--xen-syms", path, SAMPLE)["other-namelist"] is False


def test_crash_release_applies(tmp_path: Path) -> None:
    text = 'invalid kernel virtual address: 1ef8  type: "fill_pcpu_struct"'
    for release, applies in (("8.0.2", True), ("8.0.6", False)):
        environment = fake_crash(tmp_path, release)
        done = tool("explain", "--json", text, SAMPLE, env=environment)
        causes = json.loads(done.stdout)[0]["causes"]
        assert causes[0] == causes[0] | {"cause": "crash-release", "applies": applies}


@pytest.mark.parametrize(
    "text",
    [
        'cannot resolve "idle_pg_table_4"',  # any crash of today asks for both names
        "cannot resolve init_tss",  # 8.0.2 has followed this one
        "invalid structure member offset: vcpu_vcpu_info",  # 4.17 is older than it
    ],
)
def test_crash_release_is_judged_by_the_text(tmp_path: Path, text: str) -> None:
    done = tool("explain", "--json", text, SAMPLE, env=fake_crash(tmp_path, "8.0.2"))
    causes = {one["cause"]: one for one in json.loads(done.stdout)[0]["causes"]}
    assert causes["crash-release"]["applies"] is False


def test_no_release_helps_where_none_reads_this_xen(tmp_path: Path) -> None:
    text = "invalid structure member offset: vcpu_vcpu_info"
    sample = ROOT / "samples/xen-4.20-dom0-panic/vmcore"
    done = tool("explain", "--json", text, sample, env=fake_crash(tmp_path, "8.0.6"))
    causes = {one["cause"]: one for one in json.loads(done.stdout)[0]["causes"]}
    assert causes["crash-release"]["applies"] is True
    assert "No crash up to" in causes["crash-release"]["cure"]


def test_wrong_note_applies(tmp_path: Path) -> None:
    path = write(tmp_path / "vmcore", variants.shifted(SAMPLE.read_bytes(), 2 << 20))
    for text in (SIZE_0, "seek error: physical address: 12345"):
        assert explained(text, path)["address-wrong"] is True


def test_wrong_p2m_in_the_note_applies(tmp_path: Path) -> None:
    path = write(tmp_path / "vmcore", variants.other_p2m(SAMPLE.read_bytes(), 0xDEAD))
    assert explained("xen kdump p2m mfn page", path)["p2m-missing"] is True
    assert explained("xen kdump p2m mfn page", SAMPLE)["p2m-missing"] is False


def test_all_causes_ruled_out_is_said() -> None:
    done = tool("explain", "cannot realloc resized ELF header buffer", SAMPLE)
    assert b"None of the known causes fits this dump" in done.stdout


def test_unknown_text_is_1_and_similar_ones_are_named() -> None:
    done = tool("explain", "some pages read error: physical nonsense")
    assert done.returncode == 1
    assert b"is not known" in done.stderr
    done = tool("explain", "\x1b[2J cannot resolve idle_pg_table_5")
    assert done.returncode == 1
    assert b"\x1b" not in done.stderr
    assert b"idle_pg_table_4" in done.stderr
