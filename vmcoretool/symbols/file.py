"""Symbol files: an ELF file with ``.symtab``, or a ``.map`` file as ``nm`` writes it.

What a file is for is told by the addresses it is linked to, never by its name.  It may be
compressed (crash takes ``.gz``, ``.bz2`` and ``.xz``).  A candidate is as hostile as a dump: it is
opened without waiting for a FIFO's writer, and what is read of it is bounded.
"""

from __future__ import annotations

import io
import os
import re
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vmcoretool.addresses import MIB, Vaddr
from vmcoretool.budget import Budget
from vmcoretool.errors import MissingSymbolError, NamelistError, VmcoreError
from vmcoretool.notes.elf_note import walk_notes
from vmcoretool.sources.file import FileSource
from vmcoretool.sources.layers import find_layer, unwrap
from vmcoretool.symbols.elf import (
    MAGIC,
    SHF_ALLOC,
    SHF_COMPRESSED,
    SHF_EXECINSTR,
    SHT_NOTE,
    ElfFile,
    read_elf_file,
)
from vmcoretool.symbols.table import Symbols, make_symbols

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vmcoretool.sources.file import ByteSource
    from vmcoretool.symbols.elf import Section

Purpose = Literal["hypervisor", "linux", "other"]
MAX_MAP: Final = 32 * MIB
MAX_UNPACKED: Final = 2048 * MIB
"""Bytes that a compressed candidate may unpack to."""
UNPACKED: Final = 64 * MIB
UNPACKED_RATIO: Final = 64
"""... and no more than this often its size, besides :data:`UNPACKED`; kernels come to some 10."""
SYMBOLS: Final = (
    "idle_pg_table",
    "idle_pg_table_4",
    "domain_list",
    "frame_table",
    "max_page",
    "dom_xen",
    "dom_io",
    "alloc_bitmap",
    "xenheap_phys_end",
    "xen_phys_start",
    "__note_gnu_build_id_start",
    "conring",
    "conringp",
    "conring_size",
    "saved_cmdline",
    "linux_banner",
    "init_task",
)
"""Every symbol that vmcoretool asks a namelist for."""
_NT_GNU_BUILD_ID: Final = 3
_MAX_NOTES: Final = MIB
_ALL_NOTES: Final = 8 * MIB
_MAX_SEARCHED: Final = 128 * MIB
_DWARF_HEAD: Final = 14
_HYPERVISOR: Final = range(0xFFFF_8000_0000_0000, 0xFFFF_8800_0000_0000)
_HYPERVISOR_32: Final = range(0xFF00_0000, 1 << 32)
_LINUX: Final = range(0xFFFF_FFFF_8000_0000, 1 << 64)
_LINUX_32: Final = range(0xC000_0000, 0xFF00_0000)
_MAP_LINE: Final = re.compile(rb"(?:0x)?[0-9a-f]{8,16} [A-Za-z] \S")
_HEAD: Final = 4096
_MAX_TEXTS: Final = 64


