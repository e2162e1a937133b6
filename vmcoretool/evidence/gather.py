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
from vmcoretool.evidence.api import Silence
from vmcoretool.evidence.known import NO_NAMELIST, Known, Place

if TYPE_CHECKING:
    from vmcoretool.evidence.api import Source
    from vmcoretool.evidence.facts import Facts
    from vmcoretool.evidence.known import HypervisorNamelist
    from vmcoretool.symbols.finder import SymbolFinder

SOURCES: Final[tuple[Source, ...]] = (
    crash_info_note.SOURCE,
    page_tables.SOURCE,
    idle_page_table.SOURCE,
    string_pointers.SOURCE,
    registers.SOURCE,
    user.SOURCE,
    candidate_scan.SOURCE,
    memory_scan.SOURCE,
    namelist.VARIABLE_SOURCE,
    namelist.BUILD_ID_SOURCE,
    boot_log.SOURCE,
)


def gather(facts: Facts, finder: SymbolFinder | None = None) -> Known:
    """Ask all sources, cheap ones first; one that the dump stops says why.

    Those that read the proven image are asked when no other can add an image, and in the result
    all stand in the order of :data:`SOURCES`.

    Args:
        facts: of the dump.
        finder: where symbol files come from, or None: from nowhere.

    Raises:
        TruncatedError: the file became shorter while it was read.
        UnsupportedFormatError: its pages cannot be decompressed here.
    """
    known = Known(Place(facts))
    for source in SOURCES:
        if source.when == "always":
            known = _ask(source, known)
    for source in SOURCES:
        if source.when == "in doubt":
            refusal = _no_scan(known)
            silence = Silence(source=source.name, reason=refusal)
            known = known.learn(silence) if refusal else _ask(source, known)
    known = known._replace(namelist=_namelist(known.place, finder))
    for source in SOURCES:
        if source.when == "image known":
            known = _ask(source, known)
    rank = {source.name: number for number, source in enumerate(SOURCES)}
    return known._replace(
        statements=tuple(sorted(known.statements, key=lambda row: rank[row.source]))
    )


def _ask(source: Source, known: Known) -> Known:
    before = known
    try:
        for found in source.examine(before):
            known = known.learn(found)
    except (TruncatedError, UnsupportedFormatError):
        raise  # the file changes under our hands, or its pages cannot be decompressed here
    except VmcoreError as error:
        known = known.learn(Silence(source=source.name, reason=str(error)))
    return known


def _no_scan(known: Known) -> str:
    # why memory is not searched, "" where it is
    facts = known.facts
    if facts.asked.scan == "never":
        return "--no-scan given"
    if facts.asked.scan == "always":
        return ""
    if not known.in_doubt:
        return "not needed, the address is proven (--scan looks all the same)"
    if facts.vmcore.vmcoreinfo_linux and not facts.xen_notes:
        return "the headers are those of a native Linux (--scan looks all the same)"
    if facts.walks.elsewhere and not facts.xen_notes:
        return "the saved cr3 leads to something else (--scan looks all the same)"
    return ""


def _namelist(place: Place, finder: SymbolFinder | None) -> HypervisorNamelist:
    build_id = place.facts.build_id(place.images[0]) if place.images and finder else None
    if finder is None or not finder.may_have(build_id):
        return NO_NAMELIST
    from vmcoretool.evidence.hypervisor_namelist import (  # noqa: PLC0415 - costs start-up time
        choose_namelist,
        hypervisor_facts,
    )

    program = hypervisor_facts(place)
    return choose_namelist(place.facts.vmcore, program, finder.candidates(program.build_id))
