"""``-vv``: what was tried, as lines of the standard library's logging."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Final

from vmcoretool.budget import NO_LIMIT, Budget, Watch, Work
from vmcoretool.cli.output import explain_usage
from vmcoretool.printable import printable
from vmcoretool.release import __version__

if TYPE_CHECKING:
    from vmcoretool.evidence.weigh import Verdict
    from vmcoretool.vmcore import Vmcore

LOG: Final = logging.getLogger("vmcoretool")


class _ToStderr(logging.Handler):
    """Through the one place that lets nothing unprintable pass."""

    def emit(self, record: logging.LogRecord) -> None:
        explain_usage(
            f"vmcoretool: {record.relativeCreated:7.0f} ms  {printable(record.getMessage())}"
        )


class TracingBudget(Budget):
    """A budget that logs each piece of work once."""

    __slots__ = ("_seen",)

    def __init__(self, *, watch: Watch) -> None:
        super().__init__(watch=watch)
        self._seen: set[str] = set()

    def work(self, name: str, *, steps: int = NO_LIMIT, size: int = NO_LIMIT) -> Work:
        """As :meth:`Budget.work`."""
        self._log(name)
        return super().work(name, steps=steps, size=size)

    def progress(self, name: str, done: int, total: int) -> bool:
        """As :meth:`Budget.progress`."""
        self._log(name)
        return super().progress(name, done, total)

    def met(self, name: str) -> None:
        """As :meth:`Budget.met`."""
        LOG.debug("cut off: %s", name)
        super().met(name)

    def _log(self, name: str) -> None:
        if name not in self._seen:
            self._seen.add(name)
            LOG.debug("work: %s", name)


def start() -> None:
    """Log to stderr from now on."""
    if not LOG.handlers:
        LOG.addHandler(_ToStderr())
        LOG.propagate = False
    LOG.setLevel(logging.DEBUG)
    LOG.debug("vmcoretool %s, Python %s", __version__, sys.version.split()[0])


def log_dump(vmcore: Vmcore) -> None:
    """What was opened."""
    LOG.debug("opened %s: %d bytes", " ".join(vmcore.paths), vmcore.size)
    container = vmcore.container
    LOG.debug("format %s, layers %s, %s", container.format, vmcore.layers, vmcore.architecture)
    for note in vmcore.notes:
        LOG.debug("note %s %s: %d bytes", note.owner, note.type_name, len(note.desc))


def log_verdict(verdict: Verdict) -> None:
    """What each source said."""
    for row in verdict.evidence:
        start = "not relocated" if row.xen_phys_start is None else hex(row.xen_phys_start)
        LOG.debug("source %s: %s (%s): %s", row.source, start, row.strength, row.basis)
    for silence in verdict.silent:
        LOG.debug("source %s: silent: %s", silence.source, silence.reason)
    LOG.debug("verdict: %s", verdict.status)
