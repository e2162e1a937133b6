"""Whose memory a dump is, which hypervisor, and its idle page table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vmcoretool.addresses import Maddr, Vaddr
from vmcoretool.xen.image.idle_table import is_refuted, layout_of
from vmcoretool.xen.version import XenVersion, read_version

if TYPE_CHECKING:
    from vmcoretool.evidence.facts import Facts
    from vmcoretool.evidence.known import Known
    from vmcoretool.evidence.weigh import Verdict
    from vmcoretool.host.hypervisor import Hypervisor
    from vmcoretool.vmcore import Vmcore
    from vmcoretool.xen.image.layouts import DirectMap

Kind = Literal["xen-host", "xen-domain", "linux", "unknown"]
IdleState = Literal["proven", "refuted", "not-checked"]


_ROOTS_ASKED: Final = 4  # any CPU's table maps the kernel


class IdlePageTable(NamedTuple):
    """The hypervisor's idle page table.

    Attributes:
        symbols: its names in a namelist of the era, the usual one first.
        vaddr: its hypervisor virtual address.
        maddr: its machine address.
        proof: how it was established, or why it was not.
        state: whether the page itself was seen to be the idle table, seen not to be it, or could
            not be looked at.
        alias: its name in VMCOREINFO_XEN.
        levels: of paging.
    """

    symbols: tuple[str, ...]
    vaddr: Vaddr
    maddr: Maddr
    proof: str
    state: IdleState
    alias: str = "pgd_l4"
    levels: int = 4

    @property
    def proven(self) -> bool:
        """Whether the page itself was seen to be the idle table."""
        return self.state == "proven"


class XenIdentity(NamedTuple):
    """Which hypervisor it is.

    Attributes:
        version: from the CRASH_INFO note, else from the banner in the console ring, else None.
        virt_start: XEN_VIRT_START of the proven layout, or None.
        build_id: lower-case hexadecimal, or None.
        directmap: where the proven tables map all memory, or None.
    """

    version: XenVersion | None
    virt_start: Vaddr | None
    build_id: str | None
    directmap: DirectMap | None


def find_kind(facts: Facts, verdict: Verdict) -> Kind:
    """Whose memory it is."""
    # A Xen note or a cr3 that leads to an image decides; an image that only a scan found does not
    # when the headers say Linux or the saved cr3s lead elsewhere: it may be a guest's.
    vmcore = facts.vmcore
    if not vmcore.container.row.is_host:
        return "xen-domain"
    if facts.xen_notes or facts.walks.mapped:
        return "xen-host"
    if vmcore.vmcoreinfo_linux:
        return "linux"
    elsewhere = facts.walks.elsewhere
    if not elsewhere and verdict.status in ("verified", "disputed", "not-relocatable"):
        return "xen-host"
    from vmcoretool.linux.kernel import find_kernel  # noqa: PLC0415 - no Xen host needs it

    if any(find_kernel(vmcore.memory, root.maddr) for root in elsewhere[:_ROOTS_ASKED]):
        return "linux"
    return "unknown"


def find_identity(known: Known, hypervisor: Hypervisor) -> XenIdentity:
    """Which hypervisor it is."""
    vmcore, place = known.facts.vmcore, known.place
    info = vmcore.crash_info
    version = read_version(vmcore.memory, info) if info else None
    if version is None:
        from vmcoretool.xen.vmcoreinfo import find_version  # noqa: PLC0415 - notes have it mostly

        banner = find_version(place.ring.text) if place.ring else None
        if banner is None and not vmcore.notes:
            banner = place.image_notes.version
        if banner:
            version = XenVersion(*banner, changeset=None, compiler=None, compile_date=None)
    image = hypervisor.image
    if image is None or not image.base:
        return XenIdentity(version, None, None, None)
    start = image.layout.virt_start
    return XenIdentity(version, start, hypervisor.build_id, hypervisor.directmap)


def find_idle_page_table(known: Known, verdict: Verdict) -> IdlePageTable | None:
    """The idle page table that goes with the verdict, or None where nothing shows it."""
    facts = known.facts
    if facts.vmcore.architecture == "i386":
        return _idle_page_table_32(facts.vmcore)
    for idle in known.place.idle_tables:
        if idle.xen_phys_start == verdict.xen_phys_start:
            older = () if idle.layout.relocatable else ("idle_pg_table_4",)
            proof = f"slot 258 refers to it, and its tables lead from {idle.vaddr:#x} back to it"
            return IdlePageTable(
                ("idle_pg_table", *older), idle.vaddr, idle.maddr, proof, state="proven"
            )
    start = verdict.xen_phys_start
    if start is None or facts.pgd_l4 is None:
        return None
    layout = layout_of(facts.pgd_l4)
    if layout is None:
        return None
    maddr = Maddr(facts.pgd_l4 - layout.virt_start + start)
    state: IdleState = "not-checked"
    proof = "not checked, its page is not in the dump: SYMBOL(pgd_l4) of VMCOREINFO_XEN, relocated"
    if is_refuted(facts.vmcore.memory, facts.pgd_l4, maddr):
        state = "refuted"
        proof = "refuted by the page itself: SYMBOL(pgd_l4) of VMCOREINFO_XEN, relocated"
    elif facts.vmcore.memory.pages.is_present(maddr):
        proof = "not checked, its page was lost: SYMBOL(pgd_l4) of VMCOREINFO_XEN, relocated"
    return IdlePageTable(("idle_pg_table",), facts.pgd_l4, maddr, proof, state)


def _idle_page_table_32(vmcore: Vmcore) -> IdlePageTable | None:
    from vmcoretool.xen.image.x86_32 import (  # noqa: PLC0415 - the old architecture's alone
        DIRECTMAP_SIZE,
        DIRECTMAP_START,
        idle_table,
    )

    info = vmcore.vmcoreinfo_xen
    pgd_l3 = info.symbol("pgd_l3") if info else None
    if pgd_l3 is None or not 0 <= pgd_l3 - DIRECTMAP_START < DIRECTMAP_SIZE:
        return None
    maddr = Maddr(pgd_l3 - DIRECTMAP_START)
    state: IdleState = "proven" if idle_table(vmcore.memory, pgd_l3) else "not-checked"
    proof = f"its tables lead from {pgd_l3:#x} back to it"
    if state != "proven":
        proof = "not checked: SYMBOL(pgd_l3) of VMCOREINFO_XEN, in the direct map"
    return IdlePageTable(("idle_pg_table",), pgd_l3, maddr, proof, state, "pgd_l3", 3)
