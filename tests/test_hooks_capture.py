"""The capture hook: the real script, called as each system calls it, and all that goes wrong."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import stat
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hook_parts import CAPTURED, HOOK, SAMPLE, SHELLS, capture, verdict
from tests.support import SAMPLES
from vmcoretool import open_vmcore
from vmcoretool.hooks import systems

ELF = [
    path
    for path in SAMPLES
    if path.name.startswith("xen-") and path.name != "xen-3.1-hypervisor-panic"
]


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


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(
    "text",
    ["path /data", "\tpath  /data/ # x\n", "path /var/crash\npath /data", "#path /x\npath /data\n"],
)
def test_rhel_path_is_read_as_kdump_reads_it(tmp_path: Path, shell: list[str], text: str) -> None:
    new = tmp_path / "m/data/127.0.0.1-2026-11-25-03:00:00"
    new.mkdir(parents=True)
    (tmp_path / "m/var/crash").mkdir(parents=True)
    conf = tmp_path / "kdump.conf"
    conf.write_text(text)
    variables = {"VMCORETOOL_CONF": str(conf), "VMCORETOOL_MOUNTS": str(tmp_path / "m")}
    capture("0", shell=shell, variables=variables)
    assert (new / CAPTURED).exists()


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
