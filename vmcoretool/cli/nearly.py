"""Suggestions for input that is nearly right."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, Final

from vmcoretool.printable import bash_word

if TYPE_CHECKING:
    from collections.abc import Iterable

_ENTRIES: Final = 10_000
_FOLDERS: Final = 1_000


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
    """The file in a folder, or in those below it, that is named like a dump; the newest first.

    Level by level, in a thousand folders at most: an unpacked report for a vendor's support has the
    dump some levels down.
    """
    from vmcoretool.hooks.dumps import DUMP_NAMES  # noqa: PLC0415 - only for a folder

    level, looked_at = [folder], 0
    while level:
        below: list[tuple[float, str]] = []
        for path in level:
            looked_at += 1
            try:
                with os.scandir(path) as entries:
                    rows = list(islice(entries, _ENTRIES))
                below += ((row.stat().st_mtime, row.path) for row in rows if _is_folder(row))
            except OSError:
                continue  # others may be readable
            paths = {row.name: row.path for row in rows}
            names = sorted(paths)
            fits = (name for pattern in DUMP_NAMES for name in names if pattern.fullmatch(name))
            found = next(fits, None)
            if found is not None:
                return paths[found]
        newest = sorted(below, reverse=True)[: max(_FOLDERS - looked_at, 0)]
        level = [path for _, path in newest]
    return None


def _is_folder(row: os.DirEntry[str]) -> bool:
    return row.is_dir(follow_symlinks=False)
