"""Writes small ELF symbol files: what ``ld`` makes of a hypervisor or a kernel, in miniature."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
PROGBITS, SYMTAB, STRTAB, NOTE, NOBITS = 1, 2, 3, 7, 8
ALLOC, EXEC = 2, 4


class Row(NamedTuple):
    name: str
    type: int
    flags: int
    vaddr: int
    data: bytes
    link: int = 0
    size: int = 0


def symbol_file(
    *,
    code_at: int,
    symbols: dict[str, int],
    build_id: bytes | None = None,
    texts: dict[int, bytes] | None = None,
    dwarf: int | None = None,
    codeview: bytes | None = None,
    split: bool = False,
) -> bytes:
    """One file.

    Args:
        code_at: where .text is loaded.
        symbols: name to address; {} for a stripped file.
        build_id: of the GNU note.
        texts: address to bytes, each in a section of its own.
        dwarf: version of .debug_info.
        codeview: GUID of the record that xen.efi has instead.
        split: code and data were left in another file.
    """
    kind = NOBITS if split else PROGBITS
    rows = [Row("", 0, 0, 0, b""), Row(".text", kind, ALLOC | EXEC, code_at, b"\x90" * 64)]
    rows += [Row(".rodata", kind, ALLOC, at, data) for at, data in (texts or {}).items()]
    if build_id is not None:
        note = struct.pack("<III", 4, len(build_id), 3) + b"GNU\0" + build_id
        rows.append(Row(".note.gnu.build-id", NOTE, ALLOC, code_at + 0x1000, note))
    if codeview is not None:
        rows.append(Row(".buildid", PROGBITS, ALLOC, code_at + 0x1000, b"RSDS" + codeview))
    if dwarf is not None:
        rows.append(Row(".debug_info", PROGBITS, 0, 0, struct.pack("<IH", 60, dwarf) + bytes(58)))
    if symbols:
        names, entries = b"\0", bytes(_SYMBOL.size)
        for name, at in symbols.items():
            entries += _SYMBOL.pack(len(names), 0x11, 0, 1, at, 8)
            names += name.encode() + b"\0"
        rows.append(Row(".symtab", SYMTAB, 0, 0, entries, link=len(rows) + 1))
        rows.append(Row(".strtab", STRTAB, 0, 0, names))
    return _assemble(rows)


def _assemble(rows: list[Row]) -> bytes:
    names = b""
    places = []
    for row in [*rows, Row(".shstrtab", STRTAB, 0, 0, b"")]:
        places.append(len(names))
        names += row.name.encode() + b"\0"
    rows = [*rows, Row(".shstrtab", STRTAB, 0, 0, names)]
    body, table = b"", b""
    for row, place in zip(rows, places, strict=True):
        at = 64 + len(body)
        data = b"" if row.type == NOBITS else row.data
        fields: tuple[Any, ...] = (place, row.type, row.flags, row.vaddr, at, len(row.data))
        table += _SECTION.pack(*fields, row.link, 0, 1, 0)
        body += data + bytes(-len(data) % 8)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, len(rows), len(rows) - 1
    )
    return ident + head + body + table
