"""ELF vmcores: what /proc/vmcore gives, makedumpfile -E and QEMU write.

System V gABI, chapters 4 and 5.  The layout is taken from the headers and nothing is assumed of
where writers put things: QEMU 7.2 and later place section headers before the program headers and
write ``e_ehsize`` 8.  PT_LOADs may be unsorted, overlap and start or end inside a page; what
``p_memsz`` has beyond ``p_filesz`` is *excluded*, never zeros.  ``p_vaddr`` is meaningless under
Xen and not read.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vmcoretool.addresses import MADDR_LIMIT, MIB, PAGE_SIZE, Extent, FileOffset, Maddr
from vmcoretool.errors import (
    FormatError,
    MemoryFault,
    TruncatedError,
    UnknownFormatError,
)
from vmcoretool.findings import Finding, finding
from vmcoretool.formats.api import Container, Format, Machine, NoteBlob, only_source
from vmcoretool.memory.extents import ExtentMap, disjoint, subtract

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmcoretool.sources.file import ByteSource

ET_CORE: Final = 4
PT_LOAD: Final = 1
PT_NOTE: Final = 4
PN_XNUM: Final = 0xFFFF
MAX_PHDRS: Final = 1 << 18
"""QEMU's paging dumps have up to some 10^5; more would cost more memory than a reader may take."""
MAX_NOTE_BYTES: Final = 8 * MIB
_HEAD: Final = 64 * 1024
_CHUNK_PHDRS: Final = 4096


class _Layout(NamedTuple):
    # Where one ELF class keeps things; offsets are from the gABI structures.
    ehdr: str  # from e_type: type machine version entry phoff shoff flags ehsize phentsize phnum
    ehdr_size: int
    phdr: str
    phdr_size: int
    segment: tuple[int, int, int, int]  # which words of a program header make a _Segment
    sh_info: int


_LAYOUTS: Final = {
    1: _Layout("HHIIIIIHHH", 52, "IIIIIIII", 32, (1, 3, 4, 5), 28),
    2: _Layout("HHIQQQIHHH", 64, "IIQQQQQQ", 56, (2, 4, 5, 6), 44),
}


# p_offset, p_paddr, p_filesz, p_memsz; a plain tuple, as there may be 10^5 of them
_Segment = tuple[int, int, int, int]


class _Header(NamedTuple):
    layout: _Layout
    order: Literal["<", ">"]
    machine: int
    phoff: int
    shoff: int
    phentsize: int
    phnum: int


def _probe(source: ByteSource) -> bool:
    # An ELF without program headers but with sections is a guest's dump-core: xen_core's.
    head = source.pread(64, 0)
    if head[:4] != b"\x7fELF" or len(head) < 64 or head[4] not in _LAYOUTS or head[5] != 1:
        return head[:4] == b"\x7fELF"
    phnum, shnum = (56, 60) if head[4] == 2 else (44, 48)
    return any(head[phnum : phnum + 2]) or not any(head[shnum : shnum + 2]) or head[16] != ET_CORE


def _open(sources: Sequence[ByteSource]) -> Container:
    source = only_source(sources, "an ELF dump")
    head = source.pread(_HEAD, 0)
    header = _read_header(head)
    findings: list[Finding] = []
    loads, note_segments = _segments(source, head, header, findings)
    if not loads and not note_segments:
        raise FormatError(
            "no PT_LOAD and no PT_NOTE program header: nothing of a dump is left in this file",
            where=FileOffset(header.phoff),
            cure="get the dump again from where it was saved",
        )
    pages = _ElfPages(source, _usable(loads, header, findings), findings)
    blobs = tuple(_note_blobs(source, head, note_segments, findings))
    if not source.complete:
        findings.append(finding("truncated", "the stream around the dump ends early or is damaged"))
    return Container(
        format="elf",
        machine=Machine(header.machine, "little" if header.order == "<" else "big"),
        pages=pages,
        note_blobs=blobs,
        complete=not any(found.code == "truncated" for found in findings),
        findings=tuple(findings),
    )