class Namelist(NamedTuple):
    """One symbol file, open for reading.

    Attributes:
        path: as the user named it.
        compression: what it is compressed with, or "".
        purpose: what the addresses it is linked to are used for.
        elf: its headers, or None for a map file.
        build_id: lower-case hexadecimal, or None where the file has no note of it.
        efi: whether it is of the hypervisor that EFI firmware starts.
        listed: the symbols of a map file.
    """

    path: str
    compression: str
    purpose: Purpose
    elf: ElfFile | None
    build_id: str | None
    efi: bool
    listed: Mapping[str, Vaddr]

    @property
    def has_symbols(self) -> bool:
        """Whether it has any; a stripped file has none."""
        return self.elf is None or self.elf.has_symbols

    @property
    def dwarf(self) -> bool:
        """Whether it has debugging data, which crash needs."""
        names = (".debug_info", ".zdebug_info")
        sections = [self.elf.section(name) for name in names] if self.elf else []
        return any(row and row.has_bytes and row.size for row in sections)

    @property
    def dwarf_version(self) -> int | None:
        """The version of its debugging data; None where it has none, or packed it."""
        section = self.elf.section(".debug_info") if self.elf else None
        if self.elf is None or section is None or section.flags & SHF_COMPRESSED:
            return None
        head = self.elf.source.pread(_DWARF_HEAD, section.offset) if section.has_bytes else b""
        if len(head) < _DWARF_HEAD:
            return None
        at = 12 if head.startswith(b"\xff" * 4) else 4
        order: Literal["little", "big"] = "little" if self.elf.order == "<" else "big"
        return int.from_bytes(head[at : at + 2], order)

    @property
    def debug_only(self) -> bool:
        """Whether its code was left in another file: ``objcopy --only-keep-debug`` made it."""
        code = [row for row in self.elf.sections if row.flags & SHF_EXECINSTR] if self.elf else []
        return bool(code) and not any(row.has_bytes for row in code)

    def symbols(self) -> Mapping[str, Vaddr]:
        """Those of :data:`SYMBOLS` that it has.

        Raises:
            NamelistError: its tables are damaged.
            OSError: it cannot be read.
        """
        return self.elf.symbols(SYMBOLS) if self.elf else self.listed

    def find_text(self, text: str) -> Iterator[Vaddr]:
        """Addresses at which a NUL-ended text of its own stands among what is loaded.

        Of sections that claim more than any hypervisor has, the first 128 MiB are searched.

        Raises:
            NamelistError, OSError: as :meth:`symbols`.
        """
        room = _MAX_SEARCHED
        for section in self.elf.sections if self.elf else ():
            if section.flags & SHF_ALLOC and section.has_bytes and self.elf:
                room -= section.size
                if room < 0:
                    return
                yield from _text_in(self.elf.data(section), section.vaddr, text)

    def table(self) -> Symbols:
        """All its symbols; of a map file those of :data:`SYMBOLS`.

        Raises:
            NamelistError, OSError: as :meth:`symbols`.
        """
        rows = self.elf.all_symbols() if self.elf else self.listed.items()
        return make_symbols(rows, basis=f"the symbol table of {self.path}")

    def address(self, name: str) -> Vaddr:
        """One symbol's address.

        Raises:
            MissingSymbolError: the file has no such symbol.
            NamelistError, OSError: as :meth:`symbols`.
        """
        try:
            return self.symbols()[name]
        except KeyError:
            raise MissingSymbolError(f"no symbol {name}", path=self.path) from None


@contextmanager
def open_namelist(path: str, budget: Budget | None = None) -> Iterator[Namelist]:
    """Open a symbol file for as long as the block runs.

    Args:
        path: of the file.
        budget: its caller may end the decompression.

    Raises:
        NamelistError: it is neither an ELF file nor a ``.map`` file, or it is damaged.
        OSError: it cannot be read.
    """
    source, compression = _unpacked(_open(path), budget)
    try:
        head = source.pread(_HEAD, 0)
        if head.startswith(MAGIC):
            yield _from_elf(path, compression, source)
        elif _MAP_LINE.match(head):
            yield _from_map(path, compression, source)
        else:
            raise NamelistError(_what_else(head), path=path)
    finally:
        source.close()


def _open(path: str) -> FileSource:
    # O_NONBLOCK: opening a FIFO would wait for a writer that never comes
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NamelistError("not a regular file", path=path)
    return FileSource(path, fd)


def _unpacked(source: FileSource, caller: Budget | None) -> tuple[ByteSource, str]:
    try:
        layer = find_layer(source.pread(64, 0))
        if layer is None or layer.name == "flattened":
            return source, ""
        limit = min(UNPACKED + UNPACKED_RATIO * source.size, MAX_UNPACKED)
        # a budget of its own: what a candidate cuts off is nothing that the dump did
        budget = Budget(watch=caller.progress) if caller else Budget()
        inner, names = unwrap(source, _is_namelist, budget, limit=limit)
    except VmcoreError as error:
        source.close()
        raise NamelistError(error.what, path=source.path) from error
    except BaseException:
        source.close()
        raise
    if budget.unfinished or not inner.complete:
        inner.close()
        what = f"more than {limit // MIB} MiB inside" if budget.cut_off else "damaged"
        what = "the decompression was ended" if budget.stopped else what
        raise NamelistError(f"{layer.name}: {what}", path=source.path)
    return inner, " in ".join(reversed(names))


