"""What an image still holds of the notes that a dump's headers lack.

VMCOREINFO_XEN is written into a static array of the image, note header included
(xen/common/kexec.c, Xen commit 65ce603cc1 ("extract vmcoreinfo from /proc/vmcore for Xen") (in
3.3)), and the version banner into the console ring, which lies in the image up to 3.4.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB, FileOffset, Maddr
from vmcoretool.notes.elf_note import walk_notes
from vmcoretool.notes.vmcoreinfo import VmcoreInfo, parse_vmcoreinfo
from vmcoretool.xen.search import SCAN, SCAN_BLOCK, image_blocks

if TYPE_CHECKING:
    from vmcoretool.budget import Budget
    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.xen.image.image import Image

SEARCH_LIMIT: Final = 32 * MIB
_OWNER: Final = b"VMCOREINFO_XEN\0"
_VERSION: Final = re.compile(rb"Xen version (\d{1,3})\.(\d{1,3})([!-~]{0,40}) \(")
_HEADER_SIZE: Final = 12


class Traces(NamedTuple):
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


def find_traces(memory: PhysicalMemory, image: Image) -> Traces:
    """Search the pages of one image; nothing outside it is believed."""
    vmcoreinfo: VmcoreInfo | None = None
    version: tuple[int, int, str] | None = None
    for _, block in image_blocks(memory, image, image.runs[-1].vaddr, SEARCH_LIMIT):
        version = version or find_version(block)
        at = block.find(_OWNER, _HEADER_SIZE)
        while at >= 0 and vmcoreinfo is None:
            vmcoreinfo = _vmcoreinfo(block[at - _HEADER_SIZE :])
            at = block.find(_OWNER, at + 1)
        if vmcoreinfo and version:
            break
    return Traces(vmcoreinfo, version)


def find_text(memory: PhysicalMemory, budget: Budget) -> Maddr | None:
    """Where in all memory a VMCOREINFO_XEN note stands; the last resort, it proves nothing.

    Args:
        memory: of the dump.
        budget: its caller may end the search.
    """
    extents = list(memory.pages.stored())
    total = sum(extent.end - extent.start for extent in extents)
    work = budget.work(SCAN)
    done = 0
    for extent in extents:
        at = int(extent.start)
        while at < extent.end and work.progress(done, total):
            block = memory.read_some(at, min(SCAN_BLOCK, extent.end - at))
            found = block.find(_OWNER, _HEADER_SIZE)
            while found >= 0:
                if _vmcoreinfo(block[found - _HEADER_SIZE :]):
                    return Maddr(at + found - _HEADER_SIZE)
                found = block.find(_OWNER, found + 1)
            at += len(block) or SCAN_BLOCK
            done += len(block) or SCAN_BLOCK
    return None


def _vmcoreinfo(raw: bytes) -> VmcoreInfo | None:
    notes, _ = walk_notes(raw[:8192], FileOffset(0), "little")
    if notes and notes[0].owner == "VMCOREINFO_XEN" and notes[0].desc.startswith(b"PAGESIZE="):
        return parse_vmcoreinfo(notes[0])
    return None
