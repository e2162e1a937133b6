"""``vmcoretool --version``: the version and which optional parts are there."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec

from vmcoretool.debuggers.crash_program import find_crash
from vmcoretool.debuggers.crash_releases import dotted
from vmcoretool.release import __version__

_CODECS = (("lzo", "lzallright"), ("snappy", "cramjam"), ("zstd", "zstandard"))


def version_text() -> str:
    """One line, such as ``vmcoretool 0.1.0 (Python 3.11.7; with zstd, crash 8.0.6)``."""
    parts = [name for name, module in _CODECS if find_spec(module)]
    crash = find_crash()
    if crash:
        parts.append(f"crash {dotted(crash.release) if crash.release else 'of unknown version'}")
    if shutil.which("debuginfod-find"):
        parts.append("debuginfod-find")
    python = ".".join(map(str, sys.version_info[:3]))
    found = f"with {', '.join(parts)}" if parts else "no optional parts found"
    return f"vmcoretool {__version__} (Python {python}; {found})"
