"""Suggestions for input that is nearly right."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vmcoretool.printable import bash_word

if TYPE_CHECKING:
    from collections.abc import Iterable


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
