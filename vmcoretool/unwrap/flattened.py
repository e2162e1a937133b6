"""makedumpfile's flattened format: a stream of records to be written at given offsets.

::

    +0     "makedumpfile" and 4 NUL   +16 type 1   +24 version 1   up to 4096: zeros
    then   records {offset, size, data}, offsets in any order; the last has offset and size -1

All integers are 64-bit big-endian.  Replaying the records makes the file, so a later record wins
over an earlier one and gaps read as zeros (makedumpfile.c, rearrange_dumpdata).  Here nothing is
replayed: an index over the records serves reads from the stream itself.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import FileOffset
from vmcoretool.errors import FormatError, TruncatedError
from vmcoretool.extents import disjoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.source import ByteSource

SIGNATURE: Final = b"makedumpfile".ljust(16, b"\0")
HEADER_SIZE: Final = 4096
MAX_SIZE: Final = 1 << 56
MAX_RECORDS: Final = 1 << 24
_RECORD: Final = struct.Struct(">qq")


def open_flattened(source: ByteSource) -> FlattenedSource:
    """Index the records of a stream.

    Raises:
        FormatError: a record that no writer makes.
        TruncatedError: the stream ends before its first record.
    """
    kind, version = _RECORD.unpack(source.pread(16, 16).ljust(16, b"\0"))
    if (kind, version) != (1, 1):
        raise FormatError(
            f"flattened type {kind}, version {version}: only 1 and 1 are known",
            path=source.path,
            where=FileOffset(16),
        )
    pieces: list[tuple[int, int, int]] = []
    at, ended = HEADER_SIZE, False
    while True:
        raw = source.pread(16, at)
        if len(raw) < 16:
            break
        offset, size = _RECORD.unpack(raw)
        if (offset, size) == (-1, -1):
            ended = True
            break
        if offset < 0 or size <= 0 or offset + size > MAX_SIZE or len(pieces) >= MAX_RECORDS:
            raise FormatError(
                f"a flattened record says {size} bytes for offset {offset}",
                path=source.path,
                where=FileOffset(at),
                cure="the stream is damaged: get it again",
            )
        at += 16
        there = min(size, max(source.size - at, 0))
        if there:
            pieces.append((offset, offset + there, at))
        at += size
    if not pieces:
        raise TruncatedError(
            "the flattened stream holds no data",
            path=source.path,
            where=FileOffset(HEADER_SIZE),
            cure="the transfer was cut off: get it again",
        )
    # the later record wins
    pieces.reverse()
    return FlattenedSource(source, disjoint(pieces), complete=ended and source.complete)


class FlattenedSource:
    """The file that the records describe, read from the stream in place.

    ``complete`` is False when the stream has no end mark; then a gap is not zeros but data that
    never arrived, and reading it raises TruncatedError.
    """

    def __init__(
        self, source: ByteSource, pieces: list[tuple[int, int, int]], *, complete: bool
    ) -> None:
        self._source = source
        self._starts = array("Q", [start for start, _, _ in pieces])
        self._ends = array("Q", [end for _, end, _ in pieces])
        self._places = array("Q", [place for _, _, place in pieces])
        self.path = source.path
        self.size = int(self._ends[-1])
        self.complete = complete

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only where the file ends.

        Raises:
            TruncatedError: these bytes never arrived.
            OSError: the stream cannot be read.
        """
        end = min(offset + size, self.size)
        if offset >= end:
            return b""
        at = bisect_right(self._starts, offset) - 1
        if at >= 0 and end <= self._ends[at]:  # all in one record, as nearly always
            return self._source.pread(end - offset, self._places[at] + offset - self._starts[at])
        parts: list[bytes] = []
        at = max(at, 0)
        while offset < end:
            while at < len(self._ends) and self._ends[at] <= offset:
                at += 1
            start = int(self._starts[at])
            if start > offset:
                self._refuse_gap(offset)
                stop = min(start, end)
                parts.append(bytes(stop - offset))
            else:
                stop = min(int(self._ends[at]), end)
                parts.append(self._source.pread(stop - offset, self._places[at] + offset - start))
            offset = stop
        return b"".join(parts)

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of the range that records cover, in ascending order."""
        at = max(bisect_right(self._starts, start) - 1, 0)
        while at < len(self._starts) and self._starts[at] < end:
            low, high = max(int(self._starts[at]), start), min(int(self._ends[at]), end)
            if low < high:
                yield low, high
            at += 1

    def close(self) -> None:
        """Close the stream."""
        self._source.close()

    def _refuse_gap(self, offset: int) -> None:
        if not self.complete:
            raise TruncatedError(
                "the flattened stream ends before this part of the file",
                path=self.path,
                where=FileOffset(offset),
                cure="the transfer was cut off: get it again",
            )
