"""The dumps that kdump left below a folder: which files they are, and which are root's alone.

Layouts, one folder per crash in all of them: RHEL and Fedora ``ADDRESS-DATE/vmcore`` (``.flat``
from ssh), SUSE ``DATE/vmcore``, Debian and Ubuntu ``STAMP/dump.STAMP[.gz ...]`` or
``vmcore.STAMP``, XCP-ng ``STAMP/coredump.bin`` or only ``readelf-Wn.out``; on a server one such
tree per node.  What is still being written has another name (``vmcore-incomplete``,
``dump-incomplete``); where that is older than this boot, nothing writes it any more, and it is
what is left of a crash.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.budget import Budget
from vmcoretool.hooks.report import INCOMPLETE
from vmcoretool.symbols.folders import unreal_devices

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
MAX_DEPTH: Final = 8
MAX_NAMES: Final = 10_000
"""Of one folder: the last ones by name, which are the newest."""
MAX_FOLDERS: Final = 20_000


class Found(NamedTuple):
    """A folder with a dump, or with something that is passed over.

    Attributes:
        folder: its path.
        dump: the dump's path, or None.
        why: why the dump is none to work on, or "".
    """

    folder: str
    dump: str | None
    why: str = ""


class Search:
    """Looks for dumps in a folder and in the folders below it.

    Symbolic links are not followed, and what is not root's (or the caller's) alone is neither
    touched nor looked into: the answer is written by root beside the dump.

    Attributes:
        folders: how many folders were looked at, the first one among them.
        passed: how many were not looked into, because others can change what is in them.
        unfinished: how many dumps are still being written.
    """

    def __init__(self, directory: str) -> None:
        """Look at nothing yet.

        Args:
            directory: where the search begins.
        """
        self.folders = 0
        self.passed = 0
        self.unfinished = 0
        self._directory = directory
        self._unreal = unreal_devices()

    def found(self) -> Iterator[Found]:
        """Every folder with a dump, those above before those below, each level by name.

        Raises:
            OSError: the directory cannot be listed, is the root of all, or others may exchange what
                is in it.
        """
        own = os.stat(self._directory)
        if os.path.samestat(own, os.stat("/")):
            why = "this is the whole system: name the folder in which dumps are"
            raise OSError(errno.EINVAL, why, self._directory)
        why = shared(own)
        if why and not _is_common(own):
            raise PermissionError(errno.EPERM, f"{why}: nothing in it is touched", self._directory)
        os.listdir(self._directory)  # that it cannot be listed is not one folder's trouble
        work = Budget().work("folders", steps=MAX_FOLDERS)
        waiting = deque([(self._directory, 0)])
        while waiting:
            folder, depth = waiting.popleft()
            if not work.go_on():
                yield Found(self._directory, None, f"only {MAX_FOLDERS} folders are looked at")
                return
            try:
                yield from self._look(folder, depth, waiting)
            except OSError as error:
                yield Found(folder, None, error.strerror or str(error))

    def nothing(self) -> str:
        """What to say where no folder with a dump was found."""
        below = self.folders - 1
        where = f"nor in the {below} folders below it" if below > 1 else "nor below it"
        said = f"no dump in this folder, {where} ({MAX_DEPTH} levels are looked at)"
        if self.passed:
            said += f"; {self.passed} that others can change are not looked into"
        if self.unfinished:
            said += f"; {self.unfinished} still being written"
        return said

    def _look(self, folder: str, depth: int, waiting: deque[tuple[str, int]]) -> Iterator[Found]:
        status = os.lstat(folder) if depth else os.stat(folder)
        if not stat.S_ISDIR(status.st_mode) or (depth and status.st_dev in self._unreal):
            return
        with os.scandir(folder) as rows:
            is_folder = {row.name: row.is_dir(follow_symlinks=False) for row in rows}
        names = sorted(is_folder)
        self.folders += 1
        if len(names) > MAX_NAMES:
            yield Found(folder, None, f"only the last {MAX_NAMES} of {len(names)} are looked at")
        dump, why = self._dump_in(folder, status, names)
        if dump or why:
            yield Found(folder, dump, why)
        if shared(status) and not _is_common(status):
            self.passed += 1
        elif depth < MAX_DEPTH:
            # what begins with a dot is what somebody is at work on, or a server's snapshots
            below = [name for name in names[-MAX_NAMES:] if is_folder[name] and name[0] != "."]
            room = MAX_FOLDERS + 1 - len(waiting)
            waiting.extend((os.path.join(folder, name), depth + 1) for name in below[:room])

    def _dump_in(
        self, folder: str, status: os.stat_result, names: list[str]
    ) -> tuple[str | None, str]:
        fits = [name for pattern in DUMP_NAMES for name in names if pattern.fullmatch(name)]
        why, empty = "", None
        for name in fits:
            path = os.path.join(folder, name)
            own = os.lstat(path)
            if name.endswith(INCOMPLETE) and own.st_mtime >= _booted():
                self.unfinished += 1
                continue
            if shared(status):
                return None, shared(status)
            roots = own.st_uid in (0, os.geteuid())
            if not (stat.S_ISREG(own.st_mode) and roots):
                why = f"{name} is {'no regular file' if roots else 'not owned by root'}"
            elif own.st_size:
                return path, ""
            else:  # as a makedumpfile that failed leaves it: what lies beside it may tell more
                empty = empty or path
        return empty, "" if empty else why


def shared(status: os.stat_result) -> str:
    """Why a folder is not root's (or the caller's) alone, or ""."""
    if status.st_uid not in (0, os.geteuid()):
        return "the folder is not root's"
    group = status.st_mode & stat.S_IWGRP and status.st_gid != 0
    if group or status.st_mode & stat.S_IWOTH:
        return "the folder is not root's alone"
    return ""


def _is_common(status: os.stat_result) -> bool:
    # as /tmp: others can add to it, and cannot exchange what is root's
    return status.st_uid == 0 and bool(status.st_mode & stat.S_ISVTX)


def _booted() -> float:
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
