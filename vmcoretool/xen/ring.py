"""The hypervisor's console ring, found without symbols.

From 4.1 on (Xen commit b5e0c9e2a3 ("console: Make initial static console buffer __initdata.")) the
ring lies in the direct map and two static variables lead to it: ``conring``, a pointer, beside
``conring_size``, 32 bits (xen/drivers/char/console.c): GCC puts the size 8 bytes before the pointer
in all builds seen, compilers that keep the order of the source behind it.  The pair is looked for
in the image's data; the text decides.  Pages of the ring that makedumpfile -d 1 left out were zero.
Before, the ring is an array in the image itself, of 16 KiB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB, PAGE_SIZE, Maddr, Vaddr
from vmcoretool.errors import MemoryFault
from vmcoretool.memory.x86_64 import walk
from vmcoretool.xen.image.layouts import DIRECTMAPS
from vmcoretool.xen.search import BLOCK, image_windows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.budget import Budget
    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.memory.search import Window
    from vmcoretool.xen.image.image import Image

SEARCH_LIMIT: Final = MIB
ARRAY_LIMIT: Final = 16 * MIB
ARRAY_SIZE: Final = 16_384
"""_CONRING_SIZE, and the size of the array before it had a name (xen/drivers/char/console.c)."""
RING_SIZES: Final = tuple(1 << bits for bits in range(14, 27))
PREFIX: Final = b"(XEN) "
_READ_LIMIT: Final = 4 * RING_SIZES[-1]
_ARRAY_TRIES: Final = 1 << 16
_BESIDE: Final = (-8, 8, -4)
_PAIR: Final = 8
_TEXT: Final = b"\t\n\r\x1b" + bytes(range(0x20, 0x7F))
_FEW_LINES: Final = 4


class Ring(NamedTuple):
    """The console ring: its pointer's place in the image or None, its own place, its bytes."""

    pointer: Vaddr | None
    maddr: Maddr
    data: bytes

    @property
    def text(self) -> bytes:
        """The ring's text; where it has wrapped, in the order of the buffer, not of time."""
        return self.data.replace(b"\0", b"")


def find_ring(memory: PhysicalMemory, image: Image, near: Vaddr, budget: Budget) -> Ring | None:
    """The console ring of an image, or None where no pointer leads to one.

    Args:
        memory: of the dump.
        image: whose data pages are searched.
        near: where to start: the idle page table, near which .data lies in all versions.
        budget: of the dump.
    """
    work = budget.work("reading what may be the console ring", size=_READ_LIMIT)
    tried: set[tuple[Vaddr, int]] = set()
    for window in image_windows(memory, image, near, SEARCH_LIMIT):
        for at, pointer, start in _pointers(window):
            size = _size_beside(window.data, at)
            if size is None or (pointer, size) in tried:
                continue
            tried.add((pointer, size))
            if not work.go_on(size=size):
                return None
            maddr = _machine(memory, image, pointer, start)
            try:
                data = read_with_zeros(memory, maddr, size)
            except MemoryFault:
                continue
            if PREFIX in data:
                return Ring(Vaddr(window.at + at), maddr, data)
    return _array_in_image(memory, image, near, budget) if image.layout.array_conring else None


def _size_beside(data: bytes, at: int) -> int | None:
    # a ring's size that stands where compilers put conring_size
    for by in _BESIDE:
        size = int.from_bytes(data[at + by : at + by + 4], "little") if at + by >= 0 else 0
        if size in RING_SIZES:
            return size
    return None


def read_with_zeros(memory: PhysicalMemory, maddr: Maddr, size: int) -> bytes:
    """Exactly ``size`` bytes, with zeros for pages that were left out.

    Raises:
        MemoryFault: a page was never there.
    """
    try:
        return memory.read(maddr, size)
    except MemoryFault:
        pages = []
        for at in range(maddr, maddr + size, PAGE_SIZE):
            try:
                pages.append(memory.read(Maddr(at), PAGE_SIZE))
            except MemoryFault as error:
                if not error.excluded:
                    raise
                pages.append(bytes(PAGE_SIZE))
        return b"".join(pages)


def _pointers(window: Window) -> Iterator[tuple[int, Vaddr, Vaddr]]:
    # (offset, value, start of direct map) of aligned words that point to a page of the direct map;
    # also of the first word behind the window's own bytes: its size may be the last of these
    block = window.data[: window.own + _PAIR]
    for _, start, _ in DIRECTMAPS:
        mark = (start >> 40).to_bytes(3, "little")
        at = block.find(mark, 5)
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


def _array_in_image(
    memory: PhysicalMemory, image: Image, near: Vaddr, budget: Budget
) -> Ring | None:
    # The text stands in .bss.  A few lines in one text are no format strings.
    # The whole image is read where there is none: in large steps.
    work = budget.work("looking for the console ring in the image", steps=_ARRAY_TRIES)
    for window in image_windows(memory, image, near, ARRAY_LIMIT, step=8 * BLOCK):
        behind = 0
        for at in window.find(PREFIX):
            maddr = image.maddr_of(window.at + at)
            if maddr is None:
                break
            if at < behind:
                continue
            if not work.go_on():
                return None
            # the blocks come nearest first: this may be the text's middle
            start = maddr - _text_before(memory, maddr)
            data = _read_up_to(memory, Maddr(start), ARRAY_SIZE)
            text = data[: _text_end(data)]
            if text.count(PREFIX) >= _FEW_LINES:
                return Ring(None, Maddr(start), text.ljust(ARRAY_SIZE, b"\0"))
            behind = at + max(start + len(text) - maddr, 1)
    return None


def _text_before(memory: PhysicalMemory, maddr: Maddr) -> int:
    # How many bytes before ``maddr`` are text, and present, up to the ring's size.
    at = int(maddr)
    while maddr - at < ARRAY_SIZE and at:
        low = (at - 1) & -PAGE_SIZE
        page = memory.read_some(low, at - low)
        if len(page) < at - low:
            break
        start = _text_start(page)
        at = low + start
        if start:
            break
    return min(maddr - at, ARRAY_SIZE)


def _read_up_to(memory: PhysicalMemory, maddr: Maddr, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := memory.read_some(maddr + len(data), size - len(data))):
        data += piece
    return data


def _text_start(data: bytes) -> int:
    # Where the text that ends with ``data`` starts.
    return len(data.rstrip(_TEXT))


def _text_end(data: bytes) -> int:
    return len(data) - len(data.lstrip(_TEXT))
