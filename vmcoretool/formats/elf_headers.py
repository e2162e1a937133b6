"""The headers of ELF core files, read once for both classes and byte orders.

System V gABI, chapters 4 and 5::

    +0 e_ident: 7f 'E' 'L' 'F', class, data encoding     +16 the fields of ElfHeader, in this order
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vmcoretool.addresses import FileOffset
from vmcoretool.errors import FormatError, TruncatedError

if TYPE_CHECKING:
    from vmcoretool.sources.file import ByteSource

MAGIC: Final = b"\x7fELF"
ET_CORE: Final = 4
PN_XNUM: Final = 0xFFFF
PT_LOAD: Final = 1
PT_NOTE: Final = 4
_IDENT: Final = 16


class ElfMachine(IntEnum):
    """``e_machine`` of what a vmcore may be of."""

    EM_NONE = 0
    EM_386 = 3
    EM_MIPS = 8
    EM_PPC = 20
    EM_PPC64 = 21
    EM_S390 = 22
    EM_ARM = 40
    EM_IA_64 = 50
    EM_X86_64 = 62
    EM_AARCH64 = 183
    EM_RISCV = 243
    EM_LOONGARCH = 258


class Layout(NamedTuple):
    """Where one class and byte order keep things.

    Attributes:
        bits: 32 or 64.
        order: as struct writes it.
        header: the ELF header from ``e_type`` on.
        segment: a program header.
        segment_fields: p_offset, p_paddr, p_filesz and p_memsz among its words.
        section: a section header; name, type, flags, addr, offset, size, link, info, ...
        section_count: offset of ``sh_info`` in it, which holds what overflows ``e_phnum``.
    """

    bits: Literal[32, 64]
    order: Literal["<", ">"]
    header: struct.Struct
    segment: struct.Struct
    segment_fields: tuple[int, int, int, int]
    section: struct.Struct
    section_count: int


def _layout(bits: Literal[32, 64], order: Literal["<", ">"]) -> Layout:
    if bits == 32:
        header, segment, section = "HHIIIIIHHHHHH", "IIIIIIII", "IIIIIIIIII"
        fields, count = (1, 3, 4, 5), 28
    else:
        header, segment, section = "HHIQQQIHHHHHH", "IIQQQQQQ", "IIQQQQIIQQ"
        fields, count = (2, 4, 5, 6), 44
    rows = (struct.Struct(order + row) for row in (header, segment, section))
    header_row, segment_row, section_row = rows
    return Layout(bits, order, header_row, segment_row, fields, section_row, count)


# by EI_CLASS and EI_DATA
LAYOUTS: Final = {
    (1, 1): _layout(32, "<"),
    (1, 2): _layout(32, ">"),
    (2, 1): _layout(64, "<"),
    (2, 2): _layout(64, ">"),
}


class ElfHeader(NamedTuple):
    """An ELF header; the fields behind ``layout`` are the gABI's, as they stand."""

    layout: Layout
    type: int
    machine: int
    version: int
    entry: int
    phoff: int
    shoff: int
    flags: int
    ehsize: int
    phentsize: int
    phnum: int
    shentsize: int
    shnum: int
    shstrndx: int

    @property
    def is_sections_only(self) -> bool:
        """Whether it is a core with sections and without program headers: a guest's dump-core."""
        return self.type == ET_CORE and not self.phnum and self.shnum > 0


def parse_elf_header(head: bytes) -> ElfHeader | None:
    """The header in a file's first bytes, or None where they are no whole header."""
    if head[:4] != MAGIC or len(head) < _IDENT:
        return None
    layout = LAYOUTS.get((head[4], head[5]))
    if layout is None or len(head) < _IDENT + layout.header.size:
        return None
    return ElfHeader(layout, *layout.header.unpack_from(head, _IDENT))


def read_elf_header(source: ByteSource, head: bytes) -> ElfHeader:
    """The header of a file that begins like an ELF file.

    Args:
        source: the file, for its name.
        head: its first bytes.

    Raises:
        TruncatedError: the file ends in it.
        FormatError: a class or data encoding that the gABI does not know.
    """
    header = parse_elf_header(head)
    if header:
        return header
    if len(head) >= _IDENT and (head[4], head[5]) not in LAYOUTS:
        raise FormatError(
            f"ELF class {head[4]} and data encoding {head[5]} are none the gABI knows",
            path=source.path,
            where=FileOffset(4),
        )
    raise TruncatedError(
        f"the file ends inside its ELF header ({len(head)} bytes)",
        path=source.path,
        where=FileOffset(0),
    )
