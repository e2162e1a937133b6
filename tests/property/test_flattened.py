"""Properties of the flattened format; each quotes the sentence it checks."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from tests.support import BytesSource
from vmcoretool.errors import TruncatedError
from vmcoretool.sources.flattened import HEADER_SIZE, SIGNATURE, open_flattened

HEAD = (SIGNATURE + struct.pack(">qq", 1, 1)).ljust(HEADER_SIZE, b"\0")
END = struct.pack(">qq", -1, -1)
RECORDS = st.lists(st.tuples(st.integers(0, 60), st.binary(min_size=1, max_size=12)), min_size=1)
# what makedumpfile does: its buffer again and again, and a header written over at last
BUFFERS = st.builds(
    lambda size, count, again: [
        *((at * size, bytes([at + 1]) * size) for at in range(count)),
        *again,
    ],
    st.integers(1, 9),
    st.integers(1, 12),
    st.lists(st.tuples(st.integers(0, 60), st.binary(min_size=1, max_size=12)), max_size=3),
)


def stream(records: list[tuple[int, bytes]]) -> bytes:
    return HEAD + b"".join(struct.pack(">qq", at, len(data)) + data for at, data in records)


def replayed(records: list[tuple[int, bytes]]) -> bytes:
    out = bytearray(max(at + len(data) for at, data in records))
    for at, data in records:
        out[at : at + len(data)] = data
    return bytes(out)


class TestReplay:
    """A later record wins over an earlier one and gaps read as zeros."""

    @given(RECORDS | BUFFERS, st.integers(0, 80), st.integers(0, 80))
    def test_any_part_is_what_replaying_makes(
        self, records: list[tuple[int, bytes]], start: int, size: int
    ) -> None:
        source = open_flattened(BytesSource(stream(records) + END))
        whole = replayed(records)
        assert source.size == len(whole)
        assert source.complete
        assert source.pread(size, start) == whole[start : start + size]
        covered = {byte for at, data in records for byte in range(at, at + len(data))}
        told = [byte for low, high in source.data_ranges(0, 999) for byte in range(low, high)]
        assert told == sorted(covered)


class TestCut:
    """A stream that ends early is readable up to there."""

    @given(RECORDS | BUFFERS, st.floats(0, 1))
    def test_what_arrived_is_read_and_the_rest_refused(
        self, records: list[tuple[int, bytes]], keep: float
    ) -> None:
        data = stream(records)
        data = data[: HEADER_SIZE + int(keep * (len(data) - HEADER_SIZE))]
        arrived: dict[int, int] = {}
        at = HEADER_SIZE
        for start, content in records:
            at += 16
            there = content[: max(len(data) - at, 0)]
            arrived |= dict(enumerate(there, start))
            at += len(content)
        try:
            source = open_flattened(BytesSource(data))
        except TruncatedError:
            assert not arrived
            return
        assert not source.complete
        for byte in range(source.size):
            try:
                assert source.pread(1, byte)[0] == arrived[byte]
            except TruncatedError:
                assert byte not in arrived
