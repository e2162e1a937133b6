"""Which causes of an error a dump shows that vmcoretool cannot read either."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from vmcoretool.errors import (
    TruncatedError,
    UnknownFormatError,
    UnsupportedFormatError,
    VmcoreError,
)
from vmcoretool.explain.diagnoses import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Callable


def diagnosis(cause: str, error: Exception) -> Diagnosis | None:
    """What the failure to read a file says of a cause; None where it says nothing."""
    shown = _SHOWN.get(cause)
    if shown is None or not shown(error):
        return None
    if isinstance(error, VmcoreError):
        return Diagnosis(applies=True, why=error.what)
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Diagnosis(applies=True, why=why)


def _is_empty(error: Exception) -> bool:
    path = error.path if isinstance(error, VmcoreError) else ""
    try:
        return bool(path) and os.stat(path).st_size == 0  # noqa: PTH116 - a name as users give it
    except OSError:
        return False


def _cut_short(error: Exception) -> bool:
    return isinstance(error, TruncatedError) or _is_empty(error)


def _no_dump(error: Exception) -> bool:
    if isinstance(error, IsADirectoryError | UnsupportedFormatError):
        return True
    return isinstance(error, UnknownFormatError) and not _is_empty(error)


_SHOWN: Final[dict[str, Callable[[Exception], bool]]] = {
    "file-missing": lambda error: isinstance(error, FileNotFoundError),
    "file-unreadable": lambda error: isinstance(error, PermissionError),
    "cut-short": _cut_short,
    "no-such-dump": _no_dump,
}
