"""The verdict on all statements: a pure function that knows values, not the names of sources.

* Only *derived* evidence proves.  Of several derived values the one that more sources derive
  wins; equal support decides nothing.
* A *recorded* value that contradicts the proven one makes the verdict ``disputed``: the proven
  one stands.
* Recorded values alone are ``reported``, or ``disputed`` when they contradict each other.
* Suggestions never decide anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from vmcoretool.evidence.api import Evidence, Silence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmcoretool.addresses import Maddr

Status = Literal["verified", "disputed", "reported", "unknown", "not-relocatable"]


class Verdict(NamedTuple):
    """What holds, and who says so.

    Attributes:
        status: "verified" (page tables of the dump prove the value), "disputed" (a recorded value
            contradicts the proven one, or two are equally proven), "reported" (only recorded
            values, which nothing checks), "unknown", or "not-relocatable" (proven: it stays where
            it was loaded).
        xen_phys_start: the machine address that XEN_VIRT_START is mapped to, or None.
        supporting: evidence for the verdict's value, in the order of the sources.
        contradicting: evidence against it.
        silent: sources without evidence, and why.
    """

    status: Status
    xen_phys_start: Maddr | None
    supporting: tuple[Evidence, ...]
    contradicting: tuple[Evidence, ...]
    silent: tuple[Silence, ...]

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """All evidence, the supporting first."""
        return self.supporting + self.contradicting


def weigh(statements: Iterable[Evidence | Silence]) -> Verdict:
    """Weigh the statements of sources; their order does not matter."""
    statements = tuple(statements)
    evidence = [row for row in statements if isinstance(row, Evidence)]
    silent = tuple(row for row in statements if isinstance(row, Silence))
    status, value, settled = _decide(evidence)
    supporting = tuple(one for one in evidence if settled and one.xen_phys_start == value)
    return Verdict(
        status=status,
        xen_phys_start=value,
        supporting=supporting,
        contradicting=tuple(one for one in evidence if one not in supporting),
        silent=silent,
    )


def is_open(statements: Iterable[Evidence | Silence]) -> bool:
    """Whether the statements so far leave it open where the hypervisor is."""
    evidence = [row for row in statements if isinstance(row, Evidence)]
    _, _, settled = _decide(evidence)
    return not settled or not any(one.strength == "derived" for one in evidence)


def _decide(evidence: list[Evidence]) -> tuple[Status, Maddr | None, bool]:
    # status, value, and whether a value was settled on (None is one: "not relocated")
    recorded = {one.xen_phys_start for one in evidence if one.strength == "recorded"}
    support: dict[Maddr | None, set[str]] = {}
    for one in evidence:
        if one.strength == "derived":
            support.setdefault(one.xen_phys_start, set()).add(one.source)
    if support:
        most = max(len(sources) for sources in support.values())
        best = [value for value, sources in support.items() if len(sources) == most]
        if len(best) > 1:
            return "disputed", None, False
        if recorded - {best[0]}:
            return "disputed", best[0], True
        return ("not-relocatable" if best[0] is None else "verified"), best[0], True
    if len(recorded) == 1:
        return "reported", next(iter(recorded)), True
    return ("disputed" if recorded else "unknown"), None, False
