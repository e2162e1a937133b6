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

    from vmcoretool.evidence.case import Case
    from vmcoretool.xen.image.image import Image
    from vmcoretool.xen.image.roots import MappedImage

NAME: Final = "page-tables"
_SHOWN: Final = 3


def _examine(case: Case) -> Iterator[Evidence | Silence]:
    if case.vmcore.architecture == "i386":
        yield from _x86_32(case)
        return
    survey = case.survey
    for found in survey.mapped:
        yield _evidence(case, found)
    if not survey.mapped:
        if not case.roots:
            yield Silence(source=NAME, reason="no note saved a cr3")
            return
        reason = "; ".join(survey.faults[:_SHOWN])
        more = len(survey.faults) - _SHOWN
        yield Silence(source=NAME, reason=f"{reason}; and {more} more" if more > 0 else reason)


def _x86_32(case: Case) -> Iterator[Evidence | Silence]:
    from vmcoretool.xen.image.x86_32 import IMAGE_START, maps_image  # noqa: PLC0415 - the old architecture's

    for cpu in case.vmcore.cpus:
        done = maps_image(case.vmcore.memory, Maddr(cpu.cr3)) if cpu.cr3 else None
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


def _evidence(case: Case, found: MappedImage) -> Evidence:
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
        f"{image.base:#x} + (vaddr - {start:#x}); {'; '.join(image.anchors)}"
    )
    return Evidence(
        source=NAME,
        xen_phys_start=image.base,
        strength="derived",
        basis=basis,
        steps=_steps(case, image),
    )


def _steps(case: Case, image: Image) -> tuple[str, ...]:
    # one walk in full, to an address of the image that a reader can check by hand
    target = image.runs[0].vaddr
    if case.pgd_l4 is not None and image.maddr_of(case.pgd_l4) is not None:
        target = case.pgd_l4
    try:
        done = walk(case.vmcore.memory, image.root, target)
    except AddressError as error:
        return (error.what,)
    sums = f"{done.maddr:#x} - ({target:#x} - {image.layout.virt_start:#x}) = {image.base:#x}"
    return (*map(str, done.steps), f"{target:#x} is at {done.maddr:#x}", sums)


SOURCE: Final = Source(
    NAME,
    "From each saved CPU's cr3 into the image window: nearly all mapped pages agree on a base.",
    _examine,
)
