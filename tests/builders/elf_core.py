"""Writes ELF core dumps with every oddity that real writers have."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field


@dataclass
class Load:
    """A PT_LOAD: ``data`` is its p_filesz; ``memsz`` defaults to the same."""

    paddr: int
    data: bytes
    memsz: int | None = None


@dataclass
class ElfCore:
    loads: list[Load] = field(default_factory=list)
    notes: list[bytes] = field(default_factory=list)
    bits: int = 64
    order: str = "<"
    machine: int = 62
    e_type: int = 4
    phoff: int | None = None
    xnum: bool = False
    ehsize: int | None = None

    def build(self) -> bytes:
        wide = self.bits == 64
        ehdr_size, phdr_size, shdr_size = (64, 56, 64) if wide else (52, 32, 40)
        count = len(self.loads) + len(self.notes)
        phoff = self.phoff or ehdr_size
        shoff = phoff + count * phdr_size if self.xnum else 0
        offset = phoff + count * phdr_size + (shdr_size if self.xnum else 0)
        phdrs: list[bytes] = []
        body = b""
        for blob in self.notes:
            phdrs.append(self._phdr(4, offset + len(body), 0, len(blob), len(blob)))
            body += blob
        for load in self.loads:
            memsz = len(load.data) if load.memsz is None else load.memsz
            phdrs.append(self._phdr(1, offset + len(body), load.paddr, len(load.data), memsz))
            body += load.data
        ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if self.order == "<" else 2, 1])
        ehdr = struct.pack(
            self.order + ("16sHHIQQQIHHHHHH" if wide else "16sHHIIIIIHHHHHH"),
            ident,
            self.e_type,
            self.machine,
            1,
            0,
            phoff,
            shoff,
            0,
            self.ehsize if self.ehsize is not None else ehdr_size,
            phdr_size,
            0xFFFF if self.xnum else count,
            shdr_size if self.xnum else 0,
            1 if self.xnum else 0,
            0,
        )
        head = ehdr.ljust(phoff, b"\xa5") + b"".join(phdrs)
        if self.xnum:
            shdr = bytearray(shdr_size)
            struct.pack_into(self.order + "I", shdr, 44 if wide else 28, count)
            head += bytes(shdr)
        return head + body

    def _phdr(self, kind: int, offset: int, paddr: int, filesz: int, memsz: int) -> bytes:
        if self.bits == 64:
            fields = (kind, 7, offset, 0xFFFF888000000000, paddr, filesz, memsz, 0)
            return struct.pack(self.order + "IIQQQQQQ", *fields)
        return struct.pack(self.order + "8I", kind, offset, 0, paddr, filesz, memsz, 7, 0)
