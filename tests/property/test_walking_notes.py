"""ELF notes, by the System V gABI, chapter 5, "Note Section"."""

from __future__ import annotations

from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import notes as build
from tests.property.strategies import PLAIN_NOTES
from vmcoretool.addresses import FileOffset
from vmcoretool.notes.elf_note import walk_notes


class TestNotes:
    """Padding is present, if necessary, to ensure 4-byte alignment for the next note entry.

    Xen and Linux hold to it in ELF64 files, too: three 32-bit words, then owner and desc.
    """

    @given(PLAIN_NOTES, st.sampled_from(["little", "big"]))
    def test_written_notes_are_read_back(
        self, written: list[tuple[bytes, int, bytes]], order: Literal["little", "big"]
    ) -> None:
        mark = "<" if order == "little" else ">"
        blob = b"".join(build.note(*row, mark) for row in written)
        found, findings = walk_notes(blob, FileOffset(0x1000), order)
        assert [(n.owner.encode(), n.type, n.desc) for n in found] == written
        assert findings == ()

    @given(PLAIN_NOTES)
    def test_offsets_lead_to_the_payload(self, written: list[tuple[bytes, int, bytes]]) -> None:
        blob = b"".join(build.note(*row) for row in written)
        found, _ = walk_notes(blob, FileOffset(0), "little")
        for note in found:
            assert blob[note.desc_offset : note.desc_offset + len(note.desc)] == note.desc

    @given(st.binary(max_size=600))
    def test_arbitrary_bytes_give_notes_and_findings_and_nothing_else(self, blob: bytes) -> None:
        found, _ = walk_notes(blob, FileOffset(0), "little")
        assert sum(len(note.desc) for note in found) <= len(blob)
