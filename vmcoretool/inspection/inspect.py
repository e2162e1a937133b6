"""The main job: everything vmcoretool can say of one dump, as one value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from vmcoretool.addresses import Maddr
from vmcoretool.debuggers.crash import suggest, without_command
from vmcoretool.debuggers.makedumpfile import suggest_filters
from vmcoretool.debuggers.session import Sessions
from vmcoretool.evidence.facts import Asked, Facts, Scan
from vmcoretool.evidence.gather import gather
from vmcoretool.evidence.weigh import Verdict, weigh
from vmcoretool.host.account import NOTHING, Account, find_account, kernel_panicked
from vmcoretool.host.host import Host
from vmcoretool.host.hypervisor import find_hypervisor
from vmcoretool.host.identity import Kind, find_identity, find_idle_page_table, find_kind
from vmcoretool.host.signature import Signature, find_signature
from vmcoretool.host.symbol_files import SymbolFiles, choose_symbol_files
from vmcoretool.inspection.diagnosis import (
    crash_findings,
    guest_findings,
    host_findings,
    memory_findings,
    namelist_findings,
)
from vmcoretool.symbols.finder import SymbolFinder
from vmcoretool.symbols.places import USUAL_PLACES, Places
from vmcoretool.xen.panic import CrashText

if TYPE_CHECKING:
    from vmcoretool.debuggers.crash import CrashCommand
    from vmcoretool.debuggers.crash_program import CrashProgram
    from vmcoretool.debuggers.makedumpfile import FilterCommand
    from vmcoretool.evidence.known import Known
    from vmcoretool.findings import Finding
    from vmcoretool.host.identity import IdlePageTable, XenIdentity
    from vmcoretool.linux.kernel import Kernel
    from vmcoretool.vmcore import Vmcore
    from vmcoretool.xen.cpus import CpuActivity
    from vmcoretool.xen.domains import Domain


_PROVEN: Final = ("verified", "not-relocatable")


class Inspection(NamedTuple):
    """The result of :func:`inspect_vmcore`.

    Attributes:
        vmcore: the dump.
        kind: whose memory it is.
        xen: which hypervisor, None unless ``kind`` is "xen-host".
        verdict: where the hypervisor is and how sure that is.
        idle_page_table: or None where nothing tells.
        crash: what the console tells of the crash.
        account: who crashed and why, when, on which machine.
        signature: a name for the crash, or None where nothing tells.
        cpus: what each CPU was doing; empty unless ``kind`` is "xen-host".
        domains: in the hypervisor's order; empty unless ``kind`` is "xen-host".
        domains_trouble: why there are none or not all, or "".
        dom0_kernel: dom0's Linux as its memory shows it, or None.
        commands: crash command lines; empty unless ``kind`` is "xen-host".
        filters: makedumpfile command lines, where plain ones fail on this dump.
        symbol_files: which match, which do not and why, which are used.
        findings: what else the user should know.
        interrupted: the caller ended a scan, so more might be found.
        nested: of a guest's dump in which a Xen is proved, that host, without commands; else None.
    """

    vmcore: Vmcore
    kind: Kind
    xen: XenIdentity | None
    verdict: Verdict
    idle_page_table: IdlePageTable | None
    crash: CrashText
    account: Account
    signature: Signature | None
    cpus: tuple[CpuActivity, ...]
    domains: tuple[Domain, ...]
    domains_trouble: str
    dom0_kernel: Kernel | None
    commands: tuple[CrashCommand, ...]
    filters: tuple[FilterCommand, ...]
    symbol_files: SymbolFiles
    findings: tuple[Finding, ...]
    interrupted: bool
    nested: Inspection | None = None

    def __repr__(self) -> str:
        paths = " ".join(self.vmcore.paths)
        return f"<Inspection of {paths!r}: {self.kind}, {self.verdict.status}>"

    def __reduce__(self) -> NoReturn:
        # its dump is an open file, whose number means another file in another process
        raise TypeError("an Inspection holds an open dump: pickle vmcoretool.to_dict(inspection)")


def inspect_vmcore(
    vmcore: Vmcore,
    *,
    xen_phys_start: int | None = None,
    places: Places = USUAL_PLACES,
    scan: Scan = "auto",
    ask_crash: bool = False,
) -> Inspection:
    """Find out what a dump is, where its hypervisor is, and how to open it.

    Args:
        vmcore: an open dump.
        xen_phys_start: the caller's own claim in bytes; it is weighed, not believed.
        places: where symbol files are looked for.
        scan: whether all memory may be searched: "auto" (while doubt is left), "always", "never".
        ask_crash: whether to judge commands for the crash on this system in any case; it is asked
            anyhow where a command may be ready.

    Raises:
        OSError: the dump could not be read any more, or a symbol file that was named is missing.
        TruncatedError: the file became shorter while it was read.
    """
    located = locate(vmcore, xen_phys_start=xen_phys_start, places=places, scan=scan)
    return inspect_located(located, ask_crash=ask_crash)


def inspect_located(located: Located, *, ask_crash: bool = False) -> Inspection:
    """The inspection of a dump whose hypervisor was looked for already."""
    if located.kind != "xen-host":
        return _of_no_host(located)
    return _of_host(located, ask_crash=ask_crash)


class Located(NamedTuple):
    """Where the hypervisor of a dump is: what all other questions start from.

    Attributes:
        kind: whose memory it is.
        verdict: where the hypervisor is and how sure that is.
        known: what the sources found out on the way.
        finder: where symbol files come from.
    """

    kind: Kind
    verdict: Verdict
    known: Known
    finder: SymbolFinder

    @property
    def has_host(self) -> bool:
        """Whether it is a Xen host's memory, or that of a guest in which a Xen is proved."""
        return self.kind == "xen-host" or self.is_nested

    @property
    def is_nested(self) -> bool:
        """Whether a Xen is proved in the dump of one guest, and its CPUs ran nothing else."""
        if self.kind != "xen-domain" or self.verdict.status not in _PROVEN:
            return False
        walks = self.known.facts.walks
        return bool(walks.mapped) or not walks.elsewhere

    def host(self) -> Host:
        """The crashed host, whose memory answers further questions."""
        hypervisor = find_hypervisor(self.known, self.verdict)
        return Host(self.known.facts.vmcore, self.verdict, hypervisor)


