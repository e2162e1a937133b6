"""Machine memory without a file, and real dumps with more in them than was there."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from tests.builders.memory import Runs
from vmcoretool.addresses import PAGE_SIZE, Extent, Mfn
from vmcoretool.memory.extents import ExtentMap
from vmcoretool.memory.pages import Missing
from vmcoretool.memory.physical import PhysicalMemory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PHDR = struct.Struct("<IIQQQQQQ")
_PT_LOAD = 1


class Machine(Runs):
    """Whole pages, some of which may be damaged; counts the bytes that are asked of it."""

    def __init__(self, pages: Mapping[int, bytes], damaged: frozenset[int] = frozenset()) -> None:
        super().__init__({at: page.ljust(PAGE_SIZE, b"\0") for at, page in pages.items()})
        self.damaged = damaged
        self.asked = 0

    def extents(self) -> Iterable[Extent]:
        frames = self.pages.keys() | self.damaged
        return ExtentMap((at * PAGE_SIZE, (at + 1) * PAGE_SIZE) for at in frames)

    stored = extents

    def page(self, mfn: Mfn) -> bytes | Missing:
        if mfn in self.damaged:
            return Missing(damage="is damaged")
        page = super().page(mfn)
        self.asked += len(page) if isinstance(page, bytes) else 0
        return page

    def run(self, mfn: Mfn, count: int) -> bytes:
        data = super().run(mfn, count)
        self.asked += len(data)
        return data


def machine(data: bytes, start: int = 0, damaged: frozenset[int] = frozenset()) -> PhysicalMemory:
    """Memory that holds some bytes from a page's start on."""
    pages = {
        (start + at) // PAGE_SIZE: data[at : at + PAGE_SIZE]
        for at in range(0, len(data), PAGE_SIZE)
        if (start + at) // PAGE_SIZE not in damaged
    }
    return PhysicalMemory(Machine(pages, damaged))


def with_memory(core: bytes, *more: tuple[int, bytes]) -> bytes:
    """A 64-bit ELF core with further (machine address, bytes)."""
    table_at, count = struct.unpack_from("<Q", core, 32)[0], struct.unpack_from("<H", core, 56)[0]
    table = core[table_at : table_at + count * _PHDR.size]
    data = bytearray(core)
    for maddr, piece in more:
        size = len(piece)
        table += _PHDR.pack(_PT_LOAD, 7, len(data), 0, maddr, size, size, 0)
        data += piece
    struct.pack_into("<Q", data, 32, len(data))
    struct.pack_into("<H", data, 56, count + len(more))
    return bytes(data + table)


def with_keys(core: bytes, keys: Mapping[str, str]) -> bytes:
    """A core whose VMCOREINFO_XEN says something else, within the room that the note has."""
    found = re.search(rb"VMCOREINFO_XEN\0\0(PAGESIZE=[^\0]*)(\0*)", core)
    assert found
    text = found[1].decode()
    for key, value in keys.items():
        text = re.sub(rf"(?m)^{re.escape(key)}=.*$", lambda _, k=key, v=value: f"{k}={v}", text)
        assert f"{key}={value}\n" in text
    room = len(found[1]) + len(found[2])
    assert len(text) < room
    return core[: found.start(1)] + text.encode().ljust(room, b"\0") + core[found.end(2) :]
