"""The account of a crash: who and why, when, on which machine, from Xen's console and dom0's log.

A PV dom0's log is found by its shape in the kernel's image; Linux's VMCOREINFO, which names its
place, would have to be searched in all memory (``vmcoretool dmesg`` does).
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.errors import MemoryFault
from vmcoretool.host.cause import Cause, find_cause
from vmcoretool.host.machine import HostMachine
from vmcoretool.host.when import Moment, find_moment, plausible
from vmcoretool.linux.image import kernel_blocks
from vmcoretool.linux.log_text import Record, find_ring, read_records
from vmcoretool.linux.panic import LinuxPanic, read_hardware, read_panic
from vmcoretool.linux.uts import find_hostname
from vmcoretool.memory import x86_64
from vmcoretool.memory.virtual import VirtualMemory
from vmcoretool.printable import printable
from vmcoretool.xen.panic import own_text
from vmcoretool.xen.trace_text import Stamp, XenTrace, read_stamp, read_trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmcoretool.host.host import Host

_DOM0: Final = 0
_ROOTS_ASKED: Final = 2
_FIRST_LINES: Final = 64


class Account(NamedTuple):
    """What happened.

    Attributes:
        cause: who crashed and why, or None where nothing tells.
        crashed_at: when.
        machine: where.
        logged: how many records of dom0's log were read; 0 where it was not found.
        last_logged: seconds on the last of them, or None.
        banner: Xen's first line, or "" where the console does not hold it.
        console: whether Xen's console is in the dump.
    """

    cause: Cause | None
    crashed_at: Moment
    machine: HostMachine
    logged: int = 0
    last_logged: float | None = None
    banner: str = ""
    console: bool = False


NOTHING: Final = Account(None, Moment(None, None, "no crash of a Xen host is known"), HostMachine())


class _Linux(NamedTuple):
    records: tuple[Record, ...] = ()
    hostname: str | None = None


def find_account(host: Host) -> Account:
    """Ask Xen's console, dom0's shared info page, its log and its host name."""
    console = host.console
    lines = console.lines if console else ()
    dom0 = _linux(host, _DOM0)
    panic = read_panic(dom0.records, oops_is_enough=host.crash.dom0_died)
    cause = find_cause(host.crash, read_trace(lines) if lines else XenTrace(), panic)
    died: LinuxPanic | None = panic if cause and cause.who == "dom0" else None
    domain = host.domain(_DOM0)
    wall = domain.shared_info.wc_sec if domain and domain.shared_info else 0
    stamp = read_stamp(lines) if lines else Stamp()
    hardware = read_hardware(dom0.records) or (None, None)
    return Account(
        cause=cause,
        crashed_at=find_moment(stamp, died, dom0.records, wall if plausible(wall) else None),
        machine=HostMachine(*hardware, dom0.hostname),
        logged=len(dom0.records),
        last_logged=dom0.records[-1].seconds if dom0.records else None,
        banner=_banner(lines),
        console=console is not None,
    )


def _banner(lines: Sequence[bytes]) -> str:
    # console_init_preirq() prints it first (xen/drivers/char/console.c)
    own = (own_text(line) for line in lines[:_FIRST_LINES])
    return next((printable(text) for text in own if text and text.startswith(b"Xen version ")), "")


def kernel_panicked(host: Host, number: int) -> bool | None:
    """Whether the log of a PV domain's Linux has a panic; None where the log was not found.

    Args:
        host: the crashed host.
        number: the domain's id.
    """
    records = _linux(host, number).records
    return read_panic(records) is not None if records else None


def _linux(host: Host, number: int) -> _Linux:
    domain = host.domain(number)
    kernel = host.kernel(domain) if domain and number else host.dom0_kernel
    if domain is None or kernel is None:
        return _Linux()
    memory, budget = host.memory, host.vmcore.budget
    for root, _ in islice(host.roots(domain), _ROOTS_ASKED):
        blocks = kernel_blocks(memory, root)
        if not blocks:
            continue
        read = VirtualMemory(memory, root, x86_64).read
        hostname = find_hostname(memory, blocks, kernel, budget)
        ring = find_ring(memory, blocks, read, budget)
        try:
            return _Linux(read_records(ring, read, budget) if ring else (), hostname)
        except MemoryFault:
            return _Linux((), hostname)
    return _Linux()
