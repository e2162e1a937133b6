"""kdump-compressed and diskdump files: makedumpfile -c/-l/-p/-z, RHEL 3 diskdump, QEMU kdump-*.

::

    block 0                 main header: struct disk_dump_header
    block 1 ...             sub-header and notes, sub_hdr_size blocks
    bitmap_blocks blocks    bitmap 1: frames that are RAM; bitmap 2: frames dumped
    then                    a 24-byte descriptor for each dumped frame, and the page data

Of a Xen core utsname, phys_base and the vmcoreinfo pointer are zero: everything comes from the
notes.  Parts of a ``--split`` set have full bitmaps, and descriptors for their own frames only.
Sources: makedumpfile diskdump_mod.h, crash diskdump.c.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import FileOffset
from vmcoretool.errors import FormatError
from vmcoretool.formats.api import (
    EM_386,
    EM_X86_64,
    Container,
    Format,
    Machine,
    NoteBlob,
    Observed,
    machine_number,
    report_incomplete,
)
from vmcoretool.formats.elf_headers import ElfMachine
from vmcoretool.formats.kdump.header import (
    KdumpHeader,
    is_kdump,
    read_header,
    read_notes,
)
from vmcoretool.formats.kdump.pages import KdumpPages
from vmcoretool.formats.note_segments import MAX_NOTE_BYTES, read_note_segments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmcoretool.sources.file import ByteSource


_UNAME: Final = "[a-z][a-z0-9_]+"
"""What ``uname -m`` can say; anything else is damage, or room that nobody filled."""


def _open(sources: Sequence[ByteSource]) -> Container:
    headers = [read_header(source) for source in sources]
    header = headers[0]
    for other, source in zip(headers[1:], sources[1:], strict=True):
        notes = read_notes(sources[0], header)
        theirs = read_notes(source, other)
        same = header.split and (notes == theirs or not notes or not theirs)
        own = {name: getattr(header, name) for name in ("start_pfn", "end_pfn", "incomplete")}
        if not same or other._replace(**own) != header:
            raise FormatError(
                "these files are not parts of one split set",
                path=source.path,
                cure="give one dump at a time, or all parts of one set",
            )
    observed = Observed()
    pages = KdumpPages(headers, sources, observed)
    blobs = tuple(_note_blobs(sources[0], header, observed))
    for own_header, source in zip(headers, sources, strict=True):
        if own_header.incomplete:
            observed.lost(f"{source.path}: its writer marked it as incomplete")
    for source in sources:
        report_incomplete(source, observed)
    return Container(
        row=FORMAT,
        machine=_machine(header, blobs),
        pages=pages,
        note_blobs=blobs,
        complete=observed.complete,
        findings=observed.findings,
    )


def _note_blobs(source: ByteSource, header: KdumpHeader, observed: Observed) -> Iterator[NoteBlob]:
    offset, size = header.notes
    if size:
        yield from read_note_segments(source, (header.notes,), observed)
    start, length = header.vmcoreinfo
    inside = offset <= start and start + length <= offset + size
    if length and not inside and length <= MAX_NOTE_BYTES:
        # versions before 4 have the text without a note around it
        mark = "<" if header.order == "little" else ">"
        note = struct.pack(mark + "III", 11, length, 0) + b"VMCOREINFO\0\0"
        yield NoteBlob(note + source.pread(length, start), FileOffset(start - len(note)))


def _machine(header: KdumpHeader, blobs: tuple[NoteBlob, ...]) -> Machine:
    known = machine_number(header.machine)
    if known is not None:
        return Machine(known, header.order)
    if re.fullmatch(_UNAME, header.machine):
        return Machine(ElfMachine.EM_NONE, header.order, header.machine)
    # Xen cores do not name the machine: an NT_PRSTATUS of 144 bytes is i386's
    mark = "<" if header.order == "little" else ">"
    small = struct.pack(mark + "III", 5, 144, 1) + b"CORE\0"
    is_i386 = header.bits == 32 or (blobs and blobs[0].data.startswith(small))
    return Machine(EM_386 if is_i386 else EM_X86_64, header.order)


FORMAT: Final = Format(
    name="kdump",
    title="kdump-compressed, diskdump (makedumpfile -c/-l/-p/-z, QEMU kdump-*), --split sets",
    references=("makedumpfile diskdump_mod.h",),
    probe=is_kdump,
    open=_open,
    limitations=("header versions above 6",),
    packs_pages=True,
    readable_by_crash=True,
)
