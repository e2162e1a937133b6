"""The main job: everything vmcoretool can say of one dump, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from vmcoretool import crash_command
from vmcoretool.addresses import Maddr, Vaddr
from vmcoretool.evidence import gather
from vmcoretool.evidence.case import Case
from vmcoretool.evidence.weigh import Verdict, weigh
from vmcoretool.findings import Finding, finding
from vmcoretool.notes.elf_note import XEN_ELFNOTE_CRASH_INFO, XEN_ELFNOTE_CRASH_REGS
from vmcoretool.xen.idle_table import layout_of
from vmcoretool.xen.version import XenVersion, read_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.crash_command import CrashCommand
    from vmcoretool.vmcore import Vmcore

Kind = Literal["xen-host", "xen-domain", "linux", "unknown"]
_DUMPCORE_TYPES = range(0x2000000, 0x2000004)


class IdlePageTable(NamedTuple):
    """The hypervisor's idle page table.

    Attributes:
        symbols: its names in a namelist of the era, the usual one first.
        vaddr: its hypervisor virtual address.
        maddr: its machine address.
        proof: how it was established, or why it was not.
        proven: whether the page itself was seen to be the idle table.
    """

    symbols: tuple[str, ...]
    vaddr: Vaddr
    maddr: Maddr
    proof: str
    proven: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The result of :func:`inspect_vmcore`.

    Attributes:
        vmcore: the dump.
        kind: whose memory it is.
        version: Xen's version, or None where no readable note tells.
        virt_start: XEN_VIRT_START of the proven layout, or None.
        verdict: where the hypervisor is and how sure that is.
        idle_page_table: or None where nothing tells.
        commands: crash command lines; empty unless ``kind`` is "xen-host".
        namelists: (path, target) of the symbol files the user gave.
        findings: what else the user should know.
    """

    vmcore: Vmcore
    kind: Kind
    version: XenVersion | None
    virt_start: Vaddr | None
    verdict: Verdict
    idle_page_table: IdlePageTable | None
    commands: tuple[CrashCommand, ...]
    namelists: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]


def inspect_vmcore(
    vmcore: Vmcore,
    *,
    xen_phys_start: int | None = None,
    xen_syms: str | None = None,
    vmlinux: str | None = None,
) -> Inspection:
    """Find out what a dump is, where its hypervisor is, and how to open it.

    Args:
        vmcore: an open dump.
        xen_phys_start: the caller's own claim in bytes; it is weighed, not believed.
        xen_syms: path of the hypervisor's namelist, for the command line.
        vmlinux: path of dom0's, likewise.

    Raises:
        OSError: the dump could not be read any more.
    """
    claim = None if xen_phys_start is None else Maddr(xen_phys_start)
    case = Case(vmcore, user_claim=claim)
    verdict = weigh(gather(case))
    kind = _kind(vmcore, verdict)
    host = kind == "xen-host"
    idle = _idle_page_table(case, verdict) if host else None
    info = vmcore.crash_info
    commands: tuple[CrashCommand, ...] = ()
    if host:
        commands = crash_command.suggest(vmcore, verdict, xen_syms=xen_syms, vmlinux=vmlinux)
    given = ((xen_syms, "hypervisor"), (vmlinux, "dom0"))
    return Inspection(
        vmcore=vmcore,
        kind=kind,
        version=read_version(vmcore.memory, info) if info and host else None,
        virt_start=_virt_start(case, verdict) if host else None,
        verdict=verdict,
        idle_page_table=idle,
        commands=commands,
        namelists=tuple((path, target) for path, target in given if path and host),
        findings=vmcore.findings + (tuple(_findings(case, verdict, idle)) if host else ()),
    )


def _kind(vmcore: Vmcore, verdict: Verdict) -> Kind:
    xen_types = (XEN_ELFNOTE_CRASH_INFO, XEN_ELFNOTE_CRASH_REGS)
    if vmcore.vmcoreinfo_xen or any(
        note.owner == "Xen" and note.type in xen_types for note in vmcore.notes
    ):
        return "xen-host"
    if vmcore.vmcoreinfo_linux:
        return "linux"
    if verdict.status in ("verified", "not-relocatable"):
        return "xen-host"
    if any(note.owner == "Xen" and note.type in _DUMPCORE_TYPES for note in vmcore.notes):
        return "xen-domain"
    return "unknown"


