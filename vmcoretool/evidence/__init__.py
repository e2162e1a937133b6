"""Where the address can be learnt from: one module per source, asked in this order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.errors import VmcoreError
from vmcoretool.evidence import (
    crash_info_note,
    idle_page_table,
    page_tables,
    string_pointers,
    user,
)
from vmcoretool.evidence.api import Evidence, Silence

if TYPE_CHECKING:
    from vmcoretool.evidence.api import Source
    from vmcoretool.evidence.case import Case

SOURCES: Final[tuple[Source, ...]] = (
    crash_info_note.SOURCE,
    page_tables.SOURCE,
    idle_page_table.SOURCE,
    string_pointers.SOURCE,
    user.SOURCE,
)


def gather(case: Case) -> tuple[Evidence | Silence, ...]:
    """Everything the sources say of a case; a source stopped by the dump says why."""
    said: list[Evidence | Silence] = []
    for source in SOURCES:
        try:
            said.extend(source.examine(case))
        except VmcoreError as error:
            said.append(Silence(source=source.name, reason=str(error)))
    return tuple(said)
