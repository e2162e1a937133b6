"""Whether what the unit runs as root at each boot can be changed by anybody but root."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, Final

from vmcoretool.hooks.systems import own_command

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE: Final = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
_MAX_LINE: Final = 4096
_MAX_LINKS: Final = 40


def not_roots_alone(program: str | None) -> tuple[str, str] | None:
    """The first file or folder that others than root may change, and why; None: there is none.

    Args:
        program: what the unit runs, or None: this very Python with this very package.
    """
    paths = _of_program(program) if program else _of_this_python()
    seen: set[str] = set()
    for path in paths:
        for place in _chain(path):
            if place not in seen:
                seen.add(place)
                why = _open_to(place)
                if why:
                    return place, why
    return None


def _of_program(program: str) -> Iterator[str]:
    yield program
    try:
        with open(program, "rb") as file:
            first = file.readline(_MAX_LINE)
    except OSError:
        return  # said by the look at the file itself
    words = first.removeprefix(b"#!").split()
    if first.startswith(b"#!") and words:
        yield os.fsdecode(words[0])


def _of_this_python() -> Iterator[str]:
    yield from (word for word in own_command() if word.startswith("/"))
    # what python imports from; the unit has no PYTHONPATH, but what is there is imported now
    yield from (path for path in sys.path if os.path.isabs(path) and os.path.lexists(path))
    for folder, _, names in os.walk(_PACKAGE):
        yield folder
        yield from (os.path.join(folder, name) for name in names)


def _chain(path: str) -> Iterator[str]:
    """A path, the folders above it, and the same of each link on the way."""
    ahead = [os.path.abspath(path)]
    links = 0
    while ahead:
        place = ahead.pop()
        yield place
        if os.path.islink(place) and links < _MAX_LINKS:
            links += 1
            ahead.append(os.path.join(os.path.dirname(place), os.readlink(place)))
        parent = os.path.dirname(place)
        if parent != place:
            ahead.append(parent)


def _open_to(place: str) -> str:
    try:
        status = os.lstat(place)
    except OSError as error:
        return error.strerror or str(error)
    if status.st_uid != 0:
        return f"belongs to user {status.st_uid}"
    mode = status.st_mode
    if stat.S_ISLNK(mode) or (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        return ""  # a link has no mode; in a sticky folder others cannot replace what is root's
    if mode & stat.S_IWOTH:
        return "may be written to by everybody"
    if mode & stat.S_IWGRP and status.st_gid != 0:
        return f"may be written to by group {status.st_gid}"
    return ""
