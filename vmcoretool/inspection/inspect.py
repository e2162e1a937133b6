"""The main job: everything vmcoretool can say of one dump, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmcoretool.addresses import Maddr
from vmcoretool.debuggers.crash import suggest, without_command
from vmcoretool.debuggers.makedumpfile import suggest_filters
from vmcoretool.debuggers.session import Situation
from vmcoretool.evidence.case import Case, Scan
from vmcoretool.evidence.gather import gather
from vmcoretool.evidence.weigh import Verdict, weigh
from vmcoretool.host.account import NOTHING, Account, find_account
from vmcoretool.host.host import Host
from vmcoretool.host.identity import find_identity, find_idle_page_table, find_kind
from vmcoretool.host.signature import Signature, find_signature
from vmcoretool.host.symbol_files import Selection, select
from vmcoretool.inspection.diagnosis import (
    crash_findings,
    guest_findings,
    host_findings,
    memory_findings,
    namelist_findings,
)
from vmcoretool.symbols.places import USUAL_PLACES, Places
from vmcoretool.xen.panic import CrashText

if TYPE_CHECKING:
    from vmcoretool.debuggers.crash import CrashCommand
    from vmcoretool.debuggers.crash_program import CrashProgram
    from vmcoretool.debuggers.makedumpfile import FilterCommand
    from vmcoretool.findings import Finding
    from vmcoretool.host.identity import IdlePageTable, Kind, XenIdentity
    from vmcoretool.linux.kernel import Kernel
    from vmcoretool.vmcore import Vmcore
    from vmcoretool.xen.cpus import CpuUse
    from vmcoretool.xen.domains import Domain


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
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
        selection: symbol files: which match, which do not and why, which are used.
        findings: what else the user should know.
        interrupted: the caller ended a scan, so more might be found.
    """

    vmcore: Vmcore
    kind: Kind
    xen: XenIdentity | None
    verdict: Verdict
    idle_page_table: IdlePageTable | None
    crash: CrashText
    account: Account
    signature: Signature | None
    cpus: tuple[CpuUse, ...]
    domains: tuple[Domain, ...]
    domains_trouble: str
    dom0_kernel: Kernel | None
    commands: tuple[CrashCommand, ...]
    filters: tuple[FilterCommand, ...]
    selection: Selection
    findings: tuple[Finding, ...]
    interrupted: bool


def inspect_vmcore(
    vmcore: Vmcore,
    *,
    xen_phys_start: int | None = None,
    places: Places = USUAL_PLACES,
    scan: Scan = "auto",
) -> Inspection:
    """Find out what a dump is, where its hypervisor is, and how to open it.

    Args:
        vmcore: an open dump.
        xen_phys_start: the caller's own claim in bytes; it is weighed, not believed.
        places: where symbol files are looked for.
        scan: whether all memory may be searched: "auto" (while doubt is left), "always", "never".

    Raises:
        OSError: the dump could not be read any more.
        TruncatedError: the file became shorter while it was read.
    """
    case = Case(
        vmcore,
        user_claim=None if xen_phys_start is None else Maddr(xen_phys_start),
        scan=scan,
        places=places,
    )
    verdict = weigh(gather(case))
    kind = find_kind(case, verdict)
    findings = list(vmcore.findings)
    if kind != "xen-host":
        findings += guest_findings(case)
        return Inspection(
            vmcore=vmcore,
            kind=kind,
            xen=None,
            verdict=verdict,
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
            selection=Selection(),
            findings=(*findings, *memory_findings(vmcore)),
            interrupted=vmcore.budget.stopped,
        )
    xen = find_identity(case, verdict)
    idle = find_idle_page_table(case, verdict)
    host = Host(case, verdict)
    selection = select(host)
    situation = Situation(host, verdict, xen, selection, _crash(selection))
    host_said = (
        *host_findings(case, verdict, xen, idle),
        *crash_findings(host, without_command(host.domains)),
        *namelist_findings(selection),
    )
    return Inspection(
        vmcore=vmcore,
        kind=kind,
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
        commands=suggest(situation),
        filters=tuple(suggest_filters(situation)),
        selection=selection,
        findings=(*findings, *host_said, *memory_findings(vmcore)),
        interrupted=vmcore.budget.stopped,
    )


def _crash(selection: Selection) -> CrashProgram | None:
    # a process is started only where its answer decides something
    if not any(one.candidate.dwarf for one in selection.chosen.values()):
        return None
    from vmcoretool.debuggers.crash_program import find_crash  # noqa: PLC0415 - as above

    return find_crash()


def find_host(
    vmcore: Vmcore,
    *,
    xen_phys_start: int | None = None,
    places: Places = USUAL_PLACES,
    scan: Scan = "auto",
) -> tuple[Kind, Host]:
    """Whose memory a dump is and, for questions beyond an inspection, the crashed host in it.

    Args and errors are those of :func:`inspect_vmcore`.
    """
    claim = None if xen_phys_start is None else Maddr(xen_phys_start)
    case = Case(vmcore, user_claim=claim, scan=scan, places=places)
    verdict = weigh(gather(case))
    return find_kind(case, verdict), Host(case, verdict)
