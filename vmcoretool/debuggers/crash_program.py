"""The crash program on this system's PATH, and its release."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Final, NamedTuple

SECONDS: Final = 5
_VERSION: Final = re.compile(rb"crash (\d+)\.(\d+)\.(\d+)")


class CrashProgram(NamedTuple):
    """Its path, and its release, None where it printed none."""

    path: str
    release: tuple[int, int, int] | None


def find_crash() -> CrashProgram | None:
    """Ask crash for its release; None where there is none on the PATH."""
    path = shutil.which("crash")
    if path is None or not path.startswith(os.sep):  # of the current folder nothing is run
        return None
    try:
        done = subprocess.run(  # noqa: S603 - found on PATH, fixed arguments
            [path, "--version"],
            cwd="/",
            capture_output=True,
            timeout=SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return CrashProgram(path, None)
    found = _VERSION.search(done.stdout)
    return CrashProgram(path, (int(found[1]), int(found[2]), int(found[3])) if found else None)
