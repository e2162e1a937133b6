"""``vmcoretool explain``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vmcoretool.cli.inspect import exit_code
from vmcoretool.cli.options import Request, inspect, json_option, opened, shared_options
from vmcoretool.cli.output import complain, emit
from vmcoretool.cli.progress import Watch
from vmcoretool.explain.causes import causes_of
from vmcoretool.explain.texts import find_texts, similar_texts
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.explain.texts import ErrorText
    from vmcoretool.inspection.inspect import Inspection

_WORDS = {True: "APPLIES", False: "does not apply", None: "possible"}


@click.command("explain")
@click.argument("text")
@click.argument("vmcore", nargs=-1)
@shared_options
@json_option
def command(request: Request, text: str, *, as_json: bool) -> int:
    """What an error TEXT of crash or makedumpfile means; with a dump, which cause applies."""
    rows = find_texts(text)
    if not rows:
        complain(f"this text is not known: {printable(text)}")
        for one in similar_texts(text):
            complain(f"known is: {one}")
        complain("the project's docs/errors.md lists all that are")
        return 1
    code = 0
    inspection: Inspection | None = None
    if request.vmcore:
        with Watch() as watch, opened(request, watch) as vmcore:
            inspection = inspect(vmcore, request)
        code = exit_code(inspection)
    if as_json:
        import json  # noqa: PLC0415 - only then

        emit(json.dumps([_object(row, inspection) for row in rows]))
        return code
    for number, row in enumerate(rows):
        emit("\n".join(_lines(row, inspection, first=number == 0)))
    return code


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
    if inspection and first:
        yield from _commands(inspection)


def _commands(inspection: Inspection) -> Iterator[str]:
    if inspection.commands:
        yield ""
        yield "Commands for this dump"
    for command in inspection.commands:
        ready = "READY" if command.ready else "not ready: see 'vmcoretool crash'"
        yield f"  {command.target} ({ready})"
        yield f"    {command.display()}"


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
