"""Error texts of crash and makedumpfile on a Xen host's dump, and what they mean.

One row per text; ``vmcoretool explain`` finds rows by it, and docs/errors.md lists them.  The
texts are those of crash 7.0.4 to 9.0.2 and makedumpfile 1.6.8 to 1.7.9.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import cache
from itertools import accumulate
from typing import Final, NamedTuple

from vmcoretool.explain.crash_files import FILE_TEXTS
from vmcoretool.explain.crash_texts import SESSION_TEXTS
from vmcoretool.explain.error_text import ASIDES, CRASH, MAKEDUMPFILE, ErrorText
from vmcoretool.explain.makedumpfile_texts import MAKEDUMPFILE_TEXTS

__all__ = ["CRASH", "ERROR_TEXTS", "MAKEDUMPFILE", "ErrorText", "find_texts", "similar_texts"]

_COMMON: Final = 2
_SUGGESTED: Final = 4
_BROKEN: Final = 1 << 14
"""So much of the end of an output is searched for messages that are broken within their words."""
_WEIGHTS: Final = ("error", "general", "warning", "closing", "banner")
_QUOTE: Final = "[\"'`\u2018\u2019\u201c\u201d]?"
_NO_QUOTES: Final = dict.fromkeys(map(ord, "\"'`\u2018\u2019\u201c\u201d"))
_WORD: Final = re.compile(r"\w+")
_ESCAPE: Final = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[()][0-9A-B])")
_PREFIX: Final = re.compile(r"^[>|\s]+")
_MESSAGE: Final = re.compile(r"\n|(?=\b(?:crash|WARNING): )")

ERROR_TEXTS: Final[tuple[ErrorText, ...]] = (*SESSION_TEXTS, *FILE_TEXTS, *MAKEDUMPFILE_TEXTS)


class _Found(NamedTuple):
    # a row in a message: its longest piece, the line this ends in, and where it stands
    row: ErrorText
    piece: str
    line: int
    start: int
    end: int


def find_texts(text: str) -> tuple[ErrorText, ...]:
    """The known texts that a message holds, the most telling first.

    In a whole output what ended the program goes before its warnings, later lines before earlier
    ones, and of one line the longest piece.
    """
    lines = _lines(text)
    found = _in_lines(lines)
    if all(one.row.weight in ASIDES for one in found):
        known = [one.row for one in found]
        found += [one for one in _in_one(lines) if one.row not in known]
    for weight in ("banner", "closing"):
        # such a line counts where nothing else is there
        found = [one for one in found if one.row.weight != weight] or found
    found.sort(key=lambda one: (_WEIGHTS.index(one.row.weight), -one.line, -len(one.piece)))
    return tuple(one.row for one in found if not _part_of_another(one, found))


def last_message(text: str) -> str:
    """The line of an output that is most likely the error: the last of the program's own."""
    lines = [line for line in _lines(text) if line] or [""]
    return next((line for line in reversed(lines) if ": " in line), lines[-1])


def similar_texts(text: str) -> tuple[str, ...]:
    """Known texts that share words with a message that is not known."""
    words = set(_WORD.findall(_plain(text)))
    scored = [
        (len(words & set(_WORD.findall(_plain(piece)))), piece)
        for row in ERROR_TEXTS
        for piece in row.texts[:1]
    ]
    best = sorted((pair for pair in scored if pair[0] >= _COMMON), key=lambda pair: -pair[0])
    return tuple(piece for _, piece in best[:_SUGGESTED])


def _lines(text: str) -> list[str]:
    # the messages of an output; what a terminal or a mail put around them is taken off
    text = _ESCAPE.sub("", text).replace("\r", "\n")
    return [" ".join(_PREFIX.sub("", line).split()) for line in _MESSAGE.split(text)]


def _in_lines(lines: list[str]) -> list[_Found]:
    lines = [line.lower() for line in lines]
    message = " ".join(lines)
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    whole = {line.removeprefix("crash: ") for line in lines} - {""}
    found = []
    for row in ERROR_TEXTS:
        if row.whole_line:
            found += [
                _Found(row, piece, len(lines), 0, 0) for piece in row.texts if whole == {piece}
            ]
            continue
        matches = [
            (piece, match) for piece in row.texts for match in _pattern(piece).finditer(message)
        ]
        if matches:
            piece, match = max(matches, key=lambda pair: (pair[1].end(), len(pair[0])))
            number = bisect_left(starts, match.end())
            found.append(_Found(row, _plain(piece), number, match.start(), match.end()))
    return found


def _in_one(lines: list[str]) -> list[_Found]:
    # a terminal may have broken a message within its words
    message = " ".join(lines).lower()[-_BROKEN:]
    found = []
    for row in ERROR_TEXTS:
        matches = [
            (piece, match)
            for piece in row.texts
            if not row.whole_line and (match := _pattern(piece, broken=True).search(message))
        ]
        for piece, match in matches[:1]:
            found.append(_Found(row, _plain(piece), match.end(), match.start(), match.end()))
    return found


def _part_of_another(one: _Found, found: list[_Found]) -> bool:
    # the same words are not two messages
    return any(
        other.start <= one.start and one.end <= other.end and len(one.piece) < len(other.piece)
        for other in found
        if other is not one
    )


@cache
def _pattern(piece: str, *, broken: bool = False) -> re.Pattern[str]:
    # A shell may have eaten the quotes of the message; a name still ends where they stood.
    parts = []
    for part in re.split(r"(\W)", " ".join(piece.lower().split())):
        if part == '"':
            parts.append(rf"{_QUOTE}\b{_QUOTE}")
        elif part == "'":
            parts.append(_QUOTE)
        else:
            parts.append(" ?".join(map(re.escape, part)) if broken else re.escape(part))
    return re.compile((" ?" if broken else "").join(part for part in parts if part))


def _plain(text: str) -> str:
    return " ".join(text.lower().translate(_NO_QUOTES).split())
