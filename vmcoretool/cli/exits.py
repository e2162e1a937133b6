"""Exit codes, and which failure ends the process with which; the table is in the README."""

from __future__ import annotations

import errno
import os
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from vmcoretool.cli.nearly import dump_in_folder
from vmcoretool.errors import (
    LogError,
    NotAXenHostError,
    SpaceError,
    UnsupportedFormatError,
    VmcoreError,
)
from vmcoretool.printable import bash_word, printable

if TYPE_CHECKING:
    from vmcoretool.inspection.inspect import Inspection

PROVEN: Final = ("verified", "not-relocatable")
SCHEMA: Final = "vmcoretool/error/1"


class Exit(IntEnum):
    """What the process ends with."""

    PROVED = 0
    NOT_PROVED = 1
    USAGE = 2
    NOT_A_DUMP = 3
    NOT_SUPPORTED = 4
    REFUSED = 5
    NOT_A_XEN_HOST = 6
    BUG = 70
    INTERRUPTED = 130


# the first row that an error is an instance of decides; what is in no row is a bug
_ROWS: Final[tuple[tuple[type[BaseException], Exit], ...]] = (
    (click.ClickException, Exit.USAGE),
    (click.Abort, Exit.INTERRUPTED),
    (KeyboardInterrupt, Exit.INTERRUPTED),
    (UnsupportedFormatError, Exit.NOT_SUPPORTED),
    (NotAXenHostError, Exit.NOT_A_XEN_HOST),
    (LogError, Exit.NOT_PROVED),
    (SpaceError, Exit.NOT_PROVED),
    (VmcoreError, Exit.NOT_A_DUMP),
    (OSError, Exit.REFUSED),
)
# the class that JSON names where a command ended without an answer and without an exception
_NO_ANSWER: Final = {Exit.NOT_A_XEN_HOST: "NotXenHost", Exit.INTERRUPTED: "Interrupted"}


class Failure(NamedTuple):
    """Why there is no answer.

    Attributes:
        name: the error's class.
        message: what went wrong, in one printable line.
        cure: what the user can do, or "".
        exit: what the process ends with.
    """

    name: str
    message: str
    cure: str
    exit: Exit

    @property
    def sentence(self) -> str:
        """The line for people."""
        if not self.cure:
            return self.message
        return f"{self.message}{' ' if self.message.endswith('?') else '; '}{self.cure}"

    def as_object(self) -> dict[str, Any]:
        """The value of ``error`` in JSON."""
        return {
            "class": self.name,
            "message": self.message,
            "cure": self.cure or None,
            "exit": int(self.exit),
        }


def exit_of(error: BaseException) -> Exit:
    """The exit code of an exception."""
    return next((code for kind, code in _ROWS if isinstance(error, kind)), Exit.BUG)


def failure_of(error: BaseException) -> Failure:
    """Any exception as a failure."""
    code = exit_of(error)
    name = type(error).__name__
    if isinstance(error, click.ClickException):
        message, cure = error.format_message().removesuffix("."), _see_help(error)
    elif code is Exit.INTERRUPTED:
        name, message, cure = _NO_ANSWER[code], "interrupted", ""
    elif isinstance(error, VmcoreError):
        message, cure = error.message, error.cure
    elif isinstance(error, OSError):
        message, cure = _refusal(error)
    else:
        message = f"a fault in vmcoretool itself: {name}: {error}{_place(error)}"
        cure = "please report this line and 'vmcoretool --version'; -vv shows where it happened"
    return Failure(name, printable(message), printable(cure), code)


def without_answer(code: int, reasons: list[str]) -> Failure:
    """The failure of a command that ended without an exception and without an answer."""
    known = Exit(code)
    return Failure(_NO_ANSWER.get(known, "NoAnswer"), "; ".join(reasons), "", known)


def exit_code(inspection: Inspection) -> Exit:
    """The exit code for a dump that could be read."""
    if inspection.interrupted:
        return Exit.INTERRUPTED
    if inspection.kind != "xen-host":
        return Exit.NOT_A_XEN_HOST
    proven = inspection.verdict.status in PROVEN
    if proven and not any(found.level == "error" for found in inspection.findings):
        return Exit.PROVED
    return Exit.NOT_PROVED


def _see_help(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"see '{context.command_path} --help'" if context is not None else ""


def _refusal(error: OSError) -> tuple[str, str]:
    path = f"{error.filename}: " if isinstance(error.filename, str) else ""
    cure = ""
    if isinstance(error, PermissionError):
        cure = "dumps are usually readable by root only: try again with sudo"
    elif isinstance(error, FileNotFoundError) and error.strerror == os.strerror(errno.ENOENT):
        cure = "check the path"
    elif isinstance(error, IsADirectoryError):
        cure = "name the dump file in it"
        dump = dump_in_folder(error.filename) if isinstance(error.filename, str) else None
        cure += f": {bash_word(dump)}" if dump else ""
    return f"{path}{error.strerror or error}", cure


def _place(error: BaseException) -> str:
    # the innermost line of ours; a report without it says nothing
    trace, place = error.__traceback__, ""
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "")
        if name.startswith("vmcoretool."):
            place = f" in {name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place
