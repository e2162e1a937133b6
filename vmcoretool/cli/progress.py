"""The progress line of long work, and its end by Ctrl-C."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from vmcoretool.cli.output import clear, draw, settings

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from vmcoretool.budget import Budget

_BAR: Final = 30
_LEAST_BAR: Final = 8
_USUAL_WIDTH: Final = 80
_INTERVAL: Final = 0.1
_PATIENCE: Final = 0.5
_HINT: Final = ", Ctrl-C ends it"


class Watch:
    """Called during long work: draws a bar, and answers False once Ctrl-C was pressed.

    Ctrl-C then ends the work and keeps what there is so far; a second one ends the process.

    Attributes:
        budget: of the dump that is worked on; Ctrl-C ends all work that asks it.
        stopped: whether Ctrl-C was pressed.
    """

    def __init__(self) -> None:
        self.budget: Budget | None = None
        self.stopped = False
        self._started = self._last = time.monotonic()
        self._before: Any = None
        self._guarding = False
        self._bar = not settings.quiet and sys.stderr is not None and sys.stderr.isatty()

    def __call__(self, name: str, done: int, total: int) -> bool:
        """Show how far the work is; whether it shall go on."""
        if not self._guarding:
            self._guard()
        now = time.monotonic()
        # short scans need no bar
        if self._bar and now - self._last > _INTERVAL and now - self._started > _PATIENCE:
            self._last = now
            draw(progress_line(name, done, total, _width()))
        return not self.stopped

    def __enter__(self) -> Watch:  # noqa: PYI034 - Self is in typing from 3.11 on only
        return self

    def _guard(self) -> None:
        # From the first step of long work on, Ctrl-C ends that work instead of the process.
        import signal  # noqa: PLC0415 - nearly no inspection scans
        import threading  # noqa: PLC0415 - likewise

        self._guarding = True
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        if threading.current_thread() is threading.main_thread() and not ignored:
            self._before = signal.signal(signal.SIGINT, self._interrupt)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._before is not None:
            import signal  # noqa: PLC0415 - as above

            signal.signal(signal.SIGINT, self._before)
        clear()

    def _interrupt(self, number: int, where: FrameType | None) -> None:
        del number, where
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True
        if self.budget is not None:
            self.budget.stopped = True


def progress_line(name: str, done: int, total: int, width: int) -> str:
    """How far the work is, in less than ``width`` columns."""
    if not total:
        return f"{name}: {done}{_HINT}"[: width - 1]
    share = min(done / total, 1.0)
    text = f"{name} {share:4.0%} of {total >> 20} MiB{_HINT}"
    room = min(_BAR, width - len(text) - 4)
    if room < _LEAST_BAR:
        return text[: width - 1]
    full = int(share * room)
    bar = "#" * full + "-" * (room - full)
    return text.replace(name, f"{name} [{bar}]", 1)


def _width() -> int:
    # of stderr, where the line is shown: stdout may be a file
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _USUAL_WIDTH
    except (OSError, ValueError):
        return _USUAL_WIDTH
