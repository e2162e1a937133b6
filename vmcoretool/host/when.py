"""When the host crashed, and what that is from.

dom0's log counts from dom0's start, some seconds behind the host's.  Its zero point is known where
a clock was set in it ("setting system clock to", drivers/rtc/class.c); else the host's start, which
Xen keeps in each shared info page (``wc_sec``), stands for it.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmcoretool.linux.log_text import Record
    from vmcoretool.linux.panic import LinuxPanic
    from vmcoretool.xen.trace_text import Stamp

_CLOCK: Final = b"setting system clock to "
_FIRST: Final = 946_684_800  # 2000-01-01
_LAST: Final = 4_102_444_800  # 2100-01-01


class Moment(NamedTuple):
    """A moment as far as the dump tells.

    Attributes:
        time: ISO 8601 in UTC, or None.
        uptime: seconds, or None.
        basis: what both are from, or why there are none.
        started: the host's own start, or None.
        clock: the start from which ``uptime`` counts.
    """

    time: str | None
    uptime: float | None
    basis: str
    started: str | None = None
    clock: Literal["xen", "dom0"] = "dom0"


def find_moment(
    stamp: Stamp, panic: LinuxPanic | None, records: Sequence[Record], started: int | None
) -> Moment:
    """When the crash was.

    Args:
        stamp: on the console's line of the crash.
        panic: dom0's, where dom0 died.
        records: of dom0's log.
        started: when Xen started, in seconds since 1970, or None.
    """
    began = None if started is None else utc(started)
    if panic is not None:
        return _of_dom0(stamp, panic.seconds, _clock(records), started)
    if stamp.date:
        return Moment(stamp.date, None, "time stamp of Xen's console", began)
    if stamp.seconds is not None:
        date = None if started is None else utc(started + stamp.seconds)
        basis = "time stamp of Xen's console, since Xen started"
        return Moment(date, stamp.seconds, basis, began, clock="xen")
    return Moment(None, None, "no line of the crash bears a time", began)


def _of_dom0(stamp: Stamp, uptime: float, zero: float | None, started: int | None) -> Moment:
    began = None if started is None else utc(started)
    if stamp.date:
        return Moment(stamp.date, uptime, "time stamp of Xen's console; dom0's log", began)
    if zero is not None:
        basis = "the clock that dom0 set at its start, and its log's time stamp"
        return Moment(utc(zero + uptime), uptime, basis, began)
    if started is not None:
        basis = "Xen's clock at its own start, and dom0's time stamp: some seconds early"
        return Moment(utc(started + uptime), uptime, basis, began)
    return Moment(None, uptime, "dom0's log: seconds since dom0 started")


def _clock(records: Sequence[Record]) -> float | None:
    # when the log's clock was 0
    for record in records:
        if _CLOCK not in record.text:
            continue
        match = re.search(rb"\((\d{9,11})\)", record.text)
        if match and _FIRST <= int(match[1]) < _LAST:
            return int(match[1]) - record.seconds
    return None


def plausible(seconds: int) -> bool:
    """Whether a host may have started then."""
    return _FIRST <= seconds < _LAST


def utc(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601.

    >>> utc(1795422533)
    '2026-11-23T08:28:53Z'
    """
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
