"""``vmcoretool inspect``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vmcoretool.cli.exits import Exit, Failure, exit_code, failure_of
from vmcoretool.cli.options import dump_options, inspect, say_that_it_waits, watched
from vmcoretool.cli.output import (
    OutputError,
    complain,
    emit,
    emit_json,
    is_terminal,
    settings,
    terminal_width,
    use_colour,
)
from vmcoretool.cli.progress import Watch
from vmcoretool.formats.dump_files import group_parts
from vmcoretool.printable import printable
from vmcoretool.render.text import inspection_text
from vmcoretool.vmcore import open_files

if TYPE_CHECKING:
    from vmcoretool.cli.options import Request
    from vmcoretool.formats.dump_files import DumpFiles
    from vmcoretool.inspection.inspect import Inspection


@click.command("inspect")
@dump_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object per dump and line.")
def command(request: Request, *, as_json: bool) -> int:
    """What is this dump, where is the hypervisor, how sure is that, and how to open it.

    Parts of a makedumpfile --split set given together, in any order, are one dump. With -q:
    xen_phys_start and its status, or the kind.
    """
    for path in request.vmcore:
        say_that_it_waits(path)
    worst = 0
    left = list(request.vmcore)
    for files in group_parts(request.vmcore, format_name=request.format_name):
        several = len(files.paths) < len(request.vmcore)
        left = [path for path in left if path not in files.paths]
        failure = _show(files, request, as_json=as_json, several=several)
        worst = max(worst, failure if isinstance(failure, Exit) else failure.exit)
        if isinstance(failure, Failure):
            _lament(failure, files.paths, as_json=as_json, several=several)
        if worst == Exit.INTERRUPTED:
            for path in left:
                _lament(_NOT_REACHED, (path,), as_json=as_json, several=True)
            break
    return worst


_NOT_REACHED = Failure("Interrupted", "not inspected: interrupted before", "", Exit.INTERRUPTED)


def _show(files: DumpFiles, request: Request, *, as_json: bool, several: bool) -> Exit | Failure:
    # One dump that cannot be read must not keep the others from being shown.
    try:
        with (
            Watch() as watch,
            open_files(files, format_name=request.format_name, budget=watched(watch)) as dump,
        ):
            inspection = inspect(dump, request, ask_crash=settings.verbose > 0)
            if as_json:
                from vmcoretool.inspection.as_json import to_dict  # noqa: PLC0415 - so

                emit_json(to_dict(inspection))
            elif settings.quiet:
                emit(_name(files.paths, several=several) + _quiet(inspection))
            else:
                emit(
                    inspection_text(
                        inspection,
                        verbose=settings.verbose > 0,
                        colour=use_colour(),
                        width=terminal_width(),
                        wrapped=is_terminal(),
                    )
                )
            return Exit.INTERRUPTED if watch.stopped else exit_code(inspection)
    except (BrokenPipeError, OutputError):
        raise
    except (Exception, KeyboardInterrupt) as error:
        if settings.verbose > 1 and failure_of(error).exit is Exit.BUG:
            raise
        return failure_of(error)


def _quiet(inspection: Inspection) -> str:
    start = inspection.verdict.xen_phys_start
    host = inspection.kind == "xen-host"
    word = inspection.verdict.status if host else inspection.kind
    return f"{'-' if start is None else hex(start)} {word}"


def _name(paths: tuple[str, ...], *, several: bool) -> str:
    return f"{printable(' '.join(paths))}: " if several else ""


def _lament(failure: Failure, paths: tuple[str, ...], *, as_json: bool, several: bool) -> None:
    if failure is not _NOT_REACHED:
        complain(failure.sentence)
    if as_json:
        emit_json(_object(failure, paths))
    elif settings.quiet and several:
        emit(f"{_name(paths, several=True)}- failed")


def _object(failure: Failure, paths: tuple[str, ...]) -> dict[str, Any]:
    from vmcoretool.inspection.as_json import failure_object  # noqa: PLC0415 - only with --json

    return failure_object(paths, failure.as_object())
