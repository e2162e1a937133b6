"""What commands refuse, and the answers that they seldom give; in this process, as that is fast."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import ROOT
from vmcoretool.cli import exits, output, progress, versions
from vmcoretool.cli.exits import Exit
from vmcoretool.cli.main import run
from vmcoretool.debuggers import crash_program

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = str(ROOT / "samples/xen-4.17-dom0-panic/vmcore")
DEBUG_KEY = str(ROOT / "samples/xen-4.1-debug-key/vmcore")


class Screen(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    """A stream that cannot be written to."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    @property
    def buffer(self) -> Any:
        return self

    def write(self, text: Any) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error


@pytest.fixture(autouse=True)
def _as_at_the_start() -> None:
    output.settings.reset()


# --- read and vtop ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["read", SAMPLE, "0x0", "none"], "a number of bytes, such as 256"),
        (["read", SAMPLE, "0x0", "0"], "a number of bytes, such as 256"),
        (["read", SAMPLE, "0x0", "0x20000000000"], "a number of bytes, such as 256"),
        (["read", SAMPLE, "0xzz", "1"], "write it in hexadecimal"),
        (["read", "--json", SAMPLE, "0x0", "0x100001"], "pieces of up to 1 MiB"),
        (["read", "--json", "--raw", SAMPLE, "0x0", "1"], "pieces of up to 1 MiB"),
        (["vtop", "--space", "machine", SAMPLE, "0x0"], "a machine address needs no translation"),
    ],
    ids=str,
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str) -> None:
    assert run(arguments) == Exit.USAGE
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("command", [["console"], ["read", "--space", "machine"]])
def test_bytes_as_they_are_do_not_go_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    more = ["0x27c6e000", "16"] if command[0] == "read" else []
    assert run([*command, "--raw", SAMPLE, *more]) == Exit.USAGE
    assert screen.getvalue() == ""
    assert "the bytes could steer a terminal" in capsys.readouterr().err


def test_bytes_of_several_pages(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["read", "--raw", "--space", "machine", SAMPLE, "0x27c6eff8", "8"]) == 0
    words = ["read", "--raw", SAMPLE, "0xffff82d04046eff8", "8"]
    first = capfdbinary.readouterr().out
    assert run(words) == 0
    assert capfdbinary.readouterr().out == first
    assert len(first) == 8


def test_walk_for_people_shows_each_level(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["vtop", SAMPLE, "0xffff82d04046e000"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("0xffff82d04046e000 in hypervisor: from 0x27c6e000")
    assert lines[1].startswith("  L4 0x27c6e000[261]")
    assert lines[-1].startswith("maddr 0x27c6e000, in a page of ")


def test_space_of_a_cpu_and_of_a_domain(capsys: pytest.CaptureFixture[str]) -> None:
    # dom0's own tables map the hypervisor, too
    for name in ("cpu0", "cpu1", "dom0"):
        assert run(["vtop", "--space", name, SAMPLE, "0xffff82d04046e000"]) == 0
        assert "maddr 0x27c6e000" in capsys.readouterr().out
    for name, reason in (("cpu77", "no cr3 of CPU 77 was saved"), ("dom7", "of domain 7 is known")):
        assert run(["vtop", "--space", name, SAMPLE, "0xffff82d04046e000"]) == Exit.NOT_PROVED
        assert reason in capsys.readouterr().err


# --- streams ------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [output.emit_bytes, lambda _: output.flush()])
def test_refused_output_names_the_stream(monkeypatch: pytest.MonkeyPatch, write: Any) -> None:
    full = Broken(OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(sys, "stdout", full)
    with pytest.raises(output.OutputError, match="standard output"):
        write(b"x")
    monkeypatch.setattr(sys, "stdout", Broken(BrokenPipeError(errno.EPIPE, "Broken pipe")))
    with pytest.raises(BrokenPipeError):
        write(b"x")


def test_refused_text_names_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Broken(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(output.OutputError, match="standard output"):
        output.emit("x")
    monkeypatch.setattr(sys, "stdout", Broken(BrokenPipeError(errno.EPIPE, "Broken pipe")))
    with pytest.raises(BrokenPipeError):
        output.emit("x")


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    output.complain("lost")
    assert output.settings.reasons == ["lost"]
    monkeypatch.setattr(sys, "stderr", Broken(OSError(errno.EIO, "Input/output error")))
    output.draw("50 %")
    assert not output.settings.drawn
    monkeypatch.setattr(sys, "stdout", None)
    output.flush()
    with pytest.raises(output.OutputError):
        output.emit("x")


@pytest.mark.parametrize(
    ("columns", "width"), [("120", 120), ("none", 80), ("0", 80), ("-5", 80), (None, 80)]
)
def test_width_of_what_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: str | None, width: int
) -> None:
    monkeypatch.setattr(sys, "__stdout__", io.StringIO())
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    assert output.terminal_width() == width


def test_long_work_draws_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    now = iter([0.0, 0.2, 0.7, 0.75, 0.9])
    monkeypatch.setattr("vmcoretool.cli.progress.time.monotonic", lambda: next(now))
    with progress.Watch() as watch:
        shown = []
        for done in range(4):
            assert watch("searching", done << 20, 4 << 20)
            shown.append(screen.getvalue().count("searching"))
    # nothing for short work, then at most ten lines a second
    assert shown == [0, 1, 1, 2]
    assert "50% of 4 MiB, Ctrl-C ends it" not in screen.getvalue()
    assert " 25% of 4 MiB, Ctrl-C ends it" in screen.getvalue()
    assert screen.getvalue().endswith("\r\x1b[K")


def test_ctrl_c_ends_the_work_of_the_budget() -> None:
    from vmcoretool.budget import Budget

    watch = progress.Watch()
    watch.budget = Budget(watch=watch)
    watch._interrupt(2, None)
    assert watch.budget.stopped
    assert not watch("searching", 1, 0)


# --- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: Permission denied; dumps"),
        (FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/x"), "; check the path"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/x"), "; name the dump file in it"),
        (FileNotFoundError(errno.ENOENT, "not installed", "crash"), "crash: not installed"),
        (OSError("no number"), "no number"),
        (KeyboardInterrupt(), "interrupted"),
        (ZeroDivisionError("x"), "a fault in vmcoretool itself: ZeroDivisionError: x; please"),
    ],
    ids=str,
)
def test_sentence_of_a_failure(error: BaseException, sentence: str) -> None:
    assert sentence in exits.failure_of(error).sentence


