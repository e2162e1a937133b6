"""Source ``memory-scan``: one pass over all memory for pages that prove themselves.

It needs no note at all.  The pass looks at slot 258 of each page; of the pages that refer to
themselves there, the rule of the idle page table picks the right one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import Maddr, Vaddr
from vmcoretool.errors import MemoryFault
from vmcoretool.evidence.api import Evidence, Silence, Source
from vmcoretool.memory.search import scan_allowance
from vmcoretool.memory.x86_64 import frame
from vmcoretool.xen.image.idle_table import (
    IdleTable,
    check_idle_table,
    find_not_relocated,
    idle_table_from_page,
)
from vmcoretool.xen.image.image import Image, Window, find_windows, image_slot
from vmcoretool.xen.search import self_references

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.evidence.facts import Facts
    from vmcoretool.evidence.known import Known, Place
    from vmcoretool.memory.physical import PhysicalMemory

NAME: Final = "memory-scan"
MAX_PAGES: Final = 1 << 20
MAX_UPPERS: Final = 32
"""Different level 3 tables of slot 261 that are followed; a host has one, each nested Xen one."""


class _Harvest(NamedTuple):
    tables: int  # pages that refer to themselves
    users: dict[Maddr, int]  # level 3 table of slot 261 -> how many of them use it
    found: tuple[tuple[IdleTable, Image], ...]


def _examine(known: Known) -> Iterator[Evidence | Silence | Place]:
    facts = known.facts
    if facts.vmcore.architecture != "x86_64":
        reason = f"four-level page tables are not those of {facts.vmcore.architecture}"
        yield Silence(source=NAME, reason=reason)
        return
    harvest = _harvest(facts)
    place = known.place.and_scanned(*(idle for idle, _ in harvest.found))
    yield place
    for idle, image in harvest.found:
        evidence = _evidence(idle, image, harvest)
        info = place.image_notes.vmcoreinfo if facts.pgd_l4 is None else None
        if info and info.symbol("pgd_l4") == idle.vaddr:
            named = "VMCOREINFO_XEN in the image names pgd_l4 there"
            evidence = evidence._replace(parts=(*evidence.parts, named))
        yield evidence
    if not harvest.found:
        budget = facts.vmcore.budget
        stopped = " before the scan was stopped" if budget.stopped else ""
        reason = (
            f"{harvest.tables} pages refer to themselves in slot 258{stopped}, none of them is the "
            "idle page table of an image it maps"
        )
        if not facts.xen_notes and not budget.stopped:
            from vmcoretool.xen.vmcoreinfo import find_text  # noqa: PLC0415 - the last resort

            text = find_text(facts.vmcore.memory, budget, scan_allowance(facts.vmcore.sources))
            reason += f"; text of VMCOREINFO_XEN lies at {text:#x}" if text else ""
        yield Silence(source=NAME, reason=reason)


def _harvest(facts: Facts) -> _Harvest:
    memory = facts.vmcore.memory
    windows: dict[Maddr, tuple[Window, ...]] = {}
    users: dict[Maddr, int] = {}
    found: dict[tuple[int, int], tuple[IdleTable, Image]] = {}
    low: list[Maddr] = []
    tables = 0
    budget = facts.vmcore.budget
    work = budget.work("pages that refer to themselves", steps=MAX_PAGES)
    for page in self_references(memory, budget, scan_allowance(facts.vmcore.sources)):
        if not work.go_on():
            break
        tables += 1
        try:
            upper = image_slot(memory, page)
            if upper is None:
                continue
            table = frame(upper.entry)
            users[table] = users.get(table, 0) + 1
            if table not in windows:
                if len(windows) == MAX_UPPERS:
                    continue
                windows[table] = find_windows(memory, upper)
        except MemoryFault:
            low.append(page)
            continue
        hit = idle_table_from_page(memory, page, windows[table])
        if hit and not facts.objection(hit[1]):
            found[hit[0].layout.virt_start, hit[0].base] = hit
        else:
            low.append(page)
    if not found:
        found = _not_relocated(memory, low)
    return _Harvest(tables, users, tuple(found.values()))


def _not_relocated(
    memory: PhysicalMemory, pages: list[Maddr]
) -> dict[tuple[int, int], tuple[IdleTable, Image]]:
    # Only where no relocated image is anywhere: a table in the first 16 MiB with nothing but the
    # hypervisor's slots, mapped to itself by its own direct map.
    found = {}
    for page in pages:
        try:
            image = find_not_relocated(memory, page)
        except MemoryFault:
            continue
        if image:
            layout = image.layout
            idle = check_idle_table(memory, layout, Vaddr(layout.virt_start + page), page)
            if idle:
                found[int(layout.virt_start), int(page)] = idle, image
    return found


def _evidence(idle: IdleTable, image: Image, harvest: _Harvest) -> Evidence:
    others = harvest.users.get(frame(image.steps[0].entry), 1) - 1
    basis = (
        f"page {idle.maddr:#x}, one of {harvest.tables} that refer to themselves in slot 258, is "
        f"mapped by its own tables at {idle.vaddr:#x}"
    )
    further: list[str] = []
    nowhere = image.layout.relocatable and idle.base == 0
    # a direct map in the window's place shows such an image, too: by itself it proves nothing
    alone = nowhere and not any(other.base for other, _ in harvest.found)
    if image.layout.relocatable:
        further.append(f"{image.agreeing} of {image.mapped} mapped image pages agree")
        further.append(f"{others} other tables in the dump map this image")
        if nowhere:
            further.append(
                "against it: no running Xen has base 0, this may be a copy from before the move"
            )
    return Evidence(
        source=NAME,
        xen_phys_start=idle.xen_phys_start,
        strength="suggested" if alone else "derived",
        basis=basis,
        further=tuple(further),
        steps=tuple(map(str, idle.steps)),
    )


SOURCE: Final = Source(
    NAME,
    "Without any note: one pass for pages that refer to themselves; one of them is the idle table.",
    "in doubt",
    _examine,
)
