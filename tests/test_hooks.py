"""kdump hooks: the real scripts, called as each system calls them, and all that goes wrong."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
import zipapp
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest

from tests.lab import packages
from tests.support import ROOT, SAMPLES, tool
from tests.test_lab import mirror_answers
from vmcoretool import inspect_vmcore, open_vmcore, write_report
from vmcoretool.cli.main import run as run_command_line
from vmcoretool.hooks import files, install, runner, selftest, systems, trust
from vmcoretool.hooks.report import is_done

HOOK = ROOT / "vmcoretool/hooks/capture.sh"
SAMPLE = ROOT / "samples/xen-4.17-dom0-panic/vmcore"
CAPTURED = "vmcoretool-notes.elf"
SHELLS = [shell for shell in (["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(shell[0])]
ELF = [
    path
    for path in SAMPLES
    if path.name.startswith("xen-") and path.name != "xen-3.1-hypervisor-panic"
]


def capture(
    place: Path | str,
    dump: Path = SAMPLE,
    shell: list[str] | None = None,
    variables: dict[str, str] | None = None,
) -> str:
    """Run the hook; its status is always 0, and the dump is as it was."""
    before = (dump.read_bytes(), dump.stat().st_mtime_ns) if dump.is_file() else None
    with tempfile.TemporaryFile("w+") as said:
        # not a pipe: what hangs behind may hold it open
        done = subprocess.run(
            [*(shell or ["sh"]), str(HOOK), str(place)],
            env={**os.environ, "VMCORE": str(dump), **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            check=False,
            timeout=60,
        )
        said.seek(0)
        text = said.read()
    assert done.returncode == 0, text
    if before:
        assert (dump.read_bytes(), dump.stat().st_mtime_ns) == before
    return text


def verdict(path: Path) -> tuple[str, int | None]:
    with open_vmcore(path) as vmcore:
        found = inspect_vmcore(vmcore).verdict
        return found.status, found.xen_phys_start


def partial_files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("sample", ELF, ids=lambda path: path.name)
def test_small_core_has_the_whole_dumps_verdict(
    tmp_path: Path, sample: Path, shell: list[str]
) -> None:
    dump = sample / "vmcore"
    assert "pages" in capture(tmp_path, dump, shell)
    assert verdict(tmp_path / CAPTURED) == verdict(dump)
    with open_vmcore(dump) as whole, open_vmcore(tmp_path / CAPTURED) as small:
        notes = sum(len(blob.data) for blob in whole.container.note_blobs)
        assert small.size <= 256 * 1024 + notes
        assert [note.desc for note in small.notes] == [note.desc for note in whole.notes]
        for extent in small.memory.pages.extents():
            size = extent.end - extent.start
            assert small.memory.read(extent.start, size) == whole.memory.read(extent.start, size)
    assert stat.S_IMODE((tmp_path / CAPTURED).stat().st_mode) == 0o600
    assert partial_files(tmp_path) == []


def test_notes_alone_where_no_page_can_be_stored(tmp_path: Path) -> None:
    # tables and strings are beyond the end of a dump that is cut behind its notes
    cut = tmp_path / "cut"
    cut.write_bytes(SAMPLE.read_bytes()[: 3 * 4096])
    place = tmp_path / "d"
    place.mkdir()
    assert "without pages" in capture(place, cut)
    assert verdict(place / CAPTURED) == ("reported", 0x27800000)


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_scripts_pass_shellcheck(tmp_path: Path) -> None:
    wrapper = tmp_path / "xca"
    wrapper.write_text(systems.wrapper_script())
    for script in (HOOK, wrapper):
        done = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


# -- as each system calls it --------------------------------------------------------------------


def test_rhel_post_hook_is_told_a_status_and_finds_the_folder(tmp_path: Path) -> None:
    old = tmp_path / "data/crash/127.0.0.1-2020-01-01-00:00:00"
    new = tmp_path / "data/crash/127.0.0.1-2026-11-25-03:00:00"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "vmcore").write_bytes(b"dump")
    os.utime(old, (0, 0))
    conf = tmp_path / "kdump.conf"
    conf.write_text("# a comment\nxfs /dev/sda1\npath /data/crash\ncore_collector makedumpfile\n")
    variables = {"VMCORETOOL_CONF": str(conf), "VMCORETOOL_MOUNTS": str(tmp_path)}
    capture("0", variables=variables)
    assert (new / CAPTURED).exists()
    first = (new / CAPTURED).read_bytes()
    capture("0", variables=variables)  # run twice: the same again
    assert (new / CAPTURED).read_bytes() == first
    assert (new / "vmcore").read_bytes() == b"dump"
    assert list(old.iterdir()) == [old / "vmcore"]


def test_rhel_failed_dump_leaves_no_folder_and_old_ones_are_not_touched(tmp_path: Path) -> None:
    old = tmp_path / "var/crash/127.0.0.1-2020-01-01-00:00:00"
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    variables = {"VMCORETOOL_CONF": "/nonexistent", "VMCORETOOL_MOUNTS": str(tmp_path)}
    capture("1", variables=variables)
    assert list(old.iterdir()) == []
    (own,) = (tmp_path / "var/crash").glob("vmcoretool-*")
    assert verdict(own / CAPTURED) == ("verified", 0x27800000)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("hours", [0, 3, -3])
@pytest.mark.parametrize("noted", [True, False])
def test_rhel_older_crash_is_left_alone_whatever_the_clock(
    tmp_path: Path, shell: list[str], hours: int, *, noted: bool
) -> None:
    old, new = tmp_path / "var/crash/old", tmp_path / "var/crash/new"
    old.mkdir(parents=True)
    (old / "vmcore").touch()
    if noted:
        (old / CAPTURED).write_bytes(b"mine")
    new.mkdir()
    then = time.time() + 3600 * hours
    os.utime(old, (then, then + 1))
    variables = {"VMCORETOOL_CONF": "/nonexistent", "VMCORETOOL_MOUNTS": str(tmp_path)}
    capture("0", shell=shell, variables=variables)
    if noted:
        assert (old / CAPTURED).read_bytes() == b"mine"
    if noted or hours > 0:
        assert verdict(new / CAPTURED)[0] == "verified"


def test_suse_evaluates_the_script_in_its_own_bash(tmp_path: Path) -> None:
    # as dracut/kdump-save does: eval in the saver's shell, with DIR set and not exported
    hook = tmp_path / "capture.sh"
    hook.write_text(HOOK.read_text())
    hook.chmod(0o755)
    plan = systems.plan_of("suse")
    lines = next(one for one in plan.changes if isinstance(one, systems.PutLines)).lines
    script = (
        'KDUMP_REQUIRED_PROGRAMS=""\n' + "\n".join(lines).replace(systems.CAPTURE, str(hook)) + "\n"
        f"DIR='{tmp_path}/a folder'\nmkdir \"$DIR\"\n"
        'eval "${KDUMP_POSTSCRIPT}"\nRES=$?\necho "status $RES, still here"\n'
    )
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "VMCORE": str(SAMPLE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "status 0, still here" in done.stdout
    assert verdict(tmp_path / "a folder" / CAPTURED)[0] == "verified"


def test_xcp_ng_wrapper_becomes_the_analyser(tmp_path: Path) -> None:
    analyser = tmp_path / "analyser"
    analyser.write_text('#!/bin/sh\necho "analyser $@"\nexit 7\n')
    analyser.chmod(0o755)
    wrapper = tmp_path / "xca"
    text = systems.wrapper_script().replace(systems.CAPTURE, f"sh {shlex.quote(str(HOOK))}")
    wrapper.write_text(text.replace(systems._ANALYSER, str(analyser)))
    words = ["sh", str(wrapper), "--outdir", str(tmp_path), "--xen-symtab", "/boot/x map", "-v"]
    environment = {**os.environ, "VMCORE": str(SAMPLE)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == f"analyser --outdir {tmp_path} --xen-symtab /boot/x map -v\n"
    assert done.returncode == 7
    assert verdict(tmp_path / CAPTURED)[0] == "verified"


def test_debians_own_savecore_then_the_unit(tmp_path: Path) -> None:
    if packages.missing_tools({"makedumpfile": "makedumpfile", "dpkg": "dpkg"}):
        pytest.skip("makedumpfile or dpkg is not installed")
    place = packages.BOOKWORM.folder / "roots" / "kdump-tools"
    if not place.exists() and not mirror_answers():
        pytest.skip("the package kdump-tools cannot be fetched")
    config = packages.BOOKWORM.root("kdump-tools") / "usr/sbin/kdump-config"
    # a slice that makedumpfile reads; where it refuses one, Debian's pipe saves an empty file
    sample = tmp_path / "vmcore"  # under a name that the script need not quote
    shutil.copy(ROOT / "samples/xen-4.8-dom0-panic/vmcore", sample)
    script = config.read_text().replace("vmcore_file=/proc/vmcore", f"vmcore_file={sample}")
    assert str(sample) in script
    (tmp_path / "kdump-config").write_text(script)
    crash = tmp_path / "crash"
    environment = {
        **os.environ,
        "KDUMP_COREDIR": str(crash),
        "MAKEDUMP_ARGS": "-F -c -d 0",
        "KDUMP_DUMP_DMESG": "0",
        "KDUMP_COMPRESSION": "gzip",
        "KDUMP_NUM_DUMPS": "0",
    }
    words = ["bash", str(tmp_path / "kdump-config"), "savecore"]
    subprocess.run(words, env=environment, capture_output=True, check=False, timeout=60)
    (dump,) = crash.glob("2*/dump.*")
    before = dump.read_bytes()
    done = tool("hook", "run", str(crash))
    assert b"xen_phys_start 0x27a00000 verified" in done.stdout, done.stderr
    report = json.loads((dump.parent / "vmcoretool.json").read_text())
    assert report["relocation"]["xen_phys_start"] == "0x27a00000"
    assert report["dump"]["layers"] == ["gzip", "flattened"]
    assert report["report"]["dump"] == dump.name
    assert dump.read_bytes() == before


# -- the fault table: status 0, a reason, the dump untouched, nothing half under a final name -----


def test_read_only_target(tmp_path: Path) -> None:
    assert "nothing could be written" in capture("/proc")
    assert "there is no folder" in capture(tmp_path / "missing")


def test_disk_full(tmp_path: Path) -> None:
    if os.geteuid() or subprocess.run(["mountpoint", "-q", "/proc"], check=False).returncode:
        pytest.skip("needs root")
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        said = capture(place)
        # the notes alone need less room
        assert "there is no room" in said
        names = [path.name for path in place.iterdir()]
        assert names in ([], [CAPTURED])
        if names:
            assert verdict(place / CAPTURED)[0] == "reported"
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("missing", ["dd", "od"])
def test_missing_tools(tmp_path: Path, missing: str) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in {"dd", "od", "date", "sleep", "mv", "rm", "sh", "mkdir"} - {missing}:
        (tools / name).symlink_to(shutil.which(name) or "/bin/false")
    said = capture(tmp_path, shell=[str(tools / "sh")], variables={"PATH": str(tools)})
    assert f"there is no {missing}" in said
    assert not (tmp_path / CAPTURED).exists()


def test_killed_half_way(tmp_path: Path) -> None:
    slow = tmp_path / "bin"
    slow.mkdir()
    (slow / "mv").write_text("#!/bin/sh\nsleep 30\n")
    (slow / "mv").chmod(0o755)
    place = tmp_path / "d"
    place.mkdir()
    environment = {**os.environ, "VMCORE": str(SAMPLE), "PATH": f"{slow}:{os.environ['PATH']}"}
    with subprocess.Popen(
        ["sh", HOOK, place], env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    ) as child:
        time.sleep(2)
        os.killpg(child.pid, signal.SIGKILL)
    assert not (place / CAPTURED).exists()


def test_hung_storage_ends_in_time(tmp_path: Path) -> None:
    hung = tmp_path / "bin"
    hung.mkdir()
    (hung / "dd").write_text("#!/bin/sh\nexec sleep 60\n")
    (hung / "dd").chmod(0o755)
    started = time.monotonic()
    said = capture(
        tmp_path,
        variables={"PATH": f"{hung}:{os.environ['PATH']}", "VMCORETOOL_SECONDS": "1"},
    )
    assert time.monotonic() - started < 10
    assert "ended after 1 s" in said
    assert not (tmp_path / CAPTURED).exists()


def commands_with(word: str) -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if word.encode() in path.read_bytes():
                found.append((path.parent / "cmdline").read_bytes())
    return found


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("sleeps", [True, False])
def test_what_hangs_is_ended_too(tmp_path: Path, shell: list[str], *, sleeps: bool) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("dd", "od", "mv", "rm", "mkdir", *(["sleep"] if sleeps else [])):
        (tools / name).symlink_to(shutil.which(name) or "/bin/false")
    hung = tmp_path / "vmcore"
    os.mkfifo(hung)
    mark = f"HANGS={tmp_path}"
    variables = {"PATH": str(tools), "VMCORETOOL_SECONDS": "1", "HANGS": str(tmp_path)}
    program = [shutil.which(shell[0]) or "sh", *shell[1:]]
    started = time.monotonic()
    said = capture(tmp_path, hung, shell=program, variables=variables)
    assert time.monotonic() - started < 10
    assert "ended after 1 s" in said
    while (left := commands_with(mark)) and time.monotonic() - started < 10:
        time.sleep(0.1)  # what was killed is gone soon, not at once
    assert left == []
    assert partial_files(tmp_path) == []


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_planted_links_are_not_followed(tmp_path: Path, shell: list[str]) -> None:
    place, victim, elsewhere = tmp_path / "d", tmp_path / "victim", tmp_path / "elsewhere"
    place.mkdir()
    elsewhere.mkdir()
    victim.write_bytes(b"mine")
    (place / CAPTURED).symlink_to(elsewhere)
    script = (
        'for end in "" .0 .1; do ln -s "$1" "$2/.$3.$$$end"; done\n'
        f'exec {" ".join(shell)} "$4" "$2"'
    )
    words = ["sh", "-c", script, "sh", str(victim), str(place), CAPTURED, str(HOOK)]
    environment = {**os.environ, "VMCORE": str(SAMPLE)}
    subprocess.run(words, env=environment, check=True, stderr=subprocess.DEVNULL)
    assert victim.read_bytes() == b"mine"
    assert list(elsewhere.iterdir()) == []
    assert verdict(place / CAPTURED)[0] == "verified"
    assert len(partial_files(place)) == 3


def test_vmcoreinfo_of_any_size_names_the_table(tmp_path: Path) -> None:
    data = bytearray(SAMPLE.read_bytes())
    at = data.index(b"VMCOREINFO_XEN\0") - 12
    (size,) = struct.unpack_from("<I", data, at + 4)
    # what it ends with becomes a note without name and text
    struct.pack_into("<I", data, at + 4, size - 12)
    assert not any(data[at + 28 + size - 12 : at + 28 + size])
    dump = tmp_path / "vmcore"
    dump.write_bytes(data)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    capture(tmp_path / "a")
    capture(tmp_path / "b", dump)
    pages = [(tmp_path / name / CAPTURED).read_bytes()[8192:] for name in "ab"]
    assert pages[0] == pages[1]


@pytest.mark.parametrize("shift", [4, 8, 1024, 4092])
def test_notes_at_any_place(tmp_path: Path, shift: int) -> None:
    data = SAMPLE.read_bytes()
    (table,) = struct.unpack_from("<Q", data, 32)
    (count,) = struct.unpack_from("<H", data, 56)
    places = [table + 56 * row for row in range(count)]
    (note,) = (at for at in places if struct.unpack_from("<I", data, at)[0] == 4)
    offset, size = (struct.unpack_from("<Q", data, note + part)[0] for part in (8, 32))
    end = -(-len(data) // 4096) * 4096 + shift
    moved = bytearray(data.ljust(end, b"\0") + data[offset : offset + size])
    struct.pack_into("<Q", moved, note + 8, end)
    moved[offset : offset + size] = bytes(size)
    dump = tmp_path / "vmcore"
    dump.write_bytes(moved)
    capture(tmp_path, dump)
    with open_vmcore(dump) as whole, open_vmcore(tmp_path / CAPTURED) as small:
        assert [each.desc for each in small.notes] == [each.desc for each in whole.notes]
    assert verdict(tmp_path / CAPTURED) == verdict(SAMPLE)


@pytest.mark.parametrize("content", [b"", b"junk" * 100, b"\x7fELF", SAMPLE.read_bytes()[:70]])
def test_garbage_dump(tmp_path: Path, content: bytes) -> None:
    dump = tmp_path / "vmcore"
    dump.write_bytes(content)
    assert "vmcoretool-capture: " in capture(tmp_path, dump)
    assert not (tmp_path / CAPTURED).exists()


def test_headers_that_lie_are_survived(tmp_path: Path) -> None:
    data = SAMPLE.read_bytes()
    for at in (*range(16, 64, 3), *range(64, 232, 5)):
        dump = tmp_path / "vmcore"
        dump.write_bytes(data[:at] + b"\xff" + data[at + 1 : 65536])
        capture(tmp_path, dump, variables={"VMCORETOOL_SECONDS": "20"})


def test_dump_that_is_gone(tmp_path: Path) -> None:
    assert "cannot be read" in capture(tmp_path, tmp_path / "gone")


def test_two_at_once(tmp_path: Path) -> None:
    environment = {**os.environ, "VMCORE": str(SAMPLE)}
    children = [
        subprocess.Popen(["sh", HOOK, tmp_path], env=environment, stderr=subprocess.DEVNULL)
        for _ in range(4)
    ]
    assert [child.wait(timeout=60) for child in children] == [0] * 4
    assert verdict(tmp_path / CAPTURED)[0] == "verified"
    assert partial_files(tmp_path) == []


# -- after boot ---------------------------------------------------------------------------------


def crash_folder(place: Path, name: str = "2026-11-25-03-00", dump: str = "vmcore") -> Path:
    folder = place / name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(SAMPLE, folder / dump)
    return folder


LAYOUTS = [
    ("127.0.0.1-2026-11-25-03:00:00", "vmcore"),
    ("2026-11-25-03-00", "vmcore"),
    ("202611250300", "vmcore.202611250300"),
    ("20261125-030000-UTC", "coredump.bin"),
    ("20261125-030000-UTC", CAPTURED),
    (".", "vmcore"),
]


@pytest.mark.parametrize(("folder", "dump"), LAYOUTS)
def test_layouts(tmp_path: Path, folder: str, dump: str) -> None:
    place = crash_folder(tmp_path, folder, dump)
    done = tool("hook", "run", str(tmp_path))
    assert b"verified" in done.stdout
    for name in ("vmcoretool.json", "vmcoretool.txt"):
        assert stat.S_IMODE((place / name).stat().st_mode) == 0o600
    text = (place / "vmcoretool.txt").read_text()
    assert "VERIFIED" in text
    again = tool("hook", "run", str(tmp_path))
    assert (again.stdout, again.stderr, again.returncode) == (b"", b"", 0)


def test_what_is_not_finished_or_not_roots_is_left_alone(tmp_path: Path) -> None:
    crash_folder(tmp_path, "1", "vmcore-incomplete")
    crash_folder(tmp_path, "2", "dump-incomplete")
    linked = crash_folder(tmp_path, "3", "real")
    (linked / "vmcore").symlink_to("real")
    foreign = crash_folder(tmp_path, "4")
    if os.geteuid() == 0:
        os.chown(foreign / "vmcore", 12345, 12345)
    outside = crash_folder(tmp_path / "outside", "x")
    (tmp_path / "5").symlink_to(outside)
    done = tool("hook", "run", str(tmp_path))
    assert done.returncode == 0
    assert done.stdout == b""
    assert b"no regular file" in done.stderr
    assert list(tmp_path.rglob("vmcoretool.*")) == []
    if os.geteuid() == 0:
        assert b"not owned by root" in done.stderr


def test_hundred_old_dumps_are_done_once(tmp_path: Path) -> None:
    for number in range(100):
        folder = tmp_path / f"{number:012}"
        folder.mkdir()
        (folder / "vmcore").write_bytes(selftest.sample())
    first = list(runner.run(str(tmp_path)))
    assert len(first) == 100
    assert all(one.right for one in first)
    assert list(runner.run(str(tmp_path))) == []


def test_garbage_is_reported_once_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "1"
    folder.mkdir()
    (folder / "vmcore").write_bytes(b"junk\n")
    done = tool("hook", "run", str(tmp_path))
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"not inspected: /" in done.stderr
    assert b"not a dump" in done.stderr
    facts = json.loads((folder / "vmcoretool.json").read_text())
    assert "not a dump" in facts["error"]
    assert tool("hook", "run", str(tmp_path)).stderr == b""


def test_nothing_planted_in_the_current_folder_is_run(tmp_path: Path) -> None:
    # /var/crash is often world-writable: whoever calls the hook there must not import from it
    crash_folder(tmp_path)
    folder = crash_folder(tmp_path, "2026-11-26-03-00")
    for name in ("click.py", "fcntl.py", "json.py", "vmcoretool.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'RAN')!r}, 'w')\n")
    program = "import sys; sys.path.remove(''); from vmcoretool.cli.entry import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "hook", "run", "."],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    assert not (tmp_path / "RAN").exists(), done.stderr
    assert b"verified" in done.stdout
    assert (folder / "vmcoretool.json").exists()


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "lz4", "zst"])
@pytest.mark.parametrize("name", ["vmcore", "vmcore.flat", "coredump.bin", "dump.202611250300"])
def test_compressed_dumps_are_found(tmp_path: Path, name: str, ending: str) -> None:
    place = tmp_path / "1"
    place.mkdir()
    (place / f"{name}.{ending}").write_bytes(b"x")
    ((_, dump, _),) = runner.find_dumps(str(tmp_path))
    assert dump == str(place / f"{name}.{ending}")


def test_gzipped_vmcore_is_inspected(tmp_path: Path) -> None:
    place = tmp_path / "1"
    place.mkdir()
    (place / "vmcore.gz").write_bytes(gzip.compress(SAMPLE.read_bytes()))
    assert b"verified" in tool("hook", "run", str(tmp_path)).stdout


@pytest.mark.parametrize("name", ["vmcore-incomplete", "dump-incomplete"])
def test_what_was_never_finished_is_reported_once(tmp_path: Path, name: str) -> None:
    place = crash_folder(tmp_path, dump=name)
    (done,) = runner.run(str(tmp_path))
    assert "no dump in this folder" in done.line  # written since boot: not finished yet
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    os.utime(place / name, (booted - 60, booted - 60))
    (done,) = runner.run(str(tmp_path))
    assert done.right
    assert done.line.endswith("cut short: its name says that it was never finished")
    assert f"{name} is cut short" in (place / "vmcoretool.txt").read_text()
    assert list(runner.run(str(tmp_path))) == []
    shutil.copy(SAMPLE, place / "vmcore")  # the whole dump is better
    (done,) = runner.run(str(tmp_path))
    assert "cut short" not in done.line


def test_nothing_found_is_said(tmp_path: Path) -> None:
    crash_folder(tmp_path / "node1/var/crash")
    done = tool("hook", "run", str(tmp_path))
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"no dump in this folder, nor in the folders in it" in done.stderr


# the child fails as a system does: by its own error, out of memory, killed, hung
TRANSIENT = [
    ("raise OSError(116, 'Stale file handle', path)", "Stale file handle"),
    ("raise OSError(5, 'Input/output error')", "Input/output error"),
    ("raise MemoryError", "MemoryError"),
    ("__import__('os').kill(__import__('os').getpid(), 9)", "killed by signal 9"),
    ("__import__('time').sleep(60)", "no answer within"),
]


@pytest.mark.parametrize(("fails", "why"), TRANSIENT)
def test_what_may_pass_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, why: str
) -> None:
    place = crash_folder(tmp_path)
    program = (
        "import vmcoretool.hooks.report as report, sys\n"
        f"def write_report(path): {fails}\n"
        "report.write_report = write_report\n"
        "from vmcoretool.cli.entry import main\nmain()\n"
    )
    with monkeypatch.context() as patch:
        patch.setattr(runner, "own_command", lambda: (sys.executable, "-c", program))
        seconds = 5 if "no answer" in why else 60
        (done,) = runner.run(str(tmp_path), runner.Limits(seconds=seconds))
    assert why in done.line
    assert done.line.endswith("tried again at the next run")
    assert [path.name for path in place.iterdir()] == ["vmcore"]
    (done,) = runner.run(str(tmp_path))
    assert "verified" in done.line


def test_dump_that_could_not_be_read_everywhere_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system refuses a page: the report has the rest, and is not the last one."""
    place = crash_folder(tmp_path)
    program = (
        "import vmcoretool.formats.elf_pages as pages\n"
        "def page(self, mfn): raise OSError(5, 'Input/output error')\n"
        "pages.ElfPages.page = page\n"
        "pages.ElfPages.run = lambda *_: b''\n"
        "from vmcoretool.cli.entry import main\nmain()\n"
    )
    with monkeypatch.context() as patch:
        patch.setattr(runner, "own_command", lambda: (sys.executable, "-c", program))
        (done,) = runner.run(str(tmp_path))
    assert done.right
    assert done.line.endswith("not all could be read: it is tried again at the next run")
    report = json.loads((place / "vmcoretool.json").read_text())
    assert "page-unreadable" in [row["code"] for row in report["findings"]]
    assert report["report"]["final"] is False
    (done,) = runner.run(str(tmp_path))
    assert "verified" in done.line
    assert list(runner.run(str(tmp_path))) == []


