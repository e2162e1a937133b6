"""Source ``boot-log``: what Xen printed about its own place, 4.9 and later.

The lines are read only from the console ring that the proven image's own pointer leads to; anybody
may have written the text all the same, so it is a record and never a proof.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.evidence.api import Evidence, Silence, Source
from vmcoretool.xen.console import base_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.evidence.known import Known

NAME: Final = "boot-log"


def _examine(known: Known) -> Iterator[Evidence | Silence]:
    ring = known.place.ring
    if not known.place.images:
        yield Silence(source=NAME, reason="no image is proven whose console ring could be read")
    elif ring is None:
        yield Silence(source=NAME, reason="no pointer in the image leads to a console ring")
    else:
        lines = base_lines(ring)
        if lines:
            line, base = lines[-1]
            yield Evidence(
                source=NAME,
                xen_phys_start=base,
                strength="recorded",
                basis=f"'{line}' in the console ring at {ring.maddr:#x}",
            )
        else:
            reason = f"the console ring at {ring.maddr:#x} holds no line with an image base"
            yield Silence(source=NAME, reason=reason)


SOURCE: Final = Source(
    NAME,
    "The lines 'New Xen image base address' or 'Xen image load base address' in the ring (4.9+).",
    "image known",
    _examine,
)
