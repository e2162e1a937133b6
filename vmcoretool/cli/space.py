"""The address spaces that ``vtop`` and ``read`` know by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from vmcoretool.errors import AddressError, SpaceError
from vmcoretool.memory import pae, x86_64
from vmcoretool.memory.virtual import VirtualMemory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmcoretool.addresses import Maddr
    from vmcoretool.host.host import Host
    from vmcoretool.memory.paging import Paging

_NAME: Final = re.compile(r"(cpu|dom)(\d{1,5})")
MACHINE: Final = "machine"


class Space(NamedTuple):
    """A virtual memory, and how its tables were found."""

    memory: VirtualMemory
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
    """The virtual memories to try for an address, best first.

    Raises:
        SpaceError: the dump does not show where the space's tables are, or the processor refuses
            the address.
    """
    paging = _paging(host)
    misfit = paging.misfit(vaddr)
    if misfit:
        raise SpaceError(misfit)
    found = [
        Space(VirtualMemory(host.memory, root, paging), basis) for root, basis in _roots(host, name)
    ]
    if not found:
        raise SpaceError(f"no page table of domain {name[3:]} is known")
    return found


def _paging(host: Host) -> Paging:
    return pae if host.vmcore.architecture == "i386" else x86_64


def _roots(host: Host, name: str) -> Iterable[tuple[Maddr, str]]:
    if name == "hypervisor":
        if host.image is None:
            raise SpaceError("no image of the hypervisor is proven in this dump")
        return [(host.image.root, "the table that maps the proven image")]
    kind, number = name[:3], int(name[3:])
    if kind == "cpu":
        for use in host.cpus:
            if use.state.cpu == number and use.state.cr3:
                root = _paging(host).root_of(use.state.cr3)
                return [(root, f"cr3 of CPU {number}: {use.basis}")]
        raise SpaceError(f"no cr3 of CPU {number} was saved")
    domain = host.domain(number)
    return host.roots(domain) if domain else ()


def first_that_maps(spaces: list[Space], vaddr: int) -> Space:
    """The first space whose tables translate an address.

    Raises:
        TranslationFault: none does, the first has nothing mapped there.
        TableFault: none does, the first lacks a table on the way.
    """
    fault: AddressError | None = None
    for space in spaces:
        try:
            space.memory.translate(vaddr)
        except AddressError as error:
            fault = fault or error
        else:
            return space
    assert fault
    raise fault
