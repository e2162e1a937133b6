"""What an image still holds of the notes that a dump's headers lack.

VMCOREINFO_XEN is written into a static array of the image, note header included
(xen/common/kexec.c, Xen commit 65ce603cc1 ("extract vmcoreinfo from /proc/vmcore for Xen") (in
3.3)), and the version banner into the console ring, which lies in the image up to 3.4.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB, FileOffset, Maddr
from vmcoretool.budget import NO_LIMIT
from vmcoretool.memory.search import machine_runs, windows
from vmcoretool.notes.elf_note import Note
from vmcoretool.notes.vmcoreinfo import VmcoreInfo, parse_vmcoreinfo
from vmcoretool.xen.search import SCAN, image_windows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.budget import Budget
    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.memory.search import Window
    from vmcoretool.xen.image.image import Image

SEARCH_LIMIT: Final = 32 * MIB
_VERSION: Final = re.compile(rb"Xen version (\d{1,3})\.(\d{1,3})([!-~]{0,40}) \(")
_OWNER: Final = "VMCOREINFO_XEN"
_MARK: Final = b"VMCOREINFO_XEN\0\0PAGESIZE="
_HEADER: Final = struct.Struct("<III")
_TEXT: Final = 28
_ARRAY: Final = 4096
"""Bytes of the array, header included."""


class ImageNotes(NamedTuple):
    """Found in memory instead of in notes.

    Attributes:
        vmcoreinfo: VMCOREINFO_XEN from its array in the image, or None.
        version: major, minor and extra version from a banner, or None.
    """

    vmcoreinfo: VmcoreInfo | None = None
    version: tuple[int, int, str] | None = None


def find_version(text: bytes) -> tuple[int, int, str] | None:
    """Major, minor and extra version from the banner line "Xen version ...", if there is one."""
    match = _VERSION.search(text)
    if match is None:
        return None
    return int(match[1]), int(match[2]), match[3].decode("ascii")


def find_image_notes(memory: PhysicalMemory, image: Image) -> ImageNotes:
    """Search the pages of one image; nothing outside it is believed."""
    vmcoreinfo: VmcoreInfo | None = None
    version: tuple[int, int, str] | None = None
    for window in image_windows(memory, image, image.runs[-1].vaddr, SEARCH_LIMIT):
        version = version or find_version(window.data)
        vmcoreinfo = vmcoreinfo or next(_vmcoreinfos(window), (0, None))[1]
        if vmcoreinfo and version:
            break
    return ImageNotes(vmcoreinfo, version)


def find_text(memory: PhysicalMemory, budget: Budget, allowance: int = NO_LIMIT) -> Maddr | None:
    """Where in all memory a VMCOREINFO_XEN note stands; the last resort, it proves nothing.

    Args:
        memory: of the dump.
        budget: its caller may end the search.
        allowance: how many bytes are looked at.
    """
    runs = machine_runs(memory)
    total = sum(run.size for run in runs)
    work = budget.work(SCAN, size=allowance)
    done = 0
    for window in windows(memory, runs, work, ahead=_ARRAY):
        for at, _ in _vmcoreinfos(window):
            return Maddr(window.at + at)
        done += window.own
        if not work.progress(done, total):
            return None
    return None


def _vmcoreinfos(window: Window) -> Iterator[tuple[int, VmcoreInfo]]:
    # the notes that start in a window, and where
    for at in window.find(_MARK, _HEADER.size):
        namesz, descsz, kind = _HEADER.unpack_from(window.data, at)
        desc = window.data[at + _TEXT : at + min(_TEXT + descsz, _ARRAY)]
        if (namesz, kind) == (len(_OWNER) + 1, 0):
            note = Note(
                owner=_OWNER,
                type=0,
                desc=desc,
                offset=FileOffset(0),
                desc_offset=FileOffset(_TEXT),
                complete=len(desc) == descsz,
            )
            yield at, parse_vmcoreinfo(note)
