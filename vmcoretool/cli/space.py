"""The address spaces that ``vtop`` and ``read`` know by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from vmcoretool.errors import MemoryFault
from vmcoretool.paging.x86_64 import frame

if TYPE_CHECKING:
    from vmcoretool.addresses import Maddr
    from vmcoretool.host import Host

_NAME: Final = re.compile(r"(cpu|dom)(\d{1,5})")
MACHINE: Final = "machine"


class Space(NamedTuple):
    """A level 4 table, and how it was found."""

    root: Maddr
    basis: str


def parse_address(_: click.Context, __: click.Parameter, value: str) -> int:
    """A 64-bit number in hexadecimal, with 0x."""
    try:
        number = int(value, 16) if value.lower().startswith("0x") else -1
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 64:
        raise click.BadParameter(f"{value!r}: write it in hexadecimal, such as 0xffff82d040200000")
    return number


def check_space(_: click.Context, __: click.Parameter, value: str) -> str:
    """One of the names."""
    if value not in ("hypervisor", MACHINE) and not _NAME.fullmatch(value):
        raise click.BadParameter(f"{value!r} is none of: hypervisor, dom0, domN, cpuN, {MACHINE}")
    return value


def find_spaces(host: Host, name: str, vaddr: int) -> list[Space]:
    """The tables to try for an address, best first.

    Raises:
        MemoryFault: the dump does not tell where the space's tables are.
    """
    if name == "hypervisor":
        if host.image is None:
            raise MemoryFault(frame(0), reason="is unknown: no image of the hypervisor is proven")
        return [Space(host.image.root, "the table that maps the proven image")]
    kind, number = name[:3], int(name[3:])
    if kind == "cpu":
        for use in host.cpus:
            if use.state.cpu == number and use.state.cr3:
                return [Space(frame(use.state.cr3), f"cr3 of CPU {number}: {use.basis}")]
        raise MemoryFault(frame(0), reason=f"is unknown: no cr3 of CPU {number} was saved")
    domain = host.domain(number)
    found = [Space(*one) for one in host.roots(domain)] if domain else []
    if not found:
        why = f"no table of domain {number} is known"
        raise MemoryFault(frame(0), reason=f"of {vaddr:#x} is unknown: {why}")
    return found
