"""After boot: a report beside each new, finished dump, and all that goes wrong."""

from __future__ import annotations

import bz2
import fcntl
import gzip
import json
import lzma
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import lz4.frame
import pytest
import zstandard

from tests.hook_parts import CAPTURED, SAMPLE, crash_folder
from tests.lab import packages
from tests.support import ROOT, tool
from tests.test_lab import mirror_answers
from vmcoretool import write_report
from vmcoretool.cli.main import run as run_command_line
from vmcoretool.hooks import dumps, runner, selftest
from vmcoretool.hooks.report import is_done

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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


LAYOUTS = [
    ("127.0.0.1-2026-11-25-03:00:00", "vmcore"),
    ("2026-11-25-03-00", "vmcore"),
    ("202611250300", "vmcore.202611250300"),
    ("20261125-030000-UTC", "coredump.bin"),
    ("20261125-030000-UTC", CAPTURED),
    ("node1/var/crash/10.0.0.5-2026-11-25-03:00:00", "vmcore"),
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
    crash = tmp_path / "crash"
    crash_folder(crash, "1", "vmcore-incomplete")
    crash_folder(crash, "2", "dump-incomplete")
    linked = crash_folder(crash, "3", "real")
    (linked / "vmcore").symlink_to("real")
    foreign = crash_folder(crash, "4")
    if os.geteuid() == 0:
        os.chown(foreign / "vmcore", 12345, 12345)
    outside = crash_folder(tmp_path / "outside", "x")
    (crash / "5").symlink_to(outside)
    done = tool("hook", "run", str(crash))
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
    said = f"{folder}: not inspected: {folder}/vmcore: not a dump in any format known here; "
    assert done.stderr.decode().startswith(f"vmcoretool: {said}")
    assert (folder / "vmcoretool.txt").read_text().startswith(f"{folder}/vmcore: not a dump")
    facts = json.loads((folder / "vmcoretool.json").read_text())
    assert "not a dump" in facts["error"]
    assert tool("hook", "run", str(tmp_path)).stderr == b""


@pytest.mark.parametrize(
    "program",
    [
        # as the installed script starts, and as people do who have none
        ("-c", "import sys; sys.path.remove(''); from vmcoretool.cli.entry import main; main()"),
        ("-m", "vmcoretool"),
    ],
)
def test_nothing_planted_in_the_current_folder_is_run(
    tmp_path: Path, program: tuple[str, str]
) -> None:
    # /var/crash is often world-writable: whoever calls the hook there must not import from it
    crash_folder(tmp_path)
    folder = crash_folder(tmp_path, "2026-11-26-03-00")
    tmp_path.chmod(0o1777)
    for name in ("click.py", "fcntl.py", "json.py", "construct.py", "zstandard.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'RAN')!r}, 'w')\n")
        if not os.geteuid():
            os.chown(tmp_path / name, 65534, 65534)
    done = subprocess.run(
        [sys.executable, *program, "hook", "run", "."],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    assert not (tmp_path / "RAN").exists(), done.stderr
    assert done.stdout.count(b"verified") == 2
    assert (folder / "vmcoretool.json").exists()


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "lz4", "zst"])
@pytest.mark.parametrize("name", ["vmcore", "vmcore.flat", "coredump.bin", "dump.202611250300"])
def test_compressed_dumps_are_found(tmp_path: Path, name: str, ending: str) -> None:
    place = tmp_path / "1"
    place.mkdir()
    (place / f"{name}.{ending}").write_bytes(b"x")
    ((_, dump, _),) = dumps.Search(str(tmp_path)).found()
    assert dump == str(place / f"{name}.{ending}")


@pytest.mark.parametrize(
    ("ending", "compress"),
    [
        ("gz", gzip.compress),
        ("xz", lzma.compress),
        ("zst", zstandard.compress),
        ("bz2", bz2.compress),
        ("lz4", lz4.frame.compress),
    ],
)
def test_compressed_vmcore_is_inspected(
    tmp_path: Path, ending: str, compress: Callable[[bytes], bytes]
) -> None:
    place = tmp_path / "1"
    place.mkdir()
    data = (ROOT / "samples/kdump-zlib/vmcore").read_bytes()
    (place / f"vmcore.{ending}").write_bytes(compress(data))
    (done,) = runner.run(str(tmp_path))
    assert done.state == "written"
    assert done.line.startswith(f"vmcore.{ending}: Xen 4.8.5, xen_phys_start 0x27a00000 verified")


@pytest.mark.parametrize("name", ["vmcore-incomplete", "dump-incomplete"])
def test_what_was_never_finished_is_reported_once(tmp_path: Path, name: str) -> None:
    place = crash_folder(tmp_path, dump=name)
    (done,) = runner.run(str(tmp_path))
    assert done.line.endswith("; 1 still being written")  # since this boot
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


