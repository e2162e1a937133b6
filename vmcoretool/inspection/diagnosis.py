"""What the user should know besides the result: findings drawn from facts and verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.findings import Finding, finding, stopped_findings
from vmcoretool.memory.physical import MAX_UNREADABLE
from vmcoretool.printable import printable
from vmcoretool.xen.image.layouts import DIRECTMAPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmcoretool.evidence.facts import Facts
    from vmcoretool.evidence.known import Place
    from vmcoretool.evidence.weigh import Verdict
    from vmcoretool.host.host import Host
    from vmcoretool.host.identity import IdlePageTable, Kind, XenIdentity
    from vmcoretool.host.symbol_files import SymbolFiles
    from vmcoretool.notes.registers import CpuState
    from vmcoretool.vmcore import Vmcore
    from vmcoretool.xen.domains import Domain


_NAMED_PAGES = 4
_NAMED_DOMAINS = 12
_NOTE: Final = "the XEN_ELFNOTE_CRASH_INFO note"


def memory_findings(vmcore: Vmcore) -> Iterator[Finding]:
    """What to say of memory that could not be read; to be asked when all reading is done."""
    for name in vmcore.budget.cut_off:
        yield finding("work-limited", f"{name} was cut off")
    pages = sorted(vmcore.memory.unreadable)
    stopped = stopped_findings(vmcore.budget)
    yield from (found for found in stopped if found not in vmcore.findings)
    if pages and not stopped:  # else they lie behind the end, and are not damaged
        some = ", ".join(f"{page:#x}" for page in pages[:_NAMED_PAGES])
        more = ", ..." if len(pages) > _NAMED_PAGES else ""
        count = f"{len(pages)}" if len(pages) < MAX_UNREADABLE else f"at least {len(pages)}"
        message = f"{count} of the pages asked for: {some}{more}; the page at {pages[0]:#x} "
        yield finding("page-unreadable", message + vmcore.memory.unreadable[pages[0]])


def guest_findings(place: Place, kind: Kind, *, nested: bool) -> Iterator[Finding]:
    """What to say of a dump that is not a Xen host's.

    Args:
        place: where images of a hypervisor are.
        kind: whose dump it is.
        nested: whether one of them is proved to be that of the guest itself.
    """
    if nested:
        base = place.images[0].base if place.images else place.idle_tables[0].base
        ran = "its CPUs ran it" if place.facts.walks.mapped else "none of its saved CPUs ran it"
        message = f"the guest is a Xen host itself: an image of Xen lies at {base:#x}, and {ran}"
        answering = "console, cpus, domains, dmesg, vtop and read answer from this dump."
        yield finding("nested-xen-image", message, answering)
        return
    for idle in place.scanned:
        message = f"an image of Xen lies at {idle.base:#x}, but no CPU of this machine ran it"
        advice = "Nothing proves which Xen it is." if kind == "xen-domain" else None
        yield finding("nested-xen-image", message, advice)


def host_findings(
    facts: Facts, verdict: Verdict, xen: XenIdentity, idle: IdlePageTable | None
) -> Iterator[Finding]:
    """What to say of a Xen host's dump."""
    vmcore = facts.vmcore
    if vmcore.container.row.is_host:  # a guest's has no notes of the Xen in it
        yield from _note_findings(vmcore, verdict)
    yield from _address_findings(verdict)
    known = verdict.status in ("verified", "disputed", "not-relocatable")
    if known and idle and not idle.proven:
        if idle.state == "refuted":
            yield finding("pgd-l4-wrong", f"the page at {idle.maddr:#x} is not the idle table")
        else:
            message = f"the page at {idle.maddr:#x} is not in the dump"
            yield finding("idle-page-table-missing", message)
    if idle and idle.proven and facts.pgd_l4 not in (None, idle.vaddr):
        message = f"it says {facts.pgd_l4:#x}; the table is at {idle.vaddr:#x}"
        yield finding("pgd-l4-wrong", message)
    if xen.directmap is not None and xen.directmap is not DIRECTMAPS[0]:
        message = f"the direct map starts at {xen.directmap.start:#x} ({xen.directmap.name})"
        yield finding("directmap-unusual", message)
    whole = vmcore.notes_whole and vmcore.container.row.is_host
    silent = [str(cpu.cpu) for cpu in vmcore.cpus if _never_answered(cpu, notes_whole=whole)]
    if silent:
        message = f"CPU {', '.join(silent[:16])}: no registers were saved"
        yield finding("cpu-not-saved", message)
    if vmcore.architecture not in ("x86_64", "i386"):
        message = f"page tables of {vmcore.architecture} are not walked"
        yield finding("architecture-not-supported", message)


