"""Sources ``namelist-variable`` and ``namelist-build-id``: what a namelist lets one read.

Namelists are not read yet; the sources say so rather than be missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.evidence.api import Evidence, Silence, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.evidence.case import Case

VARIABLE: Final = "namelist-variable"
BUILD_ID: Final = "namelist-build-id"


def _variable(case: Case) -> Iterator[Evidence | Silence]:
    yield Silence(source=VARIABLE, reason=_reason(case))


def _build_id(case: Case) -> Iterator[Evidence | Silence]:
    yield Silence(source=BUILD_ID, reason=_reason(case))


def _reason(case: Case) -> str:
    return "namelists are not read by this version" if case.namelist else "no namelist given"


VARIABLE_SOURCE: Final = Source(
    VARIABLE, "The variable xen_phys_start in memory, through a namelist's symbol.", _variable
)
BUILD_ID_SOURCE: Final = Source(
    BUILD_ID, "The build-id in memory, at the place a namelist gives it.", _build_id
)
