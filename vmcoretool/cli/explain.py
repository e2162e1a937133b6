"""``vmcoretool explain``."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from vmcoretool.addresses import MIB
from vmcoretool.cli.exits import exit_code, failure_of
from vmcoretool.cli.nearly import is_file
from vmcoretool.cli.options import Request, inspect, json_option, opened, shared_options
from vmcoretool.cli.output import (
    complain,
    emit,
    emit_folded,
    emit_json,
    is_terminal,
    remark,
    terminal_width,
)
from vmcoretool.cli.progress import Watch
from vmcoretool.errors import VmcoreError
from vmcoretool.explain.causes import causes_of
from vmcoretool.explain.texts import ERROR_TEXTS, find_texts, similar_texts
from vmcoretool.printable import printable
from vmcoretool.render.layout import command_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.explain.texts import ErrorText
    from vmcoretool.inspection.inspect import Inspection

_SHOWN: Final = 200
_UNLIMITED: Final = 1 << 20
_WORDS = {True: "APPLIES", False: "does not apply", None: "possible"}


@click.command("explain")
@click.argument("text", required=False)
@click.argument("vmcore", nargs=-1)
@shared_options
@json_option
@click.option("--list", "as_list", is_flag=True, help="Every text that is known.")
def command(request: Request, text: str | None, *, as_json: bool, as_list: bool) -> int:
    """What an error TEXT of crash or makedumpfile means; with a dump, which cause applies.

    TEXT may be a part of the message, or the whole output; - reads it from standard input.
    """
    if as_list:
        return _list(as_json=as_json)
    if text is None:
        raise click.UsageError("give the text in quotes, - to read it, or --list", _context())
    text, request = _message(text, request)
    rows = find_texts(text)
    if not rows:
        complain(f"this text is not known: {text.strip()[:_SHOWN]}")
        for similar in similar_texts(text):
            complain(f"known is: {similar}")
        complain("'vmcoretool explain --list' shows all that are")
        return 1
    inspection, code = _inspected(request, as_json=as_json)
    if as_json:
        emit_json([_object(row, inspection) for row in rows])
        return code
    for number, row in enumerate(rows):
        emit_folded("\n".join(_lines(row, inspection, first=number == 0)))
        if inspection and not number and inspection.commands:
            emit("\n".join(_commands(inspection)))
    return code


def _inspected(request: Request, *, as_json: bool) -> tuple[Inspection | None, int]:
    # the dump, and the exit code; without it the meaning of the text is worth knowing all the same
    if not request.vmcore:
        return None, 0
    try:
        with Watch() as watch, opened(request, watch) as vmcore:
            inspection = inspect(vmcore, request)
    except (VmcoreError, OSError) as error:
        if as_json:
            raise
        failure = failure_of(error)
        complain(failure.sentence)
        return None, failure.exit
    return inspection, exit_code(inspection)


def _context() -> click.Context:
    return click.get_current_context()


def _list(*, as_json: bool) -> int:
    if as_json:
        emit_json([_object(row, None) for row in ERROR_TEXTS])
        return 0
    for row in ERROR_TEXTS:
        emit("\n".join(f"{row.program}: {piece}" for piece in row.texts))
    return 0


def _message(text: str, request: Request) -> tuple[str, Request]:
    # the text, and the dumps behind it
    if text == "-":
        if sys.stdin is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard input")
        return sys.stdin.buffer.read(MIB).decode("utf-8", "replace"), request
    words = list(request.vmcore)
    if words and not find_texts(text) and not is_file(words[0]):
        # a message without quotes around it arrives in pieces
        pieces = [text]
        while words and not is_file(words[0]):
            pieces.append(words.pop(0))
        remark("put the text in quotes: words that are no files were taken as part of it")
        return " ".join(pieces), request._replace(vmcore=tuple(words))
    return text, request


def _lines(row: ErrorText, inspection: Inspection | None, *, first: bool) -> Iterator[str]:
    if not first:
        yield ""
    yield f"{row.program}: {row.texts[0]}"
    yield f"  {row.meaning}"
    ruled_out = True
    for cause in causes_of(row):
        said = cause.ask(inspection) if inspection else None
        ruled_out = ruled_out and said is not None and said.applies is False
        if said:
            yield f"  {_WORDS[said.applies]}: {cause.text} ({printable(said.why)})"
        else:
            yield f"  - {cause.text}"
        if said is None or said.applies is not False:
            yield f"      -> {cause.cure}"
    if ruled_out:
        yield "  None of the known causes fits this dump. If it was the symbol file: name the one"
        yield "  that was used, with --xen-syms or --vmlinux."


def _commands(inspection: Inspection) -> Iterator[str]:
    width = terminal_width() if is_terminal() else _UNLIMITED
    yield ""
    yield "Commands for this dump"
    for command in inspection.commands:
        ready = "READY" if command.ready else "not ready: see 'vmcoretool crash'"
        yield f"  {command.target} ({ready})"
        yield from command_lines(command.argv, width, "    ")


def _object(row: ErrorText, inspection: Inspection | None) -> dict[str, Any]:
    causes = []
    for cause in causes_of(row):
        said = cause.ask(inspection) if inspection else None
        causes.append(
            {
                "cause": cause.name,
                "text": cause.text,
                "cure": cause.cure,
                "applies": said.applies if said else None,
                "why": printable(said.why) if said else None,
            }
        )
    return {
        "program": row.program,
        "text": row.texts[0],
        "meaning": row.meaning,
        "causes": causes,
    }
