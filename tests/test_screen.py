"""What a person reads first: one screen of 24 rows and 80 columns, read as that person does."""

from __future__ import annotations

import json
import os
import pty
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.elf_core import ElfCore, Load
from tests.support import ROOT
from vmcoretool.findings import CODES
from vmcoretool.host.cause import find_cause
from vmcoretool.host.when import find_moment, plausible
from vmcoretool.linux.log_text import Record
from vmcoretool.linux.panic import read_hardware, read_panic
from vmcoretool.render.fold import fold
from vmcoretool.render.happened import banner_note
from vmcoretool.render.layout import command_lines, duration_words, fill, size_words
from vmcoretool.xen.panic import read_crash_text
from vmcoretool.xen.trace_text import Stamp, XenTrace, read_stamp, read_trace

ROWS = 24
COLUMNS = 80
SAMPLES = sorted(
    path.parent
    for path in (ROOT / "samples").glob("*/expected.json")
    if json.loads(path.read_text())["inspect"]["kind"] == "xen-host"
)
WHOLE = sorted(Path(os.environ.get("VMCORETOOL_DUMPS", "/nowhere")).glob("**/vmcore"))
ZERO = {"x417-dom0panic": "08:28:53", "x417-domu-pv": "08:45:59", "x417-pv-and-pvh": "13:47:15"}


def shown(vmcore: str, folder: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "vmcoretool", "inspect", vmcore],
        cwd=folder,
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), "COLUMNS": str(COLUMNS)},
        capture_output=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout.decode("ascii").splitlines()


def label(lines: list[str], name: str) -> str:
    return next((line[len(name) :].strip() for line in lines if line.startswith(name)), "")


def check_shape(lines: list[str]) -> None:
    assert len(lines) < ROWS  # the shell's prompt has the last row
    for line in lines:
        assert len(line) <= COLUMNS, line
        assert line.isprintable()


def commands(lines: list[str]) -> list[str]:
    """Each command as it would be pasted, its continued lines joined."""
    text = "\n".join(lines[lines.index("Next") + 1 :]).replace(" \\\n", " ")
    rows = [line.strip() for line in text.split("\n")]
    return [re.sub(r"\s+", " ", row) for row in rows if row.startswith(("vmcoretool ", "crash "))]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_one_screen(sample: Path) -> None:
    facts = json.loads((sample / "expected.json").read_text())["inspect"]
    lines = shown("vmcore", sample)
    check_shape(lines)
    cause = facts["cause"]
    names = {"dom0": "dom0 died", "xen": "Xen died", "unknown": "crash"}
    key = bool(cause) and cause["headline"].startswith("'C' pressed")
    headline = label(lines, names[cause["who"]] if cause and not key else "crash")
    headline = headline.removeprefix("by hand: ")
    expected = cause["headline"] if cause else "no line of a crash"
    if sample.name == "readelf-text":
        expected = "not known: this text holds neither Xen's console nor dom0's log"
    assert headline
    assert expected.startswith(headline) or headline.startswith(expected)
    assert label(lines, "when")
    assert label(lines, "Xen  ").startswith(facts["xen"]["version"] or "version not recorded")
    start = facts["relocation"]["xen_phys_start"] or "-"
    assert any(
        line.startswith(f"xen_phys_start  {start}  {facts['relocation']['status'].upper()}")
        for line in lines
    )
    typed = commands(lines)
    assert typed[0].startswith("vmcoretool ")
    sessions = [row for row in typed if row.startswith("crash ")]
    assert sessions[0] in {row["shell"] for row in facts["commands"]}
    for found in facts["findings"][:1]:
        assert f"[{found['code']}]" in "\n".join(lines) or len(facts["findings"]) > 3


