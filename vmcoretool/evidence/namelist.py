"""Sources ``namelist-variable`` and ``namelist-build-id``: what a symbol file lets one read.

Only a symbol file that belongs to the dump is asked (``vmcoretool.symbols.matching``).  Up to 3.1
there is no variable ``xen_phys_start``; 3.2 has it although its note does not.  A stale copy of
the image holds the variable too, so it is read through the tables of the image that is proven.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import Maddr
from vmcoretool.errors import MemoryFault
from vmcoretool.evidence.api import Evidence, Silence, Source
from vmcoretool.printable import printable
from vmcoretool.xen.image.image import BASE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.evidence.known import Known

VARIABLE: Final = "namelist-variable"
BUILD_ID: Final = "namelist-build-id"
_NOTE_HEAD: Final = 16  # three words and "GNU\0" stand before the build-id


def _variable(known: Known) -> Iterator[Evidence | Silence]:
    found = known.namelist.chosen
    if found is None:
        yield Silence(source=VARIABLE, reason=_reason(known))
        return
    vaddr = known.namelist.symbols.get("xen_phys_start")
    path = printable(found.candidate.path)
    if vaddr is None:
        reason = f"{path} has no symbol xen_phys_start, as up to Xen 3.1"
        yield Silence(source=VARIABLE, reason=reason)
        return
    maddr = _place(known, vaddr)
    try:
        value = None if maddr is None else known.facts.vmcore.memory.read_u64(maddr)
    except MemoryFault:
        value = None
    if maddr is None or value is None:
        reason = f"the variable at {vaddr:#x} is not in the dump"
        yield Silence(source=VARIABLE, reason=reason)
        return
    if not 0 < value < BASE_LIMIT:
        reason = f"the variable at {vaddr:#x} (maddr {maddr:#x}) holds {value:#x}, no address"
        yield Silence(source=VARIABLE, reason=reason)
        return
    yield Evidence(
        source=VARIABLE,
        xen_phys_start=Maddr(value),
        strength="recorded",
        basis=f"the variable at {vaddr:#x} (maddr {maddr:#x}), by the symbols of {path}",
    )


def _build_id(known: Known) -> Iterator[Evidence | Silence]:
    found = known.namelist.chosen
    if found is None:
        yield Silence(source=BUILD_ID, reason=_reason(known))
        return
    path = printable(found.candidate.path)
    start = known.namelist.symbols.get("__note_gnu_build_id_start")
    build_id = found.candidate.build_id
    if start is None or build_id is None:
        what = "symbol __note_gnu_build_id_start" if build_id else "build-id"
        yield Silence(source=BUILD_ID, reason=f"{path} has no {what}")
        return
    wanted = bytes.fromhex(build_id)
    vaddr = start + _NOTE_HEAD
    for image in known.place.images:
        maddr = image.maddr_of(vaddr)
        if maddr is not None and _holds(known, maddr, wanted):
            yield Evidence(
                source=BUILD_ID,
                xen_phys_start=image.base if image.layout.relocatable else None,
                strength="derived",
                basis=f"the page tables lead from {vaddr:#x} to the build-id at {maddr:#x}, "
                f"as the symbols of {path} have it",
            )
            return
    reason = f"no page tables lead from {vaddr:#x} to the build-id of {path}"
    yield Silence(source=BUILD_ID, reason=reason)


def _place(known: Known, vaddr: int) -> Maddr | None:
    # through page tables; without any, where the strings of the note put the image exactly
    for image in known.place.images:
        maddr = image.maddr_of(vaddr)
        if maddr is not None:
            return maddr
    exact = known.namelist.exact_base
    return (
        Maddr(vaddr - exact.virt_start + exact.base) if exact and not known.place.images else None
    )


def _holds(known: Known, maddr: Maddr, wanted: bytes) -> bool:
    try:
        return known.facts.vmcore.memory.read(maddr, len(wanted)) == wanted
    except MemoryFault:
        return False


def _reason(known: Known) -> str:
    refused = known.namelist.matches
    if not refused:
        return "no namelist given, none in the usual places"
    if len(refused) == 1:
        return f"{printable(refused[0].candidate.path)} is not used: {refused[0].reasons[0]}"
    return f"none of {len(refused)} namelists can be used"


VARIABLE_SOURCE: Final = Source(
    VARIABLE,
    "The variable xen_phys_start in memory, through a namelist's symbol.",
    "image known",
    _variable,
)
BUILD_ID_SOURCE: Final = Source(
    BUILD_ID,
    "The build-id in memory, at the place a namelist gives it.",
    "image known",
    _build_id,
)
