"""What the console's last lines say of the crash, and its first ones of the start.

The texts are those of xen/drivers/char/console.c (``panic``), xen/common/shutdown.c
(``hwdom_shutdown``), xen/common/keyhandler.c and xen/arch/x86/machine_kexec.c; their wording
changed little since 3.0.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PREFIX: Final = b"(XEN) "
# console_timestamps=: "[2026-11-24 03:46:00] ", "[2026-11-24 03:46:00.123] ", "[   12.345678] ",
# or 16 hexadecimal digits
_STAMP: Final = rb"\[(?:[ 0-9:.\-]{5,30}|[0-9a-f]{16})\] "
# re compiles these where a line begins like one: most consoles hold few of them
_PANIC: Final = rb"Panic on CPU (\d{1,5}):"
_IMAGE: Final = rb"Executing (?:kexec|crash) image on cpu ?(\d{1,5})"
_DOM0: Final = rb"(?:Hardware Dom\d{1,5}|Dom(?:ain )?0) crashed"
_HEADLINES: Final = (
    _DOM0,
    rb"(?:Hardware Dom\d{1,5}|Domain 0) shutdown: watchdog",
    rb"'C' pressed -> triggering crash ?dump",
)
# of the hypervisor's own code: ring 0; a guest's registers are printed in the same form
_RIP: Final = rb"(?:RIP|EIP): +[0-9a-f]{3}[048c]:\[<([0-9a-f]{8,16})>\]"
_REGISTERS_OF: Final = rb"CPU: +(\d{1,5})$"
_HEADLINES_BEGIN: Final = (b"Hardware Dom", b"Dom", b"'C' pressed")
# in lower case
_NO_DOM0: Final = tuple(
    what + dom0
    for what in (
        b"could not set up ", b"could not construct ", b"cannot construct ", b"error creating ",
    )
    for dom0 in (b"d0", b"dom0", b"domain 0")
)  # fmt: skip
# Xen says some lines before the panic what a trap was, in xen/arch/x86/: nmi.c, traps.c, mc_panic
# of cpu/mcheck/mce.c, show_stack_overflow of x86_64/traps.c
_NMI: Final = (
    rb"Watchdog timer detects that CPU\d{1,5} is stuck!",
    rb"NMI - [ -~]{1,80}",
    rb"Uhhuh\. NMI received for unknown reason [0-9a-f]{2}\.",
)
_MACHINE_CHECK: Final = (rb"Fatal machine check: [ -~]{1,200}",)
_STACK: Final = (rb"Xen stack overflow", rb"No stack overflow detected")
_TRAPS: Final = (
    (rb"FATAL TRAP: vec(?:tor = 2 |  ?2,)", _NMI),
    (rb"FATAL TRAP: vec(?:tor = 18 |  ?18,)", _MACHINE_CHECK),
    (rb"HARDWARE ERROR", _MACHINE_CHECK),
    (rb"DOUBLE FAULT", _STACK),
)
"""How a panic begins, and the lines that say what it was."""
_REASONS_BEGIN: Final = (b"Watchdog", b"NMI", b"Uhhuh", b"Fatal", b"Xen stack", b"No stack")
_REASON_REACH: Final = 4096
"""Lines between a reason and its panic: registers, stack, a trace, a line for each other CPU."""
_STARS: Final = b"*****"
_COMMAND_LINE: Final = b"Command line: "
_MESSAGE_LINES: Final = 8
_MESSAGE_REACH: Final = 256  # guests' lines may stand between
_LIMIT: Final = 400


class CrashText(NamedTuple):
    """What the console shows of the crash, in printable text; what it does not show is None.

    Attributes:
        panic: the headline, without the prefix of Xen's lines; of an NMI or another trap first what
            it was, where Xen says so.
        cpu: the CPU that crashed the host.
        cpu_basis: the line that says so.
        command_line: of the hypervisor.
        rip: where the hypervisor faulted, by the last registers of its own that it printed for that
            CPU before it panicked.
    """

    panic: str | None = None
    cpu: int | None = None
    cpu_basis: str = ""
    command_line: str | None = None
    rip: int | None = None

    @property
    def dom0_panicked(self) -> bool:
        """Whether the headline says that dom0's own kernel brought the host down."""
        return self.panic is not None and re.match(_DOM0, self.panic.encode()) is not None

    @property
    def dom0_died(self) -> bool:
        """Whether it says that dom0 crashed, or that its watchdog was not fed any more."""
        return self.panic is not None and _is_headline(self.panic.encode(), _HEADLINES[:2])

    @property
    def only_kexec(self) -> bool:
        """Whether it says no more than that a crash kernel was started."""
        return self.panic is not None and re.match(_IMAGE, self.panic.encode()) is not None

    @property
    def dom0_not_built(self) -> bool:
        """Whether the headline says that dom0 could not be started (xen/arch/x86/setup.c)."""
        return self.panic is not None and self.panic.encode().lower().startswith(_NO_DOM0)


