"""One open dump: container, machine memory and decoded notes as one value."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from vmcoretool.budget import Budget
from vmcoretool.errors import FormatError, StoppedError, UnsupportedFormatError
from vmcoretool.findings import Finding, finding, stopped_findings
from vmcoretool.formats.api import EM_386, EM_IA_64, EM_X86_64
from vmcoretool.formats.dump_files import is_dump_or_layer
from vmcoretool.formats.find import check_format, is_dump_inside, open_container
from vmcoretool.memory.physical import PhysicalMemory
from vmcoretool.notes.crash_info import CrashInfo, parse_crash_info
from vmcoretool.notes.elf_note import (
    XEN_ELFNOTE_CRASH_INFO,
    XEN_ELFNOTE_CRASH_REGS,
    Note,
    walk_notes,
)
from vmcoretool.notes.process import Process, find_process
from vmcoretool.notes.registers import CpuState, cpu_states
from vmcoretool.notes.vmcoreinfo import VmcoreInfo, parse_vmcoreinfo
from vmcoretool.sources.file import MemorySource, ObjectSource, open_source
from vmcoretool.sources.layers import Wanted, peek, unwrap

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from vmcoretool.formats.api import Container
    from vmcoretool.formats.dump_files import DumpFiles
    from vmcoretool.sources.file import ByteSource, ReadableObject


_MOST_ODD: Final = 64
"""Findings about damaged notes, over all segments."""


class Vmcore(NamedTuple):
    """An open dump; use it as a context manager, or call :meth:`close`.

    Attributes:
        paths: the files, as the user named them.
        size: bytes of all files together.
        layers: wrappings taken off, such as "flattened", outermost first.
        sources: the bytes inside the wrappings.
        container: format, machine and completeness.
        memory: machine memory: ``memory.read(maddr, size)``.
        notes: every ELF note, in file order.
        crash_info: the first readable XEN_ELFNOTE_CRASH_INFO, or None.
        cpus: what was saved of each CPU, in notes or in a guest's vcpu contexts; of notes with a
            gap, the CPUs before it.
        vmcoreinfo_xen: the hypervisor's VMCOREINFO, or None.
        vmcoreinfo_linux: Linux's VMCOREINFO from the headers, or None.
        process: the process it is the core of, None for a machine's dump.
        findings: what was odd in headers and notes.
        budget: the limits of all work on the dump.
    """

    paths: tuple[str, ...]
    size: int
    layers: tuple[str, ...]
    sources: tuple[ByteSource, ...]
    container: Container
    memory: PhysicalMemory
    notes: tuple[Note, ...]
    crash_info: CrashInfo | None
    cpus: tuple[CpuState, ...]
    vmcoreinfo_xen: VmcoreInfo | None
    vmcoreinfo_linux: VmcoreInfo | None
    process: Process | None
    findings: tuple[Finding, ...]
    budget: Budget

    @property
    def architecture(self) -> str:
        """The hypervisor's architecture; note words beat e_machine, which may be dom0's.

        A 32-bit dom0 on a 64-bit Xen can leave EM_386 in headers around 64-bit notes.
        """
        machine = self.container.machine
        if machine.e_machine not in (EM_386, EM_X86_64):
            return machine.architecture
        width = self.crash_info.word_size if self.crash_info else None
        for note in self.notes:
            if width is None and (note.owner, note.type) == ("Xen", XEN_ELFNOTE_CRASH_REGS):
                width = {32: 8, 16: 4}.get(len(note.desc))
        if width is None:
            return machine.architecture
        return "x86_64" if width == 8 else "i386"

    @property
    def notes_whole(self) -> bool:
        """Whether no byte of the notes was cut off, lost or unreadable."""
        return all(blob.complete for blob in self.container.note_blobs) and all(
            note.complete for note in self.notes
        )

    def __repr__(self) -> str:
        return f"<Vmcore {' '.join(self.paths)!r}, {self.container.format}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Vmcore holds an open file: open it anew in the other process")

    def close(self) -> None:
        """Close the file; memory that was not read yet can no longer be."""
        for source in self.sources:
            source.close()

    def __enter__(self) -> Vmcore:  # noqa: PYI034 - Self is in typing from 3.11 on only
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_vmcore(
    *paths: str | os.PathLike[str] | ReadableObject,
    format_name: str | None = None,
    budget: Budget | None = None,
) -> Vmcore:
    """Open a dump and decode its headers and notes; memory is read when asked for.

    Args:
        paths: the dump; ``-`` is standard input.  Several paths are the parts of a split set.  In a
            path's place stands any object with ``pread(size, offset)``, ``size`` and ``close()``.
        format_name: a name from ``vmcoretool formats``, to skip recognition.
        budget: limits of all work on the dump; where its caller ends a decompression, what there is
            so far is the dump.  Default: no limit of time, and nobody watches.

    Raises:
        OSError: the operating system refused.
        UnknownFormatError: not a dump.
        UnsupportedFormatError: a dump of a kind that is not read.
        FormatError: a dump whose headers are damaged beyond use.
        ValueError: no format has that name.
        TypeError: no path is given, or something that is neither a path nor such an object.
    """
    if not paths:
        raise TypeError("open_vmcore() needs a path")
    if format_name is not None:
        check_format(format_name)
    sources: list[ByteSource] = []
    try:
        wanted = None if format_name else is_dump_or_layer
        for path in paths:
            if isinstance(path, (str, bytes, os.PathLike)):
                sources.append(open_source(os.fsdecode(path), wanted))
            else:
                sources.append(ObjectSource(path))
    except BaseException:
        _close(sources)
        raise
    return read_vmcore(*sources, format_name=format_name, budget=budget)


def open_files(
    files: DumpFiles, *, format_name: str | None = None, budget: Budget | None = None
) -> Vmcore:
    """The dump in files that were opened already; it owns them from now on.

    Raises:
        as :func:`open_vmcore`, and what opening the files met.
    """
    if files.error:
        raise files.error
    return read_vmcore(*files.sources, format_name=format_name, budget=budget)


def _close(sources: Iterable[ByteSource]) -> None:
    for source in sources:
        source.close()


def _unwrapped(
    source: ByteSource, wanted: Wanted, budget: Budget
) -> tuple[ByteSource, tuple[str, ...]]:
    try:
        return unwrap(source, wanted, budget)
    except UnsupportedFormatError as error:
        error.path = error.path or source.path
        raise


def _dump_inside(source: ByteSource) -> Wanted:
    def more(size: int) -> ByteSource:
        return MemorySource(source.path, peek(source, size))

    return lambda head: is_dump_inside(head, more)


def _anything(head: bytes) -> bool:
    del head
    return True


def read_vmcore(
    *sources: ByteSource, format_name: str | None = None, budget: Budget | None = None
) -> Vmcore:
    """Like :func:`open_vmcore`, from bytes that need be no files.

    The dump owns the sources; when it cannot be opened, they are closed.

    Raises:
        StoppedError: the decompression was ended before what the headers need.
        others: as :func:`open_vmcore`.
    """
    if not sources:
        raise UnsupportedFormatError("no file given")
    budget = budget or Budget()
    sizes = sum(source.size for source in sources)
    layers: tuple[str, ...] = ()
    held = list(sources)
    try:
        # raw memory, for one, begins with nothing that could be known
        for number, source in enumerate(sources):
            wanted = _anything if format_name else _dump_inside(source)
            held[number], names = _unwrapped(source, wanted, budget)
            layers = layers or names
        inner = tuple(held)
        if len(inner) > 1:
            from vmcoretool.formats.kdump.header import in_part_order  # noqa: PLC0415 - rare

            inner = in_part_order(inner)
        container = open_container(inner, format_name=format_name)
        return _decoded(inner, sizes, layers, container, budget)
    except FormatError as error:
        _close(held)
        if not budget.unfinished:
            raise
        reason = "; ".join(found.message for found in stopped_findings(budget))
        raise StoppedError(
            reason,
            path=sources[0].path,
            cure="let it finish, or decompress the file first",
        ) from error
    except BaseException:
        _close(held)
        raise


def _decoded(
    sources: tuple[ByteSource, ...],
    size: int,
    layers: tuple[str, ...],
    container: Container,
    budget: Budget,
) -> Vmcore:
    order = container.machine.byte_order
    stopped = stopped_findings(budget)
    # a file that was not decompressed to its end is not cut short
    findings = [row for row in container.findings if not (stopped and row.code == "truncated")]
    findings += stopped
    notes, of_cpus, odd = _walked(container)
    findings += odd
    infos: list[CrashInfo] = []
    texts: dict[str, VmcoreInfo] = {}
    for note in notes:
        if (note.owner, note.type) == ("Xen", XEN_ELFNOTE_CRASH_INFO):
            info = parse_crash_info(note, order, ia64=container.machine.e_machine == EM_IA_64)
            if info:
                infos.append(info)
            elif note.complete:
                findings.append(_unreadable(note))
        elif note.type == 0 and note.owner in ("VMCOREINFO", "VMCOREINFO_XEN"):
            texts.setdefault(note.owner, parse_vmcoreinfo(note))
    process = find_process(notes)
    if process:
        findings = [row for row in findings if row.code != "headers-odd"]
        findings.append(_of_process(process))
    return Vmcore(
        paths=tuple(source.path for source in sources),
        size=size,
        layers=layers,
        sources=sources,
        container=container,
        memory=PhysicalMemory(container.pages),
        notes=tuple(notes),
        crash_info=infos[0] if infos else None,
        cpus=container.cpus or cpu_states(of_cpus, order),
        vmcoreinfo_xen=texts.get("VMCOREINFO_XEN"),
        vmcoreinfo_linux=texts.get("VMCOREINFO"),
        process=process,
        findings=tuple(findings),
        budget=budget,
    )


def _walked(container: Container) -> tuple[list[Note], list[Note], list[Finding]]:
    # all notes, those that number CPUs, and what was wrong with them
    notes: list[Note] = list(container.notes)
    of_cpus: list[Note] = list(container.notes)
    odd: list[Finding] = []
    order, lost = container.machine.byte_order, False
    for blob in container.note_blobs:
        found, odd_here = walk_notes(blob.data, blob.offset, order, complete=blob.complete)
        notes.extend(found)
        odd.extend(odd_here)
        # CPUs are numbered by their notes' order: behind a gap, nobody knows the number
        lost = lost or blob.follows_gap
        of_cpus.extend(() if lost else found)
    if len(odd) > _MOST_ODD:
        odd[_MOST_ODD:] = [finding("note-damaged", f"{len(odd) - _MOST_ODD} more like these")]
    return notes, of_cpus, odd


def _of_process(process: Process) -> Finding:
    name = process.name or "(unnamed)"
    return finding("process-core", f"this is the core of the process {name}, not of a machine")


def _unreadable(note: Note) -> Finding:
    return finding(
        "note-damaged",
        f"XEN_ELFNOTE_CRASH_INFO at file offset {note.offset:#x}: "
        f"{len(note.desc)} bytes is a length no Xen wrote",
    )