def test_dom0s_own_words_are_first() -> None:
    lines = shown("vmcore", ROOT / "samples/xen-4.17-dom0-panic")
    assert label(lines, "dom0 died") == "Kernel panic - not syncing: sysrq triggered crash"
    assert label(lines, "in ").startswith("sysrq_handle_crash < __handle_sysrq")
    assert label(lines, "task") == "init, PID 1, on d0v1, CPU 1; not tainted"
    assert label(lines, "when") == "about 2026-11-23 08:28:53 UTC, 24.8 s after dom0's start"
    assert "QEMU Standard PC (i440FX + PIIX, 1996)" in label(lines, "host")
    assert label(lines, "Xen  ") == "4.17.7 (Debian 4.17.7+13-g2445b30a44-0+deb12u1)"
    assert commands(lines)[0].startswith("vmcoretool dmesg vmcore")
    assert "vmlinux" in commands(lines)[1]


def test_xens_panic_names_its_function_and_its_session_first() -> None:
    lines = shown("vmcore", ROOT / "samples/xen-3.1-hypervisor-panic")
    assert label(lines, "Xen died").startswith("FATAL PAGE FAULT")
    assert label(lines, "in ").startswith("__start_xen < __high_start")
    assert commands(lines)[0].startswith("vmcoretool console vmcore")
    assert "xen-syms" in next(row for row in commands(lines) if row.startswith("crash "))


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.parent.name)
def test_whole_dump_on_one_screen(path: Path) -> None:
    lines = shown(str(path), path.parent)
    check_shape(lines)
    log = path.parent / "boot.log"
    if not log.exists():
        return
    panic = re.search(r"Kernel panic - not syncing: [^\r\n]*", log.read_text(errors="replace"))
    assert panic
    assert label(lines, "dom0 died") == panic[0].strip()
    assert label(lines, "task").startswith("init, PID 1")
    assert ZERO.get(path.parent.name, "UTC") in label(lines, "when")
    assert label(lines, "host").startswith("host name not set; QEMU")
    assert commands(lines)[0].startswith("vmcoretool dmesg ")


def test_terminal_of_80_columns() -> None:
    sample = ROOT / "samples/xen-4.17-dom0-panic"
    parent, child = pty.openpty()
    import fcntl
    import termios

    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
    environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    text = b""
    for term, coloured in (("xterm", True), ("dumb", False)):
        subprocess.run(
            [sys.executable, "-m", "vmcoretool", "inspect", "vmcore"],
            cwd=sample,
            env={**environment, "TERM": term},
            stdout=child,
            check=False,
        )
        text = os.read(parent, 65536)
        assert (b"\x1b[" in text) == coloured, term
        assert b"\\x1b" not in text  # a code of colour is none that has to be escaped
    lines = text.decode("ascii").replace("\r\n", "\n").splitlines()
    check_shape(lines)
    os.close(parent)
    os.close(child)


def run(*arguments: str, folder: Path = ROOT / "samples") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vmcoretool", *arguments],
        cwd=folder,
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), "COLUMNS": str(COLUMNS)},
        capture_output=True,
        text=True,
        check=False,
    )


def on_terminal(*arguments: str, columns: int = COLUMNS) -> list[str]:
    """The lines of both streams on a terminal, where it does not have to break any."""
    import fcntl
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("4H", ROWS, columns, 0, 0))
    subprocess.run(
        [sys.executable, "-m", "vmcoretool", *arguments],
        cwd=ROOT / "samples",
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), "TERM": "dumb"},
        stdout=child,
        stderr=child,
        check=False,
    )
    text = os.read(parent, 65536).decode("ascii")
    os.close(parent)
    os.close(child)
    return text.replace("\r\n", "\n").splitlines()


def test_a_console_that_is_not_in_the_dump_is_not_one_without_a_crash(tmp_path: Path) -> None:
    lines = shown("vmcore", ROOT / "samples/readelf-text")
    assert (
        label(lines, "crash") == "not known: this text holds neither Xen's console nor dom0's log"
    )
    assert label(lines, "when") == "not known"
    assert [row.split()[1] for row in commands(lines)[:2]] == ["cpus", "notes"]
    cut = tmp_path / "vmcore"
    cut.write_bytes((ROOT / "samples/kdump-zlib/vmcore").read_bytes()[:60000])
    lines = shown("vmcore", tmp_path)
    assert label(lines, "crash") == "not known: neither Xen's console nor dom0's log was found"
    assert not any(row.startswith("vmcoretool console") for row in commands(lines))


