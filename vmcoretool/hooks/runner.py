"""A report beside each new, finished dump below a folder: each made in a process of its own."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vmcoretool.hooks.dumps import Search
from vmcoretool.hooks.report import AGAIN, is_done
from vmcoretool.hooks.systems import own_command
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS: Final = 600
"""Wall time for one dump."""
CPU_SECONDS: Final = 300
MEMORY: Final = 1 << 30
UNREADABLE: Final = 3
"""The child's exit code where the dump itself is why there is no answer, and will be again."""
_STEP: Final = 0.1
_GRACE: Final = 2.0


class Limits(NamedTuple):
    """What the inspection of one dump may use: seconds, seconds of CPU, bytes of memory."""

    seconds: float = SECONDS
    cpu_seconds: int = CPU_SECONDS
    memory: int = MEMORY


State = Literal["written", "unreadable", "again", "skipped", "nothing"]


class Done(NamedTuple):
    """What was done about one folder.

    Attributes:
        folder: its path.
        dump: the dump that was looked at, or None.
        line: one line for a log.
        state: a report was "written"; or why it could not be, as the dump is "unreadable"; the
            dump is tried "again" at the next run; it is "skipped"; or "nothing" was found.
    """

    folder: str
    dump: str | None
    line: str
    state: State

    @property
    def right(self) -> bool:
        """Whether a report was written."""
        return self.state == "written"


def run(directory: str, limits: Limits = Limits()) -> Iterator[Done]:  # noqa: B008 - immutable
    """Report on each new, finished dump, one after another; nothing raised for one of them.

    Raises:
        OSError: the directory cannot be listed, or others may exchange what is in it.
        BlockingIOError: another process is at it.
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    any_found = False
    try:
        _lock(handle)
        search = Search(directory)
        for found in search.found():
            any_found = True
            if found.dump is None:
                yield Done(found.folder, None, f"skipped: {found.why}", "skipped")
            elif not is_done(found.dump):
                yield _report(found.folder, found.dump, limits)
        if not any_found:
            yield Done(directory, None, search.nothing(), "nothing")
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        # a file system without locks: the same work done twice costs time alone
        return


def _report(folder: str, dump: str, limits: Limits) -> Done:
    words = [*own_command(), "hook", "report", os.path.abspath(dump)]
    words += [str(limits.cpu_seconds), str(limits.memory)]
    try:
        code, said = _run(words, limits.seconds)
    except OSError as error:
        code, said = -1, f"{error.filename or dump}: {error.strerror or error}"
    line = said.strip().splitlines()[-1] if said.strip() else f"ended with status {code}"
    line = printable(line.removeprefix("vmcoretool: "))
    if code == 0:
        return Done(folder, dump, line, "written")
    # what the dump is like stays as it is; what the system refused may go well another time
    if code == UNREADABLE:
        return Done(folder, dump, f"not inspected: {line}", "unreadable")
    return Done(folder, dump, f"not inspected: {line}; {AGAIN}", "again")


def _run(words: list[str], seconds: float) -> tuple[int, str]:
    # not subprocess.run: after its time-out it waits for a child that hangs in the kernel.
    # In /: Python imports from the current folder first, and others may write to this one.
    with subprocess.Popen(  # noqa: S603 - this very program
        words,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as child:
        assert child.stdout is not None
        os.set_blocking(child.stdout.fileno(), False)
        said = b""
        ends = time.monotonic() + seconds
        while child.poll() is None and time.monotonic() < ends:
            time.sleep(_STEP)
            said += child.stdout.read(1 << 20) or b""
        if child.poll() is None:
            child.kill()
            time.sleep(_GRACE)
            if child.poll() is None:
                child.returncode = -9  # it hangs in the kernel: nobody can wait for it
            return -9, f"no answer within {seconds:g} s"
        said += child.stdout.read(1 << 20) or b""
        if child.returncode < 0:
            return child.returncode, f"killed by signal {-child.returncode}"
        return child.returncode, said.decode("utf-8", "backslashreplace")


def limit_this_process(cpu_seconds: int, memory: int) -> None:
    """Keep this process from getting in anybody's way, whatever a dump makes it do."""
    import resource  # noqa: PLC0415 - only where it is asked for

    os.nice(19)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
