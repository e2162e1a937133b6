"""The hypervisor that a verdict is about: its image, tables, notes and symbols as parsed values."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vmcoretool.xen.image.image import find_directmap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vmcoretool.addresses import Maddr, Vaddr
    from vmcoretool.evidence.known import Known
    from vmcoretool.evidence.weigh import Verdict
    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.notes.vmcoreinfo import VmcoreInfo
    from vmcoretool.xen.image.image import Image
    from vmcoretool.xen.image.layouts import DirectMap
    from vmcoretool.xen.ring import Ring


class Hypervisor(NamedTuple):
    """What is proven of the hypervisor, and what was found in its image.

    Attributes:
        image: mapped through its idle page table where that is known; None where none is proven.
        directmap: where the tables of the host map all its memory, or None where none shows it.
        build_id: of that image, lower-case hexadecimal, or None.
        idle_tables: machine addresses of all pages that proved themselves idle page tables.
        console: the image that a console ring was found in, and the ring; or None.
        vmcoreinfo: VMCOREINFO_XEN from the headers, else from the image, or None.
        symbols: addresses by the symbol file that belongs to the dump; none without one.
        namelist: the path of that file, or "".
    """

    image: Image | None
    directmap: DirectMap | None
    build_id: str | None
    idle_tables: tuple[Maddr, ...]
    console: tuple[Image, Ring] | None
    vmcoreinfo: VmcoreInfo | None
    symbols: Mapping[str, Vaddr]
    namelist: str


def find_hypervisor(known: Known, verdict: Verdict) -> Hypervisor:
    """The hypervisor of a verdict."""
    place = known.place
    seen = _image(known, verdict)
    # a CPU's table shares the hypervisor's half only; below, it maps a guest
    start = verdict.xen_phys_start
    idle = next((idle for idle in place.idle_tables if idle.xen_phys_start == start), None)
    image = seen._replace(root=idle.maddr) if seen and idle and seen.layout.relocatable else seen
    return Hypervisor(
        image=image,
        directmap=_directmap(known.facts.vmcore.memory, seen, image),
        build_id=known.facts.build_id(image) if image else None,
        idle_tables=tuple(idle.maddr for idle in place.idle_tables),
        console=place.image_and_ring,
        vmcoreinfo=place.vmcoreinfo,
        symbols=known.namelist.symbols,
        namelist=known.namelist.chosen.candidate.path if known.namelist.chosen else "",
    )


def _image(known: Known, verdict: Verdict) -> Image | None:
    place, start = known.place, verdict.xen_phys_start
    if verdict.status == "not-relocatable":
        return next((image for image in place.images if not image.layout.relocatable), None)
    return next((image for image in place.images if image.base == start and image.base), None)


def _directmap(memory: PhysicalMemory, *images: Image | None) -> DirectMap | None:
    # through a CPU's table, then through the idle one: of either a part may not be in the dump
    found = (find_directmap(memory, image) for image in images if image)
    return next((row for row in found if row), None)
