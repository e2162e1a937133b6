"""Linux's log by the shape of its ring in memory (5.10 and later): no VMCOREINFO is needed.

``printk_rb_static``, ``struct printk_ringbuffer`` of kernel/printk/printk_ringbuffer.h, is a
variable with a first value, so it lies in the image's .data whatever ring is in use; ``prb``, the
pointer to the ring in use, is defined beside it (kernel/printk/printk.c)::

    +0   count_bits   +8  descs   +16 infos   +24 head_id   +32 tail_id  [+40 last_finalized_*]
    +40 or +48   size_bits   +8 data   +16 head_lpos   +24 tail_lpos
    descriptor   state_var, begin, next            info   seq, ts_nsec, text_len, ...
    text block   its descriptor's id, then the text

A record is believed where its descriptor, its info and its text block name each other.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB
from vmcoretool.errors import MemoryFault
from vmcoretool.linux.image import FEW_MISSES, START_KERNEL_MAP, contents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vmcoretool.budget import Budget
    from vmcoretool.linux.image import Block
    from vmcoretool.memory.physical import PhysicalMemory

    Read = Callable[[int, int], bytes]

SEARCH_LIMIT: Final = 2 * MIB
"""Of .data; the ring of the kernels seen lies in the first half mebibyte."""
NEWEST: Final = 2048
OLDEST: Final = 512
"""Records that are read: what the kernel said last, and first."""
_COUNT_BITS: Final = (12, 13, 15, 14, 11, 16)
"""CONFIG_LOG_BUF_SHIFT less PRB_AVGBITS, 5: 17, 18 and 20 are what distributions use."""
_MOST_BITS: Final = 20
_AVERAGE_BITS: Final = 5
_SHAPE: Final = rb"%c\0{7}(?:.{6}\xff\xff){2}"
_RING_SIZE: Final = 88
_TEXT_AT: Final = (48, 40)
_BESIDE: Final = 512
_DESC: Final = struct.Struct("<3Q")
_INFO: Final = struct.Struct("<QQH")
_INFO_SIZES: Final = (88, 112, 120, 96, 104)
_ID_MASK: Final = (1 << 62) - 1
_COMMITTED: Final = (1, 2)
_NO_DATA: Final = 1
_ID_SIZE: Final = 8
_MOST_AT_ONCE: Final = MIB
_KERNEL_HALF: Final = 0xFFFF_8000_0000_0000
_NANOSECONDS: Final = 1_000_000_000


class Record(NamedTuple):
    """One message: nanoseconds since the kernel's clock began, and its text."""

    nanoseconds: int
    text: bytes

    @property
    def seconds(self) -> float:
        """The time stamp as dmesg shows it."""
        return self.nanoseconds / _NANOSECONDS


class Ring(NamedTuple):
    """Where the parts of a ring are, and which records are in it.

    Attributes:
        vaddr: of its ``struct printk_ringbuffer``.
        slots: of descriptors and of infos, a power of two.
        descs: address of the descriptors.
        infos: address of the infos.
        head: id of the newest record.
        tail: id of the oldest record.
        size: of the text in bytes, a power of two.
        data: address of the text.
    """

    vaddr: int
    slots: int
    descs: int
    infos: int
    head: int
    tail: int
    size: int
    data: int


def find_ring(
    memory: PhysicalMemory, blocks: Iterable[Block], read: Read, budget: Budget
) -> Ring | None:
    """The ring that a kernel uses, or None where none has the shape of one.

    Args:
        memory: of the dump.
        blocks: of the kernel's image.
        read: of the kernel's virtual memory; raises MemoryFault.
        budget: limits the search.
    """
    work = budget.work("searching the kernel's log", steps=4096)
    writable = (block for block in blocks if block.writable)
    for vaddr, data in contents(memory, writable, limit=SEARCH_LIMIT, misses=FEW_MISSES):
        for at in _candidates(data):
            if not work.go_on():
                return None
            ring = _parse(data[at : at + _RING_SIZE], vaddr + at)
            if ring is None or not _holds(ring, read):
                continue
            return _in_use(ring, read) or ring
    return None


def _candidates(data: bytes) -> Iterator[int]:
    for bits in _COUNT_BITS:
        for match in re.finditer(_SHAPE % bits, data, re.DOTALL):
            if not match.start() % 8:
                yield match.start()


def _parse(raw: bytes, vaddr: int) -> Ring | None:
    if len(raw) < _RING_SIZE:
        return None
    bits, descs, infos, head, tail = struct.unpack_from("<5Q", raw)
    if not 0 < bits <= _MOST_BITS:
        return None
    for at in _TEXT_AT:
        size_bits, data = struct.unpack_from("<QQ", raw, at)
        count = 1 << bits
        if (
            size_bits == bits + _AVERAGE_BITS
            and all(pointer >= _KERNEL_HALF for pointer in (descs, infos, data))
            and head <= _ID_MASK
            and (head - tail & _ID_MASK) < count
        ):
            return Ring(vaddr, count, descs, infos, head, tail, 1 << size_bits, data)
    return None


