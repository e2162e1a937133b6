"""Linux's log in memory, by what its VMCOREINFO says of it.

Three forms, told by the symbols that are there (kernel/printk/):

* ``prb``, 5.10 and later: a ring of descriptors, a ring of infos, and a ring of text
  (printk_ringbuffer.h);
* ``log_first_idx``, 3.5 to 5.9: records one behind the other in ``log_buf``;
* ``log_end`` before: ``log_buf`` is a ring of bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import MIB
from vmcoretool.budget import Budget
from vmcoretool.errors import LogError, MemoryFault
from vmcoretool.memory import x86_64
from vmcoretool.memory.virtual import VirtualMemory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.addresses import Maddr
    from vmcoretool.budget import Work
    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.notes.vmcoreinfo import VmcoreInfo

Read = Callable[[int, int], bytes]
"""Reads virtual memory: address and size."""
MAX_LOG: Final = 64 * MIB
MAX_BITS: Final = 24
MAX_LINES: Final = 1 << 20
MAX_ROW: Final = 4096
MAX_TEXT: Final = 1 << 16
_ROWS: Final = 1024
_WORD: Final = 8
_LEVEL: Final = rb"<\d{1,3}>"
_READABLE: Final = (1, 2)
"""desc_committed and desc_finalized."""
_NO_DATA: Final = 1
_MICROSECOND: Final = 1000
_MICROSECONDS: Final = 1_000_000


def kernel_reader(memory: PhysicalMemory, root: Maddr) -> Read:
    """Reads a guest kernel's virtual memory through a level 4 table.

    The reader raises MemoryFault where nothing is mapped or a page is not in the dump.
    """
    return VirtualMemory(memory, root, x86_64).read


def log_lines(
    info: VmcoreInfo, read: Read, word_size: int = _WORD, budget: Budget | None = None
) -> Iterator[bytes]:
    """The log's lines, oldest first, each with the time stamp that ``dmesg`` prints.

    Args:
        info: Linux's VMCOREINFO.
        read: of the kernel's virtual memory.
        word_size: of the kernel: 8, or 4 bytes for a 32-bit one.
        budget: of the dump; default: one of its own.

    Raises:
        LogError: VMCOREINFO does not describe a log, or its parts are not in the dump.
    """
    work = (budget or Budget()).work("Linux's log", steps=MAX_LINES)
    fields = _Fields(info, read, word_size)
    try:
        if info.symbol("prb") is not None:
            yield from _Ring(fields).lines(work)
        elif info.symbol("log_first_idx") is not None:
            yield from _records(fields, work)
        elif info.symbol("log_end") is not None:
            yield from _bytes(fields, work)
        else:
            raise LogError("VMCOREINFO names no log: neither prb, log_first_idx nor log_end")
    except MemoryFault as error:
        raise LogError(f"the log is not in the dump: {error}") from error


class _Fields:
    # sizes and offsets by their VMCOREINFO names
    def __init__(self, info: VmcoreInfo, read: Read, word_size: int) -> None:
        self.info = info
        self.read = read
        self.word = word_size

    def symbol(self, name: str) -> int:
        return self._need(self.info.symbol(name), f"SYMBOL({name})")

    def size(self, name: str) -> int:
        return self._need(self.info.size(name), f"SIZE({name})")

    def offset(self, name: str) -> int:
        return self._need(self.info.offset(name), f"OFFSET({name})")

    def number(self, vaddr: int, size: int | None = None) -> int:
        size = self.word if size is None else size
        return int.from_bytes(self.read(vaddr, size), "little")

    def member(self, struct: int, name: str, size: int | None = None) -> int:
        return self.number(struct + self.offset(name), size)

    @staticmethod
    def _need(value: int | None, key: str) -> int:
        if value is None:
            raise LogError(f"VMCOREINFO lacks {key}")
        return value


def _within(value: int, limit: int, what: str) -> int:
    if not 0 < value <= limit:
        raise LogError(f"the log's {what} is {value}, which no kernel has")
    return value


# --- 5.10 and later ---------------------------------------------------------------------------


class _Ring:
    # a ring of descriptors, one of infos beside it, and one of text

    def __init__(self, fields: _Fields) -> None:
        self._word = fields.word
        # prb_desc.state_var: the two highest bits are the state, the rest is the id
        self._state_shift = 8 * fields.word - 2
        self._id_mask = (1 << self._state_shift) - 1
        ring = fields.number(fields.symbol("prb"))
        descs = ring + fields.offset("printk_ringbuffer.desc_ring")
        texts = ring + fields.offset("printk_ringbuffer.text_data_ring")
        bits = fields.member(descs, "prb_desc_ring.count_bits", 4)
        self._count = 1 << _within(bits, MAX_BITS, "number of descriptors (bits)")
        size_bits = fields.member(texts, "prb_data_ring.size_bits", 4)
        size = 1 << _within(size_bits, MAX_LOG.bit_length() - 1, "size (bits)")
        self._descs = _Table(fields, descs, "prb_desc_ring.descs", "prb_desc", self._count)
        self._infos = _Table(fields, descs, "prb_desc_ring.infos", "printk_info", self._count)
        counter = fields.offset("atomic_long_t.counter")
        self._ids = [
            fields.number(descs + fields.offset(f"prb_desc_ring.{end}") + counter) & self._id_mask
            for end in ("tail_id", "head_id")
        ]
        block_at = fields.offset("prb_desc.text_blk_lpos")
        self._state_at = fields.offset("prb_desc.state_var") + counter
        self._begin_at = block_at + fields.offset("prb_data_blk_lpos.begin")
        self._next_at = block_at + fields.offset("prb_data_blk_lpos.next")
        self._stamp_at = fields.offset("printk_info.ts_nsec")
        self._length_at = fields.offset("printk_info.text_len")
        self._data = fields.read(fields.number(texts + fields.offset("prb_data_ring.data")), size)

    def lines(self, work: Work) -> Iterator[bytes]:
        tail, head = self._ids
        room = len(self._data)  # no byte of the text is two records'
        for step in range(min((head - tail & self._id_mask) + 1, self._count)):
            if room < 0 or not work.go_on():
                return
            stamp, text = self._record(tail + step & self._id_mask)
            room -= len(text)
            if stamp >= 0:
                yield from _stamped(stamp, text, work)

    def _record(self, number: int) -> tuple[int, bytes]:
        # a record's time stamp and text; a stamp below 0 where there is none
        place = number % self._count
        desc = self._descs.row(place)
        state = self._number(desc, self._state_at)
        if state & self._id_mask != number or state >> self._state_shift not in _READABLE:
            return -1, b""
        begin, behind = self._number(desc, self._begin_at), self._number(desc, self._next_at)
        info = self._infos.row(place)
        length = self._number(info, self._length_at, 2)
        text = _block(self._data, begin, behind, self._word)[:length]
        return self._number(info, self._stamp_at, 8), text

    def _number(self, row: bytes, at: int, size: int = 0) -> int:
        return int.from_bytes(row[at : at + (size or self._word)], "little")


class _Table:
    # rows of one size, read a few at a time

    def __init__(self, fields: _Fields, ring: int, pointer: str, name: str, count: int) -> None:
        self._read = fields.read
        self._size = _within(fields.size(name), MAX_ROW, f"size of {name}")
        self._start = fields.number(ring + fields.offset(pointer))
        self._count = count
        self._first, self._rows = -_ROWS, b""

    def row(self, number: int) -> bytes:
        if not 0 <= number - self._first < _ROWS:
            self._first = number - number % _ROWS
            count = min(_ROWS, self._count - self._first)
            start = self._start + self._first * self._size
            self._rows = self._read(start, count * self._size)
        at = (number - self._first) * self._size
        return self._rows[at : at + self._size]


def _block(data: bytes, begin: int, behind: int, word: int) -> bytes:
    # A block is an id and the text; one that does not fit before the ring's end starts at 0.
    if begin & _NO_DATA and behind & _NO_DATA:
        return b""
    size = len(data)
    start, end = begin % size, behind % size
    if begin // size != behind // size and end:
        start = 0
    elif not end:
        end = size
    return data[start + word : min(end, start + word + MAX_TEXT)]


# --- 3.5 to 5.9 -------------------------------------------------------------------------------


def _records(fields: _Fields, work: Work) -> Iterator[bytes]:
    name = "printk_log" if fields.info.size("printk_log") is not None else "log"
    stamp_at, length_at = fields.offset(f"{name}.ts_nsec"), fields.offset(f"{name}.len")
    text_at, header = fields.offset(f"{name}.text_len"), fields.size(name)
    _within(header, MAX_ROW, f"size of {name}")
    size = _within(fields.number(fields.symbol("log_buf_len"), 4), MAX_LOG, "size")
    data = fields.read(fields.number(fields.symbol("log_buf")), size)
    at = fields.number(fields.symbol("log_first_idx"), 4)
    end = fields.number(fields.symbol("log_next_idx"), 4)
    room = size
    while at != end and room > 0 and at + header <= size and work.go_on():
        length = int.from_bytes(data[at + length_at : at + length_at + 2], "little")
        if not length:  # the rest is unused: the next record is at the start
            at = 0
            room -= header
            continue
        text_size = int.from_bytes(data[at + text_at : at + text_at + 2], "little")
        stamp = int.from_bytes(data[at + stamp_at : at + stamp_at + 8], "little")
        text = data[at + header : min(at + header + text_size, at + length)]
        yield from _stamped(stamp, text, work)
        at += length
        room -= length


def _stamped(nanoseconds: int, text: bytes, work: Work) -> Iterator[bytes]:
    seconds, micros = divmod(nanoseconds // _MICROSECOND, _MICROSECONDS)
    mark = b"[%5d.%06d] " % (seconds, micros)
    lines = text.split(b"\n")
    if work.go_on(len(lines) - 1):
        for line in lines:
            yield mark + line


# --- before 3.5 -------------------------------------------------------------------------------


def _bytes(fields: _Fields, work: Work) -> Iterator[bytes]:
    size = _within(fields.number(fields.symbol("log_buf_len"), 4), MAX_LOG, "size")
    data = fields.read(fields.number(fields.symbol("log_buf")), size)
    end = fields.number(fields.symbol("log_end"), 4)
    logged = fields.info.symbol("logged_chars")
    count = min(fields.number(logged, 4) if logged is not None else end, size)
    start = end - count
    text = b"".join((data[start % size :], data[: start % size]))[:count]
    lines = text.removesuffix(b"\n").split(b"\n", MAX_LINES + 1)
    for line in lines[1:] if count == size else lines:
        if not work.go_on():
            return
        # syslog's levels, which dmesg does not print either
        yield re.sub(_LEVEL, b"", line, count=1) if line.startswith(b"<") else line