def test_report_of_another_version_is_made_anew(tmp_path: Path) -> None:
    place = crash_folder(tmp_path)
    write_report(place / "vmcore")
    assert is_done(str(place / "vmcore"))
    report = place / "vmcoretool.json"
    report.write_text(report.read_text().replace('"tool": "vmcoretool ', '"tool": "vmcoretool 0.'))
    assert not is_done(str(place / "vmcore"))
    (done,) = runner.run(str(tmp_path))
    assert "verified" in done.line
    assert list(runner.run(str(tmp_path))) == []


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000,
        b'{"report": ' * 200_000,
        b'{"report": {' * 200_000,
        b'{"report": {"tool": ' + b"[" * 7000,
        b"",
        b"\xff",
    ],
)
def test_odd_report_is_no_report(tmp_path: Path, content: bytes) -> None:
    place = crash_folder(tmp_path)
    (place / "vmcoretool.json").write_bytes(content)
    assert not is_done(str(place / "vmcore"))
    (place / "vmcoretool.json").unlink()
    os.mkfifo(place / "vmcoretool.json")
    assert not is_done(str(place / "vmcore"))
    assert b"verified" in tool("hook", "run", str(tmp_path)).stdout
    assert is_done(str(place / "vmcore"))


@pytest.mark.parametrize(("mode", "group"), [(0o777, 0), (0o775, 12345)])
def test_folders_that_others_can_exchange_are_not_touched(
    tmp_path: Path, mode: int, group: int
) -> None:
    if os.geteuid():
        pytest.skip("needs root")
    place = crash_folder(tmp_path / "crash")
    os.chown(tmp_path / "crash", 0, group)
    (tmp_path / "crash").chmod(mode)
    done = tool("hook", "run", str(tmp_path / "crash"))
    assert done.returncode == 0
    assert b"the folder is not root's alone: nothing in it is touched" in done.stderr
    assert not (place / "vmcoretool.json").exists()
    (tmp_path / "crash").chmod(mode | stat.S_ISVTX)
    assert b"verified" in tool("hook", "run", str(tmp_path / "crash")).stdout
    os.chown(place, 0, 12345)
    place.chmod(0o775)
    done = tool("hook", "run", str(tmp_path / "crash"))
    assert b"skipped: the folder is not root's alone" in done.stderr


