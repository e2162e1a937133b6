"""ELF vmcores: what /proc/vmcore gives, makedumpfile -E and QEMU write.

System V gABI, chapters 4 and 5.  The layout is taken from the headers and nothing is assumed of
where writers put things: QEMU 7.2 and later place section headers before the program headers and
write ``e_ehsize`` 8.  PT_LOADs may be unsorted, overlap and start or end inside a page; what
``p_memsz`` has beyond ``p_filesz`` is *excluded*, never zeros.  ``p_vaddr`` is meaningless under
Xen and not read.
"""

from __future__ import annotations

import errno
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import MADDR_LIMIT, FileOffset
from vmcoretool.errors import FormatError, UnknownFormatError, is_out_of_reach, reason_of
from vmcoretool.formats.api import (
    Container,
    Format,
    Machine,
    NoteBlob,
    Observed,
    only_source,
    report_incomplete,
)
from vmcoretool.formats.elf_headers import (
    ET_CORE,
    MAGIC,
    PN_XNUM,
    PT_LOAD,
    PT_NOTE,
    ElfHeader,
    parse_elf_header,
    read_elf_header,
)
from vmcoretool.formats.elf_pages import ElfPages, Segment
from vmcoretool.formats.note_segments import notes_behind, read_note_segments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmcoretool.sources.file import ByteSource

MAX_PHDRS: Final = 1 << 18
"""QEMU's paging dumps have up to some 10^5; more would cost more memory than a reader may take."""
_HEAD: Final = 64 * 1024
_CHUNK_PHDRS: Final = 4096
_SYMBOL_FILES: Final = (1, 2, 3)  # ET_REL, ET_EXEC, ET_DYN


def _probe(source: ByteSource) -> bool:
    # an ELF with sections but no program headers is a guest's dump-core: xen_dump_core's
    head = source.pread(64, 0)
    header = parse_elf_header(head)
    return head[:4] == MAGIC and not (
        header and header.is_sections_only and header.layout.order == "<"
    )


def _open(sources: Sequence[ByteSource]) -> Container:
    source = only_source(sources, "an ELF dump")
    head = _head(source)
    header = read_elf_header(source, head)
    if header.type != ET_CORE:
        raise UnknownFormatError(
            f"an ELF file, but not a core dump (e_type {header.type})",
            path=source.path,
            where=FileOffset(16),
            cure="a symbol file goes with --xen-syms or --vmlinux"
            if header.type in _SYMBOL_FILES
            else "",
        )
    observed = Observed()
    loads, note_segments = _segments(source, head, header, observed)
    blobs = tuple(_note_blobs(source, head, header, note_segments, observed))
    if not loads and not blobs and not note_segments:
        if any(found.code == "page-unreadable" for found in observed.findings):
            raise OSError(errno.EIO, "its program headers cannot be read", source.path)
        raise FormatError(
            "no PT_LOAD and no PT_NOTE program header: nothing of a dump is left in this file",
            path=source.path,
            where=FileOffset(header.phoff),
            cure="get the dump again from where it was saved",
        )
    pages = ElfPages(source, _usable(loads, header, observed), observed)
    report_incomplete(source, observed)
    return Container(
        row=FORMAT,
        machine=Machine(header.machine, "little" if header.layout.order == "<" else "big"),
        pages=pages,
        note_blobs=blobs,
        complete=observed.complete,
        findings=observed.findings,
        elf_bits=header.layout.bits,
    )


def _head(source: ByteSource) -> bytes:
    # the headers and what is likely to follow them; without it where a part of that is lost
    try:
        return source.pread(_HEAD, 0)
    except (OSError, FormatError):
        return source.pread(64, 0)


