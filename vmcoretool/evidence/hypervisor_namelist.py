"""The hypervisor's symbol file, chosen by what the dump shows of the hypervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import Maddr, Vaddr
from vmcoretool.errors import NamelistError
from vmcoretool.evidence.known import NO_NAMELIST, ExactBase, HypervisorNamelist
from vmcoretool.symbols.file import open_namelist
from vmcoretool.symbols.matching import Facts, Match, choose, match
from vmcoretool.xen.image.idle_table import layout_of
from vmcoretool.xen.image.image import BASE_ALIGNMENT, BASE_LIMIT
from vmcoretool.xen.version import read_string

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vmcoretool.evidence.known import Place
    from vmcoretool.symbols.candidates import Candidate
    from vmcoretool.vmcore import Vmcore
    from vmcoretool.xen.image.layouts import XenLayout

ENOUGH_STRINGS: Final = 3
"""How many strings of CRASH_INFO must agree on one base."""


def choose_namelist(
    vmcore: Vmcore, program: Facts, candidates: Iterable[Candidate]
) -> HypervisorNamelist:
    """Compare candidates with the hypervisor, and read the best one's symbols.

    A file that matches but whose symbols cannot be read is undecided, with the reason.

    Args:
        vmcore: the dump, whose strings tell where an exact file puts the image.
        program: what the dump shows of the hypervisor; see :func:`hypervisor_facts`.
        candidates: files that may be symbol files.
    """
    matches = [match(file, program) for file in candidates if file.for_hypervisor]
    while (chosen := choose(matches, program.target)) is not None:
        try:
            with open_namelist(chosen.candidate.path) as namelist:
                symbols = namelist.symbols()
            exact = _exact_base(vmcore, chosen, symbols)
        except (NamelistError, OSError) as error:
            why = error.what if isinstance(error, NamelistError) else error.strerror or str(error)
            at = matches.index(chosen)
            matches[at] = chosen._replace(match="undecided", reasons=(*chosen.reasons, why))
            continue
        return HypervisorNamelist(tuple(matches), chosen, symbols, exact)
    return NO_NAMELIST._replace(matches=tuple(matches))


def hypervisor_facts(place: Place) -> Facts:
    """What the dump shows of the hypervisor, to be compared with symbol files."""
    vmcore = place.facts.vmcore
    image = place.images[0] if place.images else None
    texts = []
    for at in place.facts.strings if image else ():
        vaddr = image.vaddr_of(at) if image else None
        text = read_string(vmcore.memory, at)
        if vaddr is not None and text:
            texts.append((text, vaddr))
    info = place.vmcoreinfo
    return Facts(
        target="hypervisor",
        purpose="hypervisor",
        build_id=place.facts.build_id(image) if image else None,
        symbols=info.symbols() if info else {},
        strings=tuple(texts),
    )


def _exact_base(vmcore: Vmcore, chosen: Match, symbols: Mapping[str, Vaddr]) -> ExactBase | None:
    layout = layout_of(symbols["idle_pg_table"]) if "idle_pg_table" in symbols else None
    if layout is None:
        return None
    votes = _votes(vmcore, chosen, layout)
    best = max(votes, key=lambda base: votes[base], default=0)
    if votes.get(best, 0) < ENOUGH_STRINGS:
        return None
    return ExactBase(layout.virt_start, Maddr(best), votes[best])


def _votes(vmcore: Vmcore, chosen: Match, layout: XenLayout) -> dict[int, int]:
    info = vmcore.crash_info
    votes: dict[int, int] = {}
    if info is None or not layout.relocatable:
        return votes
    with open_namelist(chosen.candidate.path) as namelist:
        for at in info.strings:
            text = read_string(vmcore.memory, at)
            for vaddr in namelist.find_text(text) if text else ():
                base = at - (vaddr - layout.virt_start)
                if 0 < base < BASE_LIMIT and base % BASE_ALIGNMENT == 0:
                    votes[base] = votes.get(base, 0) + 1
    return votes
