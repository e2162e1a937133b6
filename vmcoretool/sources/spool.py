"""A stream that cannot be read by position, as an unnamed temporary file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import MIB
from vmcoretool.errors import FormatError

if TYPE_CHECKING:
    from types import TracebackType

SPOOL_CHUNK: Final = MIB
SPOOL_RESERVE: Final = 256 * MIB
"""Free space that spooling a stream leaves on the disk of the temporary folder."""
SPOOL_LIMIT: Final = 1 << 40
"""Most bytes that a stream may hold, zeros included: 1 TiB."""
_ZEROS: Final = bytes(SPOOL_CHUNK)


def is_zeros(data: bytes) -> bool:
    """Whether there is nothing but zeros; comparing is much faster than looking for others."""
    if len(data) <= len(_ZEROS):
        return data == _ZEROS[: len(data)]
    return not data.strip(b"\0")


class Spool:
    """An unnamed temporary file that takes a stream, never fills the disk, and keeps zeros out."""

    def __init__(self, path: str) -> None:
        """Make the file where temporary files go; ``path`` is named in errors."""
        import shutil  # noqa: PLC0415 - a cost only streams should pay
        import tempfile  # noqa: PLC0415 - likewise

        self._path = path
        self._folder = tempfile.gettempdir()
        self._room = shutil.disk_usage(self._folder).free - SPOOL_RESERVE
        self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - closed
        self.size = 0

    def write(self, chunk: bytes, offset: int | None = None) -> None:
        """Write at ``offset``, or append; runs of zeros become holes.

        Raises:
            FormatError: the stream is larger than the limit or the free space.
            OSError: the disk refused.
        """
        at = self.size if offset is None else offset
        self.size = max(self.size, at + len(chunk))
        if self.size > SPOOL_LIMIT:
            raise self._refusal(f"the limit of {SPOOL_LIMIT // MIB} MiB")
        if is_zeros(chunk):
            return
        self._room -= len(chunk)
        if self._room < 0:
            raise self._refusal(f"the space free in {self._folder}")
        rest = memoryview(chunk)
        while rest:
            done = os.pwrite(self._file.fileno(), rest, at)
            rest, at = rest[done:], at + done

    def pread(self, size: int, offset: int) -> bytes:
        """``size`` bytes from ``offset``, zeros where nothing was written."""
        return os.pread(self._file.fileno(), size, offset).ljust(size, b"\0")

    def detach(self) -> int:
        """A file descriptor of the finished file."""
        self._file.truncate(self.size)
        return os.dup(self._file.fileno())

    def close(self) -> None:
        """Give the file back, and with it its space."""
        self._file.close()

    def __enter__(self) -> Spool:  # noqa: PYI034 - Self is in typing from 3.11 on only
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _refusal(self, limit: str) -> FormatError:
        return FormatError(
            f"the stream is larger than {limit}",
            path=self._path,
            cure="save or decompress it to a file yourself, or point TMPDIR to a larger disk",
        )
