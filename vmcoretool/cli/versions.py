"""``vmcoretool --version``: the version and which optional parts are there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

import vmcoretool

_CODECS = (("lzo", "lzallright"), ("snappy", "cramjam"), ("zstd", "zstandard"))


def version_text() -> str:
    """One line, such as ``vmcoretool 0.1.0 (Python 3.11.7; with zstd, crash 8.0.6)``."""
    parts = [name for name, module in _CODECS if find_spec(module)]
    crash = _crash_version()
    if crash:
        parts.append(f"crash {crash}")
    if shutil.which("debuginfod-find"):
        parts.append("debuginfod-find")
    python = ".".join(map(str, sys.version_info[:3]))
    found = f"with {', '.join(parts)}" if parts else "no optional parts found"
    return f"vmcoretool {vmcoretool.__version__} (Python {python}; {found})"


def _crash_version() -> str | None:
    program = shutil.which("crash")
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - found on PATH, fixed arguments
            [program, "-v"], capture_output=True, timeout=5, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return "of unknown version"
    found = re.search(rb"crash (\d[\w.]*)", done.stdout)
    return found[1].decode("ascii", "replace") if found else "of unknown version"
