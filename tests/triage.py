"""What a support team's script may look like: only public names, strictly typed.

python3 tests/triage.py VMCORE...
"""

from __future__ import annotations

import json
import sys

import vmcoretool
from vmcoretool import (
    Account,
    AddressError,
    Budget,
    ByteSource,
    Candidate,
    Cause,
    Container,
    CpuActivity,
    CpuState,
    CrashCommand,
    CrashedHost,
    CrashInfo,
    CrashText,
    DirectMap,
    Domain,
    Evidence,
    Extent,
    FileOffset,
    FilePlace,
    FilterCommand,
    Finding,
    Format,
    FormatError,
    HostMachine,
    IdlePageTable,
    Inspection,
    Kernel,
    Kind,
    LogError,
    Machine,
    Maddr,
    Match,
    MemoryFault,
    Mfn,
    Missing,
    MissingSymbolError,
    Moment,
    NamelistError,
    NotAXenHostError,
    Note,
    NoteBlob,
    PageReader,
    PartialPage,
    PhysicalMemory,
    Places,
    Process,
    ReadableObject,
    Report,
    Scan,
    SharedInfo,
    Signature,
    Silence,
    SpaceError,
    Step,
    StoppedError,
    SymbolFiles,
    TableFault,
    Task,
    Translation,
    TranslationFault,
    TruncatedError,
    Unfinished,
    UnknownFormatError,
    UnsupportedFormatError,
    Vaddr,
    Vcpu,
    Verdict,
    Vmcore,
    VmcoreError,
    VmcoreInfo,
    Work,
    XenIdentity,
    XenVersion,
    inspect_vmcore,
    open_host,
    open_vmcore,
    to_dict,
    write_report,
)


def show_vmcore(vmcore: Vmcore) -> None:
    container: Container = vmcore.container
    row: Format = container.row
    machine: Machine = container.machine
    print("format", row.name, machine.architecture, "blobs", len(container.note_blobs))
    blobs: tuple[NoteBlob, ...] = tuple(container.note_blobs)
    sources: tuple[ByteSource, ...] = vmcore.sources
    print("files", [source.path for source in sources], "notes in", [blob.offset for blob in blobs])
    notes: tuple[Note, ...] = vmcore.notes
    print("notes", [(note.owner, hex(note.type)) for note in notes])
    info: CrashInfo | None = vmcore.crash_info
    text: VmcoreInfo | None = vmcore.vmcoreinfo_xen
    saved: tuple[CpuState, ...] = vmcore.cpus
    print("words", len(info.words) if info else 0, "keys", len(text.entries) if text else 0)
    print("saved", [cpu.cpu for cpu in saved])
    process: Process | None = vmcore.process
    print("core of", process.name if process else "a machine")
    memory: PhysicalMemory = vmcore.memory
    reader: PageReader = memory.pages
    extent: Extent = next(iter(reader.extents()))
    place: FilePlace | None = memory.where_is(extent.start)
    offset: FileOffset | None = place.offset if place else None
    print("memory from", hex(extent.start), "in the file at", offset)
    page: bytes | PartialPage | Missing = reader.page(Mfn(extent.start >> 12))
    print("first page", type(page).__name__, memory.read(0x1000, 0) == b"")


def show_verdict(inspection: Inspection) -> None:
    kind: Kind = inspection.kind
    verdict: Verdict = inspection.verdict
    start: Maddr | None = verdict.xen_phys_start
    print(kind, verdict.status, start and hex(start))
    evidence: tuple[Evidence, ...] = verdict.evidence
    silent: tuple[Silence, ...] = verdict.silent
    print([row.source for row in evidence], [row.source for row in silent])
    idle: IdlePageTable | None = inspection.idle_page_table
    vaddr: Vaddr | None = idle.vaddr if idle else None
    xen: XenIdentity | None = inspection.xen
    version: XenVersion | None = xen.version if xen else None
    directmap: DirectMap | None = xen.directmap if xen else None
    print("idle", vaddr and hex(vaddr), version and version.text, directmap and directmap.name)
    findings: tuple[Finding, ...] = inspection.findings
    print("findings", [found.code for found in findings])