def test_question_needs_no_semicolon() -> None:
    assert exits.Failure("x", "did you mean y?", "see z", Exit.USAGE).sentence == (
        "did you mean y? see z"
    )


def test_half_installed_package_is_said() -> None:
    program = (
        "import sys; sys.modules['vmcoretool.cli.main'] = None\n"
        "from vmcoretool.cli.entry import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, cwd=ROOT
    )
    assert done.returncode == Exit.BUG
    assert done.stderr.startswith(b"vmcoretool is not installed completely: ")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("name", "how"), [("vmcoretool", "SystemExit"), ("-m", "SystemExit"), ("other", "ImportError")]
)
def test_older_python_is_named(name: str, how: str) -> None:
    program = (
        "import sys; real = sys.version_info\n"
        f"sys.version_info = (3, 9, 7, 'final', 0); sys.argv[0] = '/bin/{name}'\n"
        "try: import vmcoretool\n"
        "except BaseException as error:\n"
        "    sys.version_info = real\n"
        "    print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, cwd=ROOT
    )
    shown = done.stdout.decode()
    assert shown.startswith(f"{how} vmcoretool needs Python 3.10 or newer, this is 3.9: ")


# --- other programs -----------------------------------------------------------------------------


def test_version_names_what_is_missing_and_what_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(versions, "_CODECS", (("lzo", "no_such_module"),))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert versions.version_text().endswith("; no optional parts found)")
    for name, text in (
        ("crash", "#!/bin/sh\necho crash 8.0.6\n"),
        ("debuginfod-find", "#!/bin/sh"),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    assert versions.version_text().endswith("; with crash 8.0.6, debuginfod-find)")
    (tmp_path / "crash").write_text("#!/bin/sh\n")
    assert "crash of unknown version" in versions.version_text()


def test_crash_that_hangs_has_no_release(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "crash"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(crash_program, "SECONDS", 0.2)
    assert crash_program.find_crash() == (str(program), None)


def test_run_starts_no_crash_that_would_not_open_the_dump(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    program = tmp_path / "crash"
    program.write_text("#!/bin/sh\necho crash 8.0.6\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def started(*words: object) -> None:
        raise AssertionError(words)

    monkeypatch.setattr(os, "execvp", started)
    assert run(["crash", "--run", SAMPLE]) == Exit.NOT_PROVED
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "crash was not started: no command is ready" in shown.err
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert run(["crash", "--run", SAMPLE]) == Exit.REFUSED
    assert "crash: not found on the PATH" in capsys.readouterr().err
