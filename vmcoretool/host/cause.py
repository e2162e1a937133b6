"""Who crashed and why: dom0's own words where dom0 died, else the hypervisor's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from vmcoretool.linux.panic import LinuxPanic
    from vmcoretool.xen.panic import CrashText
    from vmcoretool.xen.trace_text import XenTrace

Who = Literal["xen", "dom0", "domN", "unknown"]
_CONSOLE: Final = "Xen's console"
_LOG: Final = "dom0's log"


class Task(NamedTuple):
    """The task that ran: its process id and its name."""

    pid: int
    comm: str


class Cause(NamedTuple):
    """Why the host went down.

    Attributes:
        who: whose code ended it; "unknown" where only the crash itself is recorded.
        headline: the line that names the reason.
        panic: dom0's panic line where the headline is the oops before it, or None.
        function: where it happened, or None.
        task: of dom0's that ran, or None.
        cpu: the machine's CPU that crashed the host, or None.
        vcpu: "d0v1" for dom0's virtual CPU 1, or None.
        taint: what dom0 says of it, or None.
        trace: functions from the innermost outwards, as the log names them.
        basis: what says so.
    """

    who: Who
    headline: str
    panic: str | None
    function: str | None
    task: Task | None
    cpu: int | None
    vcpu: str | None
    taint: str | None
    trace: tuple[str, ...]
    basis: str


def find_cause(crash: CrashText, trace: XenTrace, panic: LinuxPanic | None) -> Cause | None:
    """The cause, or None where neither the console nor dom0's log names a crash.

    Args:
        crash: what Xen's console says.
        trace: the call trace that Xen printed.
        panic: what dom0's log says, or None where it names no panic or is not known.
    """
    own = crash.panic is not None and not (crash.dom0_died or crash.only_kexec)
    if panic is not None and not own:
        return _of_dom0(crash, panic)
    if crash.panic is None:
        return None
    who: Who = "dom0" if crash.dom0_died else "unknown" if crash.only_kexec else "xen"
    return Cause(
        who=who,
        headline=crash.panic,
        panic=None,
        function=next(iter(trace.frames), None),
        task=None,
        cpu=crash.cpu,
        vcpu=trace.vcpu,
        taint=None,
        trace=trace.frames,
        basis=_CONSOLE,
    )


def _of_dom0(crash: CrashText, panic: LinuxPanic) -> Cause:
    task = None if panic.pid is None or panic.comm is None else Task(panic.pid, panic.comm)
    return Cause(
        who="dom0",
        headline=panic.headline,
        panic=panic.panic,
        function=panic.function,
        task=task,
        cpu=crash.cpu,
        vcpu=None if panic.vcpu is None else f"d0v{panic.vcpu}",
        taint=panic.taint,
        trace=panic.frames,
        basis=_LOG if crash.panic is None else f"{_LOG}; {_CONSOLE} says that dom0 crashed",
    )