def show_event(inspection: Inspection) -> None:
    account: Account = inspection.account
    cause: Cause | None = account.cause
    task: Task | None = cause.task if cause else None
    moment: Moment = account.crashed_at
    machine: HostMachine = account.machine
    print("cause", cause and cause.headline, task and task.comm, moment.time, machine.hardware)
    text: CrashText = inspection.crash
    signature: Signature | None = inspection.signature
    print("panic", text.panic, signature and signature.id)
    kernel: Kernel | None = inspection.dom0_kernel
    print("dom0", kernel and kernel.release)
    commands: tuple[CrashCommand, ...] = inspection.commands
    filters: tuple[FilterCommand, ...] = inspection.filters
    print([command.shell() for command in commands], [row.display() for row in filters])
    files: SymbolFiles = inspection.symbol_files
    matches: tuple[Match, ...] = files.matches
    candidates: list[Candidate] = [match.candidate for match in matches]
    print("symbol files", [candidate.path for candidate in candidates])


def show_host(host: CrashedHost) -> None:
    domains: tuple[Domain, ...] = host.domains
    for domain in domains:
        shared: SharedInfo | None = domain.shared_info
        vcpus: tuple[Vcpu, ...] = domain.vcpus
        print("domain", domain.id, domain.type, domain.max_pfn, shared is not None, len(vcpus))
    cpus: tuple[CpuActivity, ...] = host.cpus
    print("cpus", [(cpu.state.cpu, cpu.context, cpu.domain) for cpu in cpus])
    print("symbols", len(host.symbols), "keys", len(host.vmcoreinfo))
    try:
        print("console", *host.console()[-2:], sep="\n  ")
        print("dmesg", *host.dmesg()[-2:], sep="\n  ")
    except LogError as error:
        print("no log:", error.what, error.cure)
    idle = host.inspection.idle_page_table
    if idle is None:
        return
    try:
        done: Translation = host.translate(idle.vaddr)
        steps: tuple[Step, ...] = done.steps
        print(hex(idle.vaddr), "is at", hex(done.maddr), *map(str, steps))
        print(host.read(idle.vaddr, 16).hex(), host.read(done.maddr, 16, "machine").hex())
        host.read(0x1000, 1, "cpu0")
    except TranslationFault as fault:
        print("not mapped:", hex(fault.vaddr))
    except TableFault as fault:
        print("a table is missing:", hex(fault.table))
    except (MemoryFault, SpaceError) as fault:
        print("not read:", fault.what)


class InMemory:
    """A dump in memory, as a script may get one over a network."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def pread(self, size: int, offset: int) -> bytes:
        return self.data[offset : offset + size]

    def close(self) -> None:
        self.data = b""


def watched() -> Budget:
    budget = Budget(watch=lambda _name, _done, _total: True, seconds=60)
    work: Work = budget.work("the triage", steps=10)
    unfinished: tuple[Unfinished, ...] = budget.unfinished
    print("budget", work.go_on(), budget.cut_off, unfinished)
    return budget


NOT_A_DUMP = (UnknownFormatError, TruncatedError, FormatError)
NOT_HERE = (UnsupportedFormatError, StoppedError, MissingSymbolError, NamelistError, AddressError)


def triage(path: str, scan: Scan = "auto") -> int:
    """Print all of it; the exit code is that of ``vmcoretool inspect`` for what cannot be read."""
    try:
        with open_host(path, places=Places(standard=()), scan=scan, budget=watched()) as host:
            show_vmcore(host.vmcore)
            show_verdict(host.inspection)
            show_event(host.inspection)
            show_host(host)
            print(json.dumps(to_dict(host.inspection))[:60])
    except NotAXenHostError as error:
        print(error.what)
        with open_vmcore(path) as vmcore:
            print(inspect_vmcore(vmcore))
        return 6
    except NOT_A_DUMP as error:
        print("not a dump:", error, error.where)
        return 3
    except NOT_HERE as error:
        print("not read:", error.what)
        return 4
    except VmcoreError as error:
        print("refused:", error)
        return 3
    return 0


def report(path: str, folder: str) -> str:
    """Leave the answer in a folder, and read the dump again from memory."""
    with open(path, "rb") as file:  # noqa: PTH123 - a script for everybody
        readable: ReadableObject = InMemory(file.read())
    with open_vmcore(readable) as vmcore:
        again = inspect_vmcore(vmcore).verdict.status
    written: Report = write_report(path, folder=folder)
    return f"{written.summary} ({again}, vmcoretool {vmcoretool.__version__})"


if __name__ == "__main__":
    sys.exit(max(map(triage, sys.argv[1:]), default=2))