@pytest.mark.parametrize(
    "folder", ["node1/var/crash/10.0.0.5-2026-11-25-03:00:00", "a/b/c/d/e/f/g/h"]
)
def test_dumps_of_a_server_of_many_nodes_are_found(tmp_path: Path, folder: str) -> None:
    place = tmp_path / folder
    place.mkdir(parents=True)
    shutil.copy(ROOT / "samples/kdump-zlib/vmcore", place)
    other = crash_folder(tmp_path / "node2/var/crash")
    done = tool("hook", "run", str(tmp_path))
    assert done.stdout.count(b"verified") == 2
    for written in (place, other):
        assert json.loads((written / "vmcoretool.json").read_text())["kind"] == "xen-host"
    again = tool("hook", "run", str(tmp_path))
    assert (again.stdout, again.stderr) == (b"", b"")


def test_what_xcp_ng_saves_without_a_dump_is_reported(tmp_path: Path) -> None:
    place = tmp_path / "20261125-030000-UTC"
    place.mkdir()
    shutil.copy(ROOT / "samples/readelf-text/vmcore", place / "readelf-Wn.out")
    for name in ("readelf-Wl.out", "xen.log", "xen-crashdump-analyser.log", "dom0.log"):
        (place / name).write_text("Program Headers:\n")
    (done,) = runner.run(str(tmp_path))
    assert (done.state, done.dump) == ("written", str(place / "readelf-Wn.out"))
    assert re.search("xen_phys_start 0x[0-9a-f]+ reported", done.line)
    report = json.loads((place / "vmcoretool.json").read_text())
    assert report["dump"]["format"] == "readelf-text"
    assert report["relocation"]["status"] == "reported"
    shutil.copy(SAMPLE, place / "coredump.bin")  # the dump itself is better
    (done,) = runner.run(str(tmp_path))
    assert "verified" in done.line


def test_empty_dump_is_the_last_choice(tmp_path: Path) -> None:
    place = tmp_path / "1"
    place.mkdir()
    (place / "vmcore").touch()
    (done,) = runner.run(str(tmp_path))
    assert (done.state, done.dump) == ("unreadable", str(place / "vmcore"))
    shutil.copy(SAMPLE, place / CAPTURED)  # what the capture hook kept of the crash
    (done,) = runner.run(str(tmp_path))
    assert (done.state, done.dump) == ("written", str(place / CAPTURED))
    assert list(runner.run(str(tmp_path))) == []


def test_nothing_found_is_said_with_what_was_looked_at(tmp_path: Path) -> None:
    crash_folder(tmp_path / "1/2/3/4/5/6/7/8")  # in the ninth
    (tmp_path / "other").mkdir()
    done = tool("hook", "run", str(tmp_path))
    assert (done.returncode, done.stdout) == (0, b"")
    said = "no dump in this folder, nor in the 9 folders below it (8 levels are looked at)"
    assert done.stderr.decode() == f"vmcoretool: {tmp_path}: {said}\n"
    (tmp_path / "empty").mkdir()
    (nothing,) = runner.run(str(tmp_path / "empty"))
    assert nothing.line == "no dump in this folder, nor below it (8 levels are looked at)"