def _is_namelist(head: bytes) -> bool:
    return head.startswith(MAGIC) or _MAP_LINE.match(head) is not None


def _what_else(head: bytes) -> str:
    if head[:2] == b"MZ":
        return "a file to boot from, without symbols"
    if not head:
        return "an empty file"
    return "neither an ELF file nor a map file as nm writes it"


def _from_elf(path: str, compression: str, source: ByteSource) -> Namelist:
    elf = read_elf_file(source)
    record = elf.section(".buildid")
    build_id = _guid(elf, record) if record else None
    return Namelist(
        path=path,
        compression=compression,
        purpose=_purpose(elf),
        elf=elf,
        build_id=build_id or _build_id(elf),
        efi=record is not None,
        listed={},
    )


def _purpose(elf: ElfFile) -> Purpose:
    loaded = [row.vaddr for row in elf.sections if row.flags & SHF_ALLOC and row.vaddr]
    wide = elf.word_size == 8
    if any(at in (_HYPERVISOR if wide else _HYPERVISOR_32) for at in loaded):
        return "hypervisor"
    if elf.relocatable or not any(at in (_LINUX if wide else _LINUX_32) for at in loaded):
        return "other"
    return "linux"


def _build_id(elf: ElfFile) -> str | None:
    room = _ALL_NOTES
    for section in elf.sections:
        if section.type == SHT_NOTE and section.has_bytes and section.size <= min(_MAX_NOTES, room):
            room -= section.size
            order: Literal["little", "big"] = "little" if elf.order == "<" else "big"
            notes, _ = walk_notes(elf.data(section), section.offset, order)
            for note in notes:
                if (note.owner, note.type) == ("GNU", _NT_GNU_BUILD_ID) and note.desc:
                    return note.desc.hex()
    return None


def _guid(elf: ElfFile, record: Section) -> str | None:
    # the CodeView record of xen.efi; see vmcoretool.xen.build_id
    if not record.has_bytes or record.size > _MAX_NOTES:
        return None
    _, found, rest = elf.data(record).partition(b"RSDS")
    return rest[:16].hex() if found and len(rest) >= 16 else None


def _from_map(path: str, compression: str, source: ByteSource) -> Namelist:
    text = source.pread(MAX_MAP + 1, 0)
    if len(text) > MAX_MAP:
        raise NamelistError("too large for a map file", path=path)
    wanted = frozenset(SYMBOLS)
    symbols: dict[str, Vaddr] = {}
    for name, vaddr in _map_rows(text, path):
        if name in wanted:
            symbols.setdefault(name, vaddr)
    purpose: Purpose = "other"
    if "idle_pg_table" in symbols:
        purpose = "hypervisor"
    elif "linux_banner" in symbols:
        purpose = "linux"
    return Namelist(
        path=path,
        compression=compression,
        purpose=purpose,
        elf=None,
        build_id=None,
        efi=False,
        listed=symbols,
    )


def _map_rows(text: bytes, path: str) -> Iterator[tuple[str, Vaddr]]:
    for row in io.BytesIO(text):
        line = row.rstrip(b"\r\n")
        if not _MAP_LINE.match(line):
            raise NamelistError("not a map file as nm writes it", path=path)
        words = line.split()
        # Xen's own maps name static symbols "file.c#symbol"; Linux adds a module's name behind
        name = words[2].decode("ascii", "backslashreplace").rpartition("#")[2]
        yield name, Vaddr(int(words[0], 16))


def _text_in(data: bytes, start: int, text: str) -> Iterator[Vaddr]:
    needle = b"\0" + text.encode("ascii") + b"\0"
    at = data.find(needle)
    for _ in range(_MAX_TEXTS):
        if at < 0:
            return
        yield Vaddr(start + at + 1)
        at = data.find(needle, at + 1)
