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
from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vmcoretool.addresses import MIB, PAGE_SIZE, Extent, FileOffset, Maddr
from vmcoretool.errors import (
    FormatError,
    MemoryFault,
    TruncatedError,
    UnknownFormatError,
    UnsupportedFormatError,
)
from vmcoretool.findings import Finding, finding
from vmcoretool.formats.api import (
    EM_386,
    EM_X86_64,
    Container,
    Format,
    Machine,
    NoteBlob,
    only_source,
)
from vmcoretool.notes.guest_context import MAX_VCPUS, context_size, vcpu_states

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from vmcoretool.notes.registers import CpuState
    from vmcoretool.sources.file import ByteSource

XC_CORE_MAGIC: Final = b"\xed\xeb\x0f\xf0"
XC_CORE_MAGIC_HVM: Final = b"\xee\xeb\x0f\xf0"
INVALID: Final = (1 << 64) - 1
MAX_SECTIONS: Final = 64
_CHUNK: Final = 4096
_PLACE_BITS: Final = 22
MAX_UNSORTED: Final = 1 << _PLACE_BITS
_SHDR: Final = {2: (64, "IIQQQQIIQQ"), 1: (40, "IIIIIIIIII")}
_NAMES_LIMIT: Final = 4096


class _Section(NamedTuple):
    offset: int
    size: int


def _probe(source: ByteSource) -> bool:
    head = source.pread(64, 0)
    if head[:4] in (XC_CORE_MAGIC, XC_CORE_MAGIC_HVM):
        return True
    # an ELF core without program headers but with sections
    if head[:4] != b"\x7fELF" or len(head) < 64 or head[4] not in _SHDR or head[5] != 1:
        return False
    wide = head[4] == 2
    phnum = int.from_bytes(head[56:58] if wide else head[44:46], "little")
    shnum = int.from_bytes(head[60:62] if wide else head[48:50], "little")
    return head[16:18] == b"\x04\0" and phnum == 0 and shnum > 0


def _open(sources: Sequence[ByteSource]) -> Container:
    source = only_source(sources, "a guest's dump")
    head = source.pread(64, 0)
    if head[:4] in (XC_CORE_MAGIC, XC_CORE_MAGIC_HVM):
        return _open_old(source, head)
    _check_header(head)
    sections = _sections(source, head)
    if ".xen_pages" not in sections:
        raise FormatError(
            "an ELF core without program headers and without a section .xen_pages",
            where=FileOffset(0),
        )
    findings: list[Finding] = []
    index = sections.get(".xen_p2m")
    width, section = (16, index) if index else (8, sections.get(".xen_pfn", _Section(0, 0)))
    order: Literal["little", "big"] = "little"
    machine = int.from_bytes(head[18:20], "little")
    pages = _DomainPages(source, sections[".xen_pages"].offset, section, width, findings)
    if not source.complete:
        findings.append(finding("truncated", "the stream around the dump ends early or is damaged"))
    states: tuple[CpuState, ...] = ()
    if ".xen_prstatus" in sections:
        offset, size = sections[".xen_prstatus"]
        word_size = 4 if machine == EM_386 else 8
        limit = MAX_VCPUS * context_size(word_size)
        states = tuple(vcpu_states(source.pread(min(size, limit), offset), word_size))
    blobs = []
    if ".note.Xen" in sections:
        offset, size = sections[".note.Xen"]
        blobs.append(NoteBlob(source.pread(min(size, MIB), offset), FileOffset(offset)))
    return Container(
        format="xen-core",
        machine=Machine(machine, order),
        pages=pages,
        note_blobs=tuple(blobs),
        complete=not findings and source.complete,
        findings=tuple(findings),
        cpus=states,
    )


