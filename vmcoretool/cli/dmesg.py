"""``vmcoretool dmesg``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from vmcoretool.cli.options import ask_host, dump_options, json_option
from vmcoretool.cli.output import complain, emit, emit_json
from vmcoretool.errors import LogError
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
            lines = _lines(host, domain)
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


_WHY: Final = {
    True: "its memory is not in the dump, or it runs no Linux of 2.6.24 or later",
    False: "makedumpfile -X leaves guests out, or it runs no Linux of 2.6.24 or later",
}


def _lines(host: Host, number: int) -> tuple[bytes, ...]:
    domain = host.domain(number)
    if domain is None:
        known = ", ".join(str(one.id) for one in host.domains) or "none"
        trouble = host.domain_list.trouble
        raise LogError(f"no domain {number}; found: {known}{': ' * bool(trouble)}{trouble}")
    if domain.type == "hvm":
        raise LogError(
            f"domain {number} is HVM or PVH: its page tables are not found without symbols"
        )
    info = host.vmcore.vmcoreinfo_linux if number == 0 else None
    if info is None:
        chosen, candidates = host.linux_vmcoreinfo(number)
        if chosen is None:
            others = f", {len(candidates)} of other or unknown owners" if candidates else ""
            raise LogError(
                f"no VMCOREINFO of domain {number}'s Linux is in the dump's memory{others}: "
                f"{_WHY[number == 0]}"
            )
        info = chosen.info
    return host.kernel_log(domain, info)
