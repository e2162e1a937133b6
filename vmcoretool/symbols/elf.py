"""ELF files as linkers write them, as far as a symbol file needs it: sections, symbols, bytes.

A thousand candidates are looked at before one is chosen, so a header costs three reads and no
object per symbol; DWARF is left to pyelftools.  Layouts are those of the System V ABI, chapter 4::

    Elf64_Ehdr  +16 e_type  +18 e_machine  +40 e_shoff (8)  +58 e_shentsize  +60 e_shnum
                +62 e_shstrndx                      all but the first of two bytes
    Elf64_Shdr  sh_name sh_type sh_flags(8) sh_addr(8) sh_offset(8) sh_size(8) sh_link sh_info
    Elf64_Sym   st_name st_info(1) st_other(1) st_shndx(2) st_value(8) st_size(8)
    Elf32_Sym   st_name st_value st_size st_info(1) st_other(1) st_shndx(2)
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB, FileOffset, Vaddr
from vmcoretool.errors import NamelistError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vmcoretool.sources.file import ByteSource

MAGIC: Final = b"\x7fELF"
SHT_SYMTAB: Final = 2
SHT_NOTE: Final = 7
SHT_NOBITS: Final = 8
SHF_ALLOC: Final = 2
SHF_EXECINSTR: Final = 4
SHF_COMPRESSED: Final = 0x800
MAX_TABLE: Final = 64 * MIB
"""Largest symbol or string table that is read; vmlinux has some 20 MiB."""
MAX_TABLES: Final = 192 * MIB
"""What all symbol tables of one file, with their strings, may hold together; files have one."""
MAX_SYMBOLS: Final = 1 << 19
"""Symbols that are read where all are wanted; a kernel has some 200,000."""
_MAX_NAME: Final = 256
_SECTION: Final = {8: "IIQQQQIIQQ", 4: "IIIIIIIIII"}
_SYMBOL: Final = {8: "IBBHQQ", 4: "IIIBBH"}
_HEADER: Final = 64
_ET_REL: Final = 1


class Section(NamedTuple):
    """One section header; ``size`` bytes at ``offset`` of the file, unless it has none."""

    name: str
    type: int
    flags: int
    vaddr: Vaddr
    offset: FileOffset
    size: int
    link: int

    @property
    def has_bytes(self) -> bool:
        """Whether its bytes are in this file; a split-off debug file has no code and data."""
        return self.type != SHT_NOBITS


class ElfFile(NamedTuple):
    """An ELF file's headers, and the file for what they point to."""

    source: ByteSource
    word_size: int
    order: str
    relocatable: bool
    sections: tuple[Section, ...]

    def section(self, name: str) -> Section | None:
        """The first section of a name."""
        return next((row for row in self.sections if row.name == name), None)

    def data(self, section: Section) -> bytes:
        """A section's bytes as they are in the file.

        Raises:
            NamelistError: they run past the end of the file, or are absurdly many.
            OSError: the file cannot be read.
        """
        if section.size > MAX_TABLE:
            raise self._damaged(f"section {section.name!a} is of {section.size} bytes", section)
        data = self.source.pread(section.size, section.offset)
        if len(data) < section.size:
            raise self._damaged(f"section {section.name!a} runs past the end of the file", section)
        return data

    @property
    def has_symbols(self) -> bool:
        """Whether it has a symbol table; a stripped file has none."""
        return any(section.type == SHT_SYMTAB and section.has_bytes for section in self.sections)

    def symbols(self, wanted: Iterable[str]) -> dict[str, Vaddr]:
        """Addresses of those of the wanted names that are defined; of equal names the first.

        A static symbol of Xen is found too where the file calls it "file.c#symbol".

        Raises:
            NamelistError: the tables are damaged.
            OSError: the file cannot be read.
        """
        found: dict[str, Vaddr] = {}
        layout = struct.Struct(self.order + _SYMBOL[self.word_size])
        value, index = (4, 3) if self.word_size == 8 else (1, 5)
        for table, strings in self._symbol_tables():
            places = _places(self.data(strings), wanted)
            for symbol in layout.iter_unpack(_whole(self.data(table), layout.size)):
                name = places.get(symbol[0])
                if name is not None and symbol[index]:
                    found.setdefault(name, Vaddr(symbol[value]))
        return found

    def all_symbols(self) -> Iterator[tuple[str, Vaddr]]:
        """Name and address of each symbol that is defined, in the order of the file.

        Raises:
            NamelistError: the tables are damaged, or hold more than any kernel's.
            OSError: the file cannot be read.
        """
        layout = struct.Struct(self.order + _SYMBOL[self.word_size])
        value, index = (4, 3) if self.word_size == 8 else (1, 5)
        room = MAX_SYMBOLS
        for table, strings in self._symbol_tables():
            room -= table.size // layout.size
            if room < 0:
                raise self._damaged(f"more than {MAX_SYMBOLS} symbols", table)
            names = self.data(strings)
            for symbol in layout.iter_unpack(_whole(self.data(table), layout.size)):
                if symbol[0] and symbol[index]:
                    yield _name(names, symbol[0]), Vaddr(symbol[value])

    def _symbol_tables(self) -> Iterator[tuple[Section, Section]]:
        # each symbol table and its strings; the ABI allows one, a hostile file has thousands
        room = MAX_TABLES
        for table in self.sections:
            if table.type != SHT_SYMTAB or not table.has_bytes:
                continue
            if not 0 < table.link < len(self.sections):
                raise self._damaged("the symbol table names no string table", table)
            strings = self.sections[table.link]
            room -= table.size + strings.size
            if room < 0:
                raise self._damaged("the symbol tables are absurdly large", table)
            yield table, strings

    def read(self, vaddr: int, size: int) -> bytes | None:
        """Up to ``size`` bytes that are loaded at an address, or None where the file has none."""
        for section in self.sections:
            if (
                section.flags & SHF_ALLOC
                and section.has_bytes
                and 0 <= vaddr - section.vaddr < section.size
            ):
                at = vaddr - section.vaddr
                return self.source.pread(min(size, section.size - at), section.offset + at)
        return None

    def _damaged(self, what: str, section: Section) -> NamelistError:
        return NamelistError(what, path=self.source.path, where=section.offset)


