"""The hypervisor's console ring, found without symbols, and what its lines tell.

From 4.1 on (Xen commit b5e0c9e2a3 ("console: Make initial static console buffer __initdata.")) the
ring lies in the direct map and two static variables lead to it: ``conring``, a pointer, beside
``conring_size``, 32 bits (xen/drivers/char/console.c): GCC puts the size 8 bytes before the pointer
in all builds seen, compilers that keep the order of the source behind it.  The pair is looked for
in the image's data; the text decides.  Pages of the ring that makedumpfile -d 1 left out were zero.
Before, the ring is an array in the image itself, of 16 KiB.

The ring's memory is not cleared before use: behind the text there may lie what a boot loader left.
``conringp`` counts the bytes ever written, and ``conringc`` follows it in memory; where the text
alone does not tell its end, that pair does.
"""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB, PAGE_SIZE, Maddr, Vaddr
from vmcoretool.errors import MemoryFault
from vmcoretool.memory.x86_64 import walk
from vmcoretool.xen.image.layouts import DIRECTMAPS
from vmcoretool.xen.search import BLOCK, image_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.xen.image.image import Image
    from vmcoretool.xen.space import XenSpace

SEARCH_LIMIT: Final = MIB
ARRAY_LIMIT: Final = 16 * MIB
ARRAY_SIZE: Final = 16_384
"""_CONRING_SIZE, and the size of the array before it had a name (xen/drivers/char/console.c)."""
RING_SIZES: Final = tuple(1 << bits for bits in range(14, 27))
_BESIDE: Final = (-8, 8, -4)
_PREFIX: Final = b"(XEN) "
_OWN: Final = (_PREFIX, *(b"(d%d" % digit for digit in range(10)))
_TEXT: Final = frozenset(b"\t\n\r\x1b" + bytes(range(0x20, 0x7F)))
_LONGEST: Final = max(map(len, _OWN))
_CLEARED: Final = 64
_FEW_LINES: Final = 4
_NEW_BASE: Final = b"New Xen image base address: 0x"
_LOAD_BASE: Final = b"Xen image load base address: 0x"


class Ring(NamedTuple):
    """The console ring: its pointer's place in the image or None, its own place, its bytes."""

    pointer: Vaddr | None
    maddr: Maddr
    data: bytes

    @property
    def text(self) -> bytes:
        """The ring's text; where it has wrapped, in the order of the buffer, not of time."""
        return self.data.replace(b"\0", b"")


class Console(NamedTuple):
    """The console's text in the order of time.

    Attributes:
        text: whole lines, and perhaps a last one that was not finished.
        wrapped: whether older lines are lost.
        basis: how the text's end was told.
    """

    text: bytes
    wrapped: bool
    basis: str

    @property
    def lines(self) -> tuple[bytes, ...]:
        """The lines, oldest first, without their ends."""
        return tuple(line.rstrip(b"\r") for line in self.text.removesuffix(b"\n").split(b"\n"))


def find_ring(memory: PhysicalMemory, image: Image, near: Vaddr) -> Ring | None:
    """The console ring of an image, or None where no pointer leads to one.

    Args:
        memory: of the dump.
        image: whose data pages are searched.
        near: where to start: the idle page table, near which .data lies in all versions.
    """
    for vaddr, block in image_blocks(memory, image, near, SEARCH_LIMIT):
        for at, pointer, start in _pointers(block):
            beside = (int.from_bytes(block[at + by :][:4], "little") for by in _BESIDE)
            size = next((size for size in beside if size in RING_SIZES), None)
            if size is None:
                continue
            maddr = _machine(memory, image, pointer, start)
            try:
                data = _with_zeros(memory, maddr, size)
            except MemoryFault:
                continue
            if _PREFIX in data:
                return Ring(Vaddr(vaddr + at), maddr, data)
    return _array_in_image(memory, image, near) if image.layout.array_conring else None


def _with_zeros(memory: PhysicalMemory, maddr: Maddr, size: int) -> bytes:
    # The bytes, with zeros for pages that were left out; MemoryFault for what was never there.
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


def read_console(memory: PhysicalMemory, image: Image, ring: Ring) -> Console:
    """The ring's text in the order of time.

    Args:
        memory: of the dump.
        image: the one whose ring it is: its counters may be needed.
        ring: from :func:`find_ring`.
    """
    data, size = ring.data, len(ring.data)
    nul = data.find(b"\0")
    cleared = nul >= 0 and not data[nul : nul + _CLEARED].strip(b"\0")
    if cleared and data.startswith(_OWN, data.rfind(b"\n", 0, max(nul - 1, 0)) + 1, nul):
        return Console(data[:nul], wrapped=False, basis="the rest of the ring was never written")
    printable = nul < 0
    # in a full ring, a line or its prefix may lie across the buffer's end
    ahead = data + data[:_LONGEST] if printable else data
    every = list(_line_ends(data, round_again=printable))
    ends = [at for at in every if not ahead.startswith(_OWN, at % size)]
    if printable and len(ends) == 1:
        basis = "the ring is full, and one line in it is cut by another's end"
        return _turned(data, ends[0] % size, basis)
    # no line is cut where the newest one ends just where an old one starts
    wanted = {*ends, nul} if nul >= 0 else set(ends or every)
    count = _bytes_written(memory, image, ring, wanted)
    if count is not None:
        basis = f"conringp says that {count} bytes were written"
        return (
            _turned(data, count % size, basis)
            if count >= size
            else Console(data[:count], wrapped=False, basis=basis)
        )
    if printable:
        return Console(data, wrapped=True, basis="where the newest line ends could not be told")
    # dom0's own console text (console_to_ring) has no prefix, and neither has a boot loader's
    last = max((end for end in ends if end <= nul), default=nul)
    basis = f"the last line of Xen's own; {nul - last} bytes behind it may not be Xen's"
    return Console(data[:last], wrapped=False, basis=basis)


