"""Writes ELF notes, independently of the code that reads them."""

from __future__ import annotations

import struct


def note(owner: bytes, kind: int, desc: bytes, order: str = "<") -> bytes:
    """One note; ``owner`` without its NUL."""
    name = owner + b"\0"
    pad = -len(name) % 4
    tail = -len(desc) % 4
    header = struct.pack(order + "III", len(name), len(desc), kind)
    return header + name + bytes(pad) + desc + bytes(tail)


def crash_info(words: list[int], width: int = 8, order: str = "<") -> bytes:
    letter = "Q" if width == 8 else "I"
    return note(b"Xen", 0x1000001, struct.pack(f"{order}{len(words)}{letter}", *words), order)


def crash_regs(cr3: int, width: int = 8, order: str = "<") -> bytes:
    letter = "Q" if width == 8 else "I"
    desc = struct.pack(f"{order}4{letter}", 0x80050033, 0, cr3, 0x6F0)
    return note(b"Xen", 0x1000002, desc, order)


def prstatus(rip: int = 0, rsp: int = 0) -> bytes:
    desc = bytearray(336)
    struct.pack_into("<Q", desc, 112 + 16 * 8, rip)
    struct.pack_into("<Q", desc, 112 + 19 * 8, rsp)
    return note(b"CORE", 1, bytes(desc))


def vmcoreinfo_xen(pgd_l4: int) -> bytes:
    text = f"PAGESIZE=4096\nSYMBOL(max_page)={pgd_l4 + 0x2000:x}\nSYMBOL(pgd_l4)={pgd_l4:x}\n"
    return note(b"VMCOREINFO_XEN", 0, text.encode().ljust(4068, b"\0"))


def qemu_cpu(cr3: int, rip: int = 0) -> bytes:
    desc = bytearray(440)
    struct.pack_into("<II", desc, 0, 1, 440)
    struct.pack_into("<Q", desc, 136, rip)
    struct.pack_into("<Q", desc, 416, cr3)
    return note(b"QEMU", 0, bytes(desc))
