"""Writing to the standard streams.

Only printable text, newlines and tabs get there, and the few codes of colour that we write where
colour is wanted: nothing that a dump or a file's name holds can steer a terminal.  Not with click's
echo, which passes on what it is given.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import Any, Final

from vmcoretool.printable import printable, printable_lines

_COLOUR: Final = re.compile("(\x1b\\[(?:[012]|(?:1;)?3[1-7])?m)")


class OutputError(OSError):
    """Standard output is closed or full."""


class Settings:
    """What the options that all commands share ask for, and what was written so far.

    Attributes:
        quiet: no remarks and no progress.
        verbose: how often ``-v`` was given.
        colour: "auto", "always" or "never".
        answered: whether anything was written to stdout.
        reasons: what was complained about.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As at the start of the process."""
        self.quiet = False
        self.verbose = 0
        self.colour = "auto"
        self.answered = False
        self.reasons: list[str] = []
        self.drawn = False


settings: Final = Settings()
_WIDTH: Final = 80


def emit(text: str) -> None:
    """Write data and a newline to stdout.

    Raises:
        OutputError: stdout is closed or full.
        BrokenPipeError: its reader is gone.
    """
    clear()
    settings.answered = True
    out = _stdout()
    try:
        out.write(_safe(text) + "\n")
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.errno, error.strerror, "standard output") from error


def emit_json(value: Any) -> None:
    """Write one JSON value on a line of its own."""
    import json  # noqa: PLC0415 - only where it is asked for

    emit(json.dumps(value))


def emit_bytes(data: bytes) -> None:
    """Write bytes as they are, as the user asked for; the errors are those of :func:`emit`."""
    flush()
    settings.answered = True
    try:
        _stdout().buffer.write(data)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.errno, error.strerror, "standard output") from error


def flush() -> None:
    """Have all that was emitted written; the errors are those of :func:`emit`."""
    clear()
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.errno, error.strerror, "standard output") from error


def complain(text: str) -> None:
    """Write one line about what is wrong to stderr, if there is one."""
    settings.reasons.append(printable(text))
    _say(f"vmcoretool: {printable(text)}")


def remark(text: str) -> None:
    """Write one line about a good answer to stderr, unless ``-q`` was given."""
    if not settings.quiet:
        _say(f"vmcoretool: {printable(text)}")


def explain_usage(text: str) -> None:
    """Write lines about how a command is used to stderr."""
    _say(printable_lines(text))


def draw(line: str) -> None:
    """Show a line that says how far the work is, in place of the one before, on a terminal."""
    settings.drawn = True
    _write_error(f"\r{printable(line)}\x1b[K")


def clear() -> None:
    """Take away the line that :func:`draw` showed."""
    if settings.drawn:
        settings.drawn = False
        _write_error("\r\x1b[K")


def is_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout is not None and sys.stdout.isatty()


def use_colour() -> bool:
    """Whether to colour: asked for, or on a terminal that does not object (no-color.org)."""
    if settings.colour != "auto":
        return settings.colour == "always"
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _safe(text: str) -> str:
    if "\x1b" in text and use_colour():
        # every second piece is a code of colour
        pieces = _COLOUR.split(text)
        return "".join(
            piece if number % 2 else printable_lines(piece) for number, piece in enumerate(pieces)
        )
    return printable_lines(text)


def _stdout() -> Any:
    if sys.stdout is None:
        raise OutputError(errno.EBADF, os.strerror(errno.EBADF), "standard output")
    return sys.stdout


def emit_folded(text: str) -> None:
    """As :func:`emit`; a terminal gets the text broken at spaces, where it would break words."""
    if is_terminal():
        text = _folded(text, terminal_width())
    emit(text)


def _folded(text: str, width: int) -> str:
    if all(len(line) <= width for line in text.split("\n")):
        return text
    from vmcoretool.render.fold import fold  # noqa: PLC0415 - few answers are that wide

    return "\n".join(part for line in text.split("\n") for part in fold(line, width))


def _say(line: str) -> None:
    clear()
    if sys.stderr is not None and sys.stderr.isatty():
        line = _folded(line, _columns(sys.stderr) or _WIDTH)
    _write_error(line + "\n")


def _write_error(text: str) -> None:
    # where stderr cannot be written to, there is nobody to say it to
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        settings.drawn = False


def terminal_width() -> int:
    """The columns of the terminal: of $COLUMNS, else as it says, else 80.

    As shutil.get_terminal_size(), whose module takes longer to import than an inspection renders.
    """
    try:
        columns = int(os.environ.get("COLUMNS", ""))
    except ValueError:
        columns = 0
    if columns <= 0:
        columns = _columns(sys.__stdout__)
    return columns or _WIDTH


def _columns(stream: Any) -> int:
    # of the terminal that a stream is; 0 where it is none
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (AttributeError, ValueError, OSError):
        return 0
