"""The folder in which kdump leaves its dumps: which are new and finished; a report beside each.

Layouts, one folder per crash in all of them: RHEL and Fedora ``ADDRESS-DATE/vmcore`` (``.flat``
from ssh), SUSE ``DATE/vmcore``, Debian and Ubuntu ``STAMP/dump.STAMP[.gz ...]`` or
``vmcore.STAMP``, XCP-ng ``STAMP/coredump.bin`` or only ``readelf-Wn.out``.  What is still being
written has another name (``vmcore-incomplete``, ``dump-incomplete``); where that is older than
this boot, nothing writes it any more, and it is what is left of a crash.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import subprocess
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.hooks.report import AGAIN, INCOMPLETE, is_done
from vmcoretool.hooks.systems import own_command
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKED: Final = r"(?:\.(?:gz|bz2|xz|lz4|zst))?"
# best first: a whole dump, then what remains of one
DUMP_NAMES: Final = (
    re.compile(rf"vmcore{_PACKED}"),
    re.compile(rf"vmcore\.flat{_PACKED}"),
    re.compile(rf"(?:dump|vmcore)\.\d{{8,14}}{_PACKED}"),
    re.compile(rf"coredump\.bin{_PACKED}"),
    re.compile(r"vmcoretool-notes\.elf"),
    re.compile(rf"(?:vmcore|dump){INCOMPLETE}"),
    re.compile(r"readelf-Wn\.out"),
)
MAX_FOLDERS: Final = 10_000
SECONDS: Final = 600
"""Wall time for one dump."""
CPU_SECONDS: Final = 300
MEMORY: Final = 1 << 30
UNREADABLE: Final = 3
"""The child's exit code where the dump itself is why there is no answer, and will be again."""
_NOTHING: Final = (
    "no dump in this folder, nor in the folders in it; deeper ones are not looked at, "
    "nor what is still being written"
)
_STEP: Final = 0.1
_GRACE: Final = 2.0


class Limits(NamedTuple):
    """What the inspection of one dump may use: seconds, seconds of CPU, bytes of memory."""

    seconds: float = SECONDS
    cpu_seconds: int = CPU_SECONDS
    memory: int = MEMORY


class Done(NamedTuple):
    """What was done about one folder: a line for the log, and whether it went well."""

    folder: str
    line: str
    right: bool


def find_dumps(directory: str) -> Iterator[tuple[str, str | None, str]]:
    """(folder, dump or None, why not) of the directory and each folder in it with a dump.

    Symbolic links are not followed, and what is not root's is not touched: the answer is written
    by root beside it.

    Raises:
        OSError: the directory cannot be listed, or others may exchange what is in it.
    """
    own = os.stat(directory)
    why = _shared(own)
    if why and not (own.st_uid == 0 and own.st_mode & stat.S_ISVTX):
        raise PermissionError(errno.EPERM, f"{why}: nothing in it is touched", directory)
    names = sorted(os.listdir(directory))
    if len(names) > MAX_FOLDERS:
        yield directory, None, f"only the last {MAX_FOLDERS} of {len(names)} names are looked at"
    for name in ("", *names[-MAX_FOLDERS:]):
        folder = os.path.join(directory, name) if name else directory
        try:
            status = os.lstat(folder) if name else own
            if not stat.S_ISDIR(status.st_mode):
                continue
            dump, why = _dump_in(folder, status)
        except OSError as error:
            dump, why = None, error.strerror or str(error)
        if dump or why:
            yield folder, dump, why


def _shared(status: os.stat_result) -> str:
    """Why a folder is not root's alone, or ""."""
    if status.st_uid != 0:
        return "the folder is not root's"
    group = status.st_mode & stat.S_IWGRP and status.st_gid != 0
    if group or status.st_mode & stat.S_IWOTH:
        return "the folder is not root's alone"
    return ""


def _dump_in(folder: str, status: os.stat_result) -> tuple[str | None, str]:
    names = sorted(os.listdir(folder))
    fits = [name for pattern in DUMP_NAMES for name in names if pattern.fullmatch(name)]
    why = ""
    for name in fits:
        path = os.path.join(folder, name)
        own = os.lstat(path)
        if name.endswith(INCOMPLETE) and own.st_mtime >= _booted():
            continue  # it is being written
        if _shared(status):
            return None, _shared(status)
        if stat.S_ISREG(own.st_mode) and own.st_uid == 0:
            return path, ""
        why = f"{name} is {'no regular file' if own.st_uid == 0 else 'not owned by root'}"
    return None, why


def _booted() -> float:
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def run(directory: str, limits: Limits = Limits()) -> Iterator[Done]:  # noqa: B008 - immutable
    """Report on each new, finished dump, one after another; nothing raised for one of them.

    Raises:
        OSError: the directory cannot be listed, or others may exchange what is in it.
        BlockingIOError: another process is at it.
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    found = False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for folder, dump, why in find_dumps(directory):
            found = True
            if dump is None:
                yield Done(folder, f"skipped: {why}", right=False)
            elif not is_done(dump):
                yield _report(folder, dump, limits)
        if not found:
            yield Done(directory, _NOTHING, right=False)
    finally:
        os.close(handle)


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
        return Done(folder, line, right=True)
    # what the dump is like stays as it is; what the system refused may go well another time
    again = "" if code == UNREADABLE else f"; {AGAIN}"
    return Done(folder, f"not inspected: {line}{again}", right=False)


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
