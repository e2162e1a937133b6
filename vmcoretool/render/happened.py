"""The story of a crash as labels and texts, for the screen and for ``-v``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.printable import printable
from vmcoretool.render.layout import duration_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.host.cause import Cause
    from vmcoretool.host.when import Moment
    from vmcoretool.inspection.inspect import Inspection

Line = tuple[str, str, int]
"""A label, its text, and how soon it may be left out; 0: never."""
_WHO: Final = {"xen": "Xen died", "dom0": "dom0 died", "unknown": "crash"}
DEATHS: Final = frozenset((_WHO["xen"], _WHO["dom0"]))
"""The labels of a crash that nobody asked for."""
_FRAMES: Final = 4
_KEY: Final = "'C' pressed"
CALLER: Final = " < "
"""Between a function and the one that called it."""
_XEN_VERSION: Final = "Xen version "


def happened(inspection: Inspection) -> Iterator[Line]:
    """Who and why, in which function and task, when, on which host; then Xen."""
    account = inspection.account
    cause = account.cause
    if cause is None:
        yield "crash", _no_cause(inspection), 0
        cpu = inspection.crash.cpu
        if cpu is not None:
            yield "CPU", f"{cpu} crashed: {printable(inspection.crash.cpu_basis)}", 0
    else:
        unread = cause.who == "dom0" and not account.logged
        yield from _cause(cause, _log_not_read(inspection) if unread else "")
    if account.console or account.logged:
        yield from _when(account.crashed_at, account.last_logged)
    else:
        yield "when", "not known", 0
    yield from _machine(inspection)
    yield "Xen", _xen(inspection), 0


def _no_cause(inspection: Inspection) -> str:
    # what was looked at, and what could not be
    account = inspection.account
    if not inspection.vmcore.container.row.has_memory:
        return "not known: this text holds neither Xen's console nor dom0's log"
    if account.console and account.logged:
        return "no line of a crash is in Xen's console or dom0's log"
    if account.console:
        return "no line of a crash is in Xen's console; dom0's log was not found"
    if account.logged:
        return "no panic is in dom0's log; Xen's console was not found in this dump"
    return "not known: neither Xen's console nor dom0's log was found"


def _log_not_read(inspection: Inspection) -> str:
    if inspection.dom0_kernel is None:
        return "(the reason is in dom0's log; not read: its kernel was not found)"
    return (
        "(the reason is in dom0's log; here only Linux 5.10 and later is read: "
        "'vmcoretool dmesg' reads older ones, too)"
    )


def _cause(cause: Cause, remark: str) -> Iterator[Line]:
    if cause.headline.startswith(_KEY):
        yield "crash", f"by hand: {cause.headline}", 0
    else:
        yield _WHO.get(cause.who, "crash"), cause.headline, 0
    if cause.panic:
        yield "", cause.panic, 1
    if remark:
        yield "", remark, 1
    trace = list(cause.trace[:_FRAMES])
    if cause.function and cause.function not in trace:
        trace = [cause.function, *trace[: _FRAMES - 1]]
    if trace:
        yield "in", CALLER.join(trace), 0
    on = [part for part in (cause.vcpu, None if cause.cpu is None else f"CPU {cause.cpu}") if part]
    place = ", ".join(on)
    taint = f"; {cause.taint[0].lower()}{cause.taint[1:]}" if cause.taint else ""
    if cause.task:
        on_cpu = f" on {place}" if place else ""
        yield "task", f"{cause.task.comm}, PID {cause.task.pid},{on_cpu}{taint}", 0
    elif place:
        yield "on", f"{place}{taint}", 0


def _when(moment: Moment, last_logged: float | None) -> Iterator[Line]:
    parts = []
    if moment.time:
        parts.append(f"about {moment.time.replace('T', ' ').replace('Z', ' UTC')}")
    if moment.uptime is not None:
        clock = "Xen's" if moment.clock == "xen" else "dom0's"
        parts.append(f"{duration_words(moment.uptime)} after {clock} start")
    if parts:
        yield "when", ", ".join(parts), 0
        yield "", f"by {moment.basis}", 7
        return
    if moment.started:
        parts.append(f"after {moment.started.replace('T', ' ').replace('Z', ' UTC')}")
        parts.append("when the host started")
    if last_logged is not None:
        parts.append(f"dom0's last log line {duration_words(last_logged)} after its start")
    yield "when", ", ".join(parts) or "not known: no line of the crash bears a time", 0


def _machine(inspection: Inspection) -> Iterator[Line]:
    machine = inspection.account.machine
    name = machine.hostname
    if machine == (None, None, None):
        return
    named = "host name not set" if name == "" else name or "host name unknown"
    yield "host", f"{named}; {machine.hardware or 'hardware unknown'}", 0
    if machine.bios:
        yield "", f"BIOS {machine.bios}", 2


def _xen(inspection: Inspection) -> str:
    version = inspection.xen.version if inspection.xen else None
    if version is None:
        return "version not recorded"
    package = banner_note(inspection.account.banner, version.text)
    return f"{printable(version.text)}{f' ({package})' if package else ''}"


def banner_note(banner: str, version: str) -> str:
    """What Xen's first line has in brackets behind its version: the package, or who built it."""
    rest = banner.removeprefix(f"{_XEN_VERSION}{version} (")
    if rest == banner:
        return ""
    depth = 1
    for at, char in enumerate(rest):
        depth += (char == "(") - (char == ")")
        if not depth:
            return "" if rest.startswith("@") else rest[:at]
    return ""