def test_a_log_that_was_not_looked_for_is_not_one_that_was_not_found() -> None:
    lines = shown("vmcore", ROOT / "samples/xen-4.8-dom0-panic")
    at = lines.index("           (the reason is in dom0's log; not read: its kernel was not found)")
    assert lines[at - 1].startswith("dom0 died ")


def test_dump_of_a_native_linux() -> None:
    done = run("inspect", "linux-native/vmcore")
    assert done.returncode == 6
    lines = done.stdout.splitlines()
    check_shape(lines)
    assert label(lines, "Linux") == "6.1.0-56-amd64"
    assert label(lines, "build-id") == "eb4fbcd037e7253717950bf2b93bd5566f47c56f"
    assert lines[lines.index("Next") - 1] == ""
    assert commands(lines)[0] == "crash VMLINUX linux-native/vmcore"
    assert commands(lines)[1].startswith("vmcoretool vmcoreinfo linux-native/vmcore")
    for row in ("Linux      6.1.0-56-amd64", "  crash VMLINUX linux-native/vmcore"):
        assert row in run("inspect", "-v", "linux-native/vmcore").stdout.splitlines()


def test_a_path_wider_than_the_terminal_costs_rows(tmp_path: Path) -> None:
    folder = tmp_path / ("a folder " * 12) / ("b" * 90)
    folder.mkdir(parents=True)
    (folder / "vm core").symlink_to(ROOT / "samples/xen-4.17-dom0-panic/vmcore")
    lines = shown(str(folder / "vm core"), tmp_path)
    assert sum(-(-len(line) // COLUMNS) or 1 for line in lines) < ROWS
    assert commands(lines)[0].endswith("vm core'")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_messages_and_long_answers_are_broken_at_words(columns: int) -> None:
    for arguments in (
        ("inspect", "expect.py"),
        ("dmesg", "xen-4.8-dom0-panic/vmcore"),
        ("crash", "--target", "hypervsor", "kdump-zlib/vmcore"),
        ("formats",),
        ("explain", "cannot resolve idle_pg_table_4"),
        ("inspect", "-v", "xen-4.17-dom0-panic/vmcore"),
    ):
        lines = on_terminal(*arguments, columns=columns)
        assert lines
        for line in lines:
            assert len(line) <= columns or " " not in line.strip(" \\"), line


def test_a_folder_is_answered_with_the_dump_in_it(tmp_path: Path) -> None:
    sample = ROOT / "samples/kdump-zlib/vmcore"
    for folder, name in (("10.0.0.5-2026-11-23", "vmcore"), ("a b", "readelf-Wn.out")):
        (tmp_path / "crash" / folder).mkdir(parents=True)
        (tmp_path / "crash" / folder / name).symlink_to(sample)
    (tmp_path / "empty").mkdir()
    os.utime(tmp_path / "crash/a b", (1, 1))
    for argument, dump in (
        ("empty", ""),
        ("crash", ": crash/10.0.0.5-2026-11-23/vmcore"),
        ("crash/a b", ": 'crash/a b/readelf-Wn.out'"),
    ):
        done = run("inspect", argument, folder=tmp_path)
        assert done.returncode == 5
        assert done.stderr.endswith(f"Is a directory; name the dump file in it{dump}\n")


def test_a_text_is_explained_without_the_dump_that_cannot_be_read() -> None:
    done = run("explain", "fill_pcpu_struct", "expect.py")
    assert done.returncode == 3
    assert done.stderr.startswith("vmcoretool: expect.py: not a dump in any format known here")
    assert done.stdout.startswith("crash: fill_pcpu_struct\n")
    assert "      -> Use crash 8.0.3 or later." in done.stdout.splitlines()
    done = run("explain", "--json", "fill_pcpu_struct", "expect.py")
    assert json.loads(done.stdout)["error"]["exit"] == 3


def test_core_of_a_process_is_for_gdb(tmp_path: Path) -> None:
    loads = [Load(paddr=0, data=bytes(4096)) for _ in range(2)]
    (tmp_path / "core").write_bytes(ElfCore(loads=loads).build())
    done = run("inspect", "core", folder=tmp_path)
    assert done.returncode == 6
    lines = done.stdout.splitlines()
    assert "  -> Open the core of a process with gdb." in lines
    assert [row.split(" #")[0] for row in commands(lines)] == ["vmcoretool notes core"]


def test_cpus_of_a_text_without_payloads_are_not_hung(tmp_path: Path) -> None:
    (tmp_path / "readelf-Wn.out").write_text(
        "Displaying notes found at file offset 0x00000190 with length 0x00001ad4:\n"
        "  Owner                 Data size\tDescription\n"
        "  CORE                 0x00000150\tNT_PRSTATUS (prstatus structure)\n"
        "  Xen                  0x00000050\tUnknown note type: (0x01000001)\n"
        "  CORE                 0x00000150\tNT_PRSTATUS (prstatus structure)\n"
    )
    done = run("inspect", "-v", "readelf-Wn.out", folder=tmp_path)
    assert "notes-only" in done.stdout
    assert "cpu-not-saved" not in done.stdout


def test_a_claim_that_differs_is_counted_and_a_file_refused_once() -> None:
    sample = "xen-4.17-dom0-panic/vmcore"
    lines = run("inspect", "--xen-phys-start", "0x30000000", sample).stdout.splitlines()
    line = "xen_phys_start  0x27800000  DISPUTED: sources differ; 6 sources agree, 1 not"
    assert line in lines
    text = run("inspect", "--xen-syms", sys.executable, sample).stdout
    assert "[namelist-not-used]" in text
    assert "not used: " not in text


def test_each_cure_fits_a_line() -> None:
    for row in CODES:
        assert len(f"  -> {row.cure}") <= COLUMNS, row.code


def test_a_target_that_does_not_exist_is_one_line() -> None:
    done = run("crash", "--target", "dom7", "xen-4.17-pv-and-pvh/vmcore")
    assert done.stderr.splitlines() == [
        "vmcoretool: no command for dom7: there is hypervisor, dom0, dom1"
    ]


# --- what the screen is made of ---------------------------------------------------------------


def records(*lines: str) -> list[Record]:
    return [Record(1_000_000_000 * at, line.encode()) for at, line in enumerate(lines, 1)]


OOPS = (
    "DMI: Dell Inc. PowerEdge R740/0WGD1, BIOS 2.8.2 08/27/2020",
    "rtc_cmos 00:05: setting system clock to 2026-11-23T08:28:38 UTC (1795422518)",
    "BUG: unable to handle page fault for address: ffffc90000000000",
    "#PF: supervisor read access in kernel mode",
    "Oops: 0000 [#1] PREEMPT SMP NOPTI",
    "CPU: 3 UID: 0 PID: 4242 Comm: kworker/3:1 Tainted: G        W  O      6.12.0 #1",
    "RIP: e030:nvme_irq.cold+0x12/0x30 [nvme]",
    "Call Trace:\n <IRQ>\n ? __die+0x1a/0x60\n __handle_irq_event_percpu+0x46/0x1a0",
    " handle_edge_irq+0x80/0x200\n </IRQ>",
    "---[ end trace 0000000000000000 ]---",
    "Kernel panic - not syncing: Fatal exception in interrupt",
)


def test_an_oops_is_the_headline_of_its_panic() -> None:
    panic = read_panic(records(*OOPS))
    assert panic is not None
    assert panic.headline.startswith("BUG: unable to handle page fault")
    assert panic.panic == "Kernel panic - not syncing: Fatal exception in interrupt"
    assert (panic.function, panic.pid, panic.comm, panic.vcpu) == (
        "nvme_irq", 4242, "kworker/3:1", 3,
    )  # fmt: skip
    assert panic.taint == "Tainted: G        W  O"
    assert panic.frames == ("__handle_irq_event_percpu", "handle_edge_irq")
    assert panic.seconds == 11
    assert read_hardware(records(*OOPS)) == (
        "Dell Inc. PowerEdge R740/0WGD1", "2.8.2 08/27/2020",
    )  # fmt: skip
    moment = find_moment(Stamp(), panic, records(*OOPS), None)
    assert moment.time == "2026-11-23T08:28:47Z"


def test_an_oops_alone_is_no_panic_of_a_dom0_that_lives() -> None:
    lines = records(*OOPS[:-1])
    assert read_panic(lines) is None
    died = read_panic(lines, oops_is_enough=True)
    assert died is not None
    assert died.headline.startswith("BUG:")


def test_xens_own_panic_beats_an_old_one_in_dom0s_log() -> None:
    console = [
        b"(XEN) [2026-11-24 03:46:00] CPU:    1",
        b"(XEN) [2026-11-24 03:46:00] RIP:    e008:[<ffff82d04022f5e1>] domain.c#f+0x1/0x2",
        b"(XEN) [2026-11-24 03:46:00] RFLAGS: 0000000000010246   CONTEXT: hypervisor (d3v1)",
        b"(XEN) [2026-11-24 03:46:00] Xen call trace:",
        b"(XEN) [2026-11-24 03:46:00]    [<ffff82d04022f5e1>] R domain.c#bad+0x1/0x2",
        b"(XEN) [2026-11-24 03:46:00]    [<ffff82d04022f5e2>] S show_stack+0x1/0x2",
        b"(XEN) [2026-11-24 03:46:00]    [<ffff82d04022f5e3>] F do_hvm_op+0x1/0x2",
        b"(XEN) [2026-11-24 03:46:00] ****************************************",
        b"(XEN) [2026-11-24 03:46:01] Panic on CPU 1:",
        b"(XEN) [2026-11-24 03:46:01] FATAL TRAP: vector = 6 (invalid opcode)",
        b"(XEN) [2026-11-24 03:46:01] ****************************************",
    ]
    trace = read_trace(console)
    assert trace == XenTrace(("bad", "do_hvm_op"), "d3v1")
    cause = find_cause(read_crash_text(console), trace, read_panic(records(*OOPS)))
    assert cause is not None
    assert (cause.who, cause.function, cause.cpu, cause.vcpu) == ("xen", "bad", 1, "d3v1")
    assert cause.headline == "FATAL TRAP: vector = 6 (invalid opcode)"
    assert read_stamp(console).date == "2026-11-24T03:46:01Z"


def test_only_a_crash_kernel_was_started() -> None:
    text = read_crash_text([b"(XEN) Executing crash image on cpu0"])
    cause = find_cause(text, read_trace([]), None)
    assert cause is not None
    assert cause.who == "unknown"
    cause = find_cause(text, read_trace([]), read_panic(records(*OOPS)))
    assert cause is not None
    assert cause.who == "dom0"


@pytest.mark.parametrize(
    ("banner", "version", "note"),
    [
        ("Xen version 4.17.7 (Debian 4.17.7-1) (a@b) (gcc)", "4.17.7", "Debian 4.17.7-1"),
        ("Xen version 4.8.5 (@(none)) (gcc-9)", "4.8.5", ""),
        ("Xen version 4.8.5 (unclosed", "4.8.5", ""),
        ("Xen version 4.8.5 (x)", "4.8.6", ""),
        ("", "4.8.5", ""),
    ],
)
def test_the_package_behind_the_version(banner: str, version: str, note: str) -> None:
    assert banner_note(banner, version) == note


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_lines_are_as_wide_as_asked(width: int) -> None:
    text = "some words and one-that-is-far-too-long-for-any-of-the-narrow-lines " * 3
    lines = fill(text.split(), width, "label ", "      ")
    assert max(map(len, lines)) <= width
    assert "".join(text.split()) in "".join("".join(lines).split()).replace("label", "", 1)


@pytest.mark.parametrize("width", [20, 40, 80])
def test_folded_lines_lose_nothing(width: int) -> None:
    text = "  label      some words, \x1b[1;31mred\x1b[0m, " + "word " * 30 + "0x" + "f" * 60
    lines = fold(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    for line in lines:
        assert len(re.sub("\x1b\\[[0-9;]*m", "", line)) <= width or len(line.split()) == 1
    assert fold("short  line", width) == ["short  line"]


def test_a_command_is_broken_between_its_arguments_only() -> None:
    argv = ("crash", "--xen_phys_start", "0x27800000", "a b's/vmlinux", "x" * 70, "vmcore\x1b")
    lines = command_lines(argv, 40, "  ")
    assert all(line.endswith(" \\") for line in lines[:-1])
    done = subprocess.run(
        ["bash", "-c", "printf '%s\\n' \"$@\"", "-", "x"], capture_output=True, check=True
    )
    assert done.stdout == b"x\n"
    script = "\n".join(lines).replace("  crash", "printf '%s\\n' crash", 1)
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == list(argv)


def test_durations() -> None:
    words = [duration_words(value) for value in (24.78, 340.2, 7260, 90_061)]
    assert words == ["24.8 s", "5 min 40 s", "2 h 1 min", "1 d 1 h"]


def test_moment_of_a_panic_of_dom0_by_the_best_clock() -> None:
    panic = read_panic(records(*OOPS))
    dated = find_moment(Stamp(date="2026-11-24T03:46:01Z"), panic, [], 1_795_422_000)
    assert (dated.time, dated.uptime) == ("2026-11-24T03:46:01Z", 11)
    assert dated.started == "2026-11-23T08:20:00Z"
    by_start = find_moment(Stamp(), panic, [], 1_795_422_000)
    assert by_start.time == "2026-11-23T08:20:11Z"
    assert "some seconds early" in by_start.basis
    nothing = find_moment(Stamp(), panic, [], None)
    assert (nothing.time, nothing.uptime) == (None, 11)
    assert nothing.basis == "dom0's log: seconds since dom0 started"


def test_moment_of_a_crash_of_xen() -> None:
    counted = find_moment(Stamp(seconds=61.5), None, [], 1_795_422_000)
    assert (counted.time, counted.uptime) == ("2026-11-23T08:21:01Z", 61.5)
    assert find_moment(Stamp(seconds=61.5), None, [], None).time is None
    dated = find_moment(Stamp(date="2026-11-24T03:46:01Z"), None, [], None)
    assert (dated.time, dated.started) == ("2026-11-24T03:46:01Z", None)
    assert find_moment(Stamp(), None, [], None).basis == "no line of the crash bears a time"


def test_clock_that_no_host_has_is_not_believed() -> None:
    panic = read_panic(records(*OOPS))
    for number in ("123456789", "99999999999", "none"):
        lines = records(f"rtc_cmos 00:05: setting system clock to a time ({number})")
        assert find_moment(Stamp(), panic, lines, None).time is None
    assert plausible(1_795_422_000)
    assert not plausible(0)
    assert not plausible(1 << 40)


def test_sizes() -> None:
    words = [size_words(value) for value in (0, 1023, 1536, 5 << 20, 3 << 30, 1 << 41, 1 << 52)]
    assert words == [
        "0 bytes", "1023 bytes", "1.5 KiB", "5.0 MiB", "3.0 GiB", "2.0 TiB", "4096.0 TiB",
    ]  # fmt: skip
