"""What a container format is: a row of facts, a probe and an opener."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vmcoretool.errors import FormatError, UnsupportedFormatError
from vmcoretool.findings import Finding, finding
from vmcoretool.formats.elf_headers import ElfMachine
from vmcoretool.memory.pages import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vmcoretool.addresses import FileOffset
    from vmcoretool.memory.pages import PageReader
    from vmcoretool.notes.elf_note import Note
    from vmcoretool.notes.registers import CpuState
    from vmcoretool.sources.file import ByteSource

EM_386: Final = ElfMachine.EM_386
EM_IA_64: Final = ElfMachine.EM_IA_64
EM_X86_64: Final = ElfMachine.EM_X86_64

# name and bytes of a native word
_ARCHITECTURES: Final[dict[int, tuple[str, int]]] = {
    ElfMachine.EM_386: ("i386", 4),
    ElfMachine.EM_MIPS: ("mips", 4),
    ElfMachine.EM_PPC: ("ppc", 4),
    ElfMachine.EM_PPC64: ("ppc64", 8),
    ElfMachine.EM_S390: ("s390x", 8),
    ElfMachine.EM_ARM: ("arm", 4),
    ElfMachine.EM_IA_64: ("ia64", 8),
    ElfMachine.EM_X86_64: ("x86_64", 8),
    ElfMachine.EM_AARCH64: ("aarch64", 8),
    ElfMachine.EM_RISCV: ("riscv64", 8),
    ElfMachine.EM_LOONGARCH: ("loongarch64", 8),
}
# names that uname -m gives machines whose architecture has another name above
_UNAMES: Final = {
    "i486": ElfMachine.EM_386,
    "i586": ElfMachine.EM_386,
    "i686": ElfMachine.EM_386,
    "s390": ElfMachine.EM_S390,
    "ppc64le": ElfMachine.EM_PPC64,
}
_MOST_ALIKE: Final = 16
"""Findings of one code that are kept; the others are counted."""


def machine_number(name: str) -> int | None:
    """The e_machine of what ``uname -m`` says, or None where that is nothing known."""
    for number, (known, _) in _ARCHITECTURES.items():
        if known == name:
            return number
    if name.startswith("armv"):  # armv5tel, armv7l, and armv8l of a 32-bit process
        return ElfMachine.EM_ARM
    return _UNAMES.get(name)


class Machine(NamedTuple):
    """What the headers say of the machine; Xen's notes may know better.

    Attributes:
        e_machine: EM_NONE where the headers name it with a word that no ELF machine has.
        byte_order: of the headers.
        uname: that word.
    """

    e_machine: int
    byte_order: Literal["little", "big"]
    uname: str = ""

    @property
    def architecture(self) -> str:
        """The usual name, the headers' own word for it, or ``e_machine N``."""
        known = _ARCHITECTURES.get(self.e_machine)
        return known[0] if known else self.uname or f"e_machine {self.e_machine}"

    @property
    def word_size(self) -> int | None:
        """Bytes of a native word, None where the machine is unknown."""
        known = _ARCHITECTURES.get(self.e_machine)
        return known[1] if known else None


class NoteBlob(NamedTuple):
    """The bytes of one PT_NOTE segment and where they start in the file.

    Attributes:
        data: the bytes.
        offset: of the first one in the file.
        complete: False where others of the segment are lost, before or behind these.
        follows_gap: whether bytes of it before these are lost, so that nobody knows how many notes.
    """

    data: bytes
    offset: FileOffset
    complete: bool = True
    follows_gap: bool = False


class Container(NamedTuple):
    """A dump file taken apart, before anything is made of its contents.

    Attributes:
        row: its format.
        machine: from the headers.
        pages: machine memory.
        note_blobs: the note segments.
        complete: False when the file ends before the data its headers describe.
        findings: oddities met in the headers.
        notes: notes that come without their bytes around them.
        cpus: CPUs that are saved in no note.
        elf_bits: 32 or 64 of an ELF file with program headers, else None.
    """

    row: Format
    machine: Machine
    pages: PageReader
    note_blobs: tuple[NoteBlob, ...]
    complete: bool
    findings: tuple[Finding, ...]
    notes: tuple[Note, ...] = ()
    cpus: tuple[CpuState, ...] = ()
    elf_bits: Literal[32, 64] | None = None

    @property
    def format(self) -> str:
        """The format's name, as in JSON ``dump.format``."""
        return self.row.name


