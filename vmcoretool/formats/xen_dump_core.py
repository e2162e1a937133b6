"""Dumps of one Xen guest: ``xl dump-core`` ELF files, and xc_core files from before them.

docs/misc/dump-core-format.txt and tools/libs/guest/xg_core.h.  The ELF form has no program
headers; its sections are ``.note.Xen``,
``.xen_prstatus`` (the virtual CPUs), ``.xen_pages`` (the pages), and ``.xen_p2m`` (PV: pfn and
gmfn of each page) or ``.xen_pfn`` (HVM and PVH: pfn).  Memory is the guest's pseudo-physical
memory, ``pfn << 12``.  The older form (up to 3.0.4,
tools/libxc/xc_core.c) has a frame number per page.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import PAGE_SIZE, FileOffset
from vmcoretool.errors import FormatError, TruncatedError, UnknownFormatError
from vmcoretool.formats.api import (
    EM_386,
    EM_X86_64,
    Container,
    Format,
    Machine,
    NoteBlob,
    Observed,
    only_source,
    report_incomplete,
)
from vmcoretool.formats.elf_headers import MAGIC, ElfHeader, parse_elf_header, read_elf_header
from vmcoretool.formats.guest_pages import GuestPages, Index
from vmcoretool.formats.note_segments import read_note_segments
from vmcoretool.notes.guest_context import MAX_VCPUS, context_size, vcpu_states

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmcoretool.notes.registers import CpuState
    from vmcoretool.sources.file import ByteSource

XC_CORE_MAGIC: Final = b"\xed\xeb\x0f\xf0"
XC_CORE_MAGIC_HVM: Final = b"\xee\xeb\x0f\xf0"
MAX_SECTIONS: Final = 64
_NAMES_LIMIT: Final = 4096
_CUT: Final = "the stream around the dump ends early or is damaged"


class _Section(NamedTuple):
    offset: int
    size: int


def _probe(source: ByteSource) -> bool:
    head = source.pread(64, 0)
    if head[:4] in (XC_CORE_MAGIC, XC_CORE_MAGIC_HVM):
        return True
    header = parse_elf_header(head)
    return header is not None and header.is_sections_only and header.layout.order == "<"


def _open(sources: Sequence[ByteSource]) -> Container:
    source = only_source(sources, "a guest's dump")
    head = source.pread(64, 0)
    if head[:4] in (XC_CORE_MAGIC, XC_CORE_MAGIC_HVM):
        return _open_old(source, head)
    header = _checked_header(source, head)
    sections = _sections(source, header)
    if ".xen_pages" not in sections:
        raise FormatError(
            "an ELF core without program headers and without a section .xen_pages",
            path=source.path,
            where=FileOffset(0),
        )
    observed = Observed()
    pages = GuestPages(source, _index(source, sections), observed)
    blobs = tuple(_note_blobs(source, sections, observed))
    report_incomplete(source, observed, _CUT)
    return Container(
        row=FORMAT,
        machine=Machine(header.machine, "little"),
        pages=pages,
        note_blobs=blobs,
        complete=observed.complete,
        findings=observed.findings,
        cpus=_vcpus(source, sections, header),
    )


def _index(source: ByteSource, sections: dict[str, _Section]) -> Index:
    pages_at, size = sections[".xen_pages"]
    p2m = sections.get(".xen_p2m")
    width, (offset, length) = (16, p2m) if p2m else (8, sections.get(".xen_pfn", _Section(0, 0)))
    announced, room = length // width, size // PAGE_SIZE
    if announced > room:  # an entry for each page, invalid ones at the end included
        raise FormatError(
            f"an index of {announced} frames for {room} pages",
            path=source.path,
            where=FileOffset(offset),
            cure="the section headers are damaged: get the dump again from where it was saved",
        )
    return Index(offset, length, width, pages_at)


def _vcpus(
    source: ByteSource, sections: dict[str, _Section], header: ElfHeader
) -> tuple[CpuState, ...]:
    if ".xen_prstatus" not in sections:
        return ()
    offset, size = sections[".xen_prstatus"]
    word_size = 4 if header.machine == EM_386 else 8
    limit = MAX_VCPUS * context_size(word_size)
    return tuple(vcpu_states(source.pread(min(size, limit), offset), word_size))


def _note_blobs(
    source: ByteSource, sections: dict[str, _Section], observed: Observed
) -> Iterator[NoteBlob]:
    if ".note.Xen" in sections:
        yield from read_note_segments(source, (sections[".note.Xen"],), observed)


def _checked_header(source: ByteSource, head: bytes) -> ElfHeader:
    if head[:4] != MAGIC:
        raise UnknownFormatError(
            "neither an ELF file nor an xc_core file", path=source.path, where=FileOffset(0)
        )
    header = read_elf_header(source, head)
    if header.layout.order != "<":
        raise FormatError(
            "a big-endian ELF file is no guest's of Xen on x86",
            path=source.path,
            where=FileOffset(4),
        )
    return header


def _sections(source: ByteSource, header: ElfHeader) -> dict[str, _Section]:
    at, count, names_at = header.shoff, header.shnum, header.shstrndx
    if count > MAX_SECTIONS:
        raise FormatError(
            f"{count} sections, a dump-core file has six", path=source.path, where=FileOffset(at)
        )
    layout = header.layout.section
    table = source.pread(layout.size * count, at)
    rows = list(layout.iter_unpack(table[: len(table) - len(table) % layout.size]))
    place, length = rows[names_at][4:6] if names_at < len(rows) else (source.size, 1)
    if place + length > source.size:
        what = "file" if source.complete else "compressed stream was cut off or is damaged: it"
        raise TruncatedError(
            f"the {what} ends before its section names",
            path=source.path,
            where=FileOffset(at),
            cure="a dump-core file has them at its very end: get the whole file",
        )
    names = source.pread(min(length, _NAMES_LIMIT), place)
    found: dict[str, _Section] = {}
    for row in rows:
        name = names[row[0] :].split(b"\0", 1)[0].decode("ascii", "replace")
        found.setdefault(name, _Section(row[4], row[5]))
    return found


def _open_old(source: ByteSource, head: bytes) -> Container:
    if len(head) < 24:
        raise TruncatedError(
            "the file ends inside its xc_core header", path=source.path, where=FileOffset(0)
        )
    vcpus, pages, contexts_at, index_at, pages_at = struct.unpack_from("<5I", head, 4)
    if not pages or index_at >= pages_at:
        raise FormatError(
            f"an xc_core header with {pages} pages, index at {index_at:#x}, pages at {pages_at:#x}",
            path=source.path,
            where=FileOffset(4),
        )
    # xen_pfn_t was an unsigned long until 2007 (Xen commit 46c01e0595), and so as wide as the words
    # of the contexts before it; where these are not there, the room tells
    contexts = index_at - contexts_at
    if vcpus and contexts in (vcpus * context_size(4), vcpus * context_size(8)):
        width = 4 if contexts == vcpus * context_size(4) else 8
    else:
        width = 8 if pages_at - index_at >= 8 * pages else 4
    observed = Observed()
    reader = GuestPages(source, Index(index_at, width * pages, width, pages_at), observed)
    report_incomplete(source, observed, _CUT)
    return Container(
        row=FORMAT,
        machine=Machine(EM_X86_64 if width == 8 else EM_386, "little"),
        pages=reader,
        note_blobs=(),
        complete=observed.complete,
        findings=observed.findings,
    )


FORMAT: Final = Format(
    name="xen-core",
    title="one Xen guest: xl dump-core (ELF with .xen_pages), and xc_core files from before 3.0.5",
    references=("xen.git docs/misc/dump-core-format.txt",),
    probe=_probe,
    open=_open,
    limitations=(
        "ia64 and ARM guests' registers",
        "memory is by pfn, in xc_core files by mfn",
        "a guest of at most 1 TiB",
    ),
    is_host=False,
    readable_by_crash=True,
)
