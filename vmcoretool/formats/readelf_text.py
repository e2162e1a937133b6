"""Text of ``readelf -Wn`` or ``eu-readelf -n``: what XCP-ng keeps of a crash by default.

binutils prints the payload of notes it does not know as hexadecimal bytes ("description data:"),
on the same line with -W and on the next without; elfutils prints no payload of them, and writes out
registers (PRSTATUS) and Linux's VMCOREINFO, which is not read back here.  There is no memory in
such a file, so nothing can be proved from it.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB, FileOffset
from vmcoretool.errors import FormatError, TruncatedError
from vmcoretool.formats.api import (
    EM_386,
    EM_X86_64,
    Container,
    Format,
    Machine,
    Observed,
    only_source,
    report_incomplete,
)
from vmcoretool.formats.no_memory import NoMemory
from vmcoretool.notes.elf_note import MAX_NOTES, NT_PRSTATUS, XEN_ELFNOTE_CRASH_INFO, Note
from vmcoretool.printable import printable
from vmcoretool.sources.readable import UpToBadSector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmcoretool.sources.file import ByteSource

MAX_SIZE: Final = 32 * MIB
_MAX_LINES: Final = 4 * MAX_NOTES  # of which some may name no type
_MARKS: Final = (b"Displaying notes found", b"Note segment of ")
# owner, size in hexadecimal (binutils) or decimal (elfutils), what the tool calls the type; spaces
# are tried only behind an owner's last letter, so that millions of them cost only their length
_LINE: Final = re.compile(
    rb"^  (\S[^\t\n]{0,63}?)(?<! ) {1,64}(0x[0-9a-f]{8}|\d{1,10})[ \t]{1,64}(\S[^\n]*)$",
    re.MULTILINE,
)
_TYPE: Final = re.compile(rb"\(0x([0-9a-f]{1,8})\)|<unknown>: (\d{1,10})")
_DATA: Final = re.compile(rb"description data: ((?:[0-9a-f]{2} ?)*)")
_MOST_NAMED: Final = 8
_WIDE: Final = 64
"""Bytes from which on a XEN_ELFNOTE_CRASH_INFO has words of 64 bits."""
_NAMED: Final = {b"NT_PRSTATUS": 1, b"PRSTATUS": 1}
_SIZES: Final = {336: EM_X86_64, 144: EM_386}


class _Text(NamedTuple):
    # a note, and its payload's size as the text says it
    note: Note
    size: int


def _probe(source: ByteSource) -> bool:
    head = source.pread(4096, 0)
    return any(mark in head for mark in _MARKS) and b"\0" not in head


def _open(sources: Sequence[ByteSource]) -> Container:
    source = only_source(sources, "text about a dump")
    if source.size > MAX_SIZE:
        raise FormatError(
            f"{source.size // MIB} MiB are too much for the text of ELF notes", path=source.path
        )
    observed = Observed()
    readable = UpToBadSector(source)
    text = readable.pread(source.size, 0)
    report_incomplete(readable, observed)
    notes = tuple(islice(_notes(text, observed), MAX_NOTES + 1))
    if not notes:
        raise TruncatedError(
            "the text ends before its first note",
            path=source.path,
            where=FileOffset(0),
            cure="make it again: readelf -Wn VMCORE > FILE",
        )
    machines = (_SIZES.get(row.size) for row in notes if row.note.owner == "CORE")
    observed.odd(
        "notes-only", "this is text about a dump's notes, not the dump: nothing in it can be proved"
    )
    if not any(row.note.desc for row in notes) and any(row.size for row in notes):
        # binutils before 2.29
        named = _named(notes)
        message = f"the readelf that wrote it left out what the notes say; it names {named} alone"
        advice = "Run a newer readelf -Wn on the dump; xen.log beside this text may have the end."
        observed.odd("notes-only", message, advice)
    if len(notes) > MAX_NOTES:
        observed.odd("note-damaged", f"more than {MAX_NOTES} notes: rest ignored")
    return Container(
        row=FORMAT,
        machine=Machine(next(filter(None, machines), EM_X86_64), "little"),
        pages=NoMemory(),
        note_blobs=(),
        complete=False,
        findings=observed.findings,
        notes=tuple(row.note for row in notes[:MAX_NOTES]),
    )


def _named(notes: tuple[_Text, ...]) -> str:
    # what is known of the notes all the same
    cpus = sum((row.note.owner, row.note.type) == ("CORE", NT_PRSTATUS) for row in notes)
    parts = [f"{cpus} CPU{'s' * (cpus != 1)}"]
    for row in notes:
        if (row.note.owner, row.note.type) == ("Xen", XEN_ELFNOTE_CRASH_INFO):
            words = row.size // (4 if row.size < _WIDE else 8)
            parts.append(f"XEN_ELFNOTE_CRASH_INFO of {words} words")
        elif row.note.owner in ("VMCOREINFO_XEN", "VMCOREINFO"):
            parts.append(row.note.owner)
    return ", ".join(parts[:_MOST_NAMED])


def _number(text: bytes) -> int:
    return int(text, 16 if text.startswith(b"0x") else 10)


def _notes(text: bytes, observed: Observed) -> Iterator[_Text]:
    line = _LINE.search(text)
    for _ in range(_MAX_LINES):
        if not line:
            return
        following = _LINE.search(text, line.end())
        note = _note(text, line, following.start() if following else len(text))
        if note:
            yield note
        line = following
    observed.odd("note-damaged", f"more than {_MAX_LINES} lines of notes: rest ignored")


def _note(text: bytes, line: re.Match[bytes], end: int) -> _Text | None:
    kind = _kind(line[3])
    if kind is None:
        return None
    size = _number(line[2])
    data = _DATA.search(text, line.start(), end)
    desc = bytes.fromhex(data[1].decode("ascii")) if data else b""
    note = Note(
        owner=printable(line[1].strip()),
        type=kind,
        desc=desc[:size],
        offset=FileOffset(line.start()),
        desc_offset=FileOffset(data.start(1) if data else line.start()),
        complete=len(desc) == size,
    )
    return _Text(note, size)


def _kind(words: bytes) -> int | None:
    number = _TYPE.search(words)
    if number:
        return int(number[1], 16) if number[1] else int(number[2])
    return _NAMED.get(words.split()[0])


FORMAT: Final = Format(
    name="readelf-text",
    title="text of readelf -Wn or eu-readelf -n (XCP-ng keeps readelf-Wn.out)",
    references=("binutils readelf", "elfutils readelf"),
    probe=_probe,
    open=_open,
    limitations=(
        "there is no memory in it: an address is at most reported",
        "of elfutils' text owners, types and sizes only (it prints registers and VMCOREINFO)",
    ),
    has_memory=False,
)