def test_directory_full_of_junk(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"file-{number}").write_bytes(b"x")
        (tmp_path / f"folder-{number}").mkdir()
    os.mkfifo(tmp_path / "folder-1" / "vmcore")
    (tmp_path / "folder-2" / "vmcore").mkdir()
    done = tool("hook", "run", str(tmp_path))
    assert done.returncode == 0
    assert done.stderr.count(b"\n") == 2
    assert tool("hook", "run", str(tmp_path / "missing")).returncode == 0


def test_hung_dump_and_greedy_inspection_end(tmp_path: Path) -> None:
    crash_folder(tmp_path)
    limits = runner.Limits(seconds=0)
    (done,) = runner.run(str(tmp_path), limits)
    assert not done.right
    assert "no answer within" in done.line
    script = (
        "from vmcoretool.hooks.runner import limit_this_process\n"
        "limit_this_process(5, 1 << 28)\nbytes(1 << 29)\n"
    )
    greedy = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert b"MemoryError" in greedy.stderr


def test_disk_full_for_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = crash_folder(tmp_path)

    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        write_report(place / "vmcore")
    assert [path.name for path in place.iterdir()] == ["vmcore"]


def test_second_run_at_the_same_time_leaves_the_work_to_the_first(tmp_path: Path) -> None:
    crash_folder(tmp_path)
    first = runner.run(str(tmp_path))
    next(first)
    done = tool("hook", "run", str(tmp_path))
    assert b"another vmcoretool is at work" in done.stderr
    assert done.returncode == 0
    assert list(first) == []