def _read_header(head: bytes) -> _Header:
    if len(head) < 52:
        raise TruncatedError(
            f"the file ends inside its ELF header ({len(head)} bytes)", where=FileOffset(0)
        )
    layout = _LAYOUTS.get(head[4])
    if layout is None or head[5] not in (1, 2):
        raise FormatError(
            f"ELF class {head[4]} and data encoding {head[5]} are none the gABI knows",
            where=FileOffset(4),
        )
    if len(head) < layout.ehdr_size:
        raise TruncatedError(
            f"the file ends inside its ELF header ({len(head)} bytes)", where=FileOffset(0)
        )
    order: Literal["<", ">"] = "<" if head[5] == 1 else ">"
    kind, machine, _, _, phoff, shoff, _, _, phentsize, phnum = struct.unpack_from(
        order + layout.ehdr, head, 16
    )
    if kind != ET_CORE:
        raise UnknownFormatError(
            f"an ELF file, but not a core dump (e_type {kind})",
            where=FileOffset(16),
            cure="a symbol file goes with --xen-syms or --vmlinux" if kind in (1, 2, 3) else "",
        )
    return _Header(layout, order, machine, phoff, shoff, phentsize, phnum)


def _segments(
    source: ByteSource, head: bytes, header: _Header, findings: list[Finding]
) -> tuple[list[_Segment], list[_Segment]]:
    # The PT_LOADs and the PT_NOTEs, in the order of the table.
    size = header.layout.phdr_size
    if header.phentsize != size:
        message = f"e_phentsize is {header.phentsize}: {size} assumed"
        findings.append(finding("headers-odd", message))
    count = _phnum(source, header)
    if count > MAX_PHDRS:
        raise FormatError(
            f"{count} program headers announced, more than {MAX_PHDRS}",
            where=FileOffset(header.phoff),
        )
    there = min(count, max(source.size - header.phoff, 0) // size)
    if there < count:
        message = f"the file holds {there} of {count} program headers"
        findings.append(finding("truncated", message))
    rows = struct.Struct(header.order + header.layout.phdr)
    segment = itemgetter(*header.layout.segment)
    loads: list[_Segment] = []
    notes: list[_Segment] = []
    for first in range(0, there, _CHUNK_PHDRS):
        wanted = min(_CHUNK_PHDRS, there - first) * size
        data = _from_head(source, head, header.phoff + first * size, wanted)
        for row in rows.iter_unpack(data[: len(data) - len(data) % size]):
            if row[0] == PT_LOAD:
                loads.append(segment(row))
            elif row[0] == PT_NOTE:
                notes.append(segment(row))
    return loads, notes


def _phnum(source: ByteSource, header: _Header) -> int:
    # PN_XNUM: the real number is sh_info of section header 0, whatever e_shnum says
    if header.phnum != PN_XNUM:
        return header.phnum
    word = source.pread(4, header.shoff + header.layout.sh_info) if header.shoff else b""
    if len(word) < 4:
        return PN_XNUM
    count: int = struct.unpack(header.order + "I", word)[0]
    return count or PN_XNUM


def _from_head(source: ByteSource, head: bytes, offset: int, size: int) -> bytes:
    if offset + size <= len(head):
        return head[offset : offset + size]
    return source.pread(size, offset)


def _note_blobs(
    source: ByteSource, head: bytes, segments: list[_Segment], findings: list[Finding]
) -> Iterator[NoteBlob]:
    room = MAX_NOTE_BYTES
    for offset, _, filesz, _ in segments:
        there = min(filesz, max(source.size - offset, 0))
        if there < filesz:
            message = f"the file holds {there} of {filesz} bytes of notes"
            findings.append(finding("truncated", message))
        if there > room:
            message = f"more than {MAX_NOTE_BYTES // MIB} MiB of notes: the rest is ignored"
            findings.append(finding("note-damaged", message))
        there = min(there, room)
        room -= there
        if there:
            yield NoteBlob(_from_head(source, head, offset, there), FileOffset(offset))


def _usable(loads: list[_Segment], header: _Header, findings: list[Finding]) -> list[_Segment]:
    # Segments with a physical address x86 can have; all-ones means "none" (/proc/kcore).
    nowhere = (1 << 64) - 1 if header.layout.phdr_size == 56 else (1 << 32) - 1
    highest = max((paddr for _, paddr, _, _ in loads), default=0)
    if len(loads) > 1 and highest == 0:
        message = "every PT_LOAD has p_paddr 0: machine memory cannot be found in this file"
        findings.append(finding("headers-odd", message))
        return []
    if highest < min(MADDR_LIMIT, nowhere):
        return loads
    usable: list[_Segment] = []
    for load in loads:
        paddr = load[1]
        if paddr < min(MADDR_LIMIT, nowhere):
            usable.append(load)
        elif paddr != nowhere:
            message = f"a PT_LOAD at {paddr:#x}, beyond any machine address, is ignored"
            findings.append(finding("headers-odd", message))
    return usable


class _ElfPages:
    # The PageReader of an ELF vmcore: disjoint pieces of machine memory, each with its place in
    # the file, searched by bisection.  Arrays, not objects: paging dumps have 10^5 PT_LOADs.
    __slots__ = ("_ends", "_excluded", "_offsets", "_present", "_source", "_starts")

    def __init__(self, source: ByteSource, loads: list[_Segment], findings: list[Finding]) -> None:
        self._source = source
        size = source.size
        pieces: list[tuple[int, int, int]] = []
        without_data: list[tuple[int, int]] = []
        lost = 0
        for offset, paddr, filesz, memsz in loads:
            there = filesz
            if offset + filesz > size:
                there = max(size - offset, 0) if offset < size else 0
                lost += filesz - there
            if there:
                end = paddr + there
                pieces.append((paddr, min(MADDR_LIMIT, end), offset))
            if memsz > there or filesz > there:
                end = min(paddr + max(memsz, filesz), MADDR_LIMIT)
                without_data.append((paddr + there, end))
        if lost:
            total = sum(filesz for _, _, filesz, _ in loads)
            message = f"the file is cut short: {lost} of {total} bytes of memory are missing"
            findings.append(finding("truncated", message))
        placed = disjoint(pieces)
        self._starts = array("Q", [start for start, _, _ in placed])
        self._ends = array("Q", [end for _, end, _ in placed])
        self._offsets = array("Q", [offset for _, _, offset in placed])
        self._present = ExtentMap(zip(self._starts, self._ends, strict=True))
        self._excluded = subtract(ExtentMap(without_data), self._present)

    @property
    def present_pages(self) -> int:
        """As :attr:`vmcoretool.memory.physical.PageReader.present_pages`."""
        return self._present.page_count

    @property
    def excluded_pages(self) -> int:
        """As :attr:`vmcoretool.memory.physical.PageReader.excluded_pages`."""
        both = ExtentMap([*self._present, *self._excluded])
        return both.page_count - self._present.page_count

    def extents(self) -> ExtentMap:
        """As :meth:`vmcoretool.memory.physical.PageReader.extents`."""
        return ExtentMap([*self._present, *self._excluded])

    def is_present(self, maddr: int) -> bool:
        """As :meth:`vmcoretool.memory.physical.PageReader.is_present`."""
        return maddr in self._present

    def is_excluded(self, maddr: int) -> bool:
        """As :meth:`vmcoretool.memory.physical.PageReader.is_excluded`."""
        return maddr in self._excluded

    def stored(self) -> Iterator[Extent]:
        """As :meth:`vmcoretool.memory.physical.PageReader.stored`."""
        for start, end, offset in zip(self._starts, self._ends, self._offsets, strict=True):
            for first, last in self._source.data_ranges(offset, offset + end - start):
                low = start + first - offset & -PAGE_SIZE
                yield Extent(Maddr(max(low, start)), Maddr(start + last - offset))

    def read_at(self, maddr: int, size: int) -> bytes:
        """As :meth:`vmcoretool.memory.physical.PageReader.read_at`."""
        at = bisect_right(self._starts, maddr) - 1
        if at < 0 or maddr >= self._ends[at]:
            return b""
        size = min(size, self._ends[at] - maddr)
        where = self._offsets[at] + maddr - self._starts[at]
        try:
            data = self._source.pread(size, where)
        except FormatError as error:
            raise MemoryFault(Maddr(maddr), reason=f"was lost: {error.what}") from error
        if not data:
            raise TruncatedError(
                "the file became shorter while it was read",
                path=self._source.path,
                where=FileOffset(where),
                cure="copy it to a place where nobody writes, and try again",
            )
        return data


FORMAT: Final = Format(
    name="elf",
    title="ELF core dump of machine memory (/proc/vmcore, makedumpfile -E, QEMU)",
    reference="System V gABI, chapters 4 and 5",
    probe=_probe,
    open=_open,
    limits="",
)
