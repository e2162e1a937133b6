"""``vmcoretool notes``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vmcoretool.cli.exits import Exit
from vmcoretool.cli.options import check_format, open_watched
from vmcoretool.cli.output import complain, emit, emit_json
from vmcoretool.cli.progress import Watch
from vmcoretool.inspection.diagnosis import memory_findings
from vmcoretool.render.notes import note_objects

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command("notes")
@click.argument("vmcore", nargs=-1, required=True)
@click.option("--format", "format_name", metavar="NAME", help="Force a container format.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON list.")
def command(vmcore: tuple[str, ...], format_name: str | None, *, as_json: bool) -> int:
    """List every ELF note: owner, type, size and decoded fields."""
    check_format(format_name)
    with Watch() as watch, open_watched(vmcore, format_name, watch) as opened:
        notes = note_objects(opened)
        lost = () if watch.stopped else memory_findings(opened)
        findings = (*opened.findings, *lost)
    if as_json:
        emit_json(notes)
    else:
        for note in notes:
            emit("\n".join(_lines(note)))
    for found in findings:
        complain(f"{found.level}: {found.message}")
    if watch.stopped:
        return Exit.INTERRUPTED
    return int(any(found.level == "error" for found in findings))


def _lines(note: dict[str, Any]) -> Iterator[str]:
    cut = "" if note["complete"] else "  CUT SHORT"
    yield f"{note['owner']} {note['name']} ({note['type']}), {note['size']} bytes{cut}"
    for key, value in note["fields"].items():
        if isinstance(value, str) or value is None:
            yield f"  {key:<32} {'-' if value is None else value}"
