"""Where the address can be learnt from: one module per source, asked in this order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.errors import TruncatedError, UnsupportedFormatError, VmcoreError
from vmcoretool.evidence import (
    boot_log,
    candidate_scan,
    crash_info_note,
    idle_page_table,
    memory_scan,
    namelist,
    page_tables,
    registers,
    string_pointers,
    user,
)
from vmcoretool.evidence.api import Evidence, Silence
from vmcoretool.evidence.weigh import is_open

if TYPE_CHECKING:
    from vmcoretool.evidence.api import Source
    from vmcoretool.evidence.case import Case

SOURCES: Final[tuple[Source, ...]] = (
    crash_info_note.SOURCE,
    page_tables.SOURCE,
    idle_page_table.SOURCE,
    string_pointers.SOURCE,
    registers.SOURCE,
    user.SOURCE,
    candidate_scan.SOURCE,
    memory_scan.SOURCE,
    # these read the image that the others have proven
    namelist.VARIABLE_SOURCE,
    namelist.BUILD_ID_SOURCE,
    boot_log.SOURCE,
)


def gather(case: Case) -> tuple[Evidence | Silence, ...]:
    """Everything the sources say of a case, cheap ones first; one stopped by the dump says why."""
    said: list[Evidence | Silence] = []
    for source in SOURCES:
        # scans look at this: they run only while nothing is proven, or two things are
        case.doubt = is_open(said)
        try:
            said.extend(source.examine(case))
        except (TruncatedError, UnsupportedFormatError):
            raise  # the file changes under our hands, or its pages cannot be decompressed here
        except VmcoreError as error:
            said.append(Silence(source=source.name, reason=str(error)))
    return tuple(said)