def read_crash_text(lines: Sequence[bytes]) -> CrashText:
    """Find the headline, the CPU and the command line.

    Args:
        lines: of the console, oldest first.
    """
    own = [own_text(line) for line in lines]
    panic: bytes | None = None
    cpu: int | None = None
    basis = ""
    rip: int | None = None
    printed: dict[int | None, int] = {}
    shown: int | None = None
    for number, line in enumerate(own):
        if line is None:
            continue
        found = re.match(_PANIC, line) if line.startswith(b"Panic") else None
        if found:
            panic = _message(own[number + 1 : number + _MESSAGE_REACH]) or line
            panic = _reason(own, number, panic) + panic
            cpu, basis = int(found[1]), line.decode("ascii", "replace")
            rip = printed.get(cpu, printed.get(None))
        elif _is_headline(line):
            panic, rip = line[:_LIMIT], None
        of_cpu = re.match(_REGISTERS_OF, line) if line.startswith(b"CPU:") else None
        shown = int(of_cpu[1]) if of_cpu else shown
        where = re.match(_RIP, line) if line.startswith((b"RIP:", b"EIP:")) else None
        if where:
            printed[shown] = int(where[1], 16)
        said = re.search(_IMAGE, line) if b"Executing" in line else None
        if said:
            cpu, basis = int(said[1]), said[0].decode("ascii")
            panic = panic or line[:_LIMIT]
    command_line = _command_line(own)
    return CrashText(
        None if panic is None else printable(panic),
        cpu,
        printable(basis),
        None if command_line is None else printable(command_line),
        rip,
    )


def _is_headline(line: bytes, patterns: tuple[bytes, ...] = _HEADLINES) -> bool:
    if not line.startswith(_HEADLINES_BEGIN) or not (b"crash" in line or b"watchdog" in line):
        return False
    return any(re.match(pattern, line) for pattern in patterns)


def own_text(line: bytes) -> bytes | None:
    """What Xen itself wrote in a line, without prefix and time; None for a guest's line."""
    if not line.startswith(_PREFIX):
        return None
    text = line[len(_PREFIX) :]
    stamp = re.match(_STAMP, text) if text.startswith(b"[") else None
    return text[stamp.end() :] if stamp else text


def _reason(lines: Sequence[bytes | None], at: int, panic: bytes) -> bytes:
    # what the trap was, b"" where no line before the panic says it
    forms = next((forms for trap, forms in _TRAPS if re.match(trap, panic)), ())
    for number in range(at - 1, max(at - _REASON_REACH, 0) - 1, -1) if forms else ():
        line = lines[number]
        if line is None:
            continue
        if line.startswith(b"Panic on CPU"):
            break
        if line.startswith(_REASONS_BEGIN):
            found = next(filter(None, (re.match(form, line) for form in forms)), None)
            if found:
                return found[0] + b" - "
    return b""


def _message(lines: Iterable[bytes | None]) -> bytes:
    # the lines up to the closing row of stars
    parts: list[bytes] = []
    for line in lines:
        if line is None:
            continue
        if line.startswith(_STARS) or len(parts) == _MESSAGE_LINES:
            break
        if line.strip():
            parts.append(line.strip())
    return b" ".join(parts)[:_LIMIT]


def _command_line(lines: Iterable[bytes | None]) -> bytes | None:
    for line in lines:
        if line is not None and line.startswith(_COMMAND_LINE):
            return line[len(_COMMAND_LINE) :]
    return None