def console_by_symbols(space: XenSpace, symbols: Mapping[str, Vaddr]) -> Console | None:
    """The console exactly, by the addresses of its variables; None where they are not all known.

    Raises:
        MemoryFault: a part is not in the dump.
    """
    if "conring" not in symbols or "conringp" not in symbols:
        return None
    start, size = int(symbols["conring"]), ARRAY_SIZE
    if "conring_size" in symbols:  # since 3.4: a pointer, before an array
        start, size = space.number(start), space.number(symbols["conring_size"], 4)
        if size not in RING_SIZES:
            return None
    written = space.number(symbols["conringp"], 4)
    if start % PAGE_SIZE:
        data = space.read(start, size)
    else:
        data = _with_zeros(space.memory, space.maddr(start), size)
    basis = f"conringp says that {written} bytes were written"
    if written < size:
        return Console(data[:written], wrapped=False, basis=basis)
    return _turned(data, written % size, basis)


def _turned(data: bytes, end: int, basis: str) -> Console:
    text = data[end:] + data[:end]
    # the oldest line is whole only where the newest one ended just at its start
    first = 0 if text.startswith(_OWN) else text.find(b"\n") + 1
    return Console(text[first:], wrapped=True, basis=basis)


def _line_ends(data: bytes, *, round_again: bool) -> Iterator[int]:
    # Where a line of Xen's own or of a guest's console ends; the newest text ends at one of them.
    turn = data.rfind(b"\n") + 1 if round_again else 0
    text = data[turn:] + data[:turn]
    start = 0
    while (end := text.find(b"\n", start)) >= 0:
        if text.startswith(_OWN, start):
            at = end + 1 + turn
            yield at if at <= len(data) else at - len(data)
        start = end + 1


def _bytes_written(memory: PhysicalMemory, image: Image, ring: Ring, ends: set[int]) -> int | None:
    # conringp and, behind it, conringc: what was read of it, at most the ring's size behind.  They
    # are variables without a first value, which lie behind those with one, as conring is.
    size, found = len(ring.data), set[int]()
    for run in image.runs:
        at = max(ring.pointer - run.vaddr, 0) & -PAGE_SIZE if ring.pointer is not None else 0
        while at < run.size:
            block = memory.read_some(run.maddr + at, min(MIB, run.size - at))
            found.update(_counters(block, size, ends))
            at += len(block) or PAGE_SIZE
    return found.pop() if len(found) == 1 else None


def _counters(block: bytes, size: int, ends: set[int]) -> Iterator[int]:
    words = array("I", block[: len(block) & -8])
    if sys.byteorder == "big":
        words.byteswap()
    mask = size - 1
    wanted = {end & mask for end in ends}
    for written, cleared in zip(words[::2], words[1::2], strict=True):
        if written & mask in wanted and written >= cleared >= written - size and written:
            full = written >= size
            if full or written in ends:
                yield written


def _array_in_image(memory: PhysicalMemory, image: Image, near: Vaddr) -> Ring | None:
    # The text stands in .bss.  A few lines in one text are no format strings.
    # The whole image is read where there is none: in large steps.
    for vaddr, block in image_blocks(memory, image, near, ARRAY_LIMIT, step=8 * BLOCK):
        at = block.find(_PREFIX)
        while at >= 0:
            maddr = image.maddr_of(vaddr + at)
            if maddr is None:
                break
            # the blocks come nearest first: this may be the text's middle
            start = maddr - _text_before(memory, maddr)
            data = _read_up_to(memory, Maddr(start), ARRAY_SIZE)
            text = data[: _text_end(data)]
            if text.count(_PREFIX) >= _FEW_LINES:
                return Ring(None, Maddr(start), text.ljust(ARRAY_SIZE, b"\0"))
            at = block.find(_PREFIX, at + max(start + len(text) - maddr, 1))
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
    for at in range(len(data) - 1, -1, -1):
        if data[at] not in _TEXT:
            return at + 1
    return 0


def _text_end(data: bytes) -> int:
    for at, byte in enumerate(data):
        if byte not in _TEXT:
            return at
    return len(data)


def base_lines(ring: Ring) -> tuple[tuple[str, Maddr], ...]:
    """(line, address) of the lines that tell the image's base, the deciding one first.

    "New Xen image base address" is printed when Xen moved itself; "Xen image load base address"
    is final only where it did not, and 0 where the loader put Xen low (Xen commit b28044226e
    ("x86: make Xen early boot code relocatable") (in 4.9)).
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
