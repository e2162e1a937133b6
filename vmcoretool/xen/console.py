"""The hypervisor's console ring, found without symbols, and what its lines tell.

From 4.1 on (Xen commit b5e0c9e2a3 (2010-04-22)) the ring lies in the direct map and two static
variables lead to it: ``conring``, a pointer, 8 bytes behind ``conring_size``, 32 bits
(xen/drivers/char/console.c).  The pair is looked for in the image's data; the text decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB, PAGE_SIZE, Maddr, Vaddr
from vmcoretool.errors import MemoryFault
from vmcoretool.paging.x86_64 import walk
from vmcoretool.xen.layouts import DIRECTMAPS
from vmcoretool.xen.search import image_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.memory import PhysicalMemory
    from vmcoretool.xen.image import Image

SEARCH_LIMIT: Final = MIB
RING_SIZES: Final = tuple(1 << bits for bits in range(14, 24))
_PREFIX: Final = b"(XEN) "
_NEW_BASE: Final = b"New Xen image base address: 0x"
_LOAD_BASE: Final = b"Xen image load base address: 0x"


class Ring(NamedTuple):
    """The console ring: its pointer's place in the image, its own place, and its bytes."""

    pointer: Vaddr
    maddr: Maddr
    data: bytes

    @property
    def text(self) -> bytes:
        """The ring's text; where it has wrapped, in the order of the buffer, not of time."""
        return self.data.replace(b"\0", b"")


def find_ring(memory: PhysicalMemory, image: Image, near: Vaddr) -> Ring | None:
    """The console ring of an image, or None where no pointer leads to one.

    Args:
        memory: of the dump.
        image: whose data pages are searched.
        near: where to start: the idle page table, near which .data lies in all versions.
    """
    for vaddr, block in image_blocks(memory, image, near, SEARCH_LIMIT):
        for at, pointer, start in _pointers(block):
            size = int.from_bytes(block[at - 8 : at - 4], "little")
            if size not in RING_SIZES:
                continue
            maddr = _machine(memory, image, pointer, start)
            try:
                data = memory.read(maddr, size)
            except MemoryFault:
                continue
            if _PREFIX in data:
                return Ring(Vaddr(vaddr + at), maddr, data)
    return None


def base_lines(ring: Ring) -> tuple[tuple[str, Maddr], ...]:
    """(line, address) of the lines that tell the image's base, the deciding one first.

    "New Xen image base address" is printed when Xen moved itself; "Xen image load base address"
    is final only where it did not, and 0 where the loader put Xen low (Xen commit b28044226e
    (2017-04-07) (in 4.9)).
    """
    for mark in (_NEW_BASE, _LOAD_BASE):
        if mark not in ring.text:
            continue
        found = [
            (line.decode("ascii", "backslashreplace"), Maddr(base))
            for line in ring.text.split(b"\n")
            if (base := _base_in(line, mark))
        ]
        if found:
            return tuple(found)
    return ()


def _base_in(line: bytes, mark: bytes) -> int:
    # The address, 0 for none, in a whole line of Xen's own, with or without a time stamp.
    if not line.startswith(_PREFIX):
        return 0
    said = line[len(_PREFIX) :]
    if said.startswith(b"["):
        said = said.partition(b"] ")[2]
    if not said.startswith(mark):
        return 0
    try:
        return int(said[len(mark) :].rstrip(b"\r"), 16) & (1 << 64) - 1
    except ValueError:
        return 0


def _pointers(block: bytes) -> Iterator[tuple[int, Vaddr, Vaddr]]:
    # (offset, value, start of direct map) of aligned words that point to a page of the direct map
    for _, start, _ in DIRECTMAPS:
        mark = (start >> 40).to_bytes(3, "little")
        at = block.find(mark, 13)
        while at >= 0:
            word = at - 5
            if word % 8 == 0:
                value = int.from_bytes(block[word : word + 8], "little")
                if value % PAGE_SIZE == 0:
                    yield word, Vaddr(value), start
            at = block.find(mark, at + 1)


def _machine(memory: PhysicalMemory, image: Image, pointer: Vaddr, start: Vaddr) -> Maddr:
    # The direct map is linear unless holes of a sparse machine are compressed; its tables know.
    try:
        return walk(memory, image.root, pointer).maddr
    except MemoryFault:
        return Maddr(pointer - start)
