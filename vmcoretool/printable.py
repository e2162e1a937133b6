"""Text from a dump or a file name, made safe for terminals, logs, JSON and shells.

Dumps are hostile input: an escape sequence in a version string or in a file's name must not reach
a terminal.  What is printable is Unicode's business (``str.isprintable``): letters of any script
are, escape sequences, controls and marks that turn the direction of text are not.
"""

from __future__ import annotations

import os
import re
from typing import Final

_PLAIN: Final = r"[\t\n -~]*"
_KEPT: Final = "\t\n"
_NAMED: Final = {"\n": r"\n", "\t": r"\t", "'": r"\'", "\\": r"\\"}


def printable(raw: bytes | str) -> str:
    r"""``raw`` on one line; what is not printable becomes a backslash escape.

    Of bytes only ASCII is shown: what a dump's other bytes mean is not known.

    >>> printable(b"4.17\x1b[2J")
    '4.17\\x1b[2J'
    """
    text = raw.decode("ascii", "backslashreplace") if isinstance(raw, bytes) else raw
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def log_line(raw: bytes) -> str:
    """A line of a log for people: as :func:`printable`, with its tabs."""
    return "\t".join(map(printable, raw.split(b"\t")))


def printable_lines(text: str) -> str:
    """As :func:`printable`, with its newlines and tabs."""
    if re.fullmatch(_PLAIN, text):
        return text
    return "".join(char if char in _KEPT or char.isprintable() else _escape(char) for char in text)


def shell_word(word: str) -> str:
    r"""A word quoted for any POSIX shell, in printable text, newlines and tabs.

    >>> shell_word("a b\x1b[2J")
    '\'a b\'"$(printf \'\\033\')"\'[2J\''
    """
    from shlex import quote  # noqa: PLC0415 - few modules of the ground's users need it

    if all(char in _KEPT or char.isprintable() for char in word):
        return quote(word)
    parts = []
    for odd, run in _runs(word):
        octal = "".join(map(_octal, run))
        parts.append(f"\"$(printf '{octal}')\"" if odd else quote(run))
    return "".join(parts)


def bash_word(word: str) -> str:
    r"""A word quoted on one line, for pasting into bash, ksh and zsh.

    >>> bash_word("a\nb\x1b")
    "$'a\\nb\\033'"
    """
    from shlex import quote  # noqa: PLC0415 - as above

    if word.isprintable():
        return quote(word)
    inside = (_NAMED.get(char) or (char if char.isprintable() else _octal(char)) for char in word)
    return f"$'{''.join(inside)}'"


def _runs(word: str) -> list[tuple[bool, str]]:
    # (whether it cannot be shown, piece) of all pieces
    runs: list[tuple[bool, str]] = []
    for char in word:
        odd = char not in _KEPT and not char.isprintable()
        if runs and runs[-1][0] == odd:
            runs[-1] = (odd, runs[-1][1] + char)
        else:
            runs.append((odd, char))
    return runs


def _octal(char: str) -> str:
    # a shell deals in bytes: \x9b would be one, where the name holds two
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(char))


def _escape(char: str) -> str:
    # surrogateescape'd file-name bytes show as the byte they stand for
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")