def test_what_others_made_is_not_looked_into(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("needs root")
    crash_folder(tmp_path / "guest/var")
    os.chown(tmp_path / "guest", 12345, 12345)
    crash_folder(tmp_path / ".snapshot")
    crash_folder(tmp_path / ".vmcoretool-notes.elf.7.0", dump=CAPTURED)
    (tmp_path / "link").symlink_to(tmp_path / ".snapshot")
    (done,) = runner.run(str(tmp_path))
    assert done.line.endswith("; 1 that others can change are not looked into")
    assert list(tmp_path.rglob("vmcoretool.json")) == []


def test_who_is_not_root_reports_on_dumps_of_his_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = crash_folder(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    if os.getuid() == 0:
        for path in (tmp_path, place, place / "vmcore"):
            os.chown(path, 12345, -1)
    ((_, dump, _),) = dumps.Search(str(tmp_path)).found()
    assert dump == str(place / "vmcore")


def test_whole_system_is_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # a slip of the finger would leave reports beside all that is named like a dump
    place = crash_folder(tmp_path)
    same = os.path.samestat
    root = tmp_path.stat()  # stands for "/", which no test may search
    monkeypatch.setattr(os.path, "samestat", lambda one, other: same(one, root) or same(one, other))
    assert run_command_line(["hook", "run", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert said.endswith("this is the whole system: name the folder in which dumps are\n")
    assert [path.name for path in place.iterdir()] == ["vmcore"]


def test_search_for_dumps_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        crash_folder(tmp_path / "junk" / str(number), "deep")
    crash_folder(tmp_path, "zzz")
    monkeypatch.setattr(dumps, "MAX_FOLDERS", 8)
    found = list(dumps.Search(str(tmp_path)).found())
    assert found[0].dump == str(tmp_path / "zzz/vmcore")  # the usual place comes first
    assert found[-1].why == "only 8 folders are looked at"
    monkeypatch.setattr(dumps, "MAX_NAMES", 1)
    first, *_ = dumps.Search(str(tmp_path)).found()
    assert first == (str(tmp_path), None, "only the last 1 of 2 are looked at")
    made_up = {tmp_path.stat().st_dev}  # as /proc and /sys are
    monkeypatch.setattr(dumps, "unreal_devices", lambda: made_up)
    assert list(dumps.Search(str(tmp_path / "junk")).found())[1:] == []


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


@pytest.mark.parametrize(
    ("sample", "module", "name"),
    [
        ("kdump-zstd", "zstandard", "vmcore"),
        ("kdump-lzo", "lzallright", "vmcore"),
        ("xen-4.17-dom0-panic", "zstandard", "vmcore.zst"),
    ],
)
def test_codec_that_is_installed_later_reads_the_dump_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: str, module: str, name: str
) -> None:
    data = (ROOT / "samples" / sample / "vmcore").read_bytes()
    place = tmp_path / "1"
    place.mkdir()
    (place / name).write_bytes(zstandard.compress(data) if name.endswith("zst") else data)
    program = (
        f"import sys\nsys.modules[{module!r}] = None\n"
        "from vmcoretool.cli.entry import main\nmain()\n"
    )
    with monkeypatch.context() as patch:
        patch.setattr(runner, "own_command", lambda: (sys.executable, "-c", program))
        (done,) = runner.run(str(tmp_path))
    assert "not installed" in done.line
    assert (done.state, [path.name for path in place.iterdir()]) == ("again", [name])
    (done,) = runner.run(str(tmp_path))
    assert "verified" in done.line


@pytest.mark.parametrize("good", [True, False])
def test_dump_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, good: bool
) -> None:
    place = crash_folder(tmp_path)
    if not good:
        (place / "vmcore").write_bytes(b"junk\n")
    program = (
        "import vmcoretool.hooks.report as report\n"
        "opened = report.open_vmcore\n"
        "def growing(path):\n"
        "    with open(path, 'ab') as file: file.write(b'more')\n"
        "    return opened(path)\n"
        "report.open_vmcore = growing\n"
        "from vmcoretool.cli.entry import main\nmain()\n"
    )
    with monkeypatch.context() as patch:
        patch.setattr(runner, "own_command", lambda: (sys.executable, "-c", program))
        (done,) = runner.run(str(tmp_path))
    assert done.state == ("written" if good else "unreadable")
    if good:
        ending = "; it changed while it was read: it is tried again at the next run"
        assert done.line.endswith(ending)
    (done,) = runner.run(str(tmp_path))
    assert ("verified" in done.line) == good
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


def test_links_in_the_place_of_reports_are_replaced(tmp_path: Path) -> None:
    place = crash_folder(tmp_path / "crash")
    victims = [tmp_path / "victim.json", tmp_path / "victim.txt"]
    for victim in victims:
        victim.write_text("mine")
        (place / f"vmcoretool{victim.suffix}").symlink_to(victim)
    (done,) = runner.run(str(tmp_path / "crash"))
    assert done.state == "written"
    assert [victim.read_text() for victim in victims] == ["mine", "mine"]
    assert not (place / "vmcoretool.json").is_symlink()
    # a link to a report of this dump is no report either
    (place / "vmcoretool.json").rename(tmp_path / "moved")
    (place / "vmcoretool.json").symlink_to(tmp_path / "moved")
    assert not is_done(str(place / "vmcore"))


def test_folder_in_the_place_of_a_report_costs_that_dump_alone(tmp_path: Path) -> None:
    place = crash_folder(tmp_path, "1")
    (place / "vmcoretool.json").mkdir()
    crash_folder(tmp_path, "2")
    first, second = runner.run(str(tmp_path))
    assert (first.state, second.state) == ("again", "written")
    assert not list(place.glob(".*"))


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


def test_file_system_without_locks_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(37, "No locks available")

    crash_folder(tmp_path)
    monkeypatch.setattr(fcntl, "flock", refuse)
    (done,) = runner.run(str(tmp_path))
    assert done.state == "written"


def test_dump_deleted_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = crash_folder(tmp_path)
    search = dumps.Search.found

    def deleting(self: dumps.Search) -> Any:
        found = list(search(self))
        shutil.rmtree(place)
        return iter(found)

    monkeypatch.setattr(dumps.Search, "found", deleting)
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
