"""``vmcoretool --version``: the version and which optional parts are there."""

from __future__ import annotations

import importlib
import shutil
import sys

from vmcoretool.debuggers.crash_program import find_crash
from vmcoretool.debuggers.crash_releases import dotted
from vmcoretool.release import __version__

_CODECS = (
    ("lzo", "lzallright"),
    ("snappy", "cramjam"),
    ("zstd", "zstandard"),
    ("lz4", "lz4.frame"),
)


def version_text() -> str:
    """One line, such as ``vmcoretool 0.1.0 (Python 3.11.7; with zstd, crash 8.0.6)``."""
    parts = [name for name, module in _CODECS if _can_import(module)]
    crash = find_crash()
    if crash:
        parts.append(f"crash {dotted(crash.release) if crash.release else 'of unknown version'}")
    if shutil.which("debuginfod-find"):
        parts.append("debuginfod-find")
    python = ".".join(map(str, sys.version_info[:3]))
    found = f"with {', '.join(parts)}" if parts else "no optional parts found"
    return f"vmcoretool {__version__} (Python {python}; {found})"


def _can_import(module: str) -> bool:
    # compiled modules can be found in a zip file, but not be loaded from it
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True
