"""Installing and removing a system's hooks, under any root directory, so that it can be undone.

A file that is there and is not ours is never overwritten; a configuration file gets our lines
between two marks at its end, and loses exactly them again.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vmcoretool.hooks.files import MAX_FILE, read, under, write
from vmcoretool.hooks.systems import (
    MARK,
    UNIT,
    PutFile,
    PutLines,
    PutLink,
    directory_of,
    program_of,
)

if TYPE_CHECKING:
    from vmcoretool.hooks.systems import Change, Plan

State = Literal["absent", "installed", "changed", "refused"]
BEGIN: Final = "# vmcoretool begin: written by 'vmcoretool hook install', removed by 'uninstall'"
END: Final = "# vmcoretool end"
# how the file was before, where it matters for taking the lines out again
_NO_FILE: Final = " with the file"
_NO_NEWLINE: Final = " with the newline before"
_BLOCK: Final = re.compile(
    rf"^{re.escape(BEGIN)}(?P<before>{_NO_FILE}|{_NO_NEWLINE}|)\n"
    rf"(?P<lines>(?:.*\n)*?){re.escape(END)}\n",
    re.MULTILINE,
)
_MARKED: Final = 400


class Step(NamedTuple):
    """One change: where, how it stands, why it is not ours to make, and what to do, or ""."""

    change: Change
    path: str
    state: State
    why: str = ""
    by_hand: str = ""


def look(plan: Plan, root: str) -> tuple[Step, ...]:
    """How each change of a plan stands."""
    return tuple(_look(change, root) for change in plan.changes)


def installed_choices(root: str) -> tuple[str | None, str | None]:
    """The directory that the installed unit looks at, and the program that it was told to run."""
    with suppress(OSError):
        text = read(under(root, UNIT))
        if MARK in text[:_MARKED]:
            return directory_of(text), program_of(text)
    return None, None


def without_configuration(steps: tuple[Step, ...]) -> tuple[str, ...]:
    """Kdump's configuration files that are not there: kdump is not installed."""
    settings = (step for step in steps if isinstance(step.change, PutLines))
    return tuple(step.path for step in settings if not os.path.lexists(step.path))


def with_carriage_returns(steps: tuple[Step, ...]) -> tuple[str, ...]:
    """Kdump's configuration files with CR LF line ends, which kdump takes for what is set."""
    found = []
    for step in steps:
        if isinstance(step.change, PutLines):
            with suppress(OSError):  # that it cannot be read is its step's own trouble
                found += [step.path] * ("\r" in read(step.path))
    return tuple(found)


def install(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Make the changes that are not made yet; a refused one stays refused.

    Raises:
        OSError: a file cannot be written; what was written before it stays.
    """
    for step in steps:
        if step.state in ("absent", "changed"):
            _make(step)
    return tuple(step for step in steps if step.state in ("absent", "changed"))


def uninstall(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Take away what is ours; returns what was taken away.

    Raises:
        OSError: a file cannot be changed.
    """
    done = []
    for step in reversed(steps):
        if step.state in ("installed", "changed") and not step.why:
            _unmake(step)
            done.append(step)
    return tuple(done)


def _look(change: Change, root: str) -> Step:
    path = os.path.join(root, change.path.lstrip("/"))
    try:
        path = under(root, change.path)
        status = os.lstat(path)
        if isinstance(change, PutLink):
            same = stat.S_ISLNK(status.st_mode) and os.readlink(path) == change.target
            return _installed_or(change, path, "something else is there", same=same)
        if not stat.S_ISREG(status.st_mode):
            return Step(change, path, "refused", "no regular file")
        text = read(path)
    except FileNotFoundError:
        return Step(change, path, "absent")
    except OSError as error:
        return Step(change, path, "refused", error.strerror or str(error))
    if isinstance(change, PutLines):
        return _look_at_lines(change, path, text)
    return _look_at_file(change, path, text, stat.S_IMODE(status.st_mode))


def _look_at_file(change: PutFile, path: str, text: str, mode: int) -> Step:
    if MARK in text[:_MARKED] and (text, mode) != (change.text, change.mode):
        return Step(change, path, "changed")
    why = "a file that is not vmcoretool's is there"
    return _installed_or(change, path, why, same=text == change.text)


def _installed_or(change: Change, path: str, why: str, *, same: bool) -> Step:
    if same:
        return Step(change, path, "installed")
    return Step(change, path, "refused", why, "move it away, and install again")


def _look_at_lines(change: PutLines, path: str, text: str) -> Step:
    found = _BLOCK.search(text)
    if found and found["lines"] == _lines(change):
        return Step(change, path, "installed")
    rest = _BLOCK.sub("", text)
    if BEGIN in rest or END in rest:
        why = "its vmcoretool lines were edited by hand"
        return Step(change, path, "refused", why, "take them out, and install again")
    taken = re.search(f"(?:{change.taken}).*$", rest, re.MULTILINE)
    if taken:
        line = taken[0].strip()
        found_by_hand = [re.search(merged, rest, re.MULTILINE) for merged in change.merged]
        if found_by_hand and all(found_by_hand):
            return Step(change, path, "installed", f"by hand: {line}")
        return Step(change, path, "refused", f"it is set already: {line}", change.merge)
    if len(_with_block(change, text).encode("utf-8", "surrogateescape")) > MAX_FILE:
        # it could not be read again to take the lines out
        return Step(change, path, "refused", f"with these lines, larger than {MAX_FILE >> 20} MiB")
    return Step(change, path, "changed" if found else "absent")


def _lines(change: PutLines) -> str:
    return "".join(f"{line}\n" for line in change.lines)


def _with_block(change: PutLines, text: str | None) -> str:
    """A file's text with our lines at its end; None: there is no file."""
    rest = None if text is None else _without_block(text)
    before = ""
    if rest is None:
        before, rest = _NO_FILE, ""
    elif rest and not rest.endswith("\n"):
        before, rest = _NO_NEWLINE, f"{rest}\n"
    return f"{rest}{BEGIN}{before}\n{_lines(change)}{END}\n"


def _without_block(text: str) -> str | None:
    """A file's text as it was before our lines were added; None: there was no file."""
    found = _BLOCK.search(text)
    rest = _BLOCK.sub("", text)
    if found and found["before"] == _NO_FILE and not rest:
        return None
    # what was added behind our lines since needs the newline
    if found and found["before"] == _NO_NEWLINE and found.end() == len(text):
        return rest.removesuffix("\n")
    return rest


def _make(step: Step) -> None:
    os.makedirs(os.path.dirname(step.path), mode=0o755, exist_ok=True)
    change = step.change
    if isinstance(change, PutLink):
        os.symlink(change.target, step.path)
    elif isinstance(change, PutFile):
        write(step.path, change.text, change.mode)
    else:
        text, mode = None, 0o644
        with suppress(FileNotFoundError):
            text, mode = read(step.path), stat.S_IMODE(os.lstat(step.path).st_mode)
        write(step.path, _with_block(change, text), mode)


def _unmake(step: Step) -> None:
    if not isinstance(step.change, PutLines):
        os.unlink(step.path)
        with suppress(OSError):  # a folder that others use stays
            if os.path.basename(os.path.dirname(step.path)) == MARK:
                os.rmdir(os.path.dirname(step.path))
        return
    rest = _without_block(read(step.path))
    if rest is None:
        os.unlink(step.path)
    else:
        write(step.path, rest, stat.S_IMODE(os.lstat(step.path).st_mode))
