"""``vmcoretool inspect``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from vmcoretool.cli.failures import report
from vmcoretool.cli.options import (
    NOT_A_XEN_HOST,
    PROVEN,
    dump_options,
    inspect,
    opened,
    use_colour,
)
from vmcoretool.cli.output import emit, terminal_width
from vmcoretool.cli.progress import Watch
from vmcoretool.render.text import inspection_text
from vmcoretool.vmcore import group_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmcoretool.cli.options import Request
    from vmcoretool.inspection.inspect import Inspection

INTERRUPTED: Final = 130


@click.command("inspect")
@dump_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object per dump and line.")
@click.option("-v", "--verbose", is_flag=True, help="Show each step of the proof.")
@click.option(
    "-q", "--quiet", is_flag=True, help="Print only xen_phys_start and its status, or the kind."
)
@click.option("--color", "colour", type=click.Choice(["auto", "always", "never"]), default="auto")
def command(
    request: Request,
    colour: str,
    *,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> int:
    """What is this dump, where is the hypervisor, how sure is that, and how to open it.

    Parts of a makedumpfile --split set given together, in any order, are one dump.
    """

    def render(inspection: Inspection) -> str:
        if as_json:
            from vmcoretool.inspection.as_json import inspection_json  # noqa: PLC0415 - only then

            return inspection_json(inspection)
        if quiet:
            start = inspection.verdict.xen_phys_start
            host = inspection.kind == "xen-host"
            said = inspection.verdict.status if host else inspection.kind
            return f"{'-' if start is None else hex(start)} {said}"
        width = terminal_width()
        return inspection_text(inspection, verbose=verbose, colour=use_colour(colour), width=width)

    def show(paths: tuple[str, ...]) -> int:
        wanted = request._replace(vmcore=paths)
        with Watch() as watch, opened(wanted, watch) as dump:
            inspection = inspect(dump, wanted)
            emit(render(inspection))
            return INTERRUPTED if watch.stopped else exit_code(inspection)

    worst = 0
    for paths in group_parts(request.vmcore):
        worst = max(worst, _guarded(show, paths))
        if worst == INTERRUPTED:
            break
    return worst


def _guarded(show: Callable[[tuple[str, ...]], int], paths: tuple[str, ...]) -> int:
    # One dump that cannot be read must not keep the others from being shown.
    try:
        return show(paths)
    except BrokenPipeError:
        raise
    except Exception as error:
        code = report(error)
        if code is None:
            raise
        return code


def exit_code(inspection: Inspection) -> int:
    """The contract's exit code for a dump that could be read."""
    if inspection.interrupted:
        return INTERRUPTED
    if inspection.kind != "xen-host":
        return NOT_A_XEN_HOST
    proven = inspection.verdict.status in PROVEN
    return int(not proven or any(found.level == "error" for found in inspection.findings))
