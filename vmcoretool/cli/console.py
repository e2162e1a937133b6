"""``vmcoretool console``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from vmcoretool.cli.options import ask_host, host_options
from vmcoretool.cli.output import complain, emit
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from vmcoretool.host import Host


@click.command("console")
@host_options
@click.option("--raw", is_flag=True, help="The bytes as they are; not to a terminal.")
def command(
    vmcore: tuple[str, ...],
    format_name: str | None,
    xen_phys_start: int | None,
    xen_syms: str | None,
    *,
    as_json: bool,
    raw: bool,
) -> int:
    """Print the hypervisor's console ring, oldest complete line first."""
    if raw and sys.stdout is not None and sys.stdout.isatty():
        raise click.UsageError("--raw is for files and pipes: the bytes could steer a terminal")

    def answer(host: Host) -> int:
        console = host.console
        if console is None:
            complain(f"{printable(vmcore[0])}: no console ring was found in the dump")
            return 1
        lines = [printable(line) for line in console.lines]
        if as_json:
            import json  # noqa: PLC0415 - only then

            row = {"wrapped": console.wrapped, "basis": console.basis, "lines": lines}
            emit(json.dumps(row))
        elif raw:
            sys.stdout.flush()
            sys.stdout.buffer.write(console.text)
        else:
            emit("\n".join(lines))
        if console.wrapped:
            complain(f"older lines are lost, the ring is full: {console.basis}")
        return 0

    return ask_host(vmcore, format_name, xen_phys_start, answer, xen_syms)
