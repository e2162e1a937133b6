"""The hypervisor's symbol file, chosen by what a case knows of the hypervisor so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import Maddr, Vaddr
from vmcoretool.errors import NamelistError
from vmcoretool.evidence.case import NO_NAMELIST, ExactBase, HypervisorNamelist
from vmcoretool.symbols.file import open_namelist
from vmcoretool.symbols.matching import Facts, Match, choose, match
from vmcoretool.xen.image.idle_table import layout_of
from vmcoretool.xen.image.image import BASE_ALIGNMENT, BASE_LIMIT
from vmcoretool.xen.version import read_string

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vmcoretool.evidence.case import Case
    from vmcoretool.xen.image.layouts import XenLayout

ENOUGH_STRINGS: Final = 3
"""How many strings of CRASH_INFO must agree on one base."""


def find_hypervisor_namelist(case: Case) -> HypervisorNamelist:
    """Compare the candidates with what the case knows, and read the best one's symbols.

    A file that matches but whose symbols cannot be read is undecided, with the reason.
    """
    facts = _facts(case)
    candidates = case.candidates_for(facts.build_id)
    matches = [match(one, facts) for one in candidates if one.for_hypervisor]
    while (chosen := choose(matches, facts.target)) is not None:
        try:
            with open_namelist(chosen.candidate.path) as namelist:
                symbols = namelist.symbols()
            exact = _exact_base(case, chosen, symbols)
        except (NamelistError, OSError) as error:
            why = error.what if isinstance(error, NamelistError) else error.strerror or str(error)
            at = matches.index(chosen)
            matches[at] = chosen._replace(match="undecided", reasons=(*chosen.reasons, why))
            continue
        return HypervisorNamelist(tuple(matches), chosen, symbols, exact)
    return NO_NAMELIST._replace(matches=tuple(matches))


def _facts(case: Case) -> Facts:
    image = case.images[0] if case.images else None
    info = case.vmcore.crash_info
    texts = []
    for at in info.strings if info and image else ():
        vaddr = image.vaddr_of(at) if image else None
        text = read_string(case.vmcore.memory, at)
        if vaddr is not None and text:
            texts.append((text, vaddr))
    told = case.vmcore.vmcoreinfo_xen or case.traces.vmcoreinfo
    return Facts(
        target="hypervisor",
        purpose="hypervisor",
        build_id=case.build_id(image) if image else None,
        symbols=told.symbols() if told else {},
        strings=tuple(texts),
    )


def _exact_base(case: Case, chosen: Match, symbols: Mapping[str, Vaddr]) -> ExactBase | None:
    layout = layout_of(symbols["idle_pg_table"]) if "idle_pg_table" in symbols else None
    if layout is None:
        return None
    votes = _votes(case, chosen, layout)
    best = max(votes, key=lambda base: votes[base], default=0)
    if votes.get(best, 0) < ENOUGH_STRINGS:
        return None
    return ExactBase(layout.virt_start, Maddr(best), votes[best])


def _votes(case: Case, chosen: Match, layout: XenLayout) -> dict[int, int]:
    info = case.vmcore.crash_info
    votes: dict[int, int] = {}
    if info is None or not layout.relocatable:
        return votes
    with open_namelist(chosen.candidate.path) as namelist:
        for at in info.strings:
            text = read_string(case.vmcore.memory, at)
            for vaddr in namelist.find_text(text) if text else ():
                base = at - (vaddr - layout.virt_start)
                if 0 < base < BASE_LIMIT and base % BASE_ALIGNMENT == 0:
                    votes[base] = votes.get(base, 0) + 1
    return votes
