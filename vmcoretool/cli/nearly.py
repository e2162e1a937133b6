"""Suggestions for input that is nearly right."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, Final

from vmcoretool.printable import bash_word

if TYPE_CHECKING:
    from collections.abc import Iterable

_ENTRIES: Final = 10_000
_FOLDERS: Final = 100


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A half-sentence that names what is spelt much like the word; "" where nothing is."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for what is mistyped

    spelt = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), spelt, n=3)
    return f"; did you mean {' or '.join(spelt[name] for name in close)}?" if close else ""


def instead_of_command(word: str, known: Iterable[str]) -> str:
    """As :func:`did_you_mean`, for what was given in place of a command: it may be a dump."""
    if is_file(word):
        return f", but a file; did you mean: vmcoretool inspect {bash_word(word)}?"
    return did_you_mean(word, known)


def is_file(word: str) -> bool:
    """Whether a word is the name of something."""
    try:
        os.stat(word)  # noqa: PTH116 - as the user spelt it
    except (OSError, ValueError):
        return False
    return True


def dump_in_folder(folder: str) -> str | None:
    """The file in a folder, or in the newest ones below it, that is named like a dump."""
    from vmcoretool.hooks.dumps import DUMP_NAMES  # noqa: PLC0415 - only for a folder

    def best(path: str) -> str | None:
        with os.scandir(path) as entries:
            paths = {row.name: row.path for row in islice(entries, _ENTRIES)}
        names = sorted(paths)
        fits = (name for pattern in DUMP_NAMES for name in names if pattern.fullmatch(name))
        return next((paths[name] for name in fits), None)

    try:
        with os.scandir(folder) as entries:
            below = [row for row in islice(entries, _ENTRIES) if row.is_dir(follow_symlinks=False)]
        newest = sorted(below, key=lambda row: row.stat().st_mtime, reverse=True)[:_FOLDERS]
        paths = (folder, *(row.path for row in newest))
        return next((dump for path in paths if (dump := best(path))), None)
    except OSError:
        return None