def _segments(
    source: ByteSource, head: bytes, header: ElfHeader, observed: Observed
) -> tuple[list[Segment], list[Segment]]:
    # The PT_LOADs and the PT_NOTEs, in the order of the table.
    rows = header.layout.segment
    size = rows.size
    if header.phentsize != size:
        observed.odd("headers-odd", f"e_phentsize is {header.phentsize}: {size} assumed")
    count = _phnum(source, header)
    if count > MAX_PHDRS:
        raise FormatError(
            f"{count} program headers announced, more than {MAX_PHDRS}",
            path=source.path,
            where=FileOffset(header.phoff),
        )
    there = min(count, max(source.size - header.phoff, 0) // size)
    if there < count:
        observed.lost(f"the file holds {there} of {count} program headers")
    segment = itemgetter(*header.layout.segment_fields)
    loads: list[Segment] = []
    notes: list[Segment] = []
    for first in range(0, there, _CHUNK_PHDRS):
        wanted = min(_CHUNK_PHDRS, there - first) * size
        data = _table(source, head, header.phoff + first * size, wanted, observed)
        for row in rows.iter_unpack(data[: len(data) - len(data) % size]):
            if row[0] == PT_LOAD:
                loads.append(segment(row))
            elif row[0] == PT_NOTE:
                notes.append(segment(row))
    return loads, notes


def _table(source: ByteSource, head: bytes, offset: int, size: int, observed: Observed) -> bytes:
    # program headers; b"" of those that are lost
    try:
        return _from_head(source, head, offset, size)
    except FormatError:
        observed.lost("the program headers never arrived: no memory can be found without them")
    except OSError as error:
        if is_out_of_reach(error):
            raise
        why = reason_of(error)
        what = f"{source.path}: program headers at file offset {offset:#x} cannot be read: {why}"
        observed.lost(what, code="page-unreadable")
    return b""


def _phnum(source: ByteSource, header: ElfHeader) -> int:
    # PN_XNUM: the real number is sh_info of section header 0, whatever e_shnum says
    if header.phnum != PN_XNUM:
        return header.phnum
    layout = header.layout
    word = source.pread(4, header.shoff + layout.section_count) if header.shoff else b""
    count = int.from_bytes(word, "little" if layout.order == "<" else "big")
    return count if len(word) == 4 and count else PN_XNUM


def _from_head(source: ByteSource, head: bytes, offset: int, size: int) -> bytes:
    if offset + size <= len(head):
        return head[offset : offset + size]
    return source.pread(size, offset)


def _note_blobs(
    source: ByteSource,
    head: bytes,
    header: ElfHeader,
    segments: list[Segment],
    observed: Observed,
) -> Iterator[NoteBlob]:
    areas = ((offset, filesz) for offset, _, filesz, _ in segments)
    yield from read_note_segments(source, areas, observed, head)
    if not segments and observed.findings:
        # makedumpfile writes the notes before the program headers, which end where notes start
        behind = header.phoff + header.phnum * header.layout.segment.size
        yield from notes_behind(source, behind, "little" if header.layout.order == "<" else "big")


def _usable(loads: list[Segment], header: ElfHeader, observed: Observed) -> list[Segment]:
    # Segments with a physical address x86 can have; all-ones means "none" (/proc/kcore).
    nowhere = (1 << header.layout.bits) - 1
    highest = max((paddr for _, paddr, _, _ in loads), default=0)
    if len(loads) > 1 and highest == 0:
        message = "every PT_LOAD has p_paddr 0, as in the core of a process"
        observed.odd("headers-odd", message, "Open the core of a process with gdb.")
        return []
    if highest < min(MADDR_LIMIT, nowhere):
        return loads
    usable: list[Segment] = []
    for load in loads:
        paddr = load[1]
        if paddr < min(MADDR_LIMIT, nowhere):
            usable.append(load)
        elif paddr != nowhere:
            message = f"a PT_LOAD at {paddr:#x}, beyond any machine address, is ignored"
            observed.odd("headers-odd", message)
    return usable


FORMAT: Final = Format(
    name="elf",
    title="ELF core dump of machine memory (/proc/vmcore, makedumpfile -E, QEMU)",
    references=("System V gABI, chapters 4 and 5",),
    probe=_probe,
    open=_open,
    readable_by_crash=True,
    input_of_makedumpfile=True,
)
