"""What a Linux log says of the kernel's death: the headline, the function, the task, the machine.

The texts are those of kernel/panic.c, lib/dump_stack.c (``dump_stack_print_info``),
arch/x86/kernel/dumpstack.c and arch/x86/mm/fault.c; they changed little since 3.0.  Only messages
of the log are given to these functions, so format strings cannot be taken for them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmcoretool.linux.log_text import Record

_PANIC: Final = b"Kernel panic - not syncing"
_OOPS: Final = (
    b"BUG: unable to handle", b"BUG: kernel NULL", b"BUG: stack guard", b"BUG: TASK stack",
    b"Oops: ", b"Oops - ", b"general protection fault", b"kernel BUG at ", b"Kernel BUG at ",
    b"Unable to handle kernel ", b"divide error: ", b"invalid opcode: ", b"double fault: ",
    b"stack segment: ", b"int3: ", b"traps: PANIC", b"watchdog: BUG: ", b"PANIC: ",
)  # fmt: skip
_OF_AN_OOPS: Final = (_PANIC + b": Fatal exception", _PANIC + b": Aiee")
# re compiles these when they are used: most logs hold no panic
_TASK: Final = (
    rb"CPU: (?P<cpu>\d{1,5}) (?:UID: \d+ )?PID: (?P<pid>\d{1,8}) Comm: (?P<comm>.{1,64}?) "
    rb"(?P<taint>Not tainted|Tainted: [^0-9]*)"
)
_OLD_TASK: Final = (
    rb"Pid: (?P<pid>\d{1,8}), comm: (?P<comm>.{1,16}?) +(?P<taint>Not tainted|Tainted: [^0-9]*)"
)
_HARDWARE: Final = (b"Hardware name: ", b"DMI: ")
# of the kernel's own code: ring 0, or ring 3 in a PV guest's kernel
_RIP: Final = (
    rb"(?:RIP|EIP): (?:0010|0060|e030|e033|e019):(?:\[<[0-9a-f]+>\] *){0,2}"
    rb"(?P<name>[A-Za-z_][\w.]*)\+0x"
)
_FRAME: Final = rb" {0,8}(?:\[<[0-9a-f]{8,16}>\] )?([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x"
_SKIPPED: Final = (
    "dump_stack", "show_stack", "show_trace", "panic", "vpanic", "nmi_panic", "die", "__die",
    "oops_", "no_context", "__bad_area", "bad_area", "page_fault", "kernelmode_fixup", "exc_",
    "asm_exc_", "do_page_fault", "__do_page_fault", "do_trap", "do_error_trap", "do_invalid_op",
    "invalid_op", "do_general_protection", "general_protection", "report_bug", "handle_bug",
    "warn_slowpath", "__warn", "xen_panic", "do_kern_addr_fault", "do_user_addr_fault",
    "fixup_bug",
)  # fmt: skip
_BLOCK: Final = 160
_BACK: Final = 200
_BACK_SECONDS: Final = 30
_FRAMES: Final = 8
_LIMIT: Final = 400


class LinuxPanic(NamedTuple):
    """The death of a kernel as its log has it; what it does not say is None or empty.

    Attributes:
        headline: the line that names the reason.
        panic: the panic's own line where the headline is that of the oops before it, or None.
        function: where the kernel was: of the faulting instruction, else of the innermost frame
            that is not the panic's own.
        frames: functions of the call trace that its printer is sure of, innermost first.
        pid: of the task.
        comm: its name.
        vcpu: the kernel's number of the CPU.
        taint: "Not tainted" or "Tainted: ...".
        seconds: time stamp of the panic's line, or of the oops where there is no panic.
    """

    headline: str
    panic: str | None
    function: str | None
    frames: tuple[str, ...]
    pid: int | None
    comm: str | None
    vcpu: int | None
    taint: str | None
    seconds: float


def read_panic(records: Sequence[Record], *, oops_is_enough: bool = False) -> LinuxPanic | None:
    """The last panic of a log, or None where there is none.

    Args:
        records: of the log, in the order of time.
        oops_is_enough: the kernel is known to have died: kernels before 2.6.30 crash the host at
            an oops, without the panic's line.
    """
    at = _last_panic(records)
    first = at
    if at is None or records[at].text.startswith(_OF_AN_OOPS):
        first = _oops_before(records, at, oops_is_enough=oops_is_enough)
        first = at if first is None else first
    if first is None:
        return None
    lines = _lines(records[first : first + _BLOCK])
    frames = tuple(_frames(lines))
    task = _task(lines)
    rip = next(filter(None, (re.search(_RIP, line) for line in lines)), None)
    function = _plain(rip["name"]) if rip else next(iter(frames), None)
    panicked = at is not None and first != at
    return LinuxPanic(
        headline=_text(records[first].text),
        panic=_text(records[at].text) if panicked and at is not None else None,
        function=function,
        frames=frames,
        pid=int(task["pid"]) if task else None,
        comm=printable(task["comm"]) if task else None,
        vcpu=int(task["cpu"]) if task and "cpu" in task.re.groupindex else None,
        taint=printable(task["taint"].strip()) if task else None,
        seconds=records[first if at is None else at].seconds,
    )


def _last_panic(records: Sequence[Record]) -> int | None:
    places = range(len(records) - 1, -1, -1)
    return next((at for at in places if records[at].text.startswith(_PANIC)), None)


def _oops_before(
    records: Sequence[Record], panic: int | None, *, oops_is_enough: bool
) -> int | None:
    # the first line of the last oops: the ones that follow it say more of the same
    if panic is None and not oops_is_enough:
        return None
    end = len(records) if panic is None else panic
    start = max(end - _BACK, 0)
    limit = records[end - 1].seconds - _BACK_SECONDS if end else 0
    rows = [
        at
        for at in range(start, end)
        if records[at].seconds >= limit and records[at].text.startswith(_OOPS)
    ]
    return rows[0] if rows else None


def _lines(records: Sequence[Record]) -> list[bytes]:
    return [line for record in records for line in record.text.split(b"\n")]


def _task(lines: list[bytes]) -> re.Match[bytes] | None:
    for line in lines:
        form = _TASK if line.startswith(b"CPU: ") else _OLD_TASK
        match = re.match(form, line) if line.startswith((b"CPU: ", b"Pid: ")) else None
        if match:
            return match
    return None


def _frames(lines: list[bytes]) -> list[str]:
    found: list[str] = []
    inside = False
    for line in lines:
        if line.startswith(b"Call Trace:"):
            if found:
                break
            inside = True
            line = line.removeprefix(b"Call Trace:")  # noqa: PLW2901 - a frame may follow in it
        match = re.match(_FRAME, line) if inside else None
        if match:
            name = _plain(match[1])
            if not name.startswith(_SKIPPED) and len(found) < _FRAMES:
                found.append(name)
        elif inside and (b"---[ end" in line or b"</TASK>" in line):
            break
    return found


def _plain(name: bytes) -> str:
    # .cold, .isra.0, .constprop.0, .part.0, .llvm.123: pieces that a compiler made
    return printable(name).partition(".")[0]


def _text(line: bytes) -> str:
    return printable(line.split(b"\n")[0][:_LIMIT].strip())


def read_hardware(records: Sequence[Record]) -> tuple[str | None, str | None] | None:
    """(hardware, BIOS) of the machine by the newest line that names it, or None.

    ``dmi_format_ids`` writes "VENDOR PRODUCT/BOARD, BIOS VERSION DATE"
    (drivers/firmware/dmi_scan.c).
    """
    for record in reversed(records):
        if record.text.startswith(_HARDWARE):
            text = _text(record.text.partition(b": ")[2])
            hardware, _, bios = text.rpartition(", BIOS ")
            return (hardware, bios) if hardware else (bios or None, None)
    return None
