"""Source ``idle-page-table``: the one page that proves itself.

Page g is the idle table iff its entry 258 refers to g and an address of the image window, walked
through g, leads to g; then xen_phys_start is g - (that address - XEN_VIRT_START).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.evidence.api import Evidence, Silence, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.evidence.known import Known
    from vmcoretool.xen.image.idle_table import IdleTable

NAME: Final = "idle-page-table"


def _examine(known: Known) -> Iterator[Evidence | Silence]:
    facts = known.facts
    for idle in facts.idle_tables:
        yield _evidence(idle)
    if facts.idle_tables:
        return
    if facts.walks.mapped:
        reason = "the idle table's page is not in the dump"
    elif facts.pgd_l4 is None:
        reason = "no page table leads to it and no VMCOREINFO_XEN names pgd_l4"
    else:
        reason = f"no page table leads to pgd_l4 {facts.pgd_l4:#x}, and no recorded address does"
    yield Silence(source=NAME, reason=reason)


def _evidence(idle: IdleTable) -> Evidence:
    layout = idle.layout
    sums = f"{idle.maddr:#x} - ({idle.vaddr:#x} - {layout.virt_start:#x}) = {idle.base:#x}"
    return Evidence(
        source=NAME,
        xen_phys_start=idle.xen_phys_start,
        strength="derived",
        basis=f"page {idle.maddr:#x} refers to itself in slot 258, and its own tables lead from "
        f"{idle.vaddr:#x} to it",
        steps=(*map(str, idle.steps), sums),
    )


SOURCE: Final = Source(
    NAME,
    "The page whose slot 258 refers to it and whose own tables lead from the window to it.",
    "always",
    _examine,
)
