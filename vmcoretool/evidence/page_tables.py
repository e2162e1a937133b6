"""Source ``page-tables``: from each saved CPU's cr3 into the image window.

The tables that were in use when the host died map the hypervisor where it really is.  The base
follows from nearly all mapped pages of the window agreeing on it (``vmcoretool.xen.image.image``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import Maddr
from vmcoretool.errors import AddressError
from vmcoretool.evidence.api import Evidence, Silence, Source
from vmcoretool.memory.x86_64 import walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.evidence.facts import Facts
    from vmcoretool.evidence.known import Known
    from vmcoretool.vmcore import Vmcore
    from vmcoretool.xen.image.image import Image
    from vmcoretool.xen.image.roots import MappedImage

NAME: Final = "page-tables"
_SHOWN: Final = 3


def _examine(known: Known) -> Iterator[Evidence | Silence]:
    facts = known.facts
    if facts.vmcore.architecture == "i386":
        yield from _x86_32(facts.vmcore)
        return
    walks = facts.walks
    for found in walks.mapped:
        yield _evidence(facts, found)
    if not walks.mapped:
        if not facts.roots:
            yield Silence(source=NAME, reason="no note saved a cr3")
            return
        reason = "; ".join(walks.faults[:_SHOWN])
        more = len(walks.faults) - _SHOWN
        yield Silence(source=NAME, reason=f"{reason}; and {more} more" if more > 0 else reason)


def _x86_32(vmcore: Vmcore) -> Iterator[Evidence | Silence]:
    from vmcoretool.xen.image.x86_32 import IMAGE_START, maps_image  # noqa: PLC0415 - the old architecture's

    for cpu in vmcore.cpus:
        done = maps_image(vmcore.memory, Maddr(cpu.cr3)) if cpu.cr3 else None
        if done:
            yield Evidence(
                source=NAME,
                xen_phys_start=None,
                strength="derived",
                basis=f"cr3 of CPU {cpu.cpu}: the image at {IMAGE_START:#x} is mapped to "
                f"{done.maddr:#x}, in the direct map",
                steps=tuple(map(str, done.steps)),
            )
            return
    yield Silence(source=NAME, reason="no saved cr3 leads to the image of a 32-bit hypervisor")


def _evidence(facts: Facts, found: MappedImage) -> Evidence:
    image = found.image
    names = ", ".join(root.name for root in found.roots[:_SHOWN])
    more = len(found.roots) - _SHOWN
    names += f" and {more} more tables" if more > 0 else ""
    start = image.layout.virt_start
    if not image.layout.relocatable:
        basis = f"{names}: the image lies in the direct map at {start:#x}; {image.anchors[0]}"
        return Evidence(
            source=NAME,
            xen_phys_start=None,
            strength="derived",
            basis=basis,
            steps=tuple(map(str, image.steps)),
        )
    basis = (
        f"{names}: {image.agreeing} of {image.mapped} mapped image pages lie at "
        f"{image.base:#x} + (vaddr - {start:#x})"
    )
    return Evidence(
        source=NAME,
        xen_phys_start=image.base,
        strength="derived",
        basis=basis,
        further=image.anchors,
        steps=_steps(facts, image),
    )


def _steps(facts: Facts, image: Image) -> tuple[str, ...]:
    # one walk in full, to an address of the image that a reader can check by hand
    target = image.runs[0].vaddr
    if facts.pgd_l4 is not None and image.maddr_of(facts.pgd_l4) is not None:
        target = facts.pgd_l4
    try:
        done = walk(facts.vmcore.memory, image.root, target)
    except AddressError as error:
        return (error.what,)
    sums = f"{done.maddr:#x} - ({target:#x} - {image.layout.virt_start:#x}) = {image.base:#x}"
    return (*map(str, done.steps), f"{target:#x} is at {done.maddr:#x}", sums)


SOURCE: Final = Source(
    NAME,
    "From each saved CPU's cr3 into the image window: nearly all mapped pages agree on a base.",
    "always",
    _examine,
)