def test_dump_deleted_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = crash_folder(tmp_path)
    find_dumps = runner.find_dumps

    def deleting(directory: str) -> Any:
        found = list(find_dumps(directory))
        shutil.rmtree(place)
        return iter(found)

    monkeypatch.setattr(runner, "find_dumps", deleting)
    (done,) = runner.run(str(tmp_path))
    assert not done.right
    assert "No such file" in done.line


def test_library_writes_the_same(tmp_path: Path) -> None:
    place = crash_folder(tmp_path)
    report = write_report(place / "vmcore")
    assert "0x27800000 verified" in report.summary
    facts = json.loads((place / "vmcoretool.json").read_text())
    shown = json.loads(tool("inspect", "--json", place / "vmcore").stdout)
    assert {key: facts[key] for key in shown} == shown


# -- installing ---------------------------------------------------------------------------------


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            str(path.readlink()).encode() if path.is_symlink() else path.read_bytes(),
        )
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


CONFIGURED = {
    "etc/kdump.conf": "path /var/crash\ncore_collector makedumpfile -l --message-level 7 -d 31\n",
    "etc/sysconfig/kdump": 'KDUMP_POSTSCRIPT=""\nKDUMP_REQUIRED_PROGRAMS=""\nXCA='
    "/usr/lib64/xen/bin/xen-crashdump-analyser\nCRASH_COREDUMP=no",
}


