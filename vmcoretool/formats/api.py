"""What a container format is: a row of facts, a probe and an opener."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vmcoretool.errors import UnsupportedFormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vmcoretool.addresses import FileOffset
    from vmcoretool.findings import Finding
    from vmcoretool.memory.physical import PageReader
    from vmcoretool.notes.elf_note import Note
    from vmcoretool.notes.registers import CpuState
    from vmcoretool.sources.file import ByteSource

EM_386: Final = 3
EM_IA_64: Final = 50
EM_X86_64: Final = 62

# gABI e_machine values that a vmcore may carry
_ARCHITECTURES: Final = {
    EM_386: ("i386", 4),
    8: ("mips", 4),
    20: ("ppc", 4),
    21: ("ppc64", 8),
    22: ("s390x", 8),
    40: ("arm", 4),
    EM_IA_64: ("ia64", 8),
    EM_X86_64: ("x86_64", 8),
    183: ("aarch64", 8),
    243: ("riscv64", 8),
    258: ("loongarch64", 8),
}


# names that uname -m gives machines whose architecture has another name above
_UNAMES: Final = {"i486": EM_386, "i586": EM_386, "i686": EM_386, "s390": 22, "ppc64le": 21}


def machine_number(name: str) -> int | None:
    """The e_machine of what ``uname -m`` says, or None where that is nothing known."""
    for number, (known, _) in _ARCHITECTURES.items():
        if known == name:
            return number
    return _UNAMES.get(name)


class Machine(NamedTuple):
    """What the headers say of the machine; Xen's notes may know better."""

    e_machine: int
    byte_order: Literal["little", "big"]

    @property
    def architecture(self) -> str:
        """The usual name, or ``e_machine N``."""
        known = _ARCHITECTURES.get(self.e_machine)
        return known[0] if known else f"e_machine {self.e_machine}"

    @property
    def word_size(self) -> int | None:
        """Bytes of a native word, None where the machine is unknown."""
        known = _ARCHITECTURES.get(self.e_machine)
        return known[1] if known else None


class NoteBlob(NamedTuple):
    """The bytes of one PT_NOTE segment and where they start in the file."""

    data: bytes
    offset: FileOffset


class Container(NamedTuple):
    """A dump file taken apart, before anything is made of its contents.

    Attributes:
        format: the name of its :class:`Format`.
        machine: from the headers.
        pages: machine memory.
        note_blobs: the note segments.
        complete: False when the file ends before the data its headers describe.
        findings: oddities met in the headers.
        notes: notes that come without their bytes around them.
        cpus: CPUs that are saved in no note.
    """

    format: str
    machine: Machine
    pages: PageReader
    note_blobs: tuple[NoteBlob, ...]
    complete: bool
    findings: tuple[Finding, ...]
    notes: tuple[Note, ...] = ()
    cpus: tuple[CpuState, ...] = ()


class Format(NamedTuple):
    """One row of the table of formats.

    Attributes:
        name: as in JSON ``dump.format`` and ``--format``.
        title: one line for people.
        reference: where the format is defined.
        probe: whether the file is of this format; a short file is not; raises nothing but OSError.
            Of a stream or inside compression it is asked for the first 4096 bytes alone first.
        open: takes the file, or the files of a split set, apart; FormatError from here is final.
        limits: what is not read.
    """

    name: str
    title: str
    reference: str
    probe: Callable[[ByteSource], bool]
    open: Callable[[Sequence[ByteSource]], Container]
    limits: str


def only_source(sources: Sequence[ByteSource], what: str) -> ByteSource:
    """The one file of a format that has no parts.

    Raises:
        UnsupportedFormatError: there are several.
    """
    if len(sources) > 1:
        raise UnsupportedFormatError(
            f"{len(sources)} files given as one dump, but {what} has no parts"
        )
    return sources[0]


class HeadSource:
    """The first bytes of a file, for probes that need no more."""

    path = ""
    complete = True

    def __init__(self, head: bytes) -> None:
        self._head = head
        self.size = len(head)

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``."""
        return self._head[offset : offset + size]

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """All of it."""
        yield start, min(end, self.size)

    def close(self) -> None:
        """Nothing to do."""
