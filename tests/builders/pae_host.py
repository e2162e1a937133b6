"""Writes the memory of a 32-bit PAE Xen: image and tables in the first megabytes."""

from __future__ import annotations

import struct

from tests.builders import notes
from tests.builders.elf_core import ElfCore, Load

DIRECTMAP = 0xFF000000
IDLE = 0x1E3000  # idle_pg_table, four entries
L2 = 0x1E4000


def build(*, words: int = 10, vmcoreinfo: bool = True, machine: int = 3, bits: int = 32) -> bytes:
    """A 32-bit ELF core; word 8 of a 10-word note is 0 on x86_32."""
    level3 = bytearray(4096)
    struct.pack_into("<Q", level3, 3 * 8, L2 | 1)
    level2 = bytearray(4096)
    for index in range(6):  # 12 MiB in leaves of 2 MiB
        slot = (DIRECTMAP >> 21) % 512 + index
        struct.pack_into("<Q", level2, slot * 8, index << 21 | 0xE3)
    values = [3, 4, 0x150000, 0x150000, 0x150000, 0x150000, 0x150000, 0]
    if words == 10:
        values.append(0)
    if words >= 9:
        values.append(0x1234)
    blob = notes.note(b"CORE", 1, bytes(144))
    blob += notes.crash_regs(IDLE, 4)
    blob += notes.crash_info(values, 4)
    if vmcoreinfo:
        text = f"PAGESIZE=4096\nSYMBOL(pgd_l3)={DIRECTMAP + IDLE:x}\n".encode()
        blob += notes.note(b"VMCOREINFO_XEN", 0, text.ljust(4068, b"\0"))
    strings = b".0\0".ljust(4096, b"\0")
    loads = [Load(0x150000, strings), Load(IDLE, bytes(level3) + bytes(level2))]
    return ElfCore(loads, [blob], bits=bits, machine=machine).build()