def _virt_start(case: Case, verdict: Verdict) -> Vaddr | None:
    for idle in case.idle_tables:
        if idle.layout.relocatable and idle.base == verdict.xen_phys_start:
            return idle.layout.virt_start
    for sighting in case.survey.sightings:
        image = sighting.image
        if image.layout.relocatable and image.base == verdict.xen_phys_start:
            return image.layout.virt_start
    return None


def _idle_page_table(case: Case, verdict: Verdict) -> IdlePageTable | None:
    for idle in case.idle_tables:
        if idle.xen_phys_start == verdict.xen_phys_start:
            older = () if idle.layout.relocatable else ("idle_pg_table_4",)
            proof = f"slot 258 refers to it, and its tables lead from {idle.vaddr:#x} back to it"
            return IdlePageTable(
                ("idle_pg_table", *older), idle.vaddr, idle.maddr, proof, proven=True
            )
    start = verdict.xen_phys_start
    if start is None or case.pgd_l4 is None:
        return None
    layout = layout_of(case.pgd_l4)
    if layout is None:
        return None
    maddr = Maddr(case.pgd_l4 - layout.virt_start + start)
    proof = "not checked, its page is not in the dump: SYMBOL(pgd_l4) of VMCOREINFO_XEN, relocated"
    if maddr in case.vmcore.memory.pages.present:
        proof = "refuted by the page itself: SYMBOL(pgd_l4) of VMCOREINFO_XEN, relocated"
    return IdlePageTable(("idle_pg_table",), case.pgd_l4, maddr, proof, proven=False)


def _findings(case: Case, verdict: Verdict, idle: IdlePageTable | None) -> Iterator[Finding]:
    vmcore = case.vmcore
    yield from _note_findings(vmcore, verdict)
    yield from _address_findings(verdict)
    known = verdict.status in ("verified", "disputed", "not-relocatable")
    if known and idle and not idle.proven:
        if "refuted" in idle.proof:
            yield finding("pgd-l4-wrong", f"the page at {idle.maddr:#x} is not the idle table")
        else:
            message = f"the page at {idle.maddr:#x} is not in the dump"
            yield finding("idle-page-table-missing", message)
    if idle and idle.proven and case.pgd_l4 not in (None, idle.vaddr):
        message = f"it says {case.pgd_l4:#x}; the table is at {idle.vaddr:#x}"
        yield finding("pgd-l4-wrong", message)
    lost = [str(cpu.cpu) for cpu in vmcore.cpus if not cpu.saved]
    if lost:
        message = f"CPU {', '.join(lost[:16])}: no registers were saved"
        yield finding("cpu-not-saved", message)
    if vmcore.architecture != "x86_64":
        message = f"page tables of {vmcore.architecture} are not walked"
        yield finding("architecture-not-supported", message)


def _note_findings(vmcore: Vmcore, verdict: Verdict) -> Iterator[Finding]:
    info = vmcore.crash_info
    if info is None:
        yield finding("notes-missing", "the dump has no readable XEN_ELFNOTE_CRASH_INFO note")
        return
    if info.xen_phys_start is None and verdict.status != "not-relocatable":
        count = len(info.words)
        message = "word 8 of the note is 0"
        if not info.has_phys_start_word:
            message = f"the note has {count} words, the form without xen_phys_start"
        yield finding("xen-phys-start-not-recorded", message)
    if info.dom0_p2m_mfn is None:
        yield finding("dom0-p2m-missing", "the note's last word holds no machine frame")


def _address_findings(verdict: Verdict) -> Iterator[Finding]:
    start = verdict.xen_phys_start
    if verdict.status == "disputed":
        liars = [one for one in verdict.contradicting if one.strength == "recorded"]
        said = ", ".join(f"{one.source} says {one.xen_phys_start:#x}" for one in liars)
        proven = any(one.strength == "derived" for one in verdict.supporting)
        if proven:
            where = "not relocated" if start is None else f"{start:#x}"
            yield finding("xen-phys-start-wrong", f"{said}; the page tables prove {where}")
        else:
            values = {f"{one.xen_phys_start or 0:#x}" for one in verdict.contradicting}
            message = f"candidates: {', '.join(sorted(values))}"
            yield finding("address-disputed", message)
    elif verdict.status == "reported":
        yield finding("address-unproven", f"{start:#x} is only recorded")
    elif verdict.status == "unknown":
        yield finding("address-unknown", "no source tells where the hypervisor is")
