"""Which symbol file goes with which crash session: the hypervisor's, dom0's, each PV domain's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vmcoretool.evidence.known import HypervisorNamelist
    from vmcoretool.host.host import Host
    from vmcoretool.linux.kernel import Kernel
    from vmcoretool.symbols.candidates import Candidate
    from vmcoretool.symbols.finder import SymbolFinder
    from vmcoretool.symbols.matching import Facts, Match
    from vmcoretool.xen.domains import Domain

HYPERVISOR: Final = "hypervisor"
DOM0: Final = "dom0"


class SymbolFiles(NamedTuple):
    """Which symbol file goes with which session.

    Attributes:
        matches: what is worth telling: the files that match, and why the others do not.
        chosen: by session, the file to use.
        named: by session without one, the file that the user named and that nothing refuted.
        companions: by session, what the chosen file was split from, or the debugging data split
            off it.
        kernels: by session, the Linux it is about, where memory shows it.
        reasons: what kept the search from being whole.
    """

    matches: tuple[Match, ...] = ()
    chosen: Mapping[str, Match] = {}
    named: Mapping[str, Match] = {}
    companions: Mapping[str, Candidate] = {}
    kernels: Mapping[str, Kernel] = {}
    reasons: tuple[str, ...] = ()


def session_of(domain_id: int) -> str:
    """A domain's name in commands."""
    return f"dom{domain_id}"


def choose_symbol_files(
    host: Host, namelist: HypervisorNamelist, finder: SymbolFinder
) -> SymbolFiles:
    """Compare every candidate with every program in the dump, and choose.

    A Linux file of a usual place that matches nothing is left out: it is another machine's kernel.

    Args:
        host: the crashed host.
        namelist: what came of the search for the hypervisor's file.
        finder: where the others come from.
    """
    domains = [domain for domain in host.domains if domain.type != "hvm"]
    kernels = _kernels(host, domains)
    dom0 = host.dom0_kernel.build_id if host.dom0_kernel else None
    if not finder.may_have(host.hypervisor.build_id, dom0):
        return SymbolFiles(kernels=kernels)
    from vmcoretool.symbols.matching import choose  # noqa: PLC0415 - only where one may be used

    matches = [match for match in namelist.matches if _is_shown(match)]
    programs = [_facts(host, domain, kernels.get(session_of(domain.id))) for domain in domains]
    for candidate in _linux_candidates(finder, programs):
        matches += _compare(candidate, programs)
    chosen: dict[str, Match] = {}
    named: dict[str, Match] = {}
    companions: dict[str, Candidate] = {}
    for target in (HYPERVISOR, *(program.target for program in programs)):
        best = choose(matches, target)
        if best is None:
            named.update((target, match) for match in matches if _unrefuted(match, target))
            continue
        chosen[target] = best
        other = _companion(matches, best)
        if other:
            companions[target] = other
    return SymbolFiles(tuple(matches), chosen, named, companions, kernels, finder.reasons)


def _kernels(host: Host, domains: list[Domain]) -> dict[str, Kernel]:
    kernels = {DOM0: host.dom0_kernel} if host.dom0_kernel else {}
    for domain in domains:
        found = host.kernel(domain) if domain.id else None
        if found:
            kernels[session_of(domain.id)] = found
    return kernels


def _is_shown(one: Match) -> bool:
    from vmcoretool.symbols.candidates import USUAL  # noqa: PLC0415 - as above

    return one.match == "matches" or one.candidate.origin != USUAL or one.target == HYPERVISOR


def _unrefuted(one: Match, target: str) -> bool:
    return one.target == target and one.match == "undecided" and one.candidate.named


def _linux_candidates(finder: SymbolFinder, programs: list[Facts]) -> Iterator[Candidate]:
    seen: set[str] = set()
    known = [one.build_id for one in programs if one.build_id]
    build_ids: list[str | None] = [*known] or [None]
    for build_id in build_ids:
        for candidate in finder.candidates(build_id):
            if not candidate.for_hypervisor and candidate.path not in seen:
                seen.add(candidate.path)
                yield candidate


def _compare(candidate: Candidate, facts: list[Facts]) -> list[Match]:
    from vmcoretool.symbols.matching import Facts, match  # noqa: PLC0415 - as above

    results = [match(candidate, one) for one in facts]
    if not results:
        results = [match(candidate, Facts(DOM0, "linux"))]
    hits = [one for one in results if one.match == "matches"]
    return hits or [one for one in results[:1] if _is_shown(one)]


def _facts(host: Host, domain: Domain, kernel: Kernel | None) -> Facts:
    from vmcoretool.symbols.matching import Facts  # noqa: PLC0415 - as above

    linux = host.vmcore.vmcoreinfo_linux if domain.id == 0 else None
    told = linux.entries if linux else {}
    return Facts(
        target=session_of(domain.id),
        purpose="linux",
        build_id=(kernel.build_id if kernel else None) or told.get("BUILD-ID"),
        release=(kernel.release if kernel else None) or told.get("OSRELEASE"),
        banner=kernel.banner if kernel else "",
    )


def _companion(matches: list[Match], best: Match) -> Candidate | None:
    # the other half of a pair that objcopy --only-keep-debug made: same build-id, one split
    mine = best.candidate
    if mine.build_id is None or not (mine.debug_only or not mine.dwarf):
        return None
    for one in matches:
        other = one.candidate
        if (one.target, one.match, other.build_id) == (best.target, "matches", mine.build_id):
            halves = sorted((mine.debug_only and mine.dwarf, other.debug_only and other.dwarf))
            if halves == [False, True] and other.elf:
                return other
    return None
