"""A crashed Xen host, open: what the command line shows of it, for scripts."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

from vmcoretool.errors import NotAXenHostError
from vmcoretool.host.logs import console_of, linux_log
from vmcoretool.host.spaces import (
    HYPERVISOR,
    NAMES,
    find_spaces,
    first_that_maps,
    is_space,
    read_pieces,
)
from vmcoretool.inspection.inspect import inspect_located, locate
from vmcoretool.printable import printable
from vmcoretool.symbols.places import USUAL_PLACES
from vmcoretool.vmcore import open_vmcore

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from types import TracebackType

    from vmcoretool.addresses import Vaddr
    from vmcoretool.budget import Budget
    from vmcoretool.evidence.facts import Scan
    from vmcoretool.evidence.weigh import Verdict
    from vmcoretool.inspection.inspect import Inspection, Located
    from vmcoretool.memory.paging import Translation
    from vmcoretool.sources.file import ReadableObject
    from vmcoretool.symbols.places import Places
    from vmcoretool.vmcore import Vmcore
    from vmcoretool.xen.cpus import CpuActivity
    from vmcoretool.xen.domains import Domain

_KINDS: Final = {
    "xen-domain": "a single Xen guest",
    "linux": "a native Linux kernel",
    "unknown": "memory without any trace of Xen",
}


class CrashedHost:
    """A crashed Xen host; each answer is worked out when it is asked for, and once.

    Attributes:
        vmcore: the dump.
        verdict: where the hypervisor is and how sure that is; answers need a proven image.
    """

    def __init__(self, located: Located) -> None:
        """Made by :func:`open_host`."""
        self._located = located
        self._host = located.host()
        self.vmcore: Vmcore = located.known.facts.vmcore
        self.verdict: Verdict = located.verdict

    def __repr__(self) -> str:
        return f"<CrashedHost {' '.join(self.vmcore.paths)!r}, {self.verdict.status}>"

    def __enter__(self) -> CrashedHost:  # noqa: PYI034 - Self is in typing from 3.11 on only
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the dump; what was not asked for yet can no longer be."""
        self.vmcore.close()

    @cached_property
    def inspection(self) -> Inspection:
        """All of it as one value."""
        return inspect_located(self._located)

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains in the hypervisor's order; none where its list is not found."""
        return self._host.domains

    @property
    def cpus(self) -> tuple[CpuActivity, ...]:
        """What was saved of each CPU, and what it was doing."""
        return self._host.cpus

    @property
    def symbols(self) -> Mapping[str, Vaddr]:
        """Addresses by the symbol file that belongs to the dump; none without one."""
        return self._host.hypervisor.symbols

    @property
    def vmcoreinfo(self) -> Mapping[str, str]:
        """VMCOREINFO_XEN from the headers, else from the image; empty where neither has it."""
        info = self._host.vmcoreinfo
        return info.entries if info else {}

    def console(self) -> tuple[str, ...]:
        """The lines of the hypervisor's console, oldest first, in printable text.

        Raises:
            LogError: no console ring was found in the dump.
        """
        return tuple(map(printable, console_of(self._host).lines))

    def dmesg(self, domain: int = 0) -> tuple[str, ...]:
        """The lines of the Linux log of dom0 or another PV domain, oldest first, printable.

        Raises:
            LogError: there is no such domain, or its log is not found, and why.
        """
        return tuple(map(printable, linux_log(self._host, domain)))

    def translate(self, vaddr: int, space: str = HYPERVISOR) -> Translation:
        """Where a virtual address lies in machine memory, with every step of the walk.

        Args:
            vaddr: the address.
            space: hypervisor, dom0, domN or cpuN.

        Raises:
            ValueError: no such name.
            SpaceError: the dump does not show where the space's tables are.
            TranslationFault: nothing is mapped there.
            TableFault: a table on the way is not in the dump.
        """
        _check(space)
        spaces = find_spaces(self._host, space, vaddr)
        return first_that_maps(spaces, vaddr).memory.translate(vaddr)

    def read(self, address: int, size: int, space: str = HYPERVISOR) -> bytes:
        """Exactly ``size`` bytes of an address space.

        Args:
            address: virtual or, in space "machine", of machine memory.
            size: in bytes.
            space: hypervisor, dom0, domN, cpuN or machine.

        Raises:
            ValueError: no such name, or a negative size.
            SpaceError: the dump does not show where the space's tables are.
            AddressError: a byte is not mapped, or not in the dump.
        """
        _check(space)
        if size < 0:
            raise ValueError(f"a size of {size} bytes")
        return b"".join(piece for _, piece in read_pieces(self._host, space, address, size))


def _check(space: str) -> None:
    if not is_space(space):
        raise ValueError(f"{space!r} is none of: {NAMES}")


def open_host(
    *paths: str | os.PathLike[str] | ReadableObject,
    format_name: str | None = None,
    xen_phys_start: int | None = None,
    places: Places = USUAL_PLACES,
    scan: Scan = "auto",
    budget: Budget | None = None,
) -> CrashedHost:
    """Open the dump of a Xen host, or of a guest that is one itself, and find the hypervisor in it.

    Args:
        paths: as for :func:`open_vmcore`.
        format_name: likewise.
        xen_phys_start: as for :func:`inspect_vmcore`.
        places: likewise.
        scan: likewise.
        budget: as for :func:`open_vmcore`.

    Raises:
        NotAXenHostError: a dump, but of something else.
        OSError, VmcoreError: as :func:`open_vmcore`.
    """
    vmcore = open_vmcore(*paths, format_name=format_name, budget=budget)
    try:
        located = locate(vmcore, xen_phys_start=xen_phys_start, places=places, scan=scan)
    except BaseException:
        vmcore.close()
        raise
    if located.has_host:
        return CrashedHost(located)
    vmcore.close()
    what = f"a dump of {_KINDS[located.kind]}, not of a Xen host"
    raise NotAXenHostError(what, path=" ".join(vmcore.paths))
