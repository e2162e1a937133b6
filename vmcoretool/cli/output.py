"""Writing to the standard streams.

Not with click's echo: it drops escape sequences when the output is no terminal, and a file name in
a command line may hold one.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

_WIDTH: Final = 80


def emit(text: str) -> None:
    """Write data and a newline to stdout.

    Raises:
        OSError: stdout is closed, full, or its reader is gone.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")
    sys.stdout.write(text + "\n")


def complain(text: str) -> None:
    """Write one line about what happened to stderr, if there is one."""
    if sys.stderr is not None:
        sys.stderr.write(f"vmcoretool: {text}\n")


def is_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout is not None and sys.stdout.isatty()


def terminal_width() -> int:
    """The columns of the terminal: of $COLUMNS, else as it says, else 80.

    As shutil.get_terminal_size(), whose module takes longer to import than an inspection renders.
    """
    try:
        columns = int(os.environ.get("COLUMNS", ""))
    except ValueError:
        columns = 0
    if columns <= 0:
        try:
            columns = os.get_terminal_size(sys.__stdout__.fileno()).columns if sys.__stdout__ else 0
        except (AttributeError, ValueError, OSError):
            columns = 0
    return columns or _WIDTH
