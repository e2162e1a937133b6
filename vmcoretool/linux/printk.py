"""Linux's log in memory, by what its VMCOREINFO says of it.

Three forms, told by the symbols that are there (kernel/printk/):

* ``prb``, 5.10 and later: a ring of descriptors, a ring of infos, and a ring of text
  (printk_ringbuffer.h);
* ``log_first_idx``, 3.5 to 5.9: records one behind the other in ``log_buf``;
* ``log_end`` before: ``log_buf`` is a ring of bytes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import MIB, Vaddr
from vmcoretool.errors import LogError, MemoryFault
from vmcoretool.memory.x86_64 import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmcoretool.addresses import Maddr
    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.notes.vmcoreinfo import VmcoreInfo

MAX_LOG: Final = 64 * MIB
MAX_BITS: Final = 24
_PAGE: Final = 4096
_WORD: Final = 8
_LEVEL: Final = re.compile(rb"<\d{1,3}>")
_COMMITTED: Final = 1
_FINALIZED: Final = 2
_NO_DATA: Final = 1
_MICROSECOND: Final = 1000
_MICROSECONDS: Final = 1_000_000


def kernel_reader(memory: PhysicalMemory, root: Maddr) -> Callable[[int, int], bytes]:
    """Reads a guest kernel's virtual memory through a level 4 table.

    The reader raises MemoryFault where nothing is mapped or a page is not in the dump.
    """

    def read(vaddr: int, size: int) -> bytes:
        parts = []
        while size > 0:
            step = min(size, _PAGE - vaddr % _PAGE)
            parts.append(memory.read(walk(memory, root, Vaddr(vaddr)).maddr, step))
            vaddr += step
            size -= step
        return b"".join(parts)

    return read


def log_lines(
    info: VmcoreInfo, read: Callable[[int, int], bytes], word_size: int = _WORD
) -> Iterator[bytes]:
    """The log's lines, oldest first, each with the time stamp that ``dmesg`` prints.

    Args:
        info: Linux's VMCOREINFO.
        read: of the kernel's virtual memory.
        word_size: of the kernel: 8, or 4 bytes for a 32-bit one.

    Raises:
        LogError: VMCOREINFO does not describe a log, or its parts are not in the dump.
    """
    try:
        if info.symbol("prb") is not None:
            yield from _ring(_Fields(info, read, word_size))
        elif info.symbol("log_first_idx") is not None:
            yield from _records(_Fields(info, read, word_size))
        elif info.symbol("log_end") is not None:
            yield from _bytes(_Fields(info, read, word_size))
        else:
            raise LogError("VMCOREINFO names no log: neither prb, log_first_idx nor log_end")
    except MemoryFault as error:
        raise LogError(f"the log is not in the dump: {error}") from error


class _Fields:
    # sizes and offsets by their VMCOREINFO names
    def __init__(self, info: VmcoreInfo, read: Callable[[int, int], bytes], word_size: int) -> None:
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


def _ring(fields: _Fields) -> Iterator[bytes]:
    read = fields.read
    # prb_desc.state_var: the two highest bits are the state, the rest is the id
    state_shift = 8 * fields.word - 2
    id_mask = (1 << state_shift) - 1
    ring = fields.number(fields.symbol("prb"))
    descs = ring + fields.offset("printk_ringbuffer.desc_ring")
    texts = ring + fields.offset("printk_ringbuffer.text_data_ring")
    bits = fields.member(descs, "prb_desc_ring.count_bits", 4)
    count = 1 << _within(bits, MAX_BITS, "number of descriptors (bits)")
    size_bits = fields.member(texts, "prb_data_ring.size_bits", 4)
    size = 1 << _within(size_bits, MAX_LOG.bit_length() - 1, "size (bits)")
    desc_size, info_size = fields.size("prb_desc"), fields.size("printk_info")
    _within(count * max(desc_size, info_size), MAX_LOG, "descriptor ring")
    desc_table = read(
        fields.number(descs + fields.offset("prb_desc_ring.descs")), count * desc_size
    )
    info_table = read(
        fields.number(descs + fields.offset("prb_desc_ring.infos")), count * info_size
    )
    data = read(fields.number(texts + fields.offset("prb_data_ring.data")), size)
    counter = fields.offset("atomic_long_t.counter")
    head = fields.number(descs + fields.offset("prb_desc_ring.head_id") + counter) & id_mask
    tail = fields.number(descs + fields.offset("prb_desc_ring.tail_id") + counter) & id_mask
    state_at = fields.offset("prb_desc.state_var") + counter
    block_at = fields.offset("prb_desc.text_blk_lpos")
    begin_at = block_at + fields.offset("prb_data_blk_lpos.begin")
    next_at = block_at + fields.offset("prb_data_blk_lpos.next")
    stamp_at = fields.offset("printk_info.ts_nsec")
    length_at = fields.offset("printk_info.text_len")

    def word(table: bytes, at: int, width: int = fields.word) -> int:
        return int.from_bytes(table[at : at + width], "little")

    for step in range(min((head - tail & id_mask) + 1, count)):
        number = tail + step & id_mask
        desc, entry = number % count * desc_size, number % count * info_size
        state = word(desc_table, desc + state_at)
        if state & id_mask != number or state >> state_shift not in (_COMMITTED, _FINALIZED):
            continue
        begin, behind = word(desc_table, desc + begin_at), word(desc_table, desc + next_at)
        text = _block(data, begin, behind, fields.word)[: word(info_table, entry + length_at, 2)]
        yield from _stamped(word(info_table, entry + stamp_at, 8), text)


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
    return data[start + word : end]


# --- 3.5 to 5.9 -------------------------------------------------------------------------------


def _records(fields: _Fields) -> Iterator[bytes]:
    name = "printk_log" if fields.info.size("printk_log") is not None else "log"
    stamp_at, length_at = fields.offset(f"{name}.ts_nsec"), fields.offset(f"{name}.len")
    text_at, header = fields.offset(f"{name}.text_len"), fields.size(name)
    size = _within(fields.number(fields.symbol("log_buf_len"), 4), MAX_LOG, "size")
    data = fields.read(fields.number(fields.symbol("log_buf")), size)
    at = fields.number(fields.symbol("log_first_idx"), 4)
    end = fields.number(fields.symbol("log_next_idx"), 4)
    room = size
    while at != end and room > 0 and at + header <= size:
        length = int.from_bytes(data[at + length_at : at + length_at + 2], "little")
        if not length:  # the rest is unused: the next record is at the start
            at = 0
            room -= header
            continue
        text_size = int.from_bytes(data[at + text_at : at + text_at + 2], "little")
        stamp = int.from_bytes(data[at + stamp_at : at + stamp_at + 8], "little")
        yield from _stamped(stamp, data[at + header : at + header + text_size])
        at += length
        room -= length


def _stamped(nanoseconds: int, text: bytes) -> Iterator[bytes]:
    seconds, micros = divmod(nanoseconds // _MICROSECOND, _MICROSECONDS)
    mark = b"[%5d.%06d] " % (seconds, micros)
    for line in text.split(b"\n"):
        yield mark + line


# --- before 3.5 -------------------------------------------------------------------------------


def _bytes(fields: _Fields) -> Iterator[bytes]:
    size = _within(fields.number(fields.symbol("log_buf_len"), 4), MAX_LOG, "size")
    data = fields.read(fields.number(fields.symbol("log_buf")), size)
    end = fields.number(fields.symbol("log_end"), 4)
    logged = fields.info.symbol("logged_chars")
    count = min(fields.number(logged, 4) if logged is not None else end, size)
    start = end - count
    text = b"".join((data[start % size :], data[: start % size]))[:count]
    lines = text.removesuffix(b"\n").split(b"\n")
    # syslog's levels, which dmesg does not print either
    yield from (
        _LEVEL.sub(b"", line, count=1) if line.startswith(b"<") else line
        for line in (lines[1:] if count == size else lines)
    )
