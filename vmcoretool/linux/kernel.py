"""A Linux kernel seen through page tables: its release and build-id, without symbols.

x86_64 Linux maps its image in the gigabyte from __START_KERNEL_map on
(arch/x86/include/asm/page_64_types.h), KASLR included.  ``linux_banner`` and the section ``.notes``
(include/asm-generic/vmlinux.lds.h) are read-only data there; the vDSO's own notes are too, so the
kernel's build-id is the one that stands together with its Xen or Linux notes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB, PAGE_SIZE, Maddr, Vaddr
from vmcoretool.errors import MemoryFault
from vmcoretool.memory import x86_64
from vmcoretool.memory.paging import NX, PAGE_SIZE_BIT, PRESENT, Run, frame
from vmcoretool.memory.search import windows
from vmcoretool.memory.virtual import VirtualMemory
from vmcoretool.memory.x86_64 import leaves, slot_of
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vmcoretool.memory.physical import PhysicalMemory

START_KERNEL_MAP: Final = Vaddr(0xFFFF_FFFF_8000_0000)
SEARCH_LIMIT: Final = 64 * MIB
BANNER_SIZE: Final = 512
_BANNER: Final = re.compile(rb"Linux version (\d[!-~]{0,63}) \(")
MAX_MISSES: Final = 2560
"""Absent pages after which the search ends: the dump was filtered."""
_MARK: Final = b"Linux version "
_BUILD_ID: Final = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0"
_XEN_NOTE: Final = re.compile(rb"\x04\0\0\0.{4}[\0-\x20]\0\0\0Xen\0", re.DOTALL)
_NEAR: Final = 1024
_BLOCK: Final = 2 * MIB
_PIECE: Final = MIB // 2
_OVERLAP: Final = 4096


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
    banner: re.Match[bytes] | None = None
    line, place = b"", 0
    build_id: tuple[str, int] | None = None
    for vaddr, block in _image(memory, root):
        at = block.find(_MARK)  # much faster than the pattern
        while banner is None and at >= 0:
            line, place = block[at : at + BANNER_SIZE], vaddr + at
            # one that the piece cuts is whole in the next
            banner = _BANNER.match(line) if b"\n" in line or b"\0" in line else None
            at = block.find(_MARK, at + 1)
        if build_id is None:
            found = _build_id(block)
            build_id = (found[0], vaddr + found[1]) if found else None
        if banner and build_id:
            break
    if banner is None:
        return None
    note = build_id or (None, None)
    return Kernel(_text(line), banner[1].decode("ascii"), note[0], (place, note[1]))


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


def _image(memory: PhysicalMemory, root: Maddr) -> Iterator[tuple[int, bytes]]:
    # (vaddr, data) of what is mapped, in ascending order, code last; neighbours overlap a little.
    tail, end = b"", -1
    room, misses = SEARCH_LIMIT, MAX_MISSES * PAGE_SIZE
    for vaddr, entry in _blocks(memory, root):
        mapped = _runs(memory, vaddr, entry)
        size = sum(run.size for run in mapped)
        room -= size
        misses -= size
        for at, data, own in windows(memory, mapped, step=_PIECE, ahead=0):
            before = tail if at == end else b""
            yield at - len(before), before + data
            tail, end = data[-_OVERLAP:], at + own
            misses += own
        if room <= 0 or misses <= 0:
            return


def _blocks(memory: PhysicalMemory, root: Maddr) -> Iterator[tuple[int, int]]:
    # (vaddr, level 2 entry) of each 2 MiB that is mapped in the kernel image's gigabyte; what is
    # code is found out one by one, as the search nearly always ends soon behind it
    try:
        table = root
        for level in (4, 3):
            entry = memory.read_u64(Maddr(table + 8 * slot_of(START_KERNEL_MAP, level)))
            if not entry & PRESENT or entry & PAGE_SIZE_BIT:
                return
            table = frame(entry)
        entries = memory.read_table(table)
    except MemoryFault:
        return
    code: list[tuple[int, int]] = []
    for slot, entry in enumerate(entries):
        if entry & PRESENT:
            block = (START_KERNEL_MAP + slot * _BLOCK, entry)
            if not entry & NX and _first_is_code(memory, entry):
                code.append(block)
            else:
                yield block
    yield from code


def _first_is_code(memory: PhysicalMemory, entry: int) -> bool:
    if entry & PAGE_SIZE_BIT:
        return True
    try:
        first = memory.read_u64(frame(entry))
    except MemoryFault:
        return False
    return bool(first & PRESENT and not first & NX)


def _runs(memory: PhysicalMemory, vaddr: int, entry: int) -> list[Run]:
    if entry & PAGE_SIZE_BIT:
        return [Run(Vaddr(vaddr), Maddr(frame(entry) & -_BLOCK), _BLOCK)]
    try:
        return list(leaves(memory, frame(entry), 1, Vaddr(vaddr)).runs)
    except MemoryFault:
        return []


def _build_id(block: bytes) -> tuple[str, int] | None:
    # it, and where its note starts
    at = block.find(_BUILD_ID)
    while at >= 0:
        desc = block[at + 16 : at + 36]
        around = block[max(at - _NEAR, 0) : at + _NEAR]
        if len(desc) == 20 and any(desc) and _XEN_NOTE.search(around):
            return desc.hex(), at
        at = block.find(_BUILD_ID, at + 1)
    return None
