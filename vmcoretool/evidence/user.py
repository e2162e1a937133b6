"""Source ``user``: what the user claims with --xen-phys-start; weighed, never believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.evidence.api import Evidence, Silence, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.evidence.known import Known

NAME: Final = "user"


def _examine(known: Known) -> Iterator[Evidence | Silence]:
    claim = known.facts.asked.xen_phys_start
    if claim is None:
        yield Silence(source=NAME, reason="no --xen-phys-start given")
        return
    yield Evidence(
        source=NAME,
        xen_phys_start=claim,
        strength="recorded",
        basis="--xen-phys-start on the command line",
    )


SOURCE: Final = Source(
    NAME,
    "--xen-phys-start on the command line.",
    "always",
    _examine,
)
