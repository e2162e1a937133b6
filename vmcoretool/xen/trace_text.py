"""The call trace and the time stamps that Xen printed when it panicked.

The forms are those of xen/arch/x86/traps.c (``show_trace``), x86_64/traps.c (``show_registers``)
and xen/drivers/char/console.c (``console_timestamps=``)::

    (XEN) CPU:    1
    (XEN) RIP:    e008:[<ffff82d04022f5e1>] common/foo.c#bar+0x12/0x34
    (XEN) RFLAGS: 0000000000010246   CONTEXT: hypervisor (d0v1)
    (XEN) Xen call trace:
    (XEN)    [<ffff82d04022f5e1>] R common/foo.c#bar+0x12/0x34
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.printable import printable
from vmcoretool.xen.panic import own_text

if TYPE_CHECKING:
    from collections.abc import Sequence

_PANIC: Final = b"Panic on CPU "
_TRACE: Final = (b"Xen call trace:", b"Xen stack overflow (dumping trace")
_FRAME: Final = rb" *\[<[0-9a-f]{8,16}>\] (?:([RSF]) )?([^ +]{1,120})\+0x[0-9a-f]+"
_PLACE: Final = rb"[RE]IP: +[0-9a-f]{3}[048c]:\[<[0-9a-f]{8,16}>\] ([^ +]{1,120})\+0x"
_CONTEXT: Final = rb"R?E?FLAGS: .*CONTEXT: hypervisor \((d\d+v\d+)\)"
_DATE: Final = rb"\(XEN\) \[(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.\d+)?\] "
_SINCE_BOOT: Final = rb"\(XEN\) \[ *(\d{1,10}\.\d{6})\] "
_ENDS: Final = (
    b"Panic on CPU ", b"Hardware Dom", b"Dom0 ", b"Domain 0 ", b"'C' pressed",
    b"Executing kexec image", b"Executing crash image",
)  # fmt: skip
_SKIPPED: Final = (
    "dump_execution_state", "show_", "panic", "__bug", "bug_", "do_invalid_op", "fatal_trap",
    "machine_crash",
)  # fmt: skip
_FRAMES: Final = 8
_BACK: Final = 400


class XenTrace(NamedTuple):
    """What Xen printed of the place where it panicked; nothing where it printed none.

    Attributes:
        frames: functions of the call trace, innermost first, without file names.
        vcpu: the virtual CPU that ran there, as "d0v1", or None.
    """

    frames: tuple[str, ...] = ()
    vcpu: str | None = None


class Stamp(NamedTuple):
    """The time on the line of the crash: as a date, or in seconds since Xen started."""

    date: str | None = None
    seconds: float | None = None


def read_trace(lines: Sequence[bytes]) -> XenTrace:
    """The last call trace before the last panic of Xen's own."""
    own = [own_text(line) or b"" for line in lines]
    end = next((at for at in range(len(own) - 1, -1, -1) if own[at].startswith(_PANIC)), None)
    if end is None:
        return XenTrace()
    rows = range(end - 1, max(end - _BACK, 0) - 1, -1)
    start = next((at for at in rows if own[at].startswith(_TRACE)), None)
    if start is None:
        places = (re.match(_PLACE, own[at]) for at in rows if own[at].startswith((b"RIP", b"EIP")))
        place = next(filter(None, places), None)
        return XenTrace((printable(place[1]).rpartition("#")[2],) if place else ())
    names: list[str] = []
    for line in own[start + 1 : end]:
        match = re.match(_FRAME, line)
        if match is None:
            break
        name = printable(match[2]).rpartition("#")[2]
        # S: a word that merely lies on the stack
        if match[1] != b"S" and not name.startswith(_SKIPPED) and len(names) < _FRAMES:
            names.append(name)
    contexts = (re.match(_CONTEXT, own[at]) for at in range(start, max(start - _BACK, 0) - 1, -1))
    vcpu = next(filter(None, contexts), None)
    return XenTrace(tuple(names), printable(vcpu[1]) if vcpu else None)


def read_stamp(lines: Sequence[bytes]) -> Stamp:
    """The time that the crash's own line bears, with console_timestamps=."""
    for line in reversed(lines):
        text = own_text(line)
        if text is None or not text.startswith(_ENDS):
            continue
        if not line.startswith(b"(XEN) ["):
            return Stamp()
        date = re.match(_DATE, line)
        if date:
            day, clock = (part.decode("ascii") for part in date.groups())
            return Stamp(f"{day}T{clock}Z", None)
        since = re.match(_SINCE_BOOT, line)
        return Stamp(None, float(since[1])) if since else Stamp()
    return Stamp()
