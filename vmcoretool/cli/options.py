"""Options that several commands share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from vmcoretool.cli.output import complain, is_terminal
from vmcoretool.cli.progress import Watch
from vmcoretool.inspection import Inspection, find_host, inspect_vmcore
from vmcoretool.printable import printable
from vmcoretool.render.text import KINDS
from vmcoretool.vmcore import open_vmcore

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmcoretool.host import Host
    from vmcoretool.vmcore import Vmcore

_LIMIT: Final = 1 << 64


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


def dump_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every command that inspects a dump takes."""
    for option in (
        click.option(
            "--scan/--no-scan",
            default=None,
            help="Always or never search all memory; default: only while doubt is left.",
        ),
        click.option("--format", "format_name", metavar="NAME", help="Force a container format."),
        click.option("--vmlinux", metavar="PATH", help="Symbol file of dom0's kernel."),
        click.option("--xen-syms", metavar="PATH", help="Symbol file of the hypervisor."),
        click.option(
            "--xen-phys-start",
            callback=_address,
            metavar="0xADDR",
            help="Your own claim; weighed as evidence.",
        ),
    ):
        function = option(function)
    return function


def host_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every command takes that looks into the crashed host."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="As JSON."),
        click.option("--format", "format_name", metavar="NAME", help="Force a container format."),
        click.option(
            "--xen-phys-start",
            callback=_address,
            metavar="0xADDR",
            help="Your own claim; weighed as evidence.",
        ),
        click.option("--xen-syms", metavar="PATH", help="Symbol file of the hypervisor."),
        click.argument("vmcore", nargs=-1, required=True),
    ):
        function = option(function)
    return function


NOT_A_XEN_HOST: Final = 6


def ask_host(
    paths: tuple[str, ...],
    format_name: str | None,
    xen_phys_start: int | None,
    answer: Callable[[Host], int],
    xen_syms: str | None = None,
) -> int:
    """Open a dump, find the host in it, and have a question answered.

    Returns:
        What ``answer`` returns, or the exit code for a dump that is none of a Xen host.
    """
    check_format(format_name)
    with Watch() as watch, open_vmcore(*paths, format_name=format_name, watch=watch) as opened:
        kind, host = find_host(
            opened, xen_phys_start=xen_phys_start, xen_syms=xen_syms, watch=watch
        )
        if kind != "xen-host":
            complain(f"{printable(paths[0])}: {KINDS[kind]}")
            return NOT_A_XEN_HOST
        if host.namelist_trouble:
            complain(f"{printable(xen_syms or '')} is not used: {host.namelist_trouble}")
        code = answer(host)
        for added in host.added:
            complain(f"by its symbols: {added}")
        return code


class Request(NamedTuple):
    """What the user asked for, from the options above."""

    format_name: str | None
    xen_syms: str | None
    vmlinux: str | None
    xen_phys_start: int | None
    scan: bool | None


def inspect(vmcore: Vmcore, request: Request, watch: Watch) -> Inspection:
    """Inspect an open dump as asked."""
    return inspect_vmcore(
        vmcore,
        xen_phys_start=request.xen_phys_start,
        xen_syms=request.xen_syms,
        vmlinux=request.vmlinux,
        scan="auto" if request.scan is None else "always" if request.scan else "never",
        watch=watch,
    )


def check_format(name: str | None) -> None:
    """A usage error for a format that does not exist."""
    if name is None:
        return
    from vmcoretool.containers import find_formats  # noqa: PLC0415 - only when one is named

    names = [row.name for row in find_formats()]
    if name not in names:
        raise click.BadParameter(f"{name!r} is none of: {', '.join(names)}", param_hint="--format")


def use_colour(choice: str) -> bool:
    """Whether to colour: asked for, or on a terminal that does not object (no-color.org)."""
    if choice == "auto":
        return is_terminal() and not os.environ.get("NO_COLOR")
    return choice == "always"
