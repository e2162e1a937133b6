"""Where the process starts: signals are set before anything heavy is imported."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

_INTERRUPTED = 130
_BUG = 70
_OBJECTS = 50_000


def main() -> NoReturn:
    """Run the command line of this process; never a traceback for what a dump or user can do."""
    code = _INTERRUPTED
    try:
        import signal  # noqa: PLC0415 - inside of what catches an interrupt

        # a job that the shell started in the background has it ignored, which stays so
        heard = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
        if heard:
            signal.signal(signal.SIGINT, _end_at_once)
        import gc  # noqa: PLC0415 - as above

        # imports and an inspection make few cycles: the usual threshold costs 3 % of a run
        gc.set_threshold(_OBJECTS)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        from vmcoretool.cli.main import run  # noqa: PLC0415 - takes most of the start

        if heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        pass
    except ImportError as error:
        code = _BUG
        if sys.stderr is not None:
            sys.stderr.write(f"vmcoretool is not installed completely: {error}\n")
            sys.stderr.flush()
    # All output is flushed and nothing is left to close: tearing the interpreter down would take
    # as long as the inspection itself.
    os._exit(code)


def _end_at_once(number: int, where: FrameType | None) -> None:
    # nothing was printed so far; an exception could be lost in the middle of an import
    del number, where
    if sys.stderr is not None:
        os.write(2, b"vmcoretool: interrupted\n")
    os._exit(_INTERRUPTED)