@pytest.mark.parametrize("system", systems.SYSTEMS)
def test_install_is_idempotent_and_uninstall_restores(tmp_path: Path, system: str) -> None:
    for name, text in CONFIGURED.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o640)
    before = tree(tmp_path)
    words = ("--system", system, "--root", str(tmp_path))
    shown = tool("hook", "install", "--dry-run", *words)
    assert tree(tmp_path) == before
    assert tool("hook", "status", *words).returncode == 1
    assert tool("hook", "install", *words).returncode == 0
    installed = tree(tmp_path)
    for name, (_, content) in installed.items():
        if name not in before and content.startswith(b"#!"):
            assert content.rstrip(b"\n") in shown.stdout
    assert tool("hook", "install", *words).returncode == 0
    assert tree(tmp_path) == installed
    assert tool("hook", "status", *words).returncode == 0
    assert tool("hook", "uninstall", *words).returncode == 0
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("system", "name", "text"),
    [
        ("rhel", "etc/kdump.conf", "extra_bins /usr/bin/lspci\n"),
        ("suse", "etc/sysconfig/kdump", 'KDUMP_POSTSCRIPT="/root/mine.sh"\n'),
        ("suse", "etc/sysconfig/kdump", 'KDUMP_TRANSFER="scp"\n'),
        ("xcp-ng", "etc/sysconfig/kdump", "XCA=/root/my-analyser\n"),
    ],
)
def test_what_is_set_already_is_not_edited(
    tmp_path: Path, system: str, name: str, text: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    done = tool("hook", "install", "--system", system, "--root", str(tmp_path))
    assert done.returncode == 1
    assert path.read_text() == text
    assert b"by hand" in done.stderr
    assert text.strip().encode() in done.stdout  # the whole line


def test_line_merged_by_hand_is_installed(tmp_path: Path) -> None:
    path = tmp_path / "etc/kdump.conf"
    path.parent.mkdir(parents=True)
    text = "extra_bins /usr/bin/lspci\n"
    path.write_text(text)
    words = ("--system", "rhel", "--root", str(tmp_path))
    done = tool("hook", "install", *words)
    tools = done.stderr.decode().rpartition("one line: ")[2].strip()
    path.write_text(merged := f"{text.strip()} {tools}\n")
    assert tool("hook", "status", *words).returncode == 0
    assert tool("hook", "uninstall", *words).returncode == 0
    assert path.read_text() == merged


CAPTURE = systems.CAPTURE
SUSE = (
    f"KDUMP_POSTSCRIPT='/bin/y; {CAPTURE} \"$DIR\"'\n"
    f'KDUMP_REQUIRED_PROGRAMS="/bin/y {CAPTURE} /usr/bin/dd"\n'
)


@pytest.mark.parametrize(
    ("system", "name", "text", "status"),
    [
        ("rhel", "etc/kdump.conf", "extra_bins /usr/bin/od /usr/bin/lspci /usr/bin/dd\n", 0),
        ("rhel", "etc/kdump.conf", "extra_bins /usr/bin/ddrescue /usr/bin/odd\n", 1),
        ("rhel", "etc/kdump.conf", "extra_bins /bin/x # /usr/bin/dd /usr/bin/od\n", 1),
        ("suse", "etc/sysconfig/kdump", SUSE, 0),
        ("suse", "etc/sysconfig/kdump", f'KDUMP_TRANSFER="scp"\n{SUSE}', 0),
        ("suse", "etc/sysconfig/kdump", SUSE.partition("\n")[0] + "\n", 1),
        ("suse", "etc/sysconfig/kdump", f'KDUMP_POSTSCRIPT="/bin/y" # not {CAPTURE}\n', 1),
        ("xcp-ng", "etc/sysconfig/kdump", f"XCA=/root/mine # {CAPTURE}\n", 1),
    ],
)
def test_what_was_merged_by_hand_is_told(
    tmp_path: Path, system: str, name: str, text: str, status: int
) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    words = ("--system", system, "--root", str(tmp_path))
    assert tool("hook", "install", *words).returncode == status
    assert tool("hook", "status", *words).returncode == status
    done = tool("hook", "uninstall", *words)
    assert path.read_text() == text
    assert (b"take out by hand" in done.stderr) == (status == 0)


def test_directory_of_the_installed_unit_is_kept(tmp_path: Path) -> None:
    words = ("--system", "debian", "--root", str(tmp_path))
    assert tool("hook", "install", *words, "--directory", "/srv/50% full").returncode == 0
    assert tool("hook", "status", *words).returncode == 0
    assert tool("hook", "install", *words).returncode == 0
    assert "/srv/50%% full" in (tmp_path / systems.UNIT.lstrip("/")).read_text()
    assert tool("hook", "install", *words, "--directory", "crash").returncode == 2
    assert tool("hook", "install", "--system", "debian", "--root", "/nonexistent/x").returncode == 2
    assert not Path("/nonexistent").exists()


def test_system_without_kdump_is_said(tmp_path: Path) -> None:
    done = tool("hook", "install", "--system", "suse", "--root", str(tmp_path))
    assert b"etc/sysconfig/kdump was not there" in done.stderr


def test_unit_of_a_zipapp_runs_the_zipapp(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    shutil.copytree(ROOT / "vmcoretool", folder / "vmcoretool")
    site = Path(click.__file__).parent
    shutil.copytree(site, folder / "click")
    app = tmp_path / "vmcoretool.pyz"
    zipapp.create_archive(folder, app, main="vmcoretool.cli.entry:main")
    root = tmp_path / "root"
    root.mkdir()
    words = [sys.executable, str(app), "hook", "install", "--system", "debian", "--root", str(root)]
    subprocess.run(words, check=True, capture_output=True, cwd="/")
    line = re.search(
        "^ExecStart=(.*)$", (root / systems.UNIT.lstrip("/")).read_text(), re.MULTILINE
    )
    assert line
    crash = tmp_path / "crash/2026-11-25"
    crash.mkdir(parents=True)
    shutil.copy(SAMPLE, crash / "vmcore")
    words = [*shlex.split(line[1])[:-1], str(crash.parent)]
    subprocess.run(words, cwd="/", check=True, capture_output=True)
    assert b"VERIFIED" in (crash / "vmcoretool.txt").read_bytes()


def test_foreign_file_in_the_place_of_ours_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "etc/kdump/post.d/90-vmcoretool.sh"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\necho mine\n")
    assert tool("hook", "install", "--system", "rhel", "--root", str(tmp_path)).returncode == 1
    tool("hook", "uninstall", "--system", "rhel", "--root", str(tmp_path))
    assert path.read_text() == "#!/bin/sh\necho mine\n"


def test_older_files_of_ours_are_brought_up_to_date(tmp_path: Path) -> None:
    plan = systems.plan_of("suse")
    install.install(install.look(plan, str(tmp_path)))
    hook = tmp_path / systems.CAPTURE.lstrip("/")
    hook.write_text(hook.read_text() + "# older\n")
    assert {step.state for step in install.look(plan, str(tmp_path))} == {"installed", "changed"}
    install.install(install.look(plan, str(tmp_path)))
    assert hook.read_text() == HOOK.read_text()


@pytest.mark.parametrize("content", [None, b"", b"\n", b"a", b"\xff\xfe\n", b"a\n\n"])
def test_configuration_is_given_back_byte_for_byte(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "etc/kdump.conf"
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)
    plan = systems.plan_of("rhel")
    install.install(install.look(plan, str(tmp_path)))
    install.install(install.look(plan, str(tmp_path)))
    assert path.read_bytes().startswith(content or b"")
    assert path.read_bytes().endswith(b"end\n")
    written = path.read_bytes()
    path.write_bytes(written + b"added since\n")
    install.uninstall(install.look(plan, str(tmp_path)))
    own = content + b"\n" if content and not content.endswith(b"\n") else content or b""
    assert path.read_bytes() == own + b"added since\n"
    path.write_bytes(written.replace(b"bins ", b"bins  "))  # the lines of another version
    install.install(install.look(plan, str(tmp_path)))
    assert path.read_bytes() == written
    install.uninstall(install.look(plan, str(tmp_path)))
    assert (path.read_bytes() if path.exists() else None) == content


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"# x\n" * (1 << 18) + b"path /data\n", b"larger than 1 MiB"),
        (b"path /data\r\nxfs /dev/sda1\r\n", b"CR LF"),
        (b"path /data\r", b"CR LF"),
    ],
)
def test_configuration_that_is_not_edited(tmp_path: Path, content: bytes, why: bytes) -> None:
    path = tmp_path / "etc/kdump.conf"
    path.parent.mkdir()
    path.write_bytes(content)
    words = ("--system", "rhel", "--root", str(tmp_path))
    done = tool("hook", "install", *words)
    assert done.returncode == 1
    assert why in done.stdout
    assert path.read_bytes() == content
    assert tool("hook", "uninstall", *words).returncode == 0
    assert path.read_bytes() == content


