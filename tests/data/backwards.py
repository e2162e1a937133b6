"""A format of another package: pages from the highest to the lowest, behind the notes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vmcoretool.plugins import (
    ABSENT,
    PAGE_SIZE,
    Container,
    ElfMachine,
    Extent,
    FileOffset,
    FilePlace,
    Format,
    FormatError,
    Machine,
    Maddr,
    Missing,
    NoteBlob,
    Observed,
    PageReader,
    only_source,
    read_or_lost,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmcoretool.plugins import ByteSource, Mfn

MAGIC = b"SDRAWKCAB"
HEADER = struct.Struct("<9s7xQQ")  # magic, bytes of notes, pages from address 0 on


class Backwards(PageReader):
    """The last page of the file is page 0."""

    def __init__(self, source: ByteSource, pages: int) -> None:
        self.source = source
        self.pages = pages

    def offset(self, mfn: int) -> int:
        return self.source.size - (mfn + 1) * PAGE_SIZE

    def page(self, mfn: Mfn) -> bytes | Missing:
        if mfn >= self.pages:
            return ABSENT
        return read_or_lost(self.source, PAGE_SIZE, self.offset(mfn))

    def extents(self) -> Iterator[Extent]:
        yield Extent(Maddr(0), Maddr(self.pages * PAGE_SIZE))

    def where_is(self, maddr: int) -> FilePlace | None:
        mfn, skip = divmod(maddr, PAGE_SIZE)
        if mfn >= self.pages:
            return None
        return FilePlace(self.source.path, FileOffset(self.offset(mfn) + skip), PAGE_SIZE - skip)


def probe(source: ByteSource) -> bool:
    return source.pread(len(MAGIC), 0) == MAGIC


def take_apart(sources: Sequence[ByteSource]) -> Container:
    source = only_source(sources, "a backwards dump")
    head = source.pread(HEADER.size, 0)
    if len(head) < HEADER.size:
        raise FormatError("the header is cut off", path=source.path, where=FileOffset(0))
    _, notes, pages = HEADER.unpack(head)
    observed = Observed()
    there = max(source.size - HEADER.size - notes, 0) // PAGE_SIZE
    if there < pages:
        observed.lost(f"the file holds {there} of {pages} pages")
    return Container(
        row=FORMAT,
        machine=Machine(ElfMachine.EM_X86_64, "little"),
        pages=Backwards(source, min(pages, there)),
        note_blobs=(NoteBlob(source.pread(notes, HEADER.size), FileOffset(HEADER.size)),),
        complete=observed.complete,
        findings=observed.findings,
    )


FORMAT = Format(
    name="backwards",
    title="pages from the highest to the lowest",
    references=("this file",),
    probe=probe,
    open=take_apart,
    limitations=("no holes",),
)
