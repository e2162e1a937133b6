"""Whose memory a dump is, which hypervisor, and its idle page table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vmcoretool.addresses import Maddr, Vaddr
from vmcoretool.xen.image.idle_table import layout_of
from vmcoretool.xen.image.image import find_directmap
from vmcoretool.xen.version import XenVersion, read_version

if TYPE_CHECKING:
    from vmcoretool.evidence.case import Case
    from vmcoretool.evidence.weigh import Verdict
    from vmcoretool.xen.image.layouts import DirectMap

Kind = Literal["xen-host", "xen-domain", "linux", "unknown"]


_ROOTS_ASKED: Final = 4  # any CPU's table maps the kernel


class IdlePageTable(NamedTuple):
    """The hypervisor's idle page table.

    Attributes:
        symbols: its names in a namelist of the era, the usual one first.
        vaddr: its hypervisor virtual address.
        maddr: its machine address.
        proof: how it was established, or why it was not.
        proven: whether the page itself was seen to be the idle table.
        alias: its name in VMCOREINFO_XEN.
        levels: of paging.
    """

    symbols: tuple[str, ...]
    vaddr: Vaddr
    maddr: Maddr
    proof: str
    proven: bool
    alias: str = "pgd_l4"
    levels: int = 4


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


def find_kind(case: Case, verdict: Verdict) -> Kind:
    """Whose memory it is."""
    # A Xen note or a cr3 that leads to an image decides; an image that only a scan found does not
    # when the headers say Linux or the saved cr3s lead elsewhere: it may be a guest's.
    vmcore = case.vmcore
    if not vmcore.container.row.is_host:
        return "xen-domain"
    if case.xen_notes or case.survey.sightings:
        return "xen-host"
    if vmcore.vmcoreinfo_linux:
        return "linux"
    if not case.survey.elsewhere and verdict.status in ("verified", "disputed", "not-relocatable"):
        return "xen-host"
    from vmcoretool.linux.kernel import find_kernel  # noqa: PLC0415 - no Xen host needs it

    if any(find_kernel(vmcore.memory, root.maddr) for root in case.survey.elsewhere[:_ROOTS_ASKED]):
        return "linux"
    return "unknown"


def find_identity(case: Case, verdict: Verdict) -> XenIdentity:
    """Which hypervisor it is."""
    memory = case.vmcore.memory
    info = case.vmcore.crash_info
    version = read_version(memory, info) if info else None
    if version is None:
        from vmcoretool.xen.vmcoreinfo import find_version  # noqa: PLC0415 - notes tell it nearly always

        banner = find_version(case.ring.text) if case.ring else None
        if banner is None and not case.vmcore.notes:
            banner = case.traces.version
        if banner:
            version = XenVersion(*banner, None, None, None)
    image = next(
        (one for one in case.images if one.base == verdict.xen_phys_start and one.base), None
    )
    if image is None:
        return XenIdentity(version, None, None, None)
    return XenIdentity(
        version,
        image.layout.virt_start,
        case.build_id(image),
        find_directmap(memory, image),
    )


def find_idle_page_table(case: Case, verdict: Verdict) -> IdlePageTable | None:
    """The idle page table that goes with the verdict, or None where nothing tells."""
    if case.vmcore.architecture == "i386":
        return _idle_page_table_32(case)
    for idle in (*case.idle_tables, *case.scanned):
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
    if case.vmcore.memory.pages.is_present(maddr):
        proof = "refuted by the page itself: SYMBOL(pgd_l4) of VMCOREINFO_XEN, relocated"
    return IdlePageTable(("idle_pg_table",), case.pgd_l4, maddr, proof, proven=False)


def _idle_page_table_32(case: Case) -> IdlePageTable | None:
    from vmcoretool.xen.image.x86_32 import (  # noqa: PLC0415 - the old architecture's alone
        DIRECTMAP_SIZE,
        DIRECTMAP_START,
        idle_table,
    )

    info = case.vmcore.vmcoreinfo_xen
    pgd_l3 = info.symbol("pgd_l3") if info else None
    if pgd_l3 is None or not 0 <= pgd_l3 - DIRECTMAP_START < DIRECTMAP_SIZE:
        return None
    maddr = Maddr(pgd_l3 - DIRECTMAP_START)
    proven = idle_table(case.vmcore.memory, pgd_l3) is not None
    proof = f"its tables lead from {pgd_l3:#x} back to it"
    if not proven:
        proof = "not checked: SYMBOL(pgd_l3) of VMCOREINFO_XEN, in the direct map"
    return IdlePageTable(("idle_pg_table",), pgd_l3, maddr, proof, proven, "pgd_l3", 3)
