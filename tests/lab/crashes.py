"""The real crash, run on the dumps with the commands vmcoretool gives."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.lab.packages import TRIXIE, run

if TYPE_CHECKING:
    from pathlib import Path

SECONDS: Final = 120
HYPERVISOR: Final = "sys\ndoms\npcpus\nlog\nquit\n"
# no head: crash takes a pipe closed early for a failure and runs nothing after it
LINUX: Final = "ps\nlog | tail\nquit\n"
# what an answer to each of the commands holds
ANSWERED: Final = {
    HYPERVISOR: ("DUMPFILE:", "DID", "PCID", "(XEN)"),
    LINUX: ("PID", "] "),
}
OPENS: Final = "opens"
# what crash ends with, blanks counted once; see docs/lab.md
OUTCOMES: Final = (
    "no debugging data available",
    'invalid size request: 0 type: "__per_cpu_offset"',
    'type: "fill_pcpu_struct"',
    "invalid structure member offset: vcpu_vcpu_info",
    'type: "note_buf_t or crash_note_t"',
    "starting backtrace locations of the active (non-crashing) xen tasks cannot be determined",
    "read error: kernel virtual address",
    "cannot resolve",
)


class Crash(NamedTuple):
    """One installed or unpacked crash."""

    version: str
    command: tuple[str, ...]


class Session(NamedTuple):
    """What a session came to: "opens", or the text it failed with; and what it had to come to."""

    label: str
    crash: str
    outcome: str
    output: str
    wanted: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether it came to what was foretold; of a crash never tried, nothing is."""
        return not self.wanted or self.outcome in self.wanted


def foretold(command: dict[str, Any]) -> tuple[str, ...]:
    """What a command that vmcoretool printed must come to: open, or end with a text it quotes."""
    if command["ready"]:
        return (OPENS,)
    said = _plain(" ".join(command["caveats"]))
    return tuple(text for text in OUTCOMES if text in said)


def path_with(crash: Crash, folder: Path) -> str:
    """A PATH on which this crash is the first."""
    place = folder / f"bin-{crash.version}"
    place.mkdir(exist_ok=True)
    script = place / "crash"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(crash.command)} "$@"\n')
    script.chmod(0o755)
    return f"{place}:{os.environ['PATH']}"


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


def session(
    label: str,
    crash: Crash,
    argv: list[str],
    script: str,
    folder: Path,
    *,
    wanted: tuple[str, ...],
) -> Session:
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
        return Session(label, crash.version, f"hangs for {SECONDS} s", "", wanted)
    finally:
        commands.unlink()
    output = _plain(done.stdout + done.stderr)
    outcome = _outcome(done.returncode, output, ANSWERED[script])
    return Session(label, crash.version, outcome, output, wanted)


def _outcome(status: int, output: str, answered: tuple[str, ...]) -> str:
    known = next((text for text in OUTCOMES if text in output), None)
    if known:
        return known
    if all(text in output for text in answered):
        return OPENS
    return f"exit {status}: {output[-80:] or 'nothing said'}"


def _plain(text: str) -> str:
    return " ".join(text.split())
