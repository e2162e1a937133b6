"""Source ``registers``: where the CPUs were executing when they were saved.

Xen's NT_PRSTATUS holds the hypervisor's own state inside its save routine, so rip is an address of
the image.  That fits an image or it does not; alone it gives no base.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.evidence.api import Evidence, Silence, Source
from vmcoretool.xen.image.layouts import LAYOUTS, WINDOW_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.evidence.known import Known

NAME: Final = "registers"
_SHOWN: Final = 4


def _examine(known: Known) -> Iterator[Evidence | Silence]:
    cpus = known.facts.vmcore.cpus
    rips = [(cpu.cpu, cpu.registers["rip"]) for cpu in cpus if cpu.registers.get("rip")]
    if not rips:
        yield Silence(source=NAME, reason="no note saved a 64-bit rip")
        return
    for image in known.place.images:
        inside = [(cpu, rip) for cpu, rip in rips if image.maddr_of(rip) is not None]
        if inside:
            shown = ", ".join(f"CPU {cpu} {rip:#x}" for cpu, rip in inside[:_SHOWN])
            more = f" and {len(inside) - _SHOWN} more" if len(inside) > _SHOWN else ""
            yield Evidence(
                source=NAME,
                xen_phys_start=image.base if image.layout.relocatable else None,
                strength="suggested",
                basis=f"rip of {shown}{more} lies in that image",
            )
            return
    windows = {rip & -WINDOW_SIZE for _, rip in rips}
    layouts = [row for row in LAYOUTS if row.virt_start in windows]
    if layouts:
        reason = (
            f"rip lies in the window at {layouts[0].virt_start:#x}, but no page table leads there"
        )
    else:
        reason = f"rip of CPU {rips[0][0]}, {rips[0][1]:#x}, lies in no known image window"
    yield Silence(source=NAME, reason=reason)


SOURCE: Final = Source(
    NAME,
    "rip of NT_PRSTATUS is an address of the image that the page tables map.",
    "image known",
    _examine,
)
