"""The console's text in the order of time, and what its lines show.

The ring's memory is not cleared before use: behind the text there may lie what a boot loader left.
``conringp`` counts the bytes ever written, and ``conringc`` follows it in memory; where the text
alone does not tell its end, that pair does.
"""

from __future__ import annotations

import re
from array import array
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB, PAGE_SIZE, Maddr, Vaddr
from vmcoretool.memory.paging import Run
from vmcoretool.memory.search import windows, words
from vmcoretool.xen.ring import ARRAY_SIZE, PREFIX, RING_SIZES, read_with_zeros

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.memory.search import Window
    from vmcoretool.xen.image.image import Image
    from vmcoretool.xen.ring import Ring
    from vmcoretool.xen.space import XenSpace

COUNTERS_LIMIT: Final = 64 * MIB
"""Bytes of an image, its .bss included; no Xen comes near it."""
MAX_LINES: Final = 1 << 19
"""A ring of 16 MiB has some 300,000."""
_PAIR: Final = 8
_OWN: Final = (PREFIX, *(b"(d%d" % digit for digit in range(10)))
_OWN_LINE: Final = re.compile(rb"^(?:\(XEN\) |\(d[0-9])[^\n]*\n", re.MULTILINE)
_LONGEST: Final = max(map(len, _OWN))
_CLEARED: Final = 64
_REACH: Final = 256  # of a line that shows a base
_MAX_BASES: Final = 64
_NEW_BASE: Final = b"New Xen image base address: 0x"
_LOAD_BASE: Final = b"Xen image load base address: 0x"


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
        """The lines, oldest first, without their ends; of more than MAX_LINES the newest."""
        parts = self.text.removesuffix(b"\n").rsplit(b"\n", MAX_LINES)
        return tuple(line.rstrip(b"\r") for line in parts[-MAX_LINES:])

    @property
    def lines_left_out(self) -> int:
        """How many lines there are besides :attr:`lines`."""
        return max(self.text.removesuffix(b"\n").count(b"\n") + 1 - MAX_LINES, 0)


def read_console(memory: PhysicalMemory, image: Image, ring: Ring) -> Console:
    """The ring's text in the order of time.

    Args:
        memory: of the dump.
        image: the one whose ring it is: its counters may be needed.
        ring: from :func:`vmcoretool.xen.ring.find_ring`.
    """
    data, size = ring.data, len(ring.data)
    nul = data.find(b"\0")
    cleared = nul >= 0 and not data[nul : nul + _CLEARED].strip(b"\0")
    if cleared and data.startswith(_OWN, data.rfind(b"\n", 0, max(nul - 1, 0)) + 1, nul):
        return Console(data[:nul], wrapped=False, basis="the rest of the ring was never written")
    printable = nul < 0
    # in a full ring, a line or its prefix may lie across the buffer's end
    every = array("I", islice(_line_ends(data, round_again=printable), MAX_LINES + 1))
    if len(every) > MAX_LINES:
        basis = f"where the newest line ends could not be told: more than {MAX_LINES} lines"
        return Console(data if printable else data[:nul], wrapped=printable, basis=basis)
    ends = [at for at in every if not _is_own(data, at % size, round_again=printable)]
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
        data = read_with_zeros(space.memory, space.maddr(start), size)
    basis = f"the symbols conring and conringp: {written} bytes were written"
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
    start = 0
    if round_again and (turn := data.rfind(b"\n") + 1):
        start = data.find(b"\n") + 1
        if _is_own(data, turn, round_again=True):
            yield start
    for line in _OWN_LINE.finditer(data, start):
        yield line.end()


def _is_own(data: bytes, at: int, *, round_again: bool) -> bool:
    # whether a line of Xen's own or of a guest's console starts there
    if data.startswith(_OWN, at):
        return True
    across = round_again and at + _LONGEST > len(data)
    return across and (data[at:] + data[:_LONGEST]).startswith(_OWN)


def _bytes_written(memory: PhysicalMemory, image: Image, ring: Ring, ends: set[int]) -> int | None:
    # conringp and, behind it, conringc: what was read of it, at most the ring's size behind.  They
    # are variables without a first value, which lie behind those with one, as conring is.
    size, found = len(ring.data), set[int]()
    runs = list(_runs_behind(image, ring.pointer))
    if sum(run.size for run in runs) > COUNTERS_LIMIT:
        return None
    for window in windows(memory, runs, ahead=_PAIR):
        found.update(_counters(window, size, ends))
    return found.pop() if len(found) == 1 else None


def _runs_behind(image: Image, pointer: Vaddr | None) -> Iterator[Run]:
    # the image from the pointer's page on, all of it where there is none
    for run in image.runs:
        skip = max(pointer - run.vaddr, 0) & -PAGE_SIZE if pointer is not None else 0
        if skip < run.size:
            yield Run(Vaddr(run.vaddr + skip), Maddr(run.maddr + skip), run.size - skip)


def _counters(window: Window, size: int, ends: set[int]) -> Iterator[int]:
    # the pairs of 32-bit numbers that start in the window
    numbers = words(window.data[: window.own + _PAIR - 4], "I")
    mask = size - 1
    wanted = {end & mask for end in ends}
    behind = -1
    for at, written in enumerate(numbers[:-1]):
        if not written or written & mask not in wanted:
            continue
        if not written >= numbers[at + 1] >= written - size:
            continue
        # conringc and the word behind it are no pair of their own
        if (written >= size or written in ends) and at != behind:
            behind = at + 1
            yield written


def base_lines(ring: Ring) -> tuple[tuple[str, Maddr], ...]:
    """(line, address) of the lines that show the image's base, as they stand in the ring.

    The last one decides: the memory of the ring may hold an older boot's text.

    "New Xen image base address" is printed when Xen moved itself; "Xen image load base address"
    is final only where it did not, and 0 where the loader put Xen low (Xen commit b28044226e
    ("x86: make Xen early boot code relocatable") (in 4.9)).
    """
    text = ring.text
    for mark in (_NEW_BASE, _LOAD_BASE):
        found = deque[tuple[str, Maddr]](maxlen=_MAX_BASES)
        at = text.find(mark)
        while at >= 0:
            line = _line_around(text, at)
            if base := _base_in(line, mark):
                found.append((line.decode("ascii", "backslashreplace"), Maddr(base)))
            at = text.find(mark, at + 1)
        if found:
            return tuple(found)
    return ()


def _line_around(text: bytes, at: int) -> bytes:
    start, end = max(at - _REACH, 0), at + _REACH
    return text[start:at].rpartition(b"\n")[2] + text[at:end].partition(b"\n")[0]


def _base_in(line: bytes, mark: bytes) -> int:
    # The address, 0 for none, in a whole line of Xen's own, with or without a time stamp.
    if not line.startswith(PREFIX):
        return 0
    said = line[len(PREFIX) :]
    if said.startswith(b"["):
        said = said.partition(b"] ")[2]
    if not said.startswith(mark):
        return 0
    try:
        return int(said[len(mark) :].rstrip(b"\r"), 16) & (1 << 64) - 1
    except ValueError:
        return 0
