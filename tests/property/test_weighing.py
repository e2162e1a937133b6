"""The verdict on the evidence (docs/how-the-address-is-found.md, "The verdict")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from tests.property.strategies import SOURCES, STATEMENTS
from vmcoretool.evidence.api import Evidence, Silence, Strength
from vmcoretool.evidence.weigh import weigh

if TYPE_CHECKING:
    from random import Random

RANK = {"unknown": 0, "disputed": 1, "reported": 2, "verified": 3, "not-relocatable": 3}


class TestWeigh:
    """Only derived evidence proves; suggestions never decide anything.

    A recorded value that contradicts the proven one makes the verdict disputed.
    """

    @given(STATEMENTS, st.randoms())
    def test_permuting_findings_never_changes_the_verdict(
        self, statements: list[Evidence | Silence], random: Random
    ) -> None:
        before = weigh(statements)
        shuffled = list(statements)
        random.shuffle(shuffled)
        after = weigh(shuffled)
        assert (after.status, after.xen_phys_start) == (before.status, before.xen_phys_start)

    @given(STATEMENTS, SOURCES, st.sampled_from(["recorded", "derived", "suggested"]))
    def test_agreement_never_lowers_the_verdict(
        self, statements: list[Evidence | Silence], source: str, strength: Strength
    ) -> None:
        before = weigh(statements)
        if before.xen_phys_start is None:
            return
        more = Evidence(
            source=source,
            xen_phys_start=before.xen_phys_start,
            strength=strength,
            basis="x",
        )
        after = weigh([*statements, more])
        assert RANK[after.status] >= RANK[before.status]
        assert after.xen_phys_start == before.xen_phys_start

    @given(STATEMENTS)
    def test_recorded_values_never_make_verified(
        self, statements: list[Evidence | Silence]
    ) -> None:
        verdict = weigh(statements)
        if verdict.status in ("verified", "not-relocatable"):
            assert any(row.strength == "derived" for row in verdict.supporting)

    @given(STATEMENTS)
    def test_a_recorded_contradiction_is_never_verified(
        self, statements: list[Evidence | Silence]
    ) -> None:
        verdict = weigh(statements)
        if any(row.strength == "recorded" for row in verdict.contradicting):
            assert verdict.status not in ("verified", "not-relocatable")

    @given(STATEMENTS)
    def test_no_evidence_is_lost(self, statements: list[Evidence | Silence]) -> None:
        verdict = weigh(statements)
        kept = [*verdict.evidence, *verdict.silent]
        assert sorted(map(repr, kept)) == sorted(map(repr, statements))