@pytest.mark.parametrize("target", ["{}/elsewhere", "../../elsewhere"])
def test_links_out_of_the_root_are_not_followed(tmp_path: Path, target: str) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    (root / "etc").mkdir(parents=True)
    elsewhere.mkdir()
    (root / "etc/systemd").symlink_to(target.format(tmp_path))
    done = tool("hook", "install", "--system", "debian", "--root", str(root))
    assert done.returncode == 1
    assert b"leads out of" in done.stdout
    assert list(elsewhere.iterdir()) == []
    (root / "etc/systemd").unlink()
    (root / "lib").mkdir()
    (root / "etc/systemd").symlink_to("../lib")
    assert tool("hook", "install", "--system", "debian", "--root", str(root)).returncode == 0
    assert (root / "lib/system/vmcoretool-report.service").is_file()


def test_configuration_keeps_its_selinux_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "etc/kdump.conf"
    path.parent.mkdir()
    path.write_text("path /var/crash\n")
    labels = {path.stat().st_ino: b"system_u:object_r:kdump_etc_t:s0\0"}
    monkeypatch.setattr(os, "getxattr", lambda place, _, **__: labels[Path(place).stat().st_ino])
    monkeypatch.setattr(
        os, "setxattr", lambda place, _, label: labels.update({os.fstat(place).st_ino: label})
    )
    old = path.stat().st_ino
    install.install(install.look(systems.plan_of("rhel"), str(tmp_path)))
    assert labels[path.stat().st_ino] == labels[old]


