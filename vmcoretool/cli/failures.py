"""Failures as one line on stderr, and their exit codes."""

from __future__ import annotations

import errno
import os
from typing import Final

from vmcoretool.cli.output import complain
from vmcoretool.errors import UnsupportedFormatError, VmcoreError
from vmcoretool.printable import printable

NOT_A_DUMP: Final = 3
NOT_SUPPORTED: Final = 4
REFUSED: Final = 5


def report(error: Exception) -> int | None:
    """Print a failure that a dump or the system can cause; its exit code, None for any other."""
    if isinstance(error, UnsupportedFormatError):
        code = NOT_SUPPORTED
    elif isinstance(error, VmcoreError):
        code = NOT_A_DUMP
    elif isinstance(error, OSError):
        code = REFUSED
    else:
        return None
    text = _refusal(error) if isinstance(error, OSError) else str(error)
    complain(f"{printable(text)}")
    return code


def _refusal(error: OSError) -> str:
    path = f"{error.filename}: " if isinstance(error.filename, str) else ""
    text = f"{path}{error.strerror or error}"
    if isinstance(error, PermissionError):
        return f"{text}; dumps are usually readable by root only: try again with sudo"
    if isinstance(error, FileNotFoundError) and error.strerror == os.strerror(errno.ENOENT):
        return f"{text}; check the path"
    if isinstance(error, IsADirectoryError):
        return f"{text}; name the dump file in it"
    return text