class Format(NamedTuple):
    """One row of the table of formats: what it is, as facts that others ask for.

    Attributes:
        name: as in JSON ``dump.format`` and ``--format``.
        title: one line for people.
        references: where the format is defined.
        probe: whether the file is of this format; a short file is not; raises nothing but OSError.
            Of a stream or inside compression it is asked for the first 4096 bytes alone first.
        open: takes the file, or the files of a split set, apart; FormatError from here is final.
        limitations: what is not read, each a phrase.
        is_host: False where it always is the dump of one guest.
        has_memory: False where there are notes alone.
        packs_pages: whether pages are compressed one by one.
        readable_by_crash: whether the program crash reads it.
        crash_suffix: what crash wants behind the file's name.
        input_of_makedumpfile: whether makedumpfile filters it: memory as the kernel gives it.
    """

    name: str
    title: str
    references: tuple[str, ...]
    probe: Callable[[ByteSource], bool]
    open: Callable[[Sequence[ByteSource]], Container]
    limitations: tuple[str, ...] = ()
    is_host: bool = True
    has_memory: bool = True
    packs_pages: bool = False
    readable_by_crash: bool = False
    crash_suffix: str = ""
    input_of_makedumpfile: bool = False


class Observed:
    """What a reader meets while it takes a file apart.

    Attributes:
        complete: False as soon as data turned out to be missing.
    """

    __slots__ = ("_findings", "_more", "complete")

    def __init__(self) -> None:
        self.complete = True
        self._findings: dict[str, list[Finding]] = {}
        self._more: dict[str, int] = {}

    def odd(self, code: str, message: str, advice: str | None = None) -> None:
        """Note something that is not as it should be, under a code of the table of findings.

        Args:
            code: of the table.
            message: what was seen.
            advice: a better cure than the table's, or None.
        """
        alike = self._findings.setdefault(code, [])
        found = finding(code, message, advice)
        if found in alike:
            return
        if len(alike) < _MOST_ALIKE:
            alike.append(found)
        else:
            self._more[code] = self._more.get(code, 0) + 1

    def lost(self, message: str, *, code: str = "truncated") -> None:
        """Note data that is missing."""
        self.complete = False
        self.odd(code, message)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of it; of what there is too much of, the first ones and how many more there are."""
        for code, count in self._more.items():
            self._findings[code][_MOST_ALIKE:] = [finding(code, f"{count} more like these")]
        return tuple(found for alike in self._findings.values() for found in alike)


STREAM_CUT: Final = "the stream around the dump ends early or is damaged"


def report_incomplete(source: ByteSource, observed: Observed, what: str = STREAM_CUT) -> None:
    """Note that bytes of a stream around a dump never arrived, and why where that is known."""
    if source.complete:
        return
    unreadable: str = getattr(source, "unreadable", "")
    if unreadable:
        observed.lost(f"{source.path}: {unreadable}", code="page-unreadable")
    else:
        observed.lost(what)


def only_source(sources: Sequence[ByteSource], what: str) -> ByteSource:
    """The one file of a format that has no parts.

    Raises:
        UnsupportedFormatError: there are several.
    """
    if len(sources) > 1:
        raise UnsupportedFormatError(
            f"{len(sources)} files given as one dump, but {what} has no parts",
            path=sources[0].path,
        )
    return sources[0]


def read_or_lost(source: ByteSource, size: int, offset: int) -> bytes | Missing:
    """Up to ``size`` bytes of a page's data; damage where a stream around the dump lost them.

    Raises:
        OSError: the system could not read.
    """
    try:
        return source.pread(size, offset)
    except FormatError as error:
        return Missing(damage=f"was lost: {error.what}")


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
