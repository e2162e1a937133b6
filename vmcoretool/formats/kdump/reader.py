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

import struct
from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import FileOffset
from vmcoretool.errors import FormatError
from vmcoretool.findings import Finding, finding
from vmcoretool.formats.api import (
    EM_386,
    EM_X86_64,
    Container,
    Format,
    Machine,
    NoteBlob,
    machine_number,
)
from vmcoretool.formats.kdump.header import (
    MAX_NOTE_BYTES,
    KdumpHeader,
    is_kdump,
    read_header,
    read_notes,
)
from vmcoretool.formats.kdump.pages import KdumpPages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmcoretool.sources.file import ByteSource


def _open(sources: Sequence[ByteSource]) -> Container:
    headers = [read_header(source) for source in sources]
    header = headers[0]
    notes = read_notes(sources[0], header)
    for other, source in zip(headers[1:], sources[1:], strict=True):
        same = header.split and notes == read_notes(source, other)
        own = {name: getattr(header, name) for name in ("start_pfn", "end_pfn", "incomplete")}
        if not same or other._replace(**own) != header:
            raise FormatError(
                "these files are not parts of one split set",
                path=source.path,
                cure="give one dump at a time, or all parts of one set",
            )
    findings: list[Finding] = []
    pages = KdumpPages(headers, sources, findings)
    blobs = tuple(_note_blobs(sources[0], header, findings))
    findings.extend(
        finding("truncated", f"{source.path}: its writer marked it as incomplete")
        for one, source in zip(headers, sources, strict=True)
        if one.incomplete
    )
    if not all(source.complete for source in sources):
        findings.append(finding("truncated", "the stream around the dump ends early or is damaged"))
    return Container(
        format="kdump",
        machine=Machine(_machine(header, blobs), header.order),
        pages=pages,
        note_blobs=blobs,
        complete=not any(found.code in ("truncated", "split-part-missing") for found in findings),
        findings=tuple(findings),
    )


def _note_blobs(
    source: ByteSource, header: KdumpHeader, findings: list[Finding]
) -> Iterator[NoteBlob]:
    offset, size = header.notes
    if size:
        data = read_notes(source, header)
        if len(data) < size:
            message = f"the file holds {len(data)} of {size} bytes of notes"
            findings.append(finding("truncated", message))
        yield NoteBlob(data, FileOffset(offset))
    start, length = header.vmcoreinfo
    inside = offset <= start and start + length <= offset + size
    if length and not inside and length <= MAX_NOTE_BYTES:
        # versions before 4 have the text without a note around it
        mark = "<" if header.order == "little" else ">"
        note = struct.pack(mark + "III", 11, length, 0) + b"VMCOREINFO\0\0"
        yield NoteBlob(note + source.pread(length, start), FileOffset(start - len(note)))


def _machine(header: KdumpHeader, blobs: tuple[NoteBlob, ...]) -> int:
    known = machine_number(header.machine)
    if known is not None:
        return known
    # Xen cores do not name the machine: an NT_PRSTATUS of 144 bytes is i386's
    mark = "<" if header.order == "little" else ">"
    small = struct.pack(mark + "III", 5, 144, 1) + b"CORE\0"
    if header.bits == 32 or (blobs and blobs[0].data.startswith(small)):
        return EM_386
    return EM_X86_64


FORMAT: Final = Format(
    name="kdump",
    title="kdump-compressed, diskdump (makedumpfile -c/-l/-p/-z, QEMU kdump-*), --split sets",
    reference="makedumpfile diskdump_mod.h",
    probe=is_kdump,
    open=_open,
    limits="header versions above 6",
)
