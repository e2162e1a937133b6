"""The address spaces that ``vtop`` and ``read`` know by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from vmcoretool.errors import SpaceError
from vmcoretool.memory.x86_64 import frame

if TYPE_CHECKING:
    from vmcoretool.addresses import Maddr
    from vmcoretool.host.host import Host

_NAME: Final = re.compile(r"(cpu|dom)(\d{1,5})")
MACHINE: Final = "machine"
_SIGN_BIT: Final = 47
_ALL_ONES: Final = (1 << 17) - 1


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
        SpaceError: the dump does not tell where the space's tables are, or the processor refuses
            the address.
    """
    _check_canonical(vaddr)
    if name == "hypervisor":
        if host.image is None:
            raise SpaceError("no image of the hypervisor is proven in this dump")
        return [Space(host.image.root, "the table that maps the proven image")]
    kind, number = name[:3], int(name[3:])
    if kind == "cpu":
        for use in host.cpus:
            if use.state.cpu == number and use.state.cr3:
                return [Space(frame(use.state.cr3), f"cr3 of CPU {number}: {use.basis}")]
        raise SpaceError(f"no cr3 of CPU {number} was saved")
    domain = host.domain(number)
    found = [Space(*one) for one in host.roots(domain)] if domain else []
    if not found:
        raise SpaceError(f"no page table of domain {number} is known")
    return found


def _check_canonical(vaddr: int) -> None:
    # Intel SDM volume 1, 3.3.7.1
    high = vaddr >> _SIGN_BIT
    if high not in (0, _ALL_ONES):
        meant = vaddr & (1 << _SIGN_BIT + 1) - 1
        extended = meant | _ALL_ONES << _SIGN_BIT if meant >> _SIGN_BIT else meant
        raise SpaceError(
            f"{vaddr:#x} is no address of x86_64: bits 63 to 48 must repeat bit 47; "
            f"{extended:#x} would be one"
        )
