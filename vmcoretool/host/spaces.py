"""The address spaces of a crashed host, by name: hypervisor, dom0, domN, cpuN, machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import PAGE_SIZE, Maddr
from vmcoretool.errors import AddressError, SpaceError
from vmcoretool.memory import pae, x86_64
from vmcoretool.memory.virtual import VirtualMemory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vmcoretool.host.host import Host
    from vmcoretool.memory.paging import Paging

HYPERVISOR: Final = "hypervisor"
MACHINE: Final = "machine"
"""Machine addresses, which no tables translate."""
NAMES: Final = f"{HYPERVISOR}, dom0, domN, cpuN, {MACHINE}"
_NAME: Final = re.compile(r"(cpu|dom)(\d{1,5})")


class Space(NamedTuple):
    """A virtual memory, and how its tables were found."""

    memory: VirtualMemory
    basis: str


def is_space(name: str) -> bool:
    """Whether a name is one of an address space; the host need not have it."""
    return name in (HYPERVISOR, MACHINE) or _NAME.fullmatch(name) is not None


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
    if name == HYPERVISOR:
        if host.image is None:
            raise SpaceError("no image of the hypervisor is proven in this dump")
        return [(host.image.root, "the table that maps the proven image")]
    kind, number = name[:3], int(name[3:])
    if kind == "cpu":
        for cpu in host.cpus:
            if cpu.state.cpu == number and cpu.state.cr3:
                root = _paging(host).root_of(cpu.state.cr3)
                return [(root, f"cr3 of CPU {number}: {cpu.basis}")]
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


def read_pieces(host: Host, name: str, address: int, size: int) -> Iterator[tuple[int, bytes]]:
    """(address, bytes) page by page, up to the first byte that cannot be read.

    Args:
        host: the crashed host.
        name: of the space; in :data:`MACHINE` the address is a machine address.
        address: of the first byte.
        size: in bytes.

    Raises:
        AddressError: where the first byte is that cannot be read.
        SpaceError: as :func:`find_spaces`.
    """
    spaces = [] if name == MACHINE else find_spaces(host, name, address)
    while size > 0:
        step = min(size, PAGE_SIZE - address % PAGE_SIZE)
        if spaces:
            yield address, first_that_maps(spaces, address).memory.read(address, step)
        else:
            yield address, host.memory.read(Maddr(address), step)
        address += step
        size -= step
