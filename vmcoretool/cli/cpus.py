"""``vmcoretool cpus``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from vmcoretool.cli.options import ask_host, dump_options, json_option
from vmcoretool.cli.output import complain, emit, terminal_width
from vmcoretool.host.names import Names
from vmcoretool.inspection.as_json import cpu_object
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.cli.options import Request
    from vmcoretool.host.host import Host
    from vmcoretool.xen.cpus import CpuActivity

_COLUMNS: Final = 26


@click.command("cpus")
@dump_options
@json_option
def command(
    request: Request,
    *,
    as_json: bool,
) -> int:
    """Print what was saved of each CPU: registers, who was running, which CPU crashed."""

    def answer(host: Host) -> int:
        crashed, names = host.crash.cpu, Names(host)
        if any(blob.follows_gap for blob in host.vmcore.container.note_blobs):
            complain("a part of the notes is lost: CPUs behind it have no number and are left out")
        elif not host.cpus:
            complain(f"{printable(request.vmcore[0])}: no note saved a CPU")
        if as_json:
            import json  # noqa: PLC0415 - only then

            emit(json.dumps([_object(use, crashed, names) for use in host.cpus]))
        else:
            for use in host.cpus:
                emit("\n".join(_lines(use, crashed, host.crash.cpu_basis, names)))
            if crashed is None:
                complain("the dump does not show which CPU crashed")
        return 0 if host.cpus else 1

    return ask_host(request, answer)


def _registers(use: CpuActivity) -> dict[str, int]:
    state = use.state
    control = {"cr0": state.cr0, "cr2": state.cr2, "cr3": state.cr3, "cr4": state.cr4}
    return {**state.registers, **{key: word for key, word in control.items() if word is not None}}


def _object(use: CpuActivity, crashed: int | None, names: Names) -> dict[str, Any]:
    registers = {key: f"{word:#x}" for key, word in _registers(use).items()}
    symbol = names.place(use.state.registers.get("rip", 0)) or None
    return {**cpu_object(use, crashed), "symbol": symbol, "registers": registers}


def _lines(use: CpuActivity, crashed: int | None, basis: str, names: Names) -> Iterator[str]:
    mark = f"  CRASHED ({printable(basis)})" if use.state.cpu == crashed else ""
    if not use.state.saved:
        yield f"CPU {use.state.cpu}{mark}: no registers of it are in the dump"
        return
    yield f"CPU {use.state.cpu}{mark}"
    place = printable(names.place(use.state.registers.get("rip", 0)))
    yield f"  running        {use.context or 'unknown'}{', in ' + place if place else ''}"
    yield f"  address space  {use.address_space or 'unknown'}: {use.basis}"
    words = [f" {name:>8} {word:016x}" for name, word in _registers(use).items()]
    in_a_line = max(terminal_width() // _COLUMNS, 1)
    for start in range(0, len(words), in_a_line):
        yield "".join(words[start : start + in_a_line])
