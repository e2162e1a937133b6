"""The bytes of a note segment, as far as the file has them and the system can read them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Literal

from vmcoretool.addresses import MIB, FileOffset
from vmcoretool.errors import FormatError, is_out_of_reach, reason_of
from vmcoretool.formats.api import NoteBlob
from vmcoretool.notes.elf_note import is_known_owner

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vmcoretool.formats.api import Observed
    from vmcoretool.sources.file import ByteSource

MAX_NOTE_BYTES: Final = 8 * MIB
_BEHIND_HEADERS: Final = MIB
"""How much of a file may be notes where the headers that would say so are lost."""
_OWNER_LIMIT: Final = 64
_SECTOR: Final = 512


def read_note_segments(
    source: ByteSource,
    areas: Iterable[tuple[int, int]],
    observed: Observed,
    head: bytes = b"",
) -> Iterator[NoteBlob]:
    """The bytes of note segments; several pieces of one around what is lost or cannot be read.

    Args:
        source: the file.
        areas: offset and size of each segment by the headers.
        observed: told of what is missing.
        head: the file's first bytes, where they were read already.

    Raises:
        OSError: the file is out of reach as a whole.
    """
    room = MAX_NOTE_BYTES
    for offset, size in areas:
        wanted = min(size, room)
        room -= wanted
        if wanted < size:
            limit = f"more than {MAX_NOTE_BYTES // MIB} MiB of notes: the rest is ignored"
            observed.odd("note-damaged", limit)
        there = min(wanted, max(source.size - offset, 0))
        if there and offset + there <= len(head):
            pieces = [NoteBlob(head[offset : offset + there], FileOffset(offset))]
        else:
            pieces = list(_pieces(source, offset, there, observed))
        if wanted and not pieces:
            pieces = [NoteBlob(b"", FileOffset(offset), complete=False)]
        for piece in pieces:
            yield piece._replace(complete=piece.complete and there == wanted)
        if there < wanted:
            observed.lost(f"the file holds {there} of {size} bytes of notes")


def _pieces(source: ByteSource, offset: int, size: int, observed: Observed) -> Iterator[NoteBlob]:
    if not size:
        return
    try:
        data = source.pread(size, offset)
    except FormatError:
        yield from _arrived(source, offset, size, observed)
    except OSError as error:
        if is_out_of_reach(error):
            raise
        yield from _readable(source, offset, size, observed)
    else:
        yield NoteBlob(data, FileOffset(offset), complete=len(data) == size)


def notes_behind(
    source: ByteSource, offset: int, order: Literal["little", "big"]
) -> Iterator[NoteBlob]:
    """Notes that follow headers of which those that describe them are lost.

    Args:
        source: the file.
        offset: where the headers end and makedumpfile and the kernel write the notes.
        order: byte order of the file.
    """
    from vmcoretool.sources.readable import UpToBadSector  # noqa: PLC0415 - few dumps need it

    data = b""
    readable = UpToBadSector(source)
    for start, end in source.data_ranges(offset, offset + _BEHIND_HEADERS):
        if start != offset + len(data):
            break
        data += readable.pread(end - start, start)
    end = _end_of_notes(data, struct.Struct("<III" if order == "little" else ">III"))
    if end:
        yield NoteBlob(data[:end], FileOffset(offset), complete=False)


def _end_of_notes(data: bytes, words: struct.Struct) -> int:
    # behind the last of the notes that follow one another, but for the zeros of silent CPUs
    at = end = 0
    while at + words.size <= len(data):
        namesz, descsz, _ = words.unpack_from(data, at)
        name = at + words.size
        owner = data[name : name + min(namesz, _OWNER_LIMIT)].rstrip(b"\0")
        if is_known_owner(owner):
            at = end = name + (namesz + 3 & ~3) + (descsz + 3 & ~3)
        else:
            zeros = _OWNER_LIMIT - len(data[at : at + _OWNER_LIMIT].lstrip(b"\0"))
            if zeros < words.size:
                break
            at += zeros & ~3
    return end


def _arrived(source: ByteSource, offset: int, size: int, observed: Observed) -> Iterator[NoteBlob]:
    total = 0
    for start, end in source.data_ranges(offset, offset + size):
        for piece in _readable(source, start, end - start, observed):
            total += len(piece.data)
            yield piece._replace(follows_gap=piece.offset > offset)
    observed.lost(f"{total} of {size} bytes of notes arrived")


def _readable(source: ByteSource, offset: int, size: int, observed: Observed) -> Iterator[NoteBlob]:
    # sector by sector; a layer around the file may have moved their borders
    start, data = offset, bytearray()
    for at in range(offset, offset + size, _SECTOR):
        try:
            data += source.pread(min(_SECTOR, offset + size - at), at)
        except (FormatError, OSError) as error:
            if isinstance(error, OSError) and is_out_of_reach(error):
                raise
            if data or at == offset:  # the first one of a gap
                what = f"{source.path}: notes at file offset {at:#x} cannot be read"
                observed.odd("page-unreadable", f"{what}: {_why(error)}")
            if data:
                yield _piece(data, start, offset)
            start, data = at + _SECTOR, bytearray()
    if data:
        yield _piece(data, start, offset)


def _piece(data: bytearray, start: int, offset: int) -> NoteBlob:
    at = FileOffset(start)
    return NoteBlob(bytes(data), at, complete=False, follows_gap=start > offset)


def _why(error: FormatError | OSError) -> str:
    if isinstance(error, FormatError):
        return error.what
    return reason_of(error)
