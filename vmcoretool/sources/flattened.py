"""makedumpfile's flattened format: a stream of records to be written at given offsets.

::

    +0     "makedumpfile" and 4 NUL   +16 type 1   +24 version 1   up to 4096: zeros
    then   records {offset, size, data}, offsets in any order; the last has offset and size -1

All integers are 64-bit big-endian.  Replaying the records makes the file, so a later record wins
over an earlier one and gaps read as zeros (makedumpfile.c, rearrange_dumpdata).  Here nothing is
replayed: an index serves reads from the stream itself.  makedumpfile writes its buffer of 64 KiB
over and over (write_cache), so the index has an entry for each run of records that follow one
another and are of one size, not for each record: a terabyte of memory is some 100,000 entries.
"""

from __future__ import annotations

import errno
import struct
from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import FileOffset
from vmcoretool.budget import Budget
from vmcoretool.errors import FormatError, StoppedError, TruncatedError
from vmcoretool.memory.extents import disjoint
from vmcoretool.sources.file import WindowedSource
from vmcoretool.sources.readable import UpToBadSector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vmcoretool.sources.file import ByteSource

SIGNATURE: Final = b"makedumpfile".ljust(16, b"\0")
HEADER_SIZE: Final = 4096
MAX_SIZE: Final = 1 << 56
MAX_RECORDS: Final = 1 << 21
"""Records that are read besides one for each :data:`SMALL` bytes of the stream.

makedumpfile's have 64 KiB, QEMU's a page at most; both write a few small ones for headers.
"""
SMALL: Final = 1024
MAX_RUNS: Final = 1 << 20
MAX_OVERLAPPING: Final = 1 << 17
_NAME: Final = "reading the records of the stream"
_BETWEEN: Final = 1 << 14
_RECORD: Final = struct.Struct(">qq")


class _Run(NamedTuple):
    # Records of one size whose data follow one another in the file and in the stream.
    start: int  # in the file that the records describe
    size: int  # of each record's data
    records: int
    place: int  # of the first record's data, in the stream

    @property
    def end(self) -> int:
        return self.start + self.size * self.records

    def pieces(self) -> Iterator[tuple[int, int, int]]:
        """(start, end, place) of each record, the last one first."""
        for number in reversed(range(self.records)):
            start = self.start + number * self.size
            yield start, start + self.size, self.place + number * (self.size + _RECORD.size)


class _Runs:
    # Runs in arrays: 32 bytes each, whatever the stream says.

    def __init__(self, runs: Iterable[_Run] = ()) -> None:
        self.starts, self.sizes = array("Q"), array("Q")
        self.records, self.places = array("Q"), array("Q")
        for run in runs:
            self.append(run)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, at: int) -> _Run:
        return _Run(self.starts[at], self.sizes[at], self.records[at], self.places[at])

    def append(self, run: _Run) -> None:
        self._put(*run)

    def _put(self, start: int, size: int, records: int, place: int) -> None:
        self.starts.append(start)
        self.sizes.append(size)
        self.records.append(records)
        self.places.append(place)

    def reordered(self, order: list[int]) -> _Runs:
        """The runs of these numbers, in this order."""
        made = _Runs()
        made.starts = array("Q", map(self.starts.__getitem__, order))
        made.sizes = array("Q", map(self.sizes.__getitem__, order))
        made.records = array("Q", map(self.records.__getitem__, order))
        made.places = array("Q", map(self.places.__getitem__, order))
        return made

    def add(self, start: int, size: int, place: int) -> None:
        """Put a record at the end of the last run, or begin one with it."""
        if self.starts and size == self.sizes[-1]:
            count = self.records[-1]
            if start == self.starts[-1] + count * size and place == self.places[-1] + count * (
                size + _RECORD.size
            ):
                self.records[-1] = count + 1
                return
        self._put(start, size, 1, place)


def open_flattened(source: ByteSource, budget: Budget | None = None) -> FlattenedSource:
    """Index the records of a stream.

    Args:
        source: the stream; the result owns it.
        budget: its caller may end the work.

    Raises:
        StoppedError: the caller did.
        FormatError: a record that no writer makes, or more of them than any writer makes.
        TruncatedError: the stream ends before its first record.
    """
    kind, version = _RECORD.unpack(source.pread(16, 16).ljust(16, b"\0"))
    if (kind, version) != (1, 1):
        raise FormatError(
            f"flattened type {kind}, version {version}: only 1 and 1 are known",
            path=source.path,
            where=FileOffset(16),
        )
    runs = _Runs()
    readable = UpToBadSector(source)
    ended = _read_records(readable, runs, budget or Budget())
    if not runs and readable.unreadable:
        raise OSError(errno.EIO, readable.unreadable, source.path)
    if not runs:
        raise TruncatedError(
            "the flattened stream holds no data",
            path=source.path,
            where=FileOffset(HEADER_SIZE),
            cure="the transfer was cut off: get it again",
        )
    flat = FlattenedSource(source, _in_order(runs, source), complete=ended and source.complete)
    flat.unreadable = readable.unreadable
    return flat


