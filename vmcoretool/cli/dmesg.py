"""``vmcoretool dmesg``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vmcoretool.cli.options import ask_host, dump_options, json_option
from vmcoretool.cli.output import complain, emit, emit_json
from vmcoretool.errors import LogError
from vmcoretool.host.logs import linux_log
from vmcoretool.printable import log_line, printable

if TYPE_CHECKING:
    from vmcoretool.cli.options import Request
    from vmcoretool.host.host import Host


@click.command("dmesg")
@dump_options
@json_option
@click.option("--domain", default=0, show_default=True, help="The PV domain whose log it is.")
def command(
    request: Request,
    domain: int,
    *,
    as_json: bool,
) -> int:
    """Print the Linux log of dom0, or of PV domain N, with dmesg's time stamps."""

    def answer(host: Host) -> int:
        try:
            lines = linux_log(host, domain)
        except LogError as error:
            if host.vmcore.budget.stopped:  # what was not looked at may hold it
                raise KeyboardInterrupt from error
            complain(f"{request.vmcore[0]}: {error}")
            return 1
        if as_json:
            emit_json([printable(line) for line in lines])
        else:
            emit("\n".join(map(log_line, lines)))
        return 0

    return ask_host(request, answer)