def locate(
    vmcore: Vmcore,
    *,
    xen_phys_start: int | None = None,
    places: Places = USUAL_PLACES,
    scan: Scan = "auto",
) -> Located:
    """Whose memory a dump is, and where its hypervisor is.

    Args and errors are those of :func:`inspect_vmcore`.
    """
    places.check()
    claim = None if xen_phys_start is None else Maddr(xen_phys_start)
    facts = Facts(vmcore, Asked(claim, scan))
    finder = SymbolFinder(places, vmcore.budget)
    known = gather(facts, finder)
    verdict = weigh(known.statements)
    return Located(find_kind(facts, verdict), verdict, known, finder)


def _of_host(located: Located, *, ask_crash: bool = False) -> Inspection:
    known, verdict = located.known, located.verdict
    vmcore = known.facts.vmcore
    host = located.host()
    xen = find_identity(known, host.hypervisor)
    idle = find_idle_page_table(known, verdict)
    files = choose_symbol_files(host, known.namelist, located.finder)
    program = _crash(files, ask=ask_crash)
    panicked = _panicked(host, files)
    sessions = Sessions(vmcore, verdict, xen, host.crash, host.domains, files, program, panicked)
    findings = (
        *host_findings(known.facts, verdict, xen, idle),
        *crash_findings(host, without_command(host.domains)),
        *namelist_findings(files),
    )
    return Inspection(
        vmcore=vmcore,
        kind="xen-host",
        xen=xen,
        verdict=verdict,
        idle_page_table=idle,
        crash=host.crash,
        account=find_account(host),
        signature=find_signature(host, xen),
        cpus=host.cpus,
        domains=host.domains,
        domains_trouble=host.domain_list.trouble,
        dom0_kernel=host.dom0_kernel,
        commands=suggest(sessions),
        filters=tuple(suggest_filters(sessions)),
        symbol_files=files,
        findings=(*vmcore.findings, *findings, *memory_findings(vmcore)),
        interrupted=vmcore.budget.stopped,
    )


def _of_no_host(located: Located) -> Inspection:
    vmcore = located.known.facts.vmcore
    nested = _of_host(located)._replace(commands=(), filters=()) if located.is_nested else None
    findings = tuple(guest_findings(located.known.place, located.kind, nested=nested is not None))
    of_memory = nested.findings if nested else (*vmcore.findings, *memory_findings(vmcore))
    return Inspection(
        vmcore=vmcore,
        kind=located.kind,
        xen=None,
        verdict=located.verdict,
        idle_page_table=None,
        crash=CrashText(),
        account=NOTHING,
        signature=None,
        cpus=(),
        domains=(),
        domains_trouble="",
        dom0_kernel=None,
        commands=(),
        filters=(),
        symbol_files=SymbolFiles(),
        findings=(*findings, *of_memory),
        interrupted=vmcore.budget.stopped,
        nested=nested,
    )


def _panicked(host: Host, files: SymbolFiles) -> dict[int, bool]:
    # logs are read where the answer decides something: of guests that could be opened
    found = {}
    for domain in host.domains:
        if domain.id and domain.type == "pv" and f"dom{domain.id}" in files.chosen:
            said = kernel_panicked(host, domain.id)
            if said is not None:
                found[domain.id] = said
    return found


def _crash(files: SymbolFiles, *, ask: bool) -> CrashProgram | None:
    # a process is started only where its answer decides something
    if not ask and not any(match.candidate.dwarf for match in files.chosen.values()):
        return None
    from vmcoretool.debuggers.crash_program import find_crash  # noqa: PLC0415 - as above

    return find_crash()
