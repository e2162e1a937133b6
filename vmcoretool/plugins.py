"""The names that another package needs to add a container format; docs/formats.md shows how.

They stay as they are for as long as the version's first number does.
"""

from __future__ import annotations

from vmcoretool.addresses import PAGE_SIZE, Extent, FileOffset, Maddr, Mfn
from vmcoretool.errors import (
    FormatError,
    TruncatedError,
    UnknownFormatError,
    UnsupportedFormatError,
    VmcoreError,
)
from vmcoretool.findings import Finding, finding
from vmcoretool.formats.api import (
    Container,
    Format,
    Machine,
    NoteBlob,
    Observed,
    only_source,
    read_or_lost,
)
from vmcoretool.formats.elf_headers import ElfMachine
from vmcoretool.memory.pages import ABSENT, EXCLUDED, FilePlace, Missing, PageReader, PartialPage
from vmcoretool.notes.elf_note import Note
from vmcoretool.notes.registers import CpuState
from vmcoretool.sources.file import ByteSource

__all__ = [
    "ABSENT",
    "EXCLUDED",
    "PAGE_SIZE",
    "ByteSource",
    "Container",
    "CpuState",
    "ElfMachine",
    "Extent",
    "FileOffset",
    "FilePlace",
    "Finding",
    "Format",
    "FormatError",
    "Machine",
    "Maddr",
    "Mfn",
    "Missing",
    "Note",
    "NoteBlob",
    "Observed",
    "PageReader",
    "PartialPage",
    "TruncatedError",
    "UnknownFormatError",
    "UnsupportedFormatError",
    "VmcoreError",
    "finding",
    "only_source",
    "read_or_lost",
]
