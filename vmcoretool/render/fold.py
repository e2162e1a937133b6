"""Long lines in lines of the terminal's width, broken at spaces."""

from __future__ import annotations

import re
from typing import Final

_COLOUR_CODE: Final = re.compile("\x1b\\[[0-9;]*m")


def fold(line: str, width: int, hang: str = "    ") -> list[str]:
    """A line in lines of a width, broken at spaces only; nothing in it is changed.

    Args:
        line: printable text, perhaps with codes of colour, which take no room.
        width: of the terminal in columns; a word that is wider stays whole, to be copied.
        hang: before each line but the first, behind the indentation of the first.
    """
    rest = line[: len(line) - len(line.lstrip(" "))] + hang
    lines: list[str] = []
    current, begun = "", False
    for word in line.split(" "):
        longer = f"{current} {word}" if begun else current + word
        if begun and current.strip() and columns(longer) > width:
            lines.append(current.rstrip(" "))
            longer = rest + word
        current, begun = longer, True
    return [*lines, current]


def columns(text: str) -> int:
    """The columns that a text takes: codes of colour take none."""
    return len(_COLOUR_CODE.sub("", text)) if "\x1b" in text else len(text)
