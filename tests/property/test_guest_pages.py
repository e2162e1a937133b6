"""The i-th frame of a guest's index is the i-th page, in whatever order frames stand."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import BytesSource
from vmcoretool.addresses import PAGE_SIZE, Maddr, Mfn
from vmcoretool.errors import UnsupportedFormatError
from vmcoretool.formats import guest_pages
from vmcoretool.formats.api import Observed
from vmcoretool.formats.guest_pages import INVALID, GuestPages, Index
from vmcoretool.memory.pages import ABSENT, EXCLUDED, FilePlace

ROWS = {4: "<I", 8: "<Q", 16: "<QQ"}


def page_of(frame: int) -> bytes:
    return struct.pack("<Q", frame) * (PAGE_SIZE // 8)


def packed(frame: int, width: int) -> bytes:
    if width == 16:
        return struct.pack("<QQ", frame, 0x1234)
    return struct.pack(ROWS[width], frame & ((1 << 8 * width) - 1))


def guest(
    frames: list[int], width: int = 8, padding: int = 0, lost: int = 0
) -> tuple[GuestPages, tuple[object, ...]]:
    index = b"".join(packed(frame, width) for frame in [*frames, *[INVALID] * padding])
    data = index + b"".join(map(page_of, frames))
    observed = Observed()
    source = BytesSource(data[: len(data) - lost * PAGE_SIZE], "guest")
    pages = GuestPages(source, Index(0, len(index), width, len(index)), observed)
    return pages, observed.findings


@given(
    frames=st.lists(st.integers(0, 5000), unique=True, max_size=60),
    width=st.sampled_from([4, 8, 16]),
    padding=st.integers(0, 3),
    lost=st.integers(0, 4),
    in_order=st.booleans(),
)
def test_each_frame_has_its_page(
    frames: list[int], width: int, padding: int, lost: int, *, in_order: bool
) -> None:
    """The i-th frame of the index is the i-th page; what was cut off is excluded, not absent."""
    if in_order:
        frames.sort()
    lost = min(lost, len(frames))
    pages, findings = guest(frames, width, padding, lost)
    there = frames[: len(frames) - lost]
    assert bool(findings) == bool(lost)
    assert (pages.present_pages, pages.excluded_pages) == (len(there), lost)
    assert pages.end == (max(frames, default=-1) + 1) * PAGE_SIZE
    covered = [at // PAGE_SIZE for one in pages.extents() for at in range(*one, PAGE_SIZE)]
    assert covered == sorted(frames)
    stored = [at // PAGE_SIZE for one in pages.stored() for at in range(*one, PAGE_SIZE)]
    assert stored == sorted(there)
    for frame in {*frames, 0, 77, 5001}:
        at = frame * PAGE_SIZE + 8
        if frame in there:
            assert pages.page(Mfn(frame)) == page_of(frame)
            assert pages.is_present(at)
            place = pages.where_is(at)
            assert isinstance(place, FilePlace)
            assert place.size == PAGE_SIZE - 8
        else:
            assert pages.page(Mfn(frame)) is (EXCLUDED if frame in frames else ABSENT)
            assert pages.where_is(at) is None
            assert not pages.is_present(at)
            assert pages.is_excluded(at) == (frame in frames)


def test_index_of_several_chunks_in_and_out_of_order() -> None:
    frames = list(range(3, 9000, 2))
    for order in (frames, frames[::-1], frames[4097:] + frames[:4097]):
        pages, _ = guest(order)
        assert pages.end == Maddr((frames[-1] + 1) * PAGE_SIZE)
        for frame in (3, 8195, 8999):
            assert pages.page(Mfn(frame)) == page_of(frame)
        assert pages.page(Mfn(4)) is ABSENT
        assert sum(1 for _ in pages.extents()) == len(frames)


def test_index_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest_pages, "MAX_UNSORTED", 4)
    monkeypatch.setattr(guest_pages, "_CHUNK", 2)
    with pytest.raises(UnsupportedFormatError, match="frames in no order"):
        guest([3, 2, 1, 9, 8, 7], padding=2)
    monkeypatch.setattr(guest_pages, "MAX_FRAMES", 4)
    with pytest.raises(UnsupportedFormatError, match="an index of 6 frames"):
        guest([1, 2, 3, 7, 8, 9])


def test_index_that_is_cut_off_is_told() -> None:
    index = b"".join(packed(frame, 8) for frame in range(8))
    observed = Observed()
    pages = GuestPages(BytesSource(index[:36], "guest"), Index(0, 64, 8, 64), observed)
    assert (pages.present_pages, pages.excluded_pages) == (0, 4)
    assert len(observed.findings) == 2
