"""Source ``candidate-scan``: one look at every place the idle table could be.

With pgd_l4 known and the base 2 MiB-aligned below 4 GiB, there are 2,047 places; the page in one of
them proves itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import PAGE_SIZE, Maddr
from vmcoretool.evidence.api import Evidence, Silence, Source
from vmcoretool.xen.image.idle_table import idle_table_at, layout_of
from vmcoretool.xen.image.image import BASE_ALIGNMENT, BASE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.evidence.known import Known, Place

NAME: Final = "candidate-scan"


def _examine(known: Known) -> Iterator[Evidence | Silence | Place]:
    pgd_l4 = known.facts.pgd_l4
    if pgd_l4 is None:
        yield Silence(source=NAME, reason="no VMCOREINFO_XEN names pgd_l4")
        return
    layout = layout_of(pgd_l4)
    if layout is None:
        yield Silence(source=NAME, reason=f"pgd_l4 {pgd_l4:#x} lies in no known image window")
        return
    memory = known.facts.vmcore.memory
    place = known.place
    looked = lost = 0
    for base in range(BASE_ALIGNMENT, BASE_LIMIT, BASE_ALIGNMENT):
        maddr = pgd_l4 - layout.virt_start + base
        if not memory.pages.is_present(maddr):
            continue
        if not memory.read_some(maddr & -PAGE_SIZE, PAGE_SIZE):
            lost += 1  # it may be the one
            continue
        looked += 1
        idle = idle_table_at(memory, Maddr(base), pgd_l4)
        if idle:
            place = place.and_scanned(idle)
            yield Evidence(
                source=NAME,
                xen_phys_start=idle.xen_phys_start,
                strength="derived",
                basis=f"pgd_l4 {pgd_l4:#x} at {maddr:#x} refers to itself in slot 258, and its own "
                "tables lead back to it",
                steps=tuple(map(str, idle.steps)),
            )
    yield place
    if place is known.place:
        reason = f"none of the {looked} pages at a possible place of pgd_l4 proves itself"
        reason += f"; {lost} that may be it cannot be read" if lost else ""
        yield Silence(source=NAME, reason=reason)


SOURCE: Final = Source(
    NAME,
    "With pgd_l4 known: a probe at each 2 MiB-aligned base below 4 GiB.",
    "in doubt",
    _examine,
)
