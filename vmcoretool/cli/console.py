"""``vmcoretool console``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vmcoretool.cli.options import ask_host, dump_options, json_option
from vmcoretool.cli.output import complain, emit, emit_bytes, emit_json, is_terminal, remark
from vmcoretool.printable import log_line, printable

if TYPE_CHECKING:
    from vmcoretool.cli.options import Request
    from vmcoretool.host.host import Host


def _why_none(host: Host) -> str:
    if not host.vmcore.container.row.has_memory:
        return "this text about a dump's notes holds no console; find the dump itself, or xen.log"
    if host.image is None:
        return "no console ring was found: no image of the hypervisor is proved in this dump"
    return "no console ring was found: its pages are not in this dump"


@click.command("console")
@dump_options
@json_option
@click.option("--raw", is_flag=True, help="The bytes as they are; not to a terminal.")
def command(
    request: Request,
    *,
    as_json: bool,
    raw: bool,
) -> int:
    """Print the hypervisor's console ring, oldest complete line first."""
    if raw and is_terminal():
        raise click.UsageError("--raw is for files and pipes: the bytes could steer a terminal")

    def answer(host: Host) -> int:
        console = host.console
        if console is None:
            complain(f"{request.vmcore[0]}: {_why_none(host)}")
            return 1
        if as_json:
            lines = [printable(line) for line in console.lines]
            emit_json({"wrapped": console.wrapped, "basis": console.basis, "lines": lines})
        elif raw:
            emit_bytes(console.text)
        else:
            emit("\n".join(map(log_line, console.lines)))
        if console.lines_left_out and not raw:
            remark(f"the oldest {console.lines_left_out} lines are left out; --raw has them all")
        if console.wrapped:
            remark(f"older lines are lost: {console.basis}")
        return 0

    return ask_host(request, answer)