@pytest.mark.parametrize(
    ("text", "system"),
    [
        ("ID=fedora\n", b"rhel"),
        ('NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\n', b"rhel"),
        ('ID="xenenterprise"\nID_LIKE="centos rhel fedora"\n', b"xcp-ng"),
        ("ID=linuxmint\nID_LIKE='ubuntu debian'\n", b"debian"),
        ('ID="sle-micro"\nID_LIKE="suse"\n', b"suse"),
    ],
)
def test_system_is_known_by_its_os_release(tmp_path: Path, text: str, system: bytes) -> None:
    place = tmp_path / "usr/lib/os-release"
    place.parent.mkdir(parents=True)
    place.write_text(text)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").symlink_to("../usr/lib/os-release")
    done = tool("hook", "install", "--dry-run", "--root", str(tmp_path))
    assert done.stdout.startswith(b"system: " + system)
    name = text.partition("ID=")[2].partition("\n")[0].strip('"')
    if name in ("fedora", "rocky"):
        named = tool("hook", "install", "--dry-run", "--root", str(tmp_path), "--system", name)
        assert done.stdout.partition(b"\n")[2] == named.stdout
    place.write_text("ID=plan9\n")
    unknown = tool("hook", "install", "--root", str(tmp_path))
    assert unknown.returncode == 2
    assert b"rhel, suse, debian, xcp-ng" in unknown.stderr
    assert not (tmp_path / "etc/systemd").exists()


def test_program_that_the_unit_runs_is_chosen_and_kept(tmp_path: Path) -> None:
    words = ("--system", "debian", "--root", str(tmp_path))
    program = "/opt/50% of it/vmcoretool"
    assert tool("hook", "install", *words, "--exec", program).returncode == 0
    text = (tmp_path / systems.UNIT.lstrip("/")).read_text()
    assert 'ExecStart="/opt/50%% of it/vmcoretool" hook run /var/crash\n' in text
    assert tool("hook", "status", *words).returncode == 0
    assert tool("hook", "install", *words).returncode == 0
    assert (tmp_path / systems.UNIT.lstrip("/")).read_text() == text
    assert tool("hook", "install", *words, "--exec", "bin/vmcoretool").returncode == 2


