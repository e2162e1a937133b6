"""A Linux kernel seen through page tables: its release and build-id, without symbols.

x86_64 Linux maps its image in the gigabyte from __START_KERNEL_map on
(arch/x86/include/asm/page_64_types.h), KASLR included.  ``linux_banner`` and the section ``.notes``
(include/asm-generic/vmlinux.lds.h) are read-only data there; the vDSO's own notes are too, so the
kernel's build-id is the one that stands together with its Xen or Linux notes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.errors import MemoryFault
from vmcoretool.linux.image import contents, data_first, kernel_blocks
from vmcoretool.memory import x86_64
from vmcoretool.memory.virtual import VirtualMemory
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmcoretool.addresses import Maddr
    from vmcoretool.memory.physical import PhysicalMemory

BANNER_SIZE: Final = 512
_BANNER: Final = re.compile(rb"Linux version (\d[!-~]{0,63}) \(")
_MARK: Final = b"Linux version "
_BUILD_ID: Final = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0"
_XEN_NOTE: Final = re.compile(rb"\x04\0\0\0.{4}[\0-\x20]\0\0\0Xen\0", re.DOTALL)
_NEAR: Final = 1024


class Kernel(NamedTuple):
    """A kernel image.

    Attributes:
        banner: ``linux_banner`` without its newline, printable.
        release: as ``uname -r`` says.
        build_id: lower-case hexadecimal, or None where its note is not in the dump.
        places: kernel virtual addresses of the banner and of the build-id's note.
    """

    banner: str
    release: str
    build_id: str | None
    places: tuple[int, int | None]


def find_kernel(memory: PhysicalMemory, root: Maddr, like: Iterable[Kernel] = ()) -> Kernel | None:
    """The kernel that a level 4 table maps, or None where it maps none or its banner is absent.

    Args:
        memory: of the dump.
        root: the table.
        like: kernels of other guests; most hosts run one kernel everywhere, at one address, and
            where it is the same there is no need to search.
    """
    for other in like:
        if _is_there(memory, root, other):
            return other
    banner: _Banner | None = None
    build_id: tuple[str, int] | None = None
    for vaddr, block in contents(memory, data_first(kernel_blocks(memory, root))):
        banner = banner or _find_banner(block, vaddr)
        build_id = build_id or _build_id(block, vaddr)
        if banner and build_id:
            break
    if banner is None:
        return None
    note = build_id or (None, None)
    return Kernel(banner.text, banner.release, note[0], (banner.vaddr, note[1]))


class _Banner(NamedTuple):
    vaddr: int
    text: str
    release: str


def _find_banner(block: bytes, vaddr: int) -> _Banner | None:
    at = block.find(_MARK)  # much faster than the pattern
    while at >= 0:
        line = block[at : at + BANNER_SIZE]
        # one that the piece cuts is whole in the next
        match = _BANNER.match(line) if b"\n" in line or b"\0" in line else None
        if match:
            return _Banner(vaddr + at, _text(line), match[1].decode("ascii"))
        at = block.find(_MARK, at + 1)
    return None


def _text(line: bytes) -> str:
    return printable(line.split(b"\n")[0].split(b"\0")[0])


def _is_there(memory: PhysicalMemory, root: Maddr, kernel: Kernel) -> bool:
    # Whether the same banner and the same build-id stand at the same addresses.
    banner, note = kernel.places
    if note is None or kernel.build_id is None:
        return False
    try:
        space = VirtualMemory(memory, root, x86_64)
        line = space.read(banner, BANNER_SIZE)
        data = space.read(note, len(_BUILD_ID) + len(kernel.build_id) // 2)
    except MemoryFault:
        return False
    return _text(line) == kernel.banner and data == _BUILD_ID + bytes.fromhex(kernel.build_id)


def _build_id(block: bytes, vaddr: int) -> tuple[str, int] | None:
    # it, and where its note starts
    at = block.find(_BUILD_ID)
    while at >= 0:
        desc = block[at + 16 : at + 36]
        around = block[max(at - _NEAR, 0) : at + _NEAR]
        if len(desc) == 20 and any(desc) and _XEN_NOTE.search(around):
            return desc.hex(), vaddr + at
        at = block.find(_BUILD_ID, at + 1)
    return None
