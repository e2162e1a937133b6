"""One open dump: container, machine memory and decoded notes as one value."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.budget import Budget
from vmcoretool.errors import FormatError, StoppedError, UnsupportedFormatError, VmcoreError
from vmcoretool.findings import Finding, finding, stopped_findings
from vmcoretool.formats.api import EM_386, EM_IA_64, EM_X86_64
from vmcoretool.formats.find import is_dump, is_dump_inside, open_container
from vmcoretool.memory.physical import PhysicalMemory
from vmcoretool.notes.crash_info import CrashInfo, parse_crash_info
from vmcoretool.notes.elf_note import (
    XEN_ELFNOTE_CRASH_INFO,
    XEN_ELFNOTE_CRASH_REGS,
    Note,
    walk_notes,
)
from vmcoretool.notes.registers import CpuState, cpu_states
from vmcoretool.notes.vmcoreinfo import VmcoreInfo, parse_vmcoreinfo
from vmcoretool.sources.file import MemorySource, open_source
from vmcoretool.sources.layers import Wanted, find_layer, peek, unwrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from vmcoretool.formats.api import Container
    from vmcoretool.sources.file import ByteSource

_HEADERS: Final = 1 << 20


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
        cpus: what was saved of each CPU, in notes or in a guest's vcpu contexts.
        vmcoreinfo_xen: the hypervisor's VMCOREINFO, or None.
        vmcoreinfo_linux: Linux's VMCOREINFO from the headers, or None.
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
    *paths: str | os.PathLike[str], format_name: str | None = None, budget: Budget | None = None
) -> Vmcore:
    """Open a dump and decode its headers and notes; memory is read when asked for.

    Args:
        paths: the dump; ``-`` is standard input.  Several paths are the parts of a split set.
        format_name: a name from ``vmcoretool formats``, to skip recognition.
        budget: limits of all work on the dump; where its caller ends a decompression, what there is
            so far is the dump.  Default: no limit of time, and nobody watches.

    Raises:
        OSError: the operating system refused.
        UnknownFormatError: not a dump.
        UnsupportedFormatError: a dump of a kind that is not read.
        FormatError: a dump whose headers are damaged beyond use.
    """
    sources: list[ByteSource] = []
    try:
        wanted = None if format_name else _is_dump_or_layer
        sources.extend(open_source(os.fspath(path), wanted) for path in paths)
    except BaseException:
        _close(sources)
        raise
    return read_vmcore(*sources, format_name=format_name, budget=budget)


def _close(sources: Iterable[ByteSource]) -> None:
    for source in sources:
        source.close()


def _is_dump_or_layer(head: bytes) -> bool:
    return is_dump(head) or find_layer(head) is not None


def _unwrapped(
    source: ByteSource, wanted: Wanted, budget: Budget
) -> tuple[ByteSource, tuple[str, ...]]:
    try:
        return unwrap(source, wanted, budget)
    except UnsupportedFormatError as error:
        error.path = error.path or source.path
        raise


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
        wanted = _anything if format_name else is_dump_inside
        for number, source in enumerate(sources):
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
    notes: list[Note] = list(container.notes)
    for blob in container.note_blobs:
        found, odd = walk_notes(blob.data, blob.offset, order)
        notes.extend(found)
        findings.extend(odd)
    infos: list[CrashInfo] = []
    texts: dict[str, VmcoreInfo] = {}
    for note in notes:
        if (note.owner, note.type) == ("Xen", XEN_ELFNOTE_CRASH_INFO):
            info = parse_crash_info(note, order, ia64=container.machine.e_machine == EM_IA_64)
            if info:
                infos.append(info)
            else:
                findings.append(_unreadable(note))
        elif note.type == 0 and note.owner in ("VMCOREINFO", "VMCOREINFO_XEN"):
            texts.setdefault(note.owner, parse_vmcoreinfo(note))
    return Vmcore(
        paths=tuple(source.path for source in sources),
        size=size,
        layers=layers,
        sources=sources,
        container=container,
        memory=PhysicalMemory(container.pages),
        notes=tuple(notes),
        crash_info=infos[0] if infos else None,
        cpus=container.cpus or cpu_states(notes, order),
        vmcoreinfo_xen=texts.get("VMCOREINFO_XEN"),
        vmcoreinfo_linux=texts.get("VMCOREINFO"),
        findings=tuple(findings),
        budget=budget,
    )


def _unreadable(note: Note) -> Finding:
    return finding(
        "note-damaged",
        f"XEN_ELFNOTE_CRASH_INFO at file offset {note.offset:#x}: "
        f"{len(note.desc)} bytes is a length no Xen wrote",
    )


class DumpFiles(NamedTuple):
    """The files of one dump, each opened once and not read yet; whoever gets them closes them.

    Attributes:
        paths: as the user named them, in the order given.
        sources: the files; none where the first one could not be opened.
        error: why it could not, or None.
    """

    paths: tuple[str, ...]
    sources: tuple[ByteSource, ...]
    error: OSError | VmcoreError | None = None

    def open(self, *, format_name: str | None = None, budget: Budget | None = None) -> Vmcore:
        """The dump in them; it owns the files from now on.

        Raises:
            as :func:`open_vmcore`.
        """
        if self.error:
            raise self.error
        return read_vmcore(*self.sources, format_name=format_name, budget=budget)

    def close(self) -> None:
        """Close files that nobody opened as a dump."""
        _close(self.sources)


def group_parts(paths: Sequence[str], *, format_name: str | None = None) -> Iterator[DumpFiles]:
    """The files grouped into dumps: parts of one split set together, in the order given.

    Each path is opened once, when its turn comes - or all that are left, from the first part of a
    split set on.  Only first bytes are looked at.  A file that cannot be opened is a dump of its
    own, which raises the reason when it is opened.

    Args:
        paths: as for :func:`open_vmcore`.
        format_name: likewise.
    """
    wanted = None if format_name else _is_dump_or_layer
    waiting = list(paths)
    opened: list[tuple[DumpFiles, bytes | None]] = []
    try:
        while waiting or opened:
            if not opened:
                opened.append(_open_part(waiting.pop(0), wanted, alone=len(paths) == 1))
            files, mark = opened.pop(0)
            if mark is not None:
                opened += [_open_part(path, wanted) for path in waiting]
                waiting.clear()
                same = [other for other, theirs in opened if theirs == mark]
                opened = [row for row in opened if row[1] != mark]
                files = DumpFiles(
                    tuple(path for part in (files, *same) for path in part.paths),
                    tuple(source for part in (files, *same) for source in part.sources),
                )
            yield files
    finally:
        for files, _ in opened:
            files.close()


def _open_part(
    path: str, wanted: Wanted | None, *, alone: bool = False
) -> tuple[DumpFiles, bytes | None]:
    # a file, and what all parts of its split set share
    try:
        source = open_source(path, wanted)
    except (OSError, VmcoreError) as error:
        return DumpFiles((path,), (), error), None
    return DumpFiles((path,), (source,)), None if alone else _set_of(source)


def _set_of(source: ByteSource) -> bytes | None:
    from vmcoretool.formats.kdump.header import (  # noqa: PLC0415 - sets are rare
        KDUMP,
        MAX_NOTE_BYTES,
        is_split_part,
    )

    try:
        if find_layer(source.pread(64, 0)) is None:
            return is_split_part(source)
        if not peek(source, len(KDUMP)).startswith(KDUMP):
            return None
        head = MemorySource(source.path, peek(source, MAX_NOTE_BYTES + _HEADERS))
        return is_split_part(head)
    except (OSError, VmcoreError):
        return None