def read_elf_file(source: ByteSource) -> ElfFile:
    """The headers of an ELF file.

    Raises:
        NamelistError: they are damaged, or the file has no sections.
        OSError: the file cannot be read.
    """
    head = source.pread(_HEADER, 0)
    if len(head) < _HEADER or head[:4] != MAGIC or head[4] not in (1, 2) or head[5] not in (1, 2):
        raise NamelistError("not an ELF file, or its header is cut short", path=source.path)
    width, order = 4 * head[4], "<>"[head[5] - 1]
    (kind,) = struct.unpack_from(order + "H", head, 16)
    (table,) = struct.unpack_from(
        order + ("Q" if width == 8 else "I"), head, 40 if width == 8 else 32
    )
    entry, count, names = struct.unpack_from(order + "3H", head, 58 if width == 8 else 46)
    layout = struct.Struct(order + _SECTION[width])
    if not table or not count or entry != layout.size or names >= count:
        raise NamelistError("an ELF file without a table of sections", path=source.path)
    raw = source.pread(count * entry, table)
    if len(raw) < count * entry:
        raise NamelistError(
            "the table of sections runs past the end of the file",
            path=source.path,
            where=FileOffset(table),
            cure="get the file again",
        )
    rows = list(layout.iter_unpack(raw))
    text = source.pread(min(rows[names][5], MIB), rows[names][4])
    sections = tuple(
        Section(_name(text, row[0]), row[1], row[2], Vaddr(row[3]), FileOffset(row[4]), *row[5:7])
        for row in rows
    )
    return ElfFile(source, width, order, kind == _ET_REL, sections)


def _name(text: bytes, start: int) -> str:
    # no name that matters is long; 60,000 sections may share one text of a MiB
    name = text[start : start + _MAX_NAME]
    return name.partition(b"\0")[0].decode("ascii", "backslashreplace")


def _whole(entries: bytes, size: int) -> memoryview:
    return memoryview(entries)[: len(entries) // size * size]


def _places(names: bytes, wanted: Iterable[str]) -> dict[int, str]:
    # offsets in a string table at which a wanted name can begin; linkers share common endings
    places: dict[int, str] = {}
    for name in wanted:
        needle = name.encode("ascii") + b"\0"
        at = names.find(needle)
        while at >= 0:
            places[at] = name
            if names[at - 1 : at] == b"#":
                places[names.rfind(b"\0", 0, at) + 1] = name
            at = names.find(needle, at + 1)
    return places
