"""Which causes an error of crash or makedumpfile has, and which of them a dump shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.debuggers import crash_releases
from vmcoretool.debuggers.crash_releases import dotted
from vmcoretool.explain import diagnoses, unreadable
from vmcoretool.explain.cause import Cause
from vmcoretool.explain.cause_table import ALL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.debuggers.crash_releases import Requirement
    from vmcoretool.explain.diagnoses import Diagnosis
    from vmcoretool.explain.error_text import ErrorText
    from vmcoretool.inspection.inspect import Inspection

    Judged = tuple[Cause, Diagnosis | None]
    """A cause, and whether it applies; None: nothing was asked."""

CRASH_RELEASE: Final = "crash-release"
CAUSES: Final = {cause.name: cause for cause in ALL}
_ORDER: Final = {True: 0, None: 1, False: 2}


def causes_of(row: ErrorText) -> Iterator[Cause]:
    """The causes of a text, likely ones first."""
    for name in row.causes:
        yield _crash_release(row.requirements) if name == CRASH_RELEASE else CAUSES[name]


def judged(
    row: ErrorText, inspection: Inspection | None, error: Exception | None = None
) -> list[Judged]:
    """The causes of a text: those that apply to a dump first, those that do not last.

    Args:
        row: the text.
        inspection: of the dump, which is still open; None: the causes stay in the row's order.
        error: why there is none, where a dump or a symbol file could not be read.
    """
    pairs: list[Judged] = []
    for cause in causes_of(row):
        if inspection is not None:
            pairs.append((cause, cause.ask(inspection)))
        else:
            pairs.append((cause, unreadable.diagnosis(cause.name, error) if error else None))
    return sorted(pairs, key=lambda pair: _ORDER[pair[1].applies if pair[1] else None])


def _crash_release(rows: tuple[Requirement, ...]) -> Cause:
    # of the changes that end with the text in question
    releases = [dotted(row.crash) for row in rows if row.crash]
    cure = (
        f"Use crash {releases[0]} or later."
        if releases
        else f"No crash up to {dotted(crash_releases.NEWEST_KNOWN)} reads it. Open dom0, or use "
        "vmcoretool's own commands: console, cpus, domains, dmesg."
    )
    ask = diagnoses.crash_release(rows)
    return Cause(CRASH_RELEASE, "This release of crash does not read this Xen.", cure, ask)
