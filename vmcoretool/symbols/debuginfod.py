"""Symbol files from debuginfod servers, by build-id: only when the user asked for the network.

``debuginfod-find`` of elfutils does the work: it reads ``DEBUGINFOD_URLS``, ``DEBUGINFOD_TIMEOUT``,
``DEBUGINFOD_MAXSIZE`` and the others itself and keeps a cache whose file names are nobody's
business, so the path that it prints is used as it is (debuginfod-find(1)).  With ``-v`` it reports
``Progress done / total`` on stderr, total 0 until a server has answered.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Final

from vmcoretool.errors import NamelistError
from vmcoretool.symbols.candidates import Candidate, look_at

if TYPE_CHECKING:
    from vmcoretool.budget import Budget

ORIGIN: Final = "debuginfod"
PROGRAM: Final = "debuginfod-find"
PATIENCE: Final = 150
"""Seconds without any progress after which the program is ended; it gives up itself after 90."""
_KINDS: Final = ("debuginfo", "executable")
_STEP: Final = 0.1
_PROGRESS: Final = re.compile(rb"Progress (\d+) / (\d+)")
_MAX_OUTPUT: Final = 64 * 1024


def fetch(build_id: str, budget: Budget) -> tuple[Candidate, ...]:
    """The files that servers have of a build-id, or one with the reason why there is none.

    Where the debugging data is split off, what it was split from is fetched too.

    Args:
        build_id: lower-case hexadecimal.
        budget: its caller may end the download; it gets bytes done and in all (0: not known).
    """
    found: list[Candidate] = []
    reasons: list[str] = []
    for kind in _KINDS:
        try:
            found.append(look_at(_download(kind, build_id, budget), ORIGIN))
        except NamelistError as error:
            reasons.append(error.what)
            if budget.stopped:
                break
            continue
        if found[-1].dwarf and not found[-1].debug_only:
            break
    if found:
        return tuple(found)
    return (Candidate(path=f"build-id {build_id}", origin=ORIGIN, error=reasons[0]),)


def _download(kind: str, build_id: str, budget: Budget) -> str:
    if not os.environ.get("DEBUGINFOD_URLS", "").strip():
        raise NamelistError("DEBUGINFOD_URLS names no server")
    program = shutil.which(PROGRAM)
    if program is None or not program.startswith(os.sep):  # of the current folder nothing is run
        raise NamelistError(
            "debuginfod-find is not installed (Debian: debuginfod, Fedora: "
            "elfutils-debuginfod-client)"
        )
    if not budget.progress(ORIGIN, 0, 0):  # from here on, Ctrl-C ends the download alone
        raise NamelistError("the download was interrupted")
    with tempfile.TemporaryFile() as out:
        try:
            # a session of its own: Ctrl-C reaches it through the budget, once
            child = subprocess.Popen(  # noqa: S603 - found on PATH, fixed words and a build-id
                [program, "-v", kind, build_id],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise NamelistError(f"{program}: {error.strerror}") from error
        try:
            output = _follow(child, budget)
        finally:
            if child.poll() is None:
                child.kill()
            child.wait()
        out.seek(0)
        path = os.fsdecode(out.read(4096).strip())
    if child.returncode or not path:
        raise NamelistError(_reason(output, kind))
    return path


def _follow(child: subprocess.Popen[bytes], budget: Budget) -> bytes:
    # what it says until it ends; no thread is needed for a pipe that is asked whether it is ready
    assert child.stderr is not None
    output = b""
    last = (0, 0)
    moved = time.monotonic()
    with child.stderr as pipe, selectors.DefaultSelector() as ready:
        ready.register(pipe, selectors.EVENT_READ)
        while True:
            if ready.select(_STEP):
                piece = os.read(pipe.fileno(), _MAX_OUTPUT)
                if not piece:
                    return output
                output = (output + piece)[-_MAX_OUTPUT:]
                steps = _PROGRESS.findall(output)
                now = (int(steps[-1][0]), int(steps[-1][1])) if steps else last
                if now != last:
                    last, moved = now, time.monotonic()
            done, total = last if last[1] else (0, 0)
            if not budget.progress(ORIGIN, done, total):
                raise NamelistError("the download was interrupted")
            if time.monotonic() - moved > PATIENCE:
                raise NamelistError(f"no progress for {PATIENCE} s")


def _reason(output: bytes, kind: str) -> str:
    lines = output.decode("ascii", "backslashreplace").replace("\r", "\n").splitlines()
    last = [line for line in lines if "failed" in line.lower()]
    why = last[-1].rpartition(": ")[2] if last else "it failed without a word"
    return f"no server has the {kind} ({why})"
