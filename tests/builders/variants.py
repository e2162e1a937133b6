"""Makes the note variants of a vmcore: what other eras, bugs and damage leave of CRASH_INFO.

Works on the bytes of any ELF64 vmcore whose notes are in one PT_NOTE, without the package's help.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

CRASH_INFO = 0x1000001
CRASH_REGS = 0x1000002


class Place(NamedTuple):
    """A note in a file: where its header, its payload and the next note start."""

    owner: bytes
    kind: int
    start: int
    desc: int
    end: int
    descsz: int


def note_segment(data: bytes) -> tuple[int, int, int]:
    """File offset of the PT_NOTE's program header, of its notes, and their size."""
    (phoff,) = struct.unpack_from("<Q", data, 32)
    (phnum,) = struct.unpack_from("<H", data, 56)
    for at in range(phoff, phoff + 56 * phnum, 56):
        kind, _, offset, _, _, filesz, _, _ = struct.unpack_from("<IIQQQQQQ", data, at)
        if kind == 4:
            return at, offset, filesz
    raise AssertionError("no PT_NOTE")


def places(data: bytes) -> list[Place]:
    _, offset, size = note_segment(data)
    found = []
    at = offset
    while at + 12 <= offset + size:
        namesz, descsz, kind = struct.unpack_from("<III", data, at)
        desc = at + 12 + (namesz + 3 & ~3)
        end = desc + (descsz + 3 & ~3)
        owner = data[at + 12 : at + 12 + namesz].rstrip(b"\0")
        found.append(Place(owner, kind, at, desc, end, descsz))
        at = end
    return found


def crash_info(data: bytes) -> Place:
    return next(place for place in places(data) if place.kind == CRASH_INFO)


def _replace_notes(data: bytes, blob: bytes) -> bytes:
    phdr, offset, size = note_segment(data)
    out = bytearray(data)
    out[offset : offset + size] = blob.ljust(size, b"\0")
    struct.pack_into("<QQ", out, phdr + 32, len(blob), len(blob))
    return bytes(out)


def _edit(data: bytes, desc: bytes) -> bytes:
    """The dump with another CRASH_INFO payload, later notes moved up."""
    place = crash_info(data)
    _, offset, size = note_segment(data)
    header = bytearray(data[place.start : place.desc])
    struct.pack_into("<I", header, 4, len(desc))
    blob = data[offset : place.start] + header + desc + data[place.end : offset + size]
    return _replace_notes(data, blob)


def word_zeroed(data: bytes) -> bytes:
    out = bytearray(data)
    struct.pack_into("<Q", out, crash_info(data).desc + 64, 0)
    return bytes(out)


def nine_words(data: bytes) -> bytes:
    place = crash_info(data)
    desc = data[place.desc : place.desc + place.descsz]
    return _edit(data, desc[:64] + desc[-8:])


def removed(data: bytes) -> bytes:
    place = crash_info(data)
    _, offset, size = note_segment(data)
    return _replace_notes(data, data[offset : place.start] + data[place.end : offset + size])


def shifted(data: bytes, by: int = 0x200000) -> bytes:
    out = bytearray(data)
    at = crash_info(data).desc + 64
    (value,) = struct.unpack_from("<Q", out, at)
    struct.pack_into("<Q", out, at, value + by & (1 << 64) - 1)
    return bytes(out)


def other_p2m(data: bytes, mfn: int) -> bytes:
    """The last word, dom0's p2m frame, says something else."""
    out = bytearray(data)
    place = crash_info(data)
    struct.pack_into("<Q", out, place.desc + place.descsz - 8, mfn)
    return bytes(out)


def desc_zeroed(data: bytes) -> bytes:
    out = bytearray(data)
    place = crash_info(data)
    out[place.desc : place.desc + place.descsz] = bytes(place.descsz)
    return bytes(out)


def notes_removed(data: bytes) -> bytes:
    """No PT_NOTE at all: its program header becomes PT_NULL."""
    phdr, offset, size = note_segment(data)
    out = bytearray(data)
    struct.pack_into("<I", out, phdr, 0)
    out[offset : offset + size] = bytes(size)
    return bytes(out)


def only(data: bytes, kind: int) -> bytes:
    """Only the notes of one type are left."""
    kept = b"".join(data[place.start : place.end] for place in places(data) if place.kind == kind)
    return _replace_notes(data, kept)


def without_owner(data: bytes, owner: bytes) -> bytes:
    kept = b"".join(data[place.start : place.end] for place in places(data) if place.owner != owner)
    return _replace_notes(data, kept)


def saved_cr3s(data: bytes) -> set[int]:
    return {
        struct.unpack_from("<Q", data, place.desc + 16)[0] & 0x000FFFFFFFFFF000
        for place in places(data)
        if place.kind == CRASH_REGS
    }


def without_pages(data: bytes, pages: set[int]) -> bytes:
    """The pages left out as makedumpfile does: described by p_memsz, without data."""
    (phoff,) = struct.unpack_from("<Q", data, 32)
    (phnum,) = struct.unpack_from("<H", data, 56)
    table: list[bytes] = []
    for at in range(phoff, phoff + 56 * phnum, 56):
        kind, flags, offset, vaddr, paddr, filesz, memsz, align = struct.unpack_from(
            "<IIQQQQQQ", data, at
        )
        inside = sorted(page for page in pages if kind == 1 and paddr <= page < paddr + filesz)
        for page in inside:
            before = page - paddr
            if before:
                head = (kind, flags, offset, vaddr, paddr, before, before, align)
                table.append(struct.pack("<IIQQQQQQ", *head))
            table.append(struct.pack("<IIQQQQQQ", kind, flags, 0, vaddr, page, 0, 4096, align))
            cut = before + 4096
            offset, paddr, filesz, memsz = offset + cut, paddr + cut, filesz - cut, memsz - cut
        if memsz or kind != 1:
            last = (kind, flags, offset, vaddr, paddr, filesz, memsz, align)
            table.append(struct.pack("<IIQQQQQQ", *last))
    out = bytearray(data + b"".join(table))
    struct.pack_into("<Q", out, 32, len(data))
    struct.pack_into("<H", out, 56, len(table))
    return bytes(out)


def boot_log_overwritten(data: bytes) -> bytes:
    for line in (b"New Xen image base address", b"Xen image load base address"):
        data = data.replace(line, b"x" * len(line))
    return data
