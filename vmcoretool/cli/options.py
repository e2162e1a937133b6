"""Options that several commands share."""

from __future__ import annotations

import functools
import os
import stat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from vmcoretool.budget import Budget
from vmcoretool.cli.exits import PROVEN, Exit
from vmcoretool.cli.nearly import did_you_mean
from vmcoretool.cli.output import complain, remark, settings
from vmcoretool.cli.progress import Watch
from vmcoretool.inspection.diagnosis import memory_findings
from vmcoretool.inspection.inspect import Inspection, inspect_vmcore, locate
from vmcoretool.printable import printable
from vmcoretool.render.owner import owner_words
from vmcoretool.symbols.places import Places
from vmcoretool.vmcore import open_vmcore

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmcoretool.evidence.facts import Scan
    from vmcoretool.evidence.known import Known
    from vmcoretool.evidence.weigh import Verdict
    from vmcoretool.findings import Finding
    from vmcoretool.host.host import Host
    from vmcoretool.vmcore import Vmcore

_LIMIT: Final = 1 << 64
_WAITED_FOR: Final[set[str]] = set()


def _address(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    # A bare number is refused: crash would read it as hexadecimal, makedumpfile as decimal.
    if value is None:
        return None
    try:
        number = int(value, 16) if value.lower().startswith("0x") else -1
    except ValueError:
        number = -1
    if not 0 <= number < _LIMIT:
        raise click.BadParameter(f"{value!r}: write it in hexadecimal, such as 0x27800000")
    return number


class Request(NamedTuple):
    """What the user asked for, from the options that all commands share."""

    vmcore: tuple[str, ...]
    format_name: str | None
    places: Places
    xen_phys_start: int | None
    scan: Scan


def dump_options(function: Callable[..., int]) -> Callable[..., int]:
    """What every command takes that works on a dump; it gets them as one ``request``."""
    return click.argument("vmcore", nargs=-1, required=True)(shared_options(function))


def shared_options(function: Callable[..., int]) -> Callable[..., int]:
    """The options of :func:`dump_options`; the command names its dump itself."""

    @functools.wraps(function)
    def gathered(**given: Any) -> int:
        scan = given.pop("scan")
        request = Request(
            vmcore=given.pop("vmcore"),
            format_name=given.pop("format_name"),
            places=Places(
                xen_syms=given.pop("xen_syms"),
                vmlinux=given.pop("vmlinux"),
                search=given.pop("search"),
                debuginfod=given.pop("debuginfod"),
            ),
            xen_phys_start=given.pop("xen_phys_start"),
            scan="auto" if scan is None else "always" if scan else "never",
        )
        check_format(request.format_name)
        return function(request=request, **given)

    for option in _OPTIONS:
        gathered = option(gathered)
    return gathered


_OPTIONS: Final = (
    click.option(
        "--scan/--no-scan",
        default=None,
        help="Always or never search all memory; default: only while doubt is left.",
    ),
    click.option("--format", "format_name", metavar="NAME", help="Force a container format."),
    click.option(
        "--debuginfod",
        is_flag=True,
        help="Ask the servers in DEBUGINFOD_URLS for symbol files that are nowhere else.",
    ),
    click.option(
        "--search", multiple=True, metavar="DIR", help="Search a folder for symbol files."
    ),
    click.option(
        "--vmlinux", multiple=True, metavar="PATH", help="Symbol file of a guest's kernel, or DIR."
    ),
    click.option(
        "--xen-syms", multiple=True, metavar="PATH", help="Symbol file of the hypervisor, or DIR."
    ),
    click.option(
        "--xen-phys-start",
        callback=_address,
        metavar="0xADDR",
        help="Your own claim; weighed as evidence.",
    ),
)
json_option: Final = click.option("--json", "as_json", is_flag=True, help="As JSON.")


def ask_host(request: Request, answer: Callable[[Host], int]) -> int:
    """Open a dump, find the host in it, and have a question answered.

    Returns:
        What ``answer`` returns; 1 also where the dump has an error or its address is not proved;
        or the exit code for a dump that is none of a Xen host, or for an answer that Ctrl-C ended.
    """
    path = request.vmcore[0]
    with Watch() as watch, opened(request, watch) as vmcore:
        located = locate(
            vmcore,
            xen_phys_start=request.xen_phys_start,
            places=request.places,
            scan=request.scan,
        )
        trace(vmcore, located.verdict)
        if not located.has_host:
            if watch.stopped:  # what was not looked at may tell
                raise KeyboardInterrupt
            complain(f"{path}: {owner_words(located.kind, vmcore)}; see 'vmcoretool inspect'")
            for found in vmcore.findings:
                complain(_of_file(path, found))
            return Exit.NOT_A_XEN_HOST
        _report_unused(located.known)
        host = located.host()
        code = answer(host)
        lost = () if watch.stopped else memory_findings(vmcore)
        for found in (*vmcore.findings, *lost):
            if found.level == "error":
                complain(_of_file(path, found))
                code = code or Exit.NOT_PROVED
        if watch.stopped:
            complain("interrupted: this is what was found by then")
            return Exit.INTERRUPTED
        if host.verdict.status not in PROVEN:
            status = host.verdict.status
            words = "only recorded, not proved" if status == "reported" else status
            complain(f"{path}: the hypervisor's address is {words}; see 'vmcoretool inspect'")
            code = code or Exit.NOT_PROVED
        return code


def _of_file(path: str, found: Finding) -> str:
    # some findings name the file, of several perhaps
    message = found.message
    return message if message.startswith(f"{printable(path)}: ") else f"{path}: {message}"


def _report_unused(known: Known) -> None:
    for row in known.namelist.matches:
        if row.candidate.named and row.match != "matches":
            complain(f"{row.candidate.path} is not used: {'; '.join(row.reasons)}")


def opened(request: Request, watch: Watch) -> Vmcore:
    """The dump that was asked for, open."""
    return open_watched(request.vmcore, request.format_name, watch)


def open_watched(paths: tuple[str, ...], format_name: str | None, watch: Watch) -> Vmcore:
    """The dump in these files, open, whose work Ctrl-C ends."""
    for path in paths:
        say_that_it_waits(path)
    return open_vmcore(*paths, format_name=format_name, budget=watched(watch))


def watched(watch: Watch) -> Budget:
    """The limits of a dump whose work Ctrl-C ends; with ``-vv`` they tell what is done."""
    budget = Budget(watch=watch)
    if settings.verbose > 1:
        from vmcoretool.cli.tracing import TracingBudget  # noqa: PLC0415 - only with -vv

        budget = TracingBudget(watch=watch)
    watch.budget = budget
    return budget


def say_that_it_waits(path: str) -> None:
    """Say that opening a named pipe waits for its writer."""
    try:
        if path not in _WAITED_FOR and stat.S_ISFIFO(os.lstat(path).st_mode):
            _WAITED_FOR.add(path)
            remark(f"{path}: a named pipe; waiting for what writes to it")
    except (OSError, ValueError):
        return  # opening it will say why


def trace(vmcore: Vmcore, verdict: Verdict) -> None:
    """With -vv, log what was opened and what each source of evidence said."""
    if settings.verbose > 1:
        from vmcoretool.cli.tracing import log_dump, log_verdict  # noqa: PLC0415 - only with -vv

        log_dump(vmcore)
        log_verdict(verdict)


def inspect(vmcore: Vmcore, request: Request, *, ask_crash: bool = False) -> Inspection:
    """Inspect an open dump as asked.

    Args:
        vmcore: the dump.
        request: what was asked.
        ask_crash: as for :func:`inspect_vmcore`; it takes a fifth of an inspection's time.
    """
    inspection = inspect_vmcore(
        vmcore,
        xen_phys_start=request.xen_phys_start,
        places=request.places,
        scan=request.scan,
        ask_crash=ask_crash,
    )
    trace(vmcore, inspection.verdict)
    return inspection


def check_format(name: str | None) -> None:
    """A usage error for a format that does not exist."""
    if name is None:
        return
    from vmcoretool.formats.find import find_formats  # noqa: PLC0415 - only when one is named

    names = [row.name for row in find_formats()]
    if name not in names:
        raise click.BadParameter(
            f"{name!r} is none of: {', '.join(names)}{did_you_mean(name, names)}",
            param_hint="--format",
        )
