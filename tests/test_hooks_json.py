"""The hook commands for scripts: one object each, and the options that all commands have."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.hook_parts import crash_folder
from tests.support import ROOT, tool
from vmcoretool.hooks import runner, systems

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {
    "install": {"schema", "system", "root", "runs", "changes", "then_run", "trouble"},
    "status": {"schema", "system", "root", "runs", "changes", "then_run", "trouble"},
    "uninstall": {"schema", "system", "root", "runs", "changes", "then_run", "trouble"},
    "run": {"schema", "directory", "folders", "trouble"},
    "selftest": {"schema", "trials", "trouble"},
}


def words_of(name: str, place: Path) -> list[str]:
    own = {"run": [str(place)], "selftest": []}
    return ["hook", name, *own.get(name, ["--system", "rhel", "--root", str(place)])]


def answer(*words: str, code: int = 0) -> dict[str, Any]:
    done = tool(*words, "--json")
    assert done.returncode == code, done.stderr
    (line,) = done.stdout.splitlines()  # one object, and nothing for people beside it
    shown: dict[str, Any] = json.loads(line)
    return shown


@pytest.mark.parametrize("name", KEYS)
def test_every_command_has_the_common_options(tmp_path: Path, name: str) -> None:
    words = words_of(name, tmp_path)
    plain = tool(*words)
    for option in (["-q"], ["-v"], ["--color", "never"], ["--color=always", "-vv"]):
        done = tool(*words, *option)
        assert done.returncode == plain.returncode == int(name == "status"), (option, done.stderr)
    shown = answer(*words, code=plain.returncode)
    assert set(shown) == KEYS[name]
    assert shown["schema"] == f"vmcoretool/hook-{name}/1"
    refused = json.loads(tool(*words, "--json", "--no-such-option").stdout)
    assert refused["schema"] == "vmcoretool/error/1"
    assert refused["error"]["exit"] == 2


def test_changes_are_told_as_they_are_made(tmp_path: Path) -> None:
    config = tmp_path / "etc/kdump.conf"
    config.parent.mkdir()
    config.write_text("path /var/crash\n")
    words = ("--system", "rhel", "--root", str(tmp_path))
    before = answer("hook", "status", *words, code=1)
    assert before["trouble"] == "4 of 4 are not installed"
    planned = answer("hook", "install", "--dry-run", *words)
    plan = systems.plan_of("rhel")
    assert [row["path"] for row in planned["changes"]] == [
        f"{tmp_path}{change.path}" for change in plan.changes
    ]
    assert planned["changes"][0]["content"] == systems.capture_script().rstrip("\n")
    assert not any(row["changed"] for row in planned["changes"])
    done = answer("hook", "install", *words)
    assert [(row["kind"], row["state"], row["changed"]) for row in done["changes"]] == [
        ("file", "installed", True),
        ("lines", "installed", True),
        ("file", "installed", True),
        ("link", "installed", True),
    ]
    assert (done["system"], done["then_run"], done["trouble"]) == ("rhel", [*plan.afterwards], None)
    assert done["runs"][0] == sys.executable
    again = answer("hook", "install", *words)
    assert (again["then_run"], again["trouble"]) == ([], None)
    assert answer("hook", "status", *words)["trouble"] is None
    gone = answer("hook", "uninstall", *words)
    assert {(row["state"], row["changed"]) for row in gone["changes"]} == {("absent", True)}
    assert config.read_text() == "path /var/crash\n"


def test_refused_change_is_the_trouble(tmp_path: Path) -> None:
    config = tmp_path / "etc/kdump.conf"
    config.parent.mkdir()
    config.write_text("extra_bins /usr/bin/lspci\n")
    shown = answer("hook", "install", "--system", "rhel", "--root", str(tmp_path), code=1)
    (row,) = (row for row in shown["changes"] if row["kind"] == "lines")
    assert row["state"] == "refused"
    assert "extra_bins /usr/bin/lspci" in row["why"]
    assert "/usr/bin/dd" in row["by_hand"]
    assert shown["trouble"].startswith(f"{config}: refused: it is set already")
    config.write_text("extra_bins /usr/bin/od /usr/bin/dd\n")
    left = answer("hook", "uninstall", "--system", "rhel", "--root", str(tmp_path))
    assert left["trouble"] == f"{config}: take out by hand what was added by hand"
    config.unlink()
    lacking = answer("hook", "install", "--system", "rhel", "--root", str(tmp_path))
    assert lacking["trouble"] == (
        f"{config} was not there: install kdump, or nothing runs the hook"
    )


def test_reports_are_told_folder_by_folder(tmp_path: Path) -> None:
    good = crash_folder(tmp_path, "1")
    bad = crash_folder(tmp_path, "2")
    (bad / "vmcore").write_bytes(b"junk\n")
    (crash_folder(tmp_path, "3", "real") / "vmcore").symlink_to("real")
    shown = answer("hook", "run", str(tmp_path))
    first, second, third = shown["folders"]
    assert (first["dump"], first["state"]) == (f"{good}/vmcore", "written")
    assert first["report"] == [f"{good}/vmcoretool.json", f"{good}/vmcoretool.txt"]
    assert "verified" in first["says"]
    assert (second["state"], third["state"], third["dump"]) == ("unreadable", "skipped", None)
    assert all(os.path.exists(path) for path in second["report"])  # noqa: PTH110 - a name in JSON
    assert third["report"] == []
    assert shown["trouble"].startswith(f"2 without a report, such as {bad}: not inspected: ")
    (tmp_path / "empty").mkdir()
    nothing = answer("hook", "run", str(tmp_path / "empty"))
    assert nothing["folders"] == []
    assert nothing["trouble"].startswith("no dump in this folder")
    assert answer("hook", "run", str(tmp_path / "no"))["trouble"] == "No such file or directory"
    held = runner.run(str(tmp_path))
    next(held)
    assert answer("hook", "run", str(tmp_path))["trouble"] == "another vmcoretool is at work"
    del held


def test_interrupted_run_tells_what_was_done(tmp_path: Path) -> None:
    crash_folder(tmp_path, "1")
    crash_folder(tmp_path, "2")
    program = (
        "import os, signal\n"
        "import vmcoretool.hooks.runner as runner\n"
        "report = runner._report\n"
        "def interrupted(folder, *rest):\n"
        "    if folder.endswith('2'): os.kill(os.getpid(), signal.SIGINT)\n"
        "    return report(folder, *rest)\n"
        "runner._report = interrupted\n"
        "from vmcoretool.cli.entry import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "hook", "run", str(tmp_path), "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 128 + signal.SIGINT
    shown = json.loads(done.stdout)
    assert [row["state"] for row in shown["folders"]] == ["written"]
    assert shown["trouble"] == "interrupted"


def test_selftest_tells_each_trial() -> None:
    shown = answer("hook", "selftest")
    assert shown["trouble"] is None
    assert "the hook in sh" in [trial["name"] for trial in shown["trials"]]
    failing = tool("hook", "selftest", "--json", env={"PATH": "/nonexistent"})
    assert failing.returncode == 1
    assert json.loads(failing.stdout)["trouble"].startswith("wrong: dd, od")


def test_quiet_leaves_the_answer(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text("ID=debian\n")
    done = tool("hook", "install", "-q", "--root", str(tmp_path))
    lines = done.stdout.decode().splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == ["written", "written"]
    assert done.stderr == b""