def _check_header(head: bytes) -> None:
    if head[:4] != b"\x7fELF":
        raise UnknownFormatError("neither an ELF file nor an xc_core file", where=FileOffset(0))
    if len(head) < 64:
        raise TruncatedError("the file ends inside its ELF header", where=FileOffset(0))
    if head[4] not in _SHDR or head[5] != 1:
        raise FormatError(
            f"ELF class {head[4]} and data encoding {head[5]} are no guest's of Xen on x86",
            where=FileOffset(4),
        )


def _sections(source: ByteSource, head: bytes) -> dict[str, _Section]:
    wide = head[4] == 2
    size, layout = _SHDR[head[4]]
    at = int.from_bytes(head[40:48] if wide else head[32:36], "little")
    count, names_at = struct.unpack_from("<HH", head, 60 if wide else 48)
    if count > MAX_SECTIONS:
        raise FormatError(f"{count} sections, a dump-core file has six", where=FileOffset(at))
    table = source.pread(size * count, at)
    rows = list(struct.iter_unpack("<" + layout, table[: len(table) - len(table) % size]))
    place, length = rows[names_at][4:6] if names_at < len(rows) else (source.size, 1)
    if place + length > source.size:
        what = "file" if source.complete else "compressed stream was cut off or is damaged: it"
        raise TruncatedError(
            f"the {what} ends before its section names",
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
        raise TruncatedError("the file ends inside its xc_core header", where=FileOffset(0))
    vcpus, pages, contexts_at, index_at, pages_at = struct.unpack_from("<5I", head, 4)
    if not pages or index_at >= pages_at:
        raise FormatError(
            f"an xc_core header with {pages} pages, index at {index_at:#x}, pages at {pages_at:#x}",
            where=FileOffset(4),
        )
    # xen_pfn_t was an unsigned long until 2007 (Xen commit 46c01e0595), and so as wide as the words
    # of the contexts before it; where these are not there, the room tells
    contexts = index_at - contexts_at
    if vcpus and contexts in (vcpus * context_size(4), vcpus * context_size(8)):
        width = 4 if contexts == vcpus * context_size(4) else 8
    else:
        width = 8 if pages_at - index_at >= 8 * pages else 4
    findings: list[Finding] = []
    section = _Section(index_at, width * pages)
    machine = EM_X86_64 if width == 8 else EM_386
    return Container(
        format="xen-core",
        machine=Machine(machine, "little"),
        pages=_DomainPages(source, pages_at, section, width, findings),
        note_blobs=(),
        complete=not findings and source.complete,
        findings=tuple(findings),
    )


class _DomainPages:
    # The PageReader of a guest: the i-th frame of the index is the i-th page.  The index stays in
    # the file; of each chunk only the first frame is kept, or of unsorted ones a sorted copy.
    def __init__(
        self,
        source: ByteSource,
        pages_at: int,
        index: _Section,
        width: int,
        findings: list[Finding],
    ) -> None:
        self._source = source
        self._pages_at = pages_at
        self._index = index
        self._width = width
        self._held: tuple[int, list[int]] = (-1, [])
        self._firsts = array("Q")
        self._sorted: tuple[array[int], array[int]] | None = None  # frames, their places
        count = min(index.size, max(source.size - index.offset, 0)) // width
        if count * width < index.size:
            findings.append(finding("truncated", "the file ends inside its index of frames"))
        self.count, ascending = self._survey(count)
        if not ascending:
            if self.count > MAX_UNSORTED:
                raise UnsupportedFormatError(f"an index of {self.count} frames in no order")
            self._sorted = self._sort()
        there = max(source.size - pages_at, 0) // PAGE_SIZE
        if there < self.count:
            message = f"the file holds {there} of {self.count} pages"
            findings.append(finding("truncated", message))
        self.present_pages = min(there, self.count)
        self.excluded_pages = self.count - self.present_pages

    def _survey(self, count: int) -> tuple[int, bool]:
        last, ascending = -1, True
        for at in range(0, count, _CHUNK):
            chunk = self._chunk(at)[: count - at]
            self._firsts.append(chunk[0])
            for number, frame in enumerate(chunk):
                if frame == INVALID or (self._width == 4 and frame == INVALID >> 32):
                    return at + number, ascending  # invalid entries stand at the end only
                ascending = ascending and frame > last
                last = frame
        return count, ascending

    def _sort(self) -> tuple[array[int], array[int]]:
        # one integer for frame and place sorts in a tenth of a tuple's memory
        packed = sorted(
            frame << _PLACE_BITS | at + number
            for at in range(0, self.count, _CHUNK)
            for number, frame in enumerate(self._chunk(at)[: self.count - at])
        )
        frames = array("Q", (one >> _PLACE_BITS for one in packed))
        return frames, array("I", (one & MAX_UNSORTED - 1 for one in packed))

    def _chunk(self, at: int) -> list[int]:
        held = self._held  # read once: another thread may replace it
        if held[0] == at:
            return held[1]
        raw = self._source.pread(_CHUNK * self._width, self._index.offset + at * self._width)
        letter, size = ("I", 4) if self._width == 4 else ("Q", 8)
        words = struct.unpack_from(f"<{len(raw) // size}{letter}", raw)
        chunk = list(words[:: 2 if self._width == 16 else 1])
        self._held = (at, chunk)
        return chunk

    def _place(self, frame: int) -> int | None:
        if self._sorted is not None:
            frames, places = self._sorted
            at = bisect_left(frames, frame)
            return places[at] if at < len(frames) and frames[at] == frame else None
        block = bisect_right(self._firsts, frame) - 1
        if block < 0:
            return None
        chunk = self._chunk(block * _CHUNK)
        end = min(len(chunk), self.count - block * _CHUNK)
        at = bisect_left(chunk, frame, 0, end)
        return block * _CHUNK + at if at < end and chunk[at] == frame else None

    def extents(self) -> Iterator[Extent]:
        """As :meth:`vmcoretool.memory.physical.PageReader.extents`."""
        start = end = -1
        if self._sorted is not None:
            frames: Iterable[int] = self._sorted[0]
        else:
            frames = (
                frame
                for at in range(0, self.count, _CHUNK)
                for frame in self._chunk(at)[: self.count - at]
            )
        for frame in frames:
            if frame != end:
                if end > start:
                    yield Extent(Maddr(start << 12), Maddr(end << 12))
                start = frame
            end = frame + 1
        if end > start:
            yield Extent(Maddr(start << 12), Maddr(end << 12))

    stored = extents

    def is_present(self, maddr: int) -> bool:
        """As :meth:`vmcoretool.memory.physical.PageReader.is_present`."""
        place = self._place(maddr >> 12)
        return place is not None and place < self.present_pages

    def is_excluded(self, maddr: int) -> bool:
        """As :meth:`vmcoretool.memory.physical.PageReader.is_excluded`."""
        place = self._place(maddr >> 12)
        return place is not None and place >= self.present_pages

    def read_at(self, maddr: int, size: int) -> bytes:
        """As :meth:`vmcoretool.memory.physical.PageReader.read_at`."""
        place = self._place(maddr >> 12)
        if place is None or place >= self.present_pages:
            return b""
        skip = maddr % PAGE_SIZE
        where = self._pages_at + place * PAGE_SIZE + skip
        try:
            return self._source.pread(min(size, PAGE_SIZE - skip), where)
        except FormatError as error:
            raise MemoryFault(Maddr(maddr), reason=f"was lost: {error.what}") from error


FORMAT: Final = Format(
    name="xen-core",
    title="one Xen guest: xl dump-core (ELF with .xen_pages), and xc_core from before 3.0.5",
    reference="xen.git docs/misc/dump-core-format.txt",
    probe=_probe,
    open=_open,
    limits="ia64 and ARM guests' registers; memory is by pfn, in xc_core files by mfn",
)
