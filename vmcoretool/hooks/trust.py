"""Whether what the unit runs as root at each boot can be changed by anybody but root."""

from __future__ import annotations

import os
import stat
import sys
from glob import escape, glob
from typing import TYPE_CHECKING, Final

from vmcoretool.hooks.systems import own_archive, own_command

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOTS_OWN: Final = (
    "sudo python3 -m venv /opt/vmcoretool && sudo /opt/vmcoretool/bin/pip install . && "
    "sudo /opt/vmcoretool/bin/vmcoretool hook install"
)
_PACKAGE: Final = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
_MAX_LINE: Final = 4096
_MAX_LINKS: Final = 40
_PACKAGES: Final = ("site-packages", "dist-packages")


def roots_own(usual: str = "/usr/bin/python3") -> str:
    """The commands that install vmcoretool and its hooks where only root can write.

    Args:
        usual: the system's own Python, which may be an older one.
    """
    own = f"python3.{sys.version_info[1]}"
    return (
        ROOTS_OWN if os.path.realpath(usual).endswith(own) else ROOTS_OWN.replace("python3", own, 1)
    )


def not_roots_alone(program: str | None) -> tuple[str, str] | None:
    """The first file or folder that others than root may change, and why; None: there is none.

    Args:
        program: what the unit runs, or None: this very Python with this very package.
    """
    imported = dict.fromkeys(_of_program(program) if program else _of_this_python())
    seen: set[str] = set()
    for path in imported:
        for place in _chain(path):
            if place not in seen:
                seen.add(place)
                # who can add a file to a folder that is imported from has it run
                why = _open_to(place, sticky=place not in imported)
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
        interpreter = os.fsdecode(words[0])
        yield interpreter
        yield from _of_environment(os.path.dirname(os.path.dirname(interpreter)))


def _of_environment(home: str) -> Iterator[str]:
    """What the Python of a virtual environment imports from, besides its own library."""
    settings = os.path.join(home, "pyvenv.cfg")
    if os.path.lexists(settings):
        yield settings
        for folder in glob(os.path.join(escape(home), "lib*", "python*", "site-packages")):
            yield from _all_below(folder)


def _of_this_python() -> Iterator[str]:
    yield from (word for word in own_command() if word.startswith("/"))
    if sys.prefix != sys.base_prefix:
        yield os.path.join(sys.prefix, "pyvenv.cfg")
    # what an archive unpacked is not what the unit imports: it unpacks it again, for itself
    unpacked = os.path.dirname(_PACKAGE) if own_archive() else None
    # what python imports from; the unit has no PYTHONPATH, but what is there is imported now
    for path in sys.path:
        if path == unpacked:
            continue
        if os.path.basename(path) in _PACKAGES:
            yield from _all_below(path)
        elif os.path.isabs(path) and os.path.lexists(path):
            yield path
    if unpacked is None:
        yield from _all_below(_PACKAGE)


def _all_below(path: str) -> Iterator[str]:
    for folder, _, names in os.walk(path):
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


def _open_to(place: str, *, sticky: bool) -> str:
    """Who but root may change a file or folder, or "".

    Args:
        place: its path.
        sticky: whether a folder will do in which others cannot exchange what is root's.
    """
    try:
        status = os.lstat(place)
    except OSError as error:
        return f"cannot be looked at ({error.strerror or error})"
    if status.st_uid != 0:
        return f"belongs to user {status.st_uid}"
    mode = status.st_mode
    if stat.S_ISLNK(mode) or (sticky and stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        return ""  # a link has no mode
    if mode & stat.S_IWOTH:
        return "may be written to by everybody"
    if mode & stat.S_IWGRP and status.st_gid != 0:
        return f"may be written to by group {status.st_gid}"
    return ""
