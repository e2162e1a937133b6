"""The progress bar of long work, and its end by Ctrl-C."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import FrameType, TracebackType

_WIDTH: Final = 30
_INTERVAL: Final = 0.1
_PATIENCE: Final = 0.5


class Watch:
    """Called during long work: draws a bar, and answers False once Ctrl-C was pressed.

    Ctrl-C then ends the work and keeps what there is so far; a second one ends the process.
    """

    def __init__(self) -> None:
        self._stopped = False
        self._drawn = False
        self._started = self._last = time.monotonic()
        self._before: Any = None
        self._guarding = False
        self._bar = sys.stderr is not None and sys.stderr.isatty()

    @property
    def stopped(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._stopped

    def __call__(self, name: str, done: int, total: int) -> bool:
        """Show how far the work is; whether it shall go on."""
        if not self._guarding:
            self._guard()
        now = time.monotonic()
        # short scans need no bar
        if self._bar and now - self._last > _INTERVAL and now - self._started > _PATIENCE:
            self._last = now
            self._draw(name, done, total)
        return not self._stopped

    def __enter__(self) -> Watch:  # noqa: PYI034 - Self is in typing from 3.11 on only
        return self

    def _guard(self) -> None:
        # From the first step of long work on, Ctrl-C ends that work instead of the process.
        import signal  # noqa: PLC0415 - nearly no inspection scans
        import threading  # noqa: PLC0415 - likewise

        self._guarding = True
        if threading.current_thread() is threading.main_thread():
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
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _interrupt(self, number: int, where: FrameType | None) -> None:
        del number, where
        if self._stopped:
            raise KeyboardInterrupt
        self._stopped = True

    def _draw(self, name: str, done: int, total: int) -> None:
        self._drawn = True
        if not total:
            sys.stderr.write(f"\r{name}: {done}, Ctrl-C ends it")
            sys.stderr.flush()
            return
        share = done / total
        full = int(share * _WIDTH)
        bar = "#" * full + "-" * (_WIDTH - full)
        sys.stderr.write(f"\r{name} [{bar}] {share:4.0%} of {total >> 20} MiB, Ctrl-C ends it")
        sys.stderr.flush()
