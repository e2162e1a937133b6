"""``vmcoretool vtop``."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import click

from vmcoretool.cli.options import ask_host, dump_options, json_option
from vmcoretool.cli.output import complain, emit, emit_json
from vmcoretool.cli.space import check_space, located, parse_address
from vmcoretool.errors import AddressError, NamelistError, SpaceError
from vmcoretool.host.names import Names
from vmcoretool.host.spaces import HYPERVISOR, MACHINE, find_spaces, first_that_maps
from vmcoretool.memory.paging import Step, Translation
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from vmcoretool.addresses import Maddr
    from vmcoretool.cli.options import Request
    from vmcoretool.host.host import Host
    from vmcoretool.host.names import Named
    from vmcoretool.host.spaces import Space


@click.command("vtop")
@dump_options
@json_option
@click.argument("vaddr", callback=parse_address)
@click.option(
    "--space",
    "name",
    default="hypervisor",
    show_default=True,
    callback=check_space,
    help="hypervisor, dom0, domN or cpuN.",
)
def command(
    request: Request,
    vaddr: int | Named,
    name: str,
    *,
    as_json: bool,
) -> int:
    """Translate a virtual address to a machine address, with every level of the walk.

    VADDR is hexadecimal, or a name: idle_pg_table, kexec_crash+0x42.
    """
    if name == MACHINE:
        raise click.UsageError("a machine address needs no translation")

    def answer(host: Host) -> int:
        try:
            at = located(host, name, vaddr)
            spaces = find_spaces(host, name, at)
        except (SpaceError, NamelistError) as error:
            complain(f"{name}: {error}")
            return 1
        space = spaces[0]
        done: Translation | AddressError
        try:
            space = first_that_maps(spaces, at)
            done = space.memory.translate(at)
        except AddressError as error:
            done = error
        if as_json:
            emit_json(_object(host, name, at, space, done))
        else:
            called = Names(host).place(at) if name == HYPERVISOR else ""
            called = f" ({printable(called)})" if called else ""
            emit(f"{at:#x}{called} in {name}: from {space.memory.root:#x}, {space.basis}")
            for step in done.steps:
                emit(f"  {Step(*step)}")
            if isinstance(done, Translation):
                size = f"{done.page_size >> 10} KiB"
                emit(f"maddr {done.maddr:#x}, in a page of {size}{_there(host, done.maddr)}")
        if isinstance(done, Translation):
            return 0
        complain(f"{name}: {done}")
        return 1

    return ask_host(request, answer)


def _there(host: Host, maddr: Maddr) -> str:
    return "" if host.memory.pages.is_present(maddr) else ", which is not in the dump"


def _object(
    host: Host, name: str, vaddr: int, space: Space, done: Translation | AddressError
) -> dict[str, object]:
    found = done if isinstance(done, Translation) else None
    return {
        "space": name,
        "vaddr": f"{vaddr:#x}",
        "symbol": (Names(host).place(vaddr) if name == HYPERVISOR else "") or None,
        "maddr": f"{found.maddr:#x}" if found else None,
        "page_size": found.page_size if found else None,
        "present": host.memory.pages.is_present(found.maddr) if found else None,
        "fault": None if isinstance(done, Translation) else done.reason,
        "root": f"{space.memory.root:#x}",
        "basis": space.basis,
        "steps": [
            {
                "level": step.level,
                "table": f"{step.table:#x}",
                "slot": step.slot,
                "entry": f"{step.entry:#x}",
            }
            for step in itertools.starmap(Step, done.steps)
        ],
    }