def _holds(ring: Ring, read: Read) -> bool:
    # whether the newest or the oldest record is one
    try:
        size = _info_size(ring, read)
        return any(
            next(_records(ring, read, number, 1, size), None) is not None
            for number in (ring.tail, ring.head - 1 & _ID_MASK, ring.head)
        )
    except MemoryFault:
        return False


def _in_use(static: Ring, read: Read) -> Ring | None:
    # the ring that a pointer beside the static one leads to, where that is another
    start = static.vaddr - _BESIDE
    try:
        words = struct.unpack(f"<{_BESIDE // 4}Q", read(start, 2 * _BESIDE))
    except MemoryFault:
        return None
    for word in words:
        if word <= START_KERNEL_MAP or word == static.vaddr or word % 8:
            continue
        try:
            ring = _parse(read(word, _RING_SIZE), word)
        except MemoryFault:
            continue
        if ring and _holds(ring, read):
            return ring
    return None


def read_records(ring: Ring, read: Read, budget: Budget) -> tuple[Record, ...]:
    """The newest and the oldest records of a ring, in the order of time.

    Raises:
        MemoryFault: a part of the ring is not in the dump.
    """
    count = (ring.head - ring.tail & _ID_MASK) + 1
    work = budget.work("reading the kernel's log", steps=NEWEST + OLDEST)
    size = _info_size(ring, read)
    if count <= NEWEST + OLDEST:
        parts = [(ring.tail, count)]
    else:
        parts = [(ring.tail, OLDEST), (ring.head - NEWEST + 1 & _ID_MASK, NEWEST)]
    found: list[Record] = []
    for first, length in parts:
        if work.go_on(length):
            found += _records(ring, read, first, length, size)
    return tuple(found)


def _info_size(ring: Ring, read: Read) -> int:
    # neighbours in the table have neighbouring numbers
    first = ring.tail % ring.slots
    if first + 3 > ring.slots:
        first = 0
    raw = read(ring.infos + first * _INFO_SIZES[0], 2 * _INFO_SIZES[0])
    seq, after = (_INFO.unpack_from(raw, at)[0] for at in (0, _INFO_SIZES[0]))
    if after - seq in (1, 1 - ring.slots):
        return _INFO_SIZES[0]
    for size in _INFO_SIZES[1:]:
        raw = read(ring.infos + first * size, 2 * size)
        seq, after = (_INFO.unpack_from(raw, at)[0] for at in (0, size))
        if after - seq == 1:
            return size
    return _INFO_SIZES[0]


def _records(ring: Ring, read: Read, first: int, length: int, size: int) -> Iterator[Record]:
    # of the ids from first on; what is not a whole record is left out
    numbers = [first + step & _ID_MASK for step in range(length)]
    descs = _slots(ring, read, ring.descs, _DESC.size, numbers)
    infos = _slots(ring, read, ring.infos, size, numbers)
    rows = []
    for step, number in enumerate(numbers):
        state, begin, behind = _DESC.unpack_from(descs, step * _DESC.size)
        if state & _ID_MASK == number and state >> 62 in _COMMITTED and not begin & _NO_DATA:
            _, stamp, text_size = _INFO.unpack_from(infos, step * size)
            start, end = begin % ring.size, behind % ring.size
            if start >= end and end:
                start = 0  # a block that does not fit before the ring's end starts at 0
            rows.append((number, stamp, start, text_size))
    if not rows:
        return
    low = min(row[2] for row in rows)
    high = min(max(row[2] + _ID_SIZE + row[3] for row in rows), ring.size)
    whole = read(ring.data + low, high - low) if high - low <= _MOST_AT_ONCE else None
    for number, stamp, start, text_size in rows:
        if whole is None:
            block = read(ring.data + start, min(_ID_SIZE + text_size, ring.size - start))
        else:
            block = whole[start - low : start - low + _ID_SIZE + text_size]
        if int.from_bytes(block[:_ID_SIZE], "little") & _ID_MASK == number:
            yield Record(stamp, block[_ID_SIZE:])


def _slots(ring: Ring, read: Read, table: int, width: int, numbers: list[int]) -> bytes:
    # the entries of consecutive ids, which may lie round the table's end
    first = numbers[0] % ring.slots
    before = min(len(numbers), ring.slots - first)
    data = read(table + first * width, before * width)
    rest = len(numbers) - before
    return data + read(table, rest * width) if rest else data
