"""The files below a folder: through links, each folder once, on real file systems only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH: Final = 32
MOUNTS: Final = "/proc/self/mountinfo"
UNREAL: Final = (
    *("autofs", "bdev", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "cpuset", "debugfs"),
    *("devpts", "devtmpfs", "efivarfs", "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore"),
    *("resctrl", "rpc_pipefs", "securityfs", "selinuxfs", "smackfs", "sysfs", "tracefs"),
)
"""File systems that the kernel makes up; nobody's symbol files are there (proc(5), filesystems)."""


class Folders:
    """Walks through folders, and remembers what it could not look at.

    Attributes:
        reasons: why parts of what was asked for were not looked at.
    """

    def __init__(self) -> None:
        """Walk nowhere yet."""
        self.reasons: list[str] = []
        self._refused: dict[str, list[str]] = {}
        self._seen: set[tuple[int, int]] = set()
        self._unreal: set[int] | None = None

    def first_time(self, status: os.stat_result) -> bool:
        """Whether a file or folder was not met before, by whatever name."""
        identity = (status.st_dev, status.st_ino)
        if identity in self._seen:
            return False
        self._seen.add(identity)
        return True

    def files(self, folder: str) -> Iterator[str]:
        """Every file below a folder; what was walked before is passed over.

        File systems that the kernel makes up (/proc, /sys) are left out, but for the folder itself.
        """
        waiting = [(folder, 0)]
        while waiting:
            place, depth = waiting.pop()
            try:
                status = os.stat(place)
                if not self.first_time(status) or (depth and self._is_unreal(status.st_dev)):
                    continue
                with os.scandir(place) as rows:
                    entries = sorted(rows, key=lambda entry: entry.name)
            except OSError as error:
                self._refused.setdefault(error.strerror or str(error), []).append(place)
                continue
            folders = []
            for entry in entries:
                if _is_folder(entry):
                    folders.append((entry.path, depth + 1))
                else:
                    yield entry.path
            if folders and depth >= MAX_DEPTH:
                self.reasons.append(f"{place}: folders deeper than {MAX_DEPTH} are not searched")
            else:
                waiting += reversed(folders)

    def all_reasons(self) -> tuple[str, ...]:
        """Why the walk is not whole; folders that were refused alike are one reason."""
        refused = [
            f"{places[0]}{f' and {len(places) - 1} more folders' * (len(places) > 1)}: {reason}"
            for reason, places in self._refused.items()
        ]
        return (*refused, *self.reasons)

    def _is_unreal(self, device: int) -> bool:
        if self._unreal is None:
            self._unreal = unreal_devices()
        return device in self._unreal


def unreal_devices() -> set[int]:
    """The devices of file systems that the kernel makes up; none where it does not tell."""
    devices = set()
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                # 36 35 98:0 /root /mount rw,noatime - ext3 /dev/root rw (proc_pid_mountinfo(5))
                own, _, theirs = line.partition(" - ")
                words = own.split()
                if len(words) > 2 and theirs.split(" ")[0] in UNREAL:
                    major, _, minor = words[2].partition(":")
                    devices.add(os.makedev(int(major), int(minor)))
    except (OSError, ValueError):
        return devices
    return devices


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False
