"""A file up to its first part that cannot be read: in a stream, what follows is lost with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.errors import is_out_of_reach, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.sources.file import ByteSource

_SECTOR: Final = 4096


class UpToBadSector:
    """A source that ends where the system first refuses to read it, for streams.

    Attributes:
        path: of the file.
        size: of the file.
        complete: False once a part could not be read.
        unreadable: where and why, as words that follow the file's name; "" as long as all could be
            read.
    """

    def __init__(self, source: ByteSource) -> None:
        """Read nothing yet; the source stays its owner's."""
        self._source = source
        self.path = source.path
        self.size = source.size
        self.complete = source.complete
        self.unreadable = ""

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer where the file ends or cannot be read.

        Raises:
            OSError: the file is out of reach as a whole.
        """
        try:
            return self._source.pread(size, offset)
        except OSError as error:
            if is_out_of_reach(error):
                raise
        data = b""
        end = min(offset + size, self.size)
        while (at := offset + len(data)) < end:
            try:
                data += self._source.pread(min(_SECTOR - at % _SECTOR, end - at), at)
            except OSError as error:
                self._refused(at, error)
                break
        return data

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """As the file's."""
        return self._source.data_ranges(start, end)

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def _refused(self, at: int, error: OSError) -> None:
        self.complete = False
        why = reason_of(error)
        where = f"cannot be read at file offset {at:#x}: {why}"
        self.unreadable = self.unreadable or f"{where}; what follows in the stream is lost"
