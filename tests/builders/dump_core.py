"""Writes the dump of one guest as ``xl dump-core`` does."""

from __future__ import annotations

import struct

from tests.builders.memory import PAGE
from tests.builders.notes import note


def vcpu_context(root: int, bits: int) -> bytes:
    """A vcpu_guest_context with values that name their place (public/arch-x86/xen.h)."""
    data = bytearray(5168 if bits == 64 else 2800)
    if bits == 64:
        struct.pack_into("<15Q", data, 520, *range(15))
        struct.pack_into("<QHxxBxxxQQH", data, 648, 0xFFFFFFFF81000010, 0xE033, 1, 0x246, 0x7FF8, 7)
        struct.pack_into("<8Q", data, 4984, 0x80050033, 0x111, 0x222, root, 0x660, 5, 6, 7)
        struct.pack_into("<8Q", data, 5048, *range(0xD0, 0xD8))
    else:
        struct.pack_into("<7I", data, 516, *range(1, 8))
        struct.pack_into("<IHxxIIH", data, 548, 0xC1000010, 0x61, 0x246, 0x7FF8, 0x69)
        struct.pack_into("<8I", data, 2716, 0x80050033, 0x111, 0x222, root, 0x660, 5, 6, 7)
        struct.pack_into("<8I", data, 2748, *range(0xD0, 0xD8))
    return bytes(data)


def domain_core(frames: list[int], *, pv: bool = True, bits: int = 64, tail: int = 0) -> bytes:
    """An xl dump-core file: page i is filled with its frame number's low byte."""
    names = b"\0.shstrtab\0.note.Xen\0.xen_prstatus\0.xen_pages\0.xen_p2m\0.xen_pfn\0"
    header = struct.pack("<4Q", 0xF00FEBED, 1, len(frames), PAGE)
    blob = note(b"Xen", 0x2000001, header) + note(b"Xen", 0x2000000, b"")
    pages = b"".join(bytes([frame & 0xFF]) * PAGE for frame in frames) + bytes(PAGE * tail)
    invalid = (1 << 64) - 1
    entries = [(frame, frame + 0x5000) for frame in frames] + [(invalid, invalid)] * tail
    index = b"".join(
        struct.pack("<QQ", *entry) if pv else struct.pack("<Q", entry[0]) for entry in entries
    )
    wide = bits == 64
    ehdr_size, shdr_size, layout = (64, 64, "<IIQQQQIIQQ") if wide else (52, 40, "<IIIIIIIIII")
    at = ehdr_size + 6 * shdr_size
    parts = []
    body = b""
    contexts = vcpu_context(0xA000, bits) + vcpu_context(0xB000, bits)
    for name, data in (
        (b".note.Xen", blob),
        (b".xen_prstatus", contexts),
        (b".xen_pages", pages),
    ):
        parts.append((names.index(name), at + len(body), len(data)))
        body += data
    index_name = b".xen_p2m" if pv else b".xen_pfn"
    parts.append((names.index(index_name), at + len(body), len(index)))
    body += index
    parts.insert(0, (names.index(b".shstrtab"), at + len(body), len(names)))
    body += names
    table = bytes(shdr_size) + b"".join(
        struct.pack(layout, name, 1, 0, 0, offset, size, 0, 0, 0, 0) for name, offset, size in parts
    )
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1])
    ehdr = struct.pack(
        "<16sHHIQQQIHHHHHH" if wide else "<16sHHIIIIIHHHHHH",
        *(ident, 4, 62 if wide else 3, 1, 0, 0, ehdr_size, 0, ehdr_size, 0, 0, shdr_size, 6, 1),
    )
    return ehdr + table + body
