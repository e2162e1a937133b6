"""``vmcoretool explain``."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

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
from vmcoretool.explain.causes import judged
from vmcoretool.explain.error_text import ASIDES
from vmcoretool.explain.texts import ERROR_TEXTS, find_texts, last_message, similar_texts
from vmcoretool.printable import printable
from vmcoretool.render.layout import command_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.explain.causes import Judged
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
    _complain(text, rows)
    if not rows:
        return 1
    answer = _answer(rows, request, as_json=as_json)
    if as_json:
        emit_json([_object(row, causes) for row, causes in answer.rows])
        return answer.code
    for number, (row, causes) in enumerate(answer.rows):
        emit_folded("\n".join(_lines(row, causes, first=number == 0)))
        if answer.inspection and not number and answer.inspection.commands:
            emit("\n".join(_commands(answer.inspection)))
    return answer.code


def _complain(text: str, rows: tuple[ErrorText, ...]) -> None:
    # what is not known of a text
    message = last_message(text)
    if not message:
        complain("the text is empty; crash and makedumpfile print errors to standard error (2>&1)")
        return
    if not rows or (rows[0].weight in ASIDES and not find_texts(message)):
        complain(f"this text is not known: {message[:_SHOWN]}")
    if not rows:
        for similar in similar_texts(text):
            complain(f"known is: {similar}")
        complain("'vmcoretool explain --list' shows all that are")


class _Answer(NamedTuple):
    # each text with its causes as judged, the dump where it could be read, and the exit code
    rows: list[tuple[ErrorText, list[Judged]]]
    inspection: Inspection | None
    code: int


def _answer(rows: tuple[ErrorText, ...], request: Request, *, as_json: bool) -> _Answer:
    # without a dump the meaning of the text is worth knowing all the same
    if not request.vmcore:
        return _Answer([(row, judged(row, None)) for row in rows], None, 0)
    try:
        with Watch() as watch, opened(request, watch) as vmcore:
            inspection = inspect(vmcore, request)
            # here, as some causes look at the dump once more
            told = [(row, judged(row, inspection)) for row in rows]
    except (VmcoreError, OSError) as error:
        if as_json:
            raise
        failure = failure_of(error)
        complain(failure.sentence)
        return _Answer([(row, judged(row, None, error)) for row in rows], None, failure.exit)
    return _Answer(told, inspection, exit_code(inspection))


def _context() -> click.Context:
    return click.get_current_context()


def _list(*, as_json: bool) -> int:
    if as_json:
        emit_json([_object(row, judged(row, None)) for row in ERROR_TEXTS])
        return 0
    for row in ERROR_TEXTS:
        emit("\n".join(f"{row.program}: {piece}" for piece in row.texts))
    return 0


def _message(text: str, request: Request) -> tuple[str, Request]:
    # the text, and the dumps behind it
    if text == "-":
        if sys.stdin is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard input")
        return _end_of(sys.stdin.buffer).decode("utf-8", "replace"), request
    words = list(request.vmcore)
    if words and not find_texts(text) and not is_file(words[0]):
        # a message without quotes around it arrives in pieces
        pieces = [text]
        while words and not is_file(words[0]):
            pieces.append(words.pop(0))
        remark("put the text in quotes: words that are no files were taken as part of it")
        return " ".join(pieces), request._replace(vmcore=tuple(words))
    return text, request


def _end_of(stream: BinaryIO) -> bytes:
    # an error stands at the end of an output, however much progress stands before it
    kept = b""
    while block := stream.read(MIB):
        kept = (kept + block)[-MIB:]
    return kept


def _lines(row: ErrorText, causes: list[Judged], *, first: bool) -> Iterator[str]:
    if not first:
        yield ""
    yield f"{row.program}: {row.texts[0]}"
    yield f"  {row.meaning}"
    ruled_out = True
    for cause, said in causes:
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


def _object(row: ErrorText, causes: list[Judged]) -> dict[str, Any]:
    return {
        "program": row.program,
        "text": row.texts[0],
        "meaning": row.meaning,
        "causes": [
            {
                "cause": cause.name,
                "text": cause.text,
                "cure": cause.cure,
                "applies": said.applies if said else None,
                "why": printable(said.why) if said else None,
            }
            for cause, said in causes
        ],
    }