def _read_records(source: ByteSource, runs: _Runs, budget: Budget) -> bool:
    # Whether the stream has its end mark.
    at = HEADER_SIZE
    window = WindowedSource(source)
    for number in range(MAX_RECORDS + source.size // SMALL):
        if number % _BETWEEN == _BETWEEN - 1 and not budget.progress(_NAME, at, source.size):
            raise StoppedError(
                "reading the records of the flattened stream was ended",
                path=source.path,
                where=FileOffset(at),
                cure="run it again and let it finish",
            )
        raw = window.pread(_RECORD.size, at)
        if len(raw) < _RECORD.size:
            return False
        offset, size = _RECORD.unpack(raw)
        if (offset, size) == (-1, -1):
            return True
        if offset < 0 or size <= 0 or offset + size > MAX_SIZE:
            raise _damaged(source, at, f"a flattened record says {size} bytes for offset {offset}")
        at += _RECORD.size
        there = min(size, max(source.size - at, 0))
        if there:
            runs.add(offset, there, at)
        if len(runs) > MAX_RUNS:
            break
        at += size
    raise _damaged(source, at, "more flattened records than are read here")


def _damaged(source: ByteSource, at: int, message: str) -> FormatError:
    return FormatError(
        message,
        path=source.path,
        where=FileOffset(at),
        cure="the stream is damaged: get it again",
    )


def _in_order(runs: _Runs, source: ByteSource) -> _Runs:
    # Ascending and without overlaps: where records overlap, the later one wins.
    order = sorted(range(len(runs)), key=runs.starts.__getitem__)
    overlapping: set[int] = set()
    reach, furthest = 0, -1
    starts, sizes, records = runs.starts, runs.sizes, runs.records
    for at in order:
        start = starts[at]
        if start < reach:
            overlapping |= {at, furthest}
        end = start + sizes[at] * records[at]
        if end > reach:
            reach, furthest = end, at
    if not overlapping:
        return runs.reordered(order)
    total = sum(runs.records[at] for at in overlapping)
    if total > MAX_OVERLAPPING:
        raise _damaged(source, HEADER_SIZE, f"{total} flattened records overwrite one another")
    pieces = [piece for at in sorted(overlapping, reverse=True) for piece in runs[at].pieces()]
    settled = _Runs(_Run(start, end - start, 1, place) for start, end, place in disjoint(pieces))
    for at in order:
        if at not in overlapping:
            settled.append(runs[at])
    order = sorted(range(len(settled)), key=settled.starts.__getitem__)
    return settled.reordered(order)


class FlattenedSource:
    """The file that the records describe, read from the stream in place.

    ``complete`` is False when the stream has no end mark; then a gap is not zeros but data that
    never arrived, and reading it raises TruncatedError.
    """

    def __init__(self, source: ByteSource, runs: _Runs, *, complete: bool) -> None:
        self._source = source
        self._runs = runs
        self.path = source.path
        self.size = runs[-1].end
        self.complete = complete
        self.unreadable = ""

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only where the file ends.

        Raises:
            TruncatedError: these bytes never arrived.
            OSError: the stream cannot be read.
        """
        end = min(offset + size, self.size)
        at = max(bisect_right(self._runs.starts, offset) - 1, 0)
        parts: list[bytes] = []
        while offset < end:
            run = self._runs[at]
            if run.end <= offset:
                at += 1
            elif run.start > offset:
                self._refuse_gap(offset)
                stop = min(run.start, end)
                parts.append(bytes(stop - offset))
                offset = stop
            else:
                number, inside = divmod(offset - run.start, run.size)
                stop = min(offset + run.size - inside, end)
                place = run.place + number * (run.size + _RECORD.size) + inside
                parts.append(self._source.pread(stop - offset, place))
                offset = stop
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of the range that records cover, in ascending order."""
        at = max(bisect_right(self._runs.starts, start) - 1, 0)
        while at < len(self._runs) and self._runs.starts[at] < end:
            run = self._runs[at]
            low, high = max(run.start, start), min(run.end, end)
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
