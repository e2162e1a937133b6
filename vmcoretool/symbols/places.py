"""Where symbol files are looked for, and by what names in the folders of a system."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

STANDARD: Final = (
    "/boot",
    "/usr/lib/debug",
    "/usr/lib/debug/boot",
    "/usr/lib/debug/lib/modules/*",
    "/usr/lib/debug/usr/lib/modules/*",
    "/usr/share/xen",
)
"""Folders where distributions put them: Debian, Ubuntu, Fedora, RHEL, SUSE, XCP-ng, Gentoo."""
BUILD_ID_FOLDERS: Final = ("/usr/lib/debug/.build-id",)
_STARTS: Final = ("xen-syms", "vmlinux")
_ENDS: Final = (".debug", ".efi.elf", ".map")


class Places(NamedTuple):
    """Where to look; as it stands, in the usual places of this system.

    Attributes:
        xen_syms: files or folders named for the hypervisor.
        vmlinux: likewise for Linux.
        search: folders to search for either.
        standard: folders of this system; a "*" stands for each folder there.
        build_ids: folders with links named by build-id, as ``xx/yyyy.debug``.
        debuginfod: whether servers may be asked for what is nowhere else.
    """

    xen_syms: tuple[str, ...] = ()
    vmlinux: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    standard: tuple[str, ...] = STANDARD
    build_ids: tuple[str, ...] = BUILD_ID_FOLDERS
    debuginfod: bool = False

    @property
    def promising(self) -> bool:
        """Whether a symbol file may be there, links by build-id apart; nothing is opened."""
        return bool(
            self.xen_syms
            or self.vmlinux
            or self.search
            or self.debuginfod
            or any(self.usual_files())
        )

    def check(self) -> None:
        """Make sure that each file that was named is there; folders to search may be missing.

        Raises:
            OSError: one is not.
        """
        for path in (*self.xen_syms, *self.vmlinux):
            os.stat(path)

    def links(self, build_id: str) -> tuple[str, ...]:
        """Files that links named by a build-id lead to, as distributions and gdb have them."""
        names = [f"{folder}/{build_id[:2]}/{build_id[2:]}.debug" for folder in self.build_ids]
        return tuple(os.path.realpath(name) for name in names if os.path.exists(name))

    def usual_files(self) -> Iterator[str]:
        """Files of this system's folders that are called as symbol files are."""
        for pattern in self.standard:
            parent, star, _ = pattern.partition("/*")
            for folder in [f"{parent}/{name}" for name in _names(parent)] if star else [pattern]:
                yield from (f"{folder}/{name}" for name in _names(folder) if is_symbol_name(name))


USUAL_PLACES: Final = Places()
"""What is looked at where nobody says anything else."""


def is_symbol_name(path: str) -> bool:
    """Whether a file is called as distributions call symbol files."""
    name = path.rpartition("/")[2]
    if name.startswith(_STARTS):
        return True
    return name.endswith(_ENDS) and (name.startswith("xen-") or name.endswith(".debug"))


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
