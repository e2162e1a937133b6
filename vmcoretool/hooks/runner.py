"""The folder in which kdump leaves its dumps: which are new and finished; a report beside each.

Layouts, one folder per crash in all of them: RHEL and Fedora ``ADDRESS-DATE/vmcore`` (``.flat``
from ssh), SUSE ``DATE/vmcore``, Debian and Ubuntu ``STAMP/dump.STAMP[.gz ...]`` or
``vmcore.STAMP``, XCP-ng ``STAMP/coredump.bin`` or only ``readelf-Wn.out``.  What is still being
written has another name (``vmcore-incomplete``, ``dump-incomplete``).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import subprocess
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.hooks.report import JSON_NAME, write_failure
from vmcoretool.hooks.systems import own_command
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

# best first: a whole dump, then what remains of one
DUMP_NAMES: Final = (
    re.compile(r"vmcore"),
    re.compile(r"vmcore\.flat"),
    re.compile(r"(?:dump|vmcore)\.\d{8,14}(?:\.(?:gz|bz2|xz|lz4|zst))?"),
    re.compile(r"coredump\.bin"),
    re.compile(r"vmcoretool-notes\.elf"),
    re.compile(r"readelf-Wn\.out"),
)
MAX_FOLDERS: Final = 10_000
MAX_FILES: Final = 1000
MAX_REPORT: Final = 64 << 20
SECONDS: Final = 600
"""Wall time for one dump."""
CPU_SECONDS: Final = 300
MEMORY: Final = 1 << 30
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
    """(folder, dump or None, why not) of each folder that holds something like a dump.

    Symbolic links are not followed, and what is not root's is not touched: the answer is written
    by root beside it.

    Raises:
        OSError: the directory cannot be listed.
    """
    names = sorted(os.listdir(directory))
    for name in names[:MAX_FOLDERS]:
        folder = os.path.join(directory, name)
        try:
            status = os.lstat(folder)
            if not stat.S_ISDIR(status.st_mode):
                continue
            dump, why = _dump_in(folder, status)
        except OSError as error:
            dump, why = None, error.strerror or str(error)
        if dump or why:
            yield folder, dump, why


def _dump_in(folder: str, status: os.stat_result) -> tuple[str | None, str]:
    names = sorted(os.listdir(folder))[:MAX_FILES]
    fits = [name for pattern in DUMP_NAMES for name in names if pattern.fullmatch(name)]
    if not fits:
        return None, ""
    if status.st_uid != 0 or status.st_mode & stat.S_IWOTH:
        return None, "the folder is not root's alone"
    why = ""
    for name in fits:
        path = os.path.join(folder, name)
        own = os.lstat(path)
        if stat.S_ISREG(own.st_mode) and own.st_uid == 0:
            return path, ""
        why = f"{name} is {'no regular file' if own.st_uid == 0 else 'not owned by root'}"
    return None, why


def is_done(dump: str) -> bool:
    """Whether a report of this very dump lies beside it."""
    path = os.path.join(os.path.dirname(dump), JSON_NAME)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            told = json.loads(file.read(MAX_REPORT))["report"]
        about = (told["dump"], told["size"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(about == (printable(os.path.basename(dump)), os.stat(dump).st_size))


def run(directory: str, limits: Limits = Limits()) -> Iterator[Done]:  # noqa: B008 - immutable
    """Report on each new, finished dump, one after another; nothing raised for one of them.

    Raises:
        OSError: the directory cannot be listed.
        BlockingIOError: another process is at it.
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for folder, dump, why in find_dumps(directory):
            if dump is None:
                yield Done(folder, f"skipped: {why}", right=False)
            elif not is_done(dump):
                yield _report(folder, dump, limits)
    finally:
        os.close(handle)


def _report(folder: str, dump: str, limits: Limits) -> Done:
    words = [*own_command(), "hook", "report", os.path.abspath(dump)]
    words += [str(limits.cpu_seconds), str(limits.memory)]
    try:
        code, said = _run(words, limits.seconds)
        line = said.strip().splitlines()[-1] if said.strip() else f"ended with status {code}"
        if code == 0:
            return Done(folder, line, right=True)
        write_failure(dump, line.removeprefix("vmcoretool: "))
    except OSError as error:
        line = f"{error.filename or dump}: {error.strerror or error}"
    return Done(folder, f"not inspected: {printable(line)}", right=False)


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