def test_what_others_can_change_is_not_run_as_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid():
        pytest.skip("needs root")
    program = tmp_path / "bin/vmcoretool"
    program.parent.mkdir()
    program.write_text("#!/usr/bin/env python3\n")
    assert trust.not_roots_alone(str(program)) is None
    program.parent.chmod(0o777)
    assert trust.not_roots_alone(str(program)) == (
        str(program.parent),
        "may be written to by everybody",
    )
    program.parent.chmod(0o755)
    (tmp_path / "python").touch()
    os.chown(tmp_path / "python", 1000, 1000)
    (tmp_path / "link").symlink_to("python")
    program.write_text(f"#!{tmp_path}/link\n")
    assert trust.not_roots_alone(str(program)) == (str(tmp_path / "python"), "belongs to user 1000")
    monkeypatch.setattr("vmcoretool.hooks.install.install", lambda steps: steps)
    monkeypatch.setattr("vmcoretool.hooks.install.look", lambda *_: ())
    words = ["hook", "install", "--system", "debian", "--exec", str(program)]
    assert run_command_line(words) == 1
    assert "belongs to user 1000, and the unit would run it as root" in capsys.readouterr().err
    assert run_command_line([*words, "--allow-writable"]) == 0
    assert run_command_line([*words, "--dry-run"]) == 0
    # this very package: its own files and all that python imports from
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "bin")])
    program.parent.chmod(0o775)
    os.chown(program.parent, 0, 1000)
    found = trust.not_roots_alone(None)
    assert found is not None


def test_writing_without_root_is_refused_with_the_cure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    words = ["--system", "debian", "--root", str(tmp_path)]
    assert run_command_line(["hook", "install", *words]) == 5
    said = capsys.readouterr().err
    assert said.endswith("vmcoretool-report.service: Permission denied; writing there needs root\n")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("directory", ["/var/crash", "/srv/100% of it/crash"])
def test_unit_is_valid(tmp_path: Path, directory: str) -> None:
    unit = tmp_path / "vmcoretool-report.service"
    unit.write_text(systems.unit(directory))
    words = ["systemd-analyze", "verify", str(unit)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "vmcoretool" not in done.stderr
    words = ["systemd-analyze", "security", "--offline=yes", "--threshold=30", str(unit)]
    if "--offline" in tool_help(words[0]):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def tool_help(name: str) -> str:
    return subprocess.run([name, "--help"], capture_output=True, text=True, check=False).stdout


def test_selftest() -> None:
    done = tool("hook", "selftest")
    assert done.returncode == 0, done.stdout
    assert b"the hook in sh: " in done.stdout
    assert sys.executable in systems.unit("/var/crash")


def test_selftest_tells_what_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "SHELLS", (("sh",), ("no-such-shell",)))
    monkeypatch.setattr(selftest, "capture_script", lambda: "echo broken >&2\nexit 3\n")
    trials = {trial.name: trial for trial in selftest.selftest()}
    assert trials["the hook in sh"] == ("the hook in sh", "status 3: broken", False)
    assert trials["the dump itself"].right
    assert "the hook in no-such-shell" not in trials
    monkeypatch.setattr(selftest, "SECONDS", 0.2)
    monkeypatch.setattr(selftest, "capture_script", lambda: "exec sleep 60\n")
    trials = {trial.name: trial for trial in selftest.selftest()}
    assert trials["the hook in sh"][1:] == ("did not end within 0.2 s", False)
    monkeypatch.setattr(selftest, "capture_script", lambda: "exit 0\n")  # but nothing captured
    trials = {trial.name: trial for trial in selftest.selftest()}
    assert trials["the hook in sh"][1:] == ("status 0: ", False)


def test_selftest_names_tools_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(selftest, "SHELLS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_command_line(["hook", "selftest"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "FAIL dd: is not installed" in lines
    assert "ok   sleep: is not installed" in lines  # one does without


@pytest.mark.parametrize(
    ("mode", "owner", "why"),
    [
        (0o644, 0, ""),
        (0o664, 0, ""),
        (0o664, 1000, "may be written to by group 1000"),
        (0o666, 0, "may be written to by everybody"),
    ],
)
def test_who_may_change_a_file(tmp_path: Path, mode: int, owner: int, why: str) -> None:
    if os.geteuid():
        pytest.skip("needs root")
    path = tmp_path / "program"
    path.touch()
    os.chown(path, 0, owner)
    path.chmod(mode)
    assert trust._open_to(str(path)) == why


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    chain = list(trust._chain(str(tmp_path / "a")))
    assert {str(tmp_path / "a"), str(tmp_path / "b"), "/"} <= set(chain)
    assert trust._open_to(str(tmp_path / "missing")) == "No such file or directory"
    assert list(trust._of_program(str(tmp_path / "missing"))) == [str(tmp_path / "missing")]


def test_systems_files_are_read_and_replaced_with_care(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kdump"
    path.write_bytes(b"a\r\n\xff")
    text = files.read(str(path))
    files.write(str(path), text, 0o640)
    assert path.read_bytes() == b"a\r\n\xff"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    handles = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="no regular file"):
        files.read(str(tmp_path))
    (tmp_path / "vmcoretool.json").mkdir()
    assert not is_done(str(path))
    (tmp_path / "vmcoretool.json").rmdir()
    assert len(list(Path("/proc/self/fd").iterdir())) == handles
    monkeypatch.setattr(files, "MAX_FILE", 3)
    with pytest.raises(OSError, match="larger than"):
        files.read(str(path))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write(str(path), "new", 0o600)
    assert [entry.name for entry in tmp_path.iterdir()] == ["kdump"]
    assert path.read_bytes() == b"a\r\n\xff"
    with pytest.raises(FileNotFoundError) as caught:
        files.write(str(tmp_path / "missing/kdump"), "new", 0o600)
    assert caught.value.filename == str(tmp_path / "missing/kdump")


def test_folder_that_vanishes_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["hook", "run", str(tmp_path / "missing")]) == 0
    assert capsys.readouterr().err.endswith("missing: No such file or directory\n")


def test_inspection_in_this_process_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(runner, "limit_this_process", lambda *given: limits.append(given))
    dump = tmp_path / "vmcore"
    dump.write_bytes(SAMPLE.read_bytes())
    assert run_command_line(["hook", "report", str(dump), "7", "1024"]) == 0
    assert limits == [(7, 1024)]
    assert "xen_phys_start 0x27800000 verified" in capsys.readouterr().out
    assert is_done(str(dump))
    dump.write_bytes(b"hello")
    assert run_command_line(["hook", "report", str(dump), "7", "1024"]) == runner.UNREADABLE
    facts = json.loads((tmp_path / "vmcoretool.json").read_text())
    assert facts["schema"] == "vmcoretool/report/1"
    assert facts["error"] in capsys.readouterr().err
