"""Sets of addresses."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.property.strategies import RANGES
from vmcoretool.memory.extents import ExtentMap


class TestExtents:
    """Sorted, disjoint half-open ranges; touching and overlapping ranges are merged."""

    @given(RANGES)
    def test_membership_is_that_of_the_ranges(self, ranges: list[tuple[int, int]]) -> None:
        model = {at for start, end in ranges for at in range(start, end)}
        extents = ExtentMap(ranges)
        assert {at for at in range(301) if at in extents} == model
        assert extents.total == len(model)

    @given(RANGES)
    def test_sorted_disjoint_and_merged(self, ranges: list[tuple[int, int]]) -> None:
        listed = list(ExtentMap(ranges))
        assert all(start < end for start, end in listed)
        assert all(left.end < right.start for left, right in pairwise(listed))

    @given(st.lists(st.tuples(st.integers(0, 40000), st.integers(0, 40000)), max_size=8))
    def test_pages_with_at_least_one_byte_are_counted_once(
        self, ranges: list[tuple[int, int]]
    ) -> None:
        model = {at >> 12 for start, end in ranges for at in range(start, end)}
        assert ExtentMap(ranges).page_count == len(model)