def crash_findings(host: Host, without_command: Sequence[Domain]) -> Iterator[Finding]:
    """What to say of domains that could not be read, or say something else than the notes.

    Args:
        host: the crashed host.
        without_command: the domains that no crash can open.
    """
    trouble = host.domain_list.trouble
    if trouble and host.space is not None and host.vmcoreinfo is not None:
        message = f"after {len(host.domains)} domains: {trouble}"
        if host.domain_list.lost:
            yield finding("domain-list-incomplete", message)
        else:
            yield finding("domain-list-damaged", message)
    for domain in host.domains:
        wrong = host.p2m_trouble(domain)
        if wrong:
            yield finding("p2m-damaged", f"of domain {domain.id}: {wrong}")
    check = host.dom0_p2m
    if check and not check.agree:
        message = (
            f"{_NOTE} names mfn {check.note:#x}, dom0's shared info page {check.shared_info:#x}"
        )
        yield finding("dom0-p2m-disputed", message)
    known = [domain for domain in without_command if domain.whole]
    if known:
        some = ", ".join(str(domain.id) for domain in known[:_NAMED_DOMAINS])
        more = ", ..." if len(known) > _NAMED_DOMAINS else ""
        yield finding("domain-not-openable", f"domain {some}{more}: HVM, PVH or not understood")


def namelist_findings(symbol_files: SymbolFiles) -> Iterator[Finding]:
    """What to say of symbol files."""
    for one in symbol_files.matches:
        path = printable(one.candidate.path)
        if one.match != "matches" and one.candidate.named:
            yield finding("namelist-not-used", f"{path}: {printable('; '.join(one.reasons))}")
    for target, one in symbol_files.chosen.items():
        other = symbol_files.companions.get(target)
        if one.candidate.elf and not one.candidate.dwarf and not (other and other.dwarf):
            path = printable(one.candidate.path)
            yield finding("namelist-no-dwarf", f"{path}, of {target}, has no debugging data")
    for trouble in symbol_files.reasons[:_NAMED_DOMAINS]:
        yield finding("namelist-search-incomplete", printable(trouble))


def _never_answered(cpu: CpuState, *, notes_whole: bool) -> bool:
    # of notes that were cut off, the one with its registers may be among what is lost
    if cpu.saved or not all(note.complete for note in cpu.notes):
        return False
    return notes_whole or len(cpu.notes) > 1


def _note_findings(vmcore: Vmcore, verdict: Verdict) -> Iterator[Finding]:
    info = vmcore.crash_info
    if info is None and not vmcore.notes_whole:
        return  # it may be among what is lost
    if info is None:
        yield finding("notes-missing", "the dump has no readable XEN_ELFNOTE_CRASH_INFO note")
        return
    if info.xen_phys_start is None and verdict.status != "not-relocatable":
        count = len(info.words)
        message = f"word 8 of {_NOTE} is 0"
        if not info.has_phys_start_word:
            message = f"{_NOTE} has {count} words, the form without xen_phys_start"
        yield finding("xen-phys-start-not-recorded", message)
    if info.dom0_p2m_mfn is None:
        yield finding("dom0-p2m-missing", f"the last word of {_NOTE} holds no machine frame")


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
