"""The real crash, run on the dumps with the commands vmcoretool gives."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.lab.packages import TRIXIE, run

if TYPE_CHECKING:
    from pathlib import Path

SECONDS: Final = 120
HYPERVISOR: Final = "sys\ndoms\npcpus\nlog\nquit\n"
DOM0: Final = "ps | head -3\nlog | tail -3\nquit\n"
# what crash says, by what it was given; see docs/lab.md
NO_DWARF: Final = "no debugging data available"
NOT_RELOCATED: Final = 'invalid size request: 0  type: "__per_cpu_offset"'
OUTCOMES: Final = (
    NO_DWARF,
    NOT_RELOCATED,
    'type: "fill_pcpu_struct"',
    "invalid structure member offset: vcpu_vcpu_info",
    'type: "note_buf_t or crash_note_t"',
    "read error: kernel virtual address",
    "cannot resolve",
)


class Crash(NamedTuple):
    """One installed or unpacked crash."""

    version: str
    command: tuple[str, ...]


class Session(NamedTuple):
    """What a session came to: "opens", or the text it failed with."""

    label: str
    crash: str
    outcome: str
    output: str


def crashes() -> list[Crash]:
    """The host's crash and trixie's, which needs neither chroot nor root."""
    found = []
    own = shutil.which("crash")
    if own:
        found.append(Crash(_version((own,)), (own,)))
    root = TRIXIE.closure("crash")
    loader = root / "lib64/ld-linux-x86-64.so.2"
    if not loader.exists():
        loader = next(root.rglob("ld-linux-x86-64.so.2"))
    folders = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib", "lib64")
    places = ":".join(str(root / folder) for folder in folders)
    command = (str(loader), "--library-path", places, str(root / "usr/bin/crash"))
    found.append(Crash(_version(command), command))
    return found


def _version(command: tuple[str, ...]) -> str:
    text = run(*command, "--version").stdout
    found = re.search(r"crash (\d+\.\d+\.\d+)", text)
    return found.group(1) if found else "?"


def session(label: str, crash: Crash, argv: list[str], script: str, folder: Path) -> Session:
    """Run a command that vmcoretool gave; ``argv[0]`` is "crash"."""
    commands = folder / "crash.commands"
    commands.write_text(script)
    words = [*crash.command, "-s", "-i", str(commands), *argv[1:]]
    environment = {**os.environ, "TERM": "dumb", "CRASHPAGER": "", "HOME": str(folder)}
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=SECONDS,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return Session(label, crash.version, f"hangs for {SECONDS} s", "")
    finally:
        commands.unlink()
    output = done.stdout + done.stderr
    return Session(label, crash.version, _outcome(done.returncode, output), output)


def _outcome(status: int, output: str) -> str:
    known = next((text for text in OUTCOMES if text in output), None)
    if known:
        return known
    if "DOMAIN" in output or "PID" in output or "KERNEL:" in output:
        return "opens"
    last = [line for line in output.splitlines() if line.strip()]
    return f"exit {status}: {last[-1][:80] if last else 'nothing said'}"
