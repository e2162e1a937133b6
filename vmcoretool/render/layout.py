"""Lines of a given width: wrapped text under a label, commands that can be pasted, colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.debuggers.crash import display

if TYPE_CHECKING:
    from collections.abc import Iterable

LABEL: Final = 11
_COLOURS: Final = {
    "verified": "1;32",
    "not-relocatable": "1;32",
    "reported": "1;33",
    "disputed": "1;31",
    "unknown": "1;31",
    "ready": "1;32",
    "error": "1;31",
    "warning": "1;33",
    "died": "1;31",
    "head": "1",
}


def paint(word: str, key: str, *, colour: bool) -> str:
    """The word in the colour that goes with a key, where colour is wanted and there is one."""
    return f"\x1b[{_COLOURS[key]}m{word}\x1b[0m" if colour and key in _COLOURS else word


def fill(words: Iterable[str], width: int, first: str, rest: str) -> list[str]:
    """Words in lines of a width, the first line begun with ``first``, the others with ``rest``.

    A word that is wider than a line is cut.
    """
    lines: list[str] = []
    line, begun = first, False
    for word in words:
        piece = word
        while (begun and len(line) + 1 + len(piece) > width) or len(line) + len(piece) > width:
            if not begun:
                room = max(width - len(line), 8)
                lines.append(line + piece[:room])
                piece = piece[room:]
            else:
                lines.append(line)
            line, begun = rest, False
        line, begun = (f"{line} {piece}" if begun else line + piece), True
    return [*lines, line] if begun or not lines else lines


def labelled(label: str, text: str, width: int) -> list[str]:
    """Text beside a label, wrapped beside it."""
    return fill(text.split(), width, f"{label:<{LABEL}}", " " * LABEL)


def command_lines(argv: Iterable[str], width: int, indent: str, note: str = "") -> list[str]:
    r"""A command for a terminal, broken between its arguments only, with `` \`` at a line's end.

    Args:
        argv: the arguments; each is quoted.
        width: of the terminal; an argument that is wider stays whole.
        indent: before the first line; the others are indented further.
        note: a comment behind the command, left out where it does not fit.
    """
    lines: list[str] = []
    line = indent
    for word in (display((argument,)) for argument in argv):
        if line.strip() and len(line) + 1 + len(word) + 2 > width:
            lines.append(f"{line} \\")
            line = f"{indent}    {word}"
        else:
            line = f"{line} {word}" if line.strip() else line + word
    lines.append(line)
    if note and len(line) + 4 + len(note) <= width:
        lines[-1] = f"{line:<{min(46, width - 4 - len(note))}}  # {note}"
    return lines


def shortened(text: str, width: int) -> str:
    """Text that is cut at a word, and says so with dots, where it is wider."""
    if len(text) <= width:
        return text
    return text[: max(width - 4, 1)].rpartition(" ")[0] + " ..."


def size_words(size: int) -> str:
    """A size for people."""
    value, unit = float(size), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{size} bytes" if unit == "bytes" else f"{value:.1f} {unit}"


def duration_words(seconds: float) -> str:
    """A duration for people.

    >>> duration_words(24.78), duration_words(340.2), duration_words(90061)
    ('24.8 s', '5 min 40 s', '1 d 1 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole // 60 % 60} min"
    return f"{whole // 86_400} d {whole // 3600 % 24} h"
