"""Bytes of a dump by position: ``pread``, never a cursor and never a map.

A mapped file that shrinks kills the process with SIGBUS; ``pread`` just comes back short.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final, Protocol

from vmcoretool.addresses import MIB
from vmcoretool.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

SPOOL_CHUNK: Final = MIB
SPOOL_HEAD: Final = 4096
SPOOL_RESERVE: Final = 256 * MIB
"""Free space that spooling a stream leaves on the disk of the temporary folder."""


SPOOL_LIMIT: Final = 1 << 40
"""Most bytes that a stream may hold, zeros included: 1 TiB."""


class ByteSource(Protocol):
    """Read-only bytes with a size; short reads happen only at the end."""

    @property
    def path(self) -> str:
        """The name the user gave."""

    @property
    def size(self) -> int:
        """Length in bytes when it was opened."""

    @property
    def complete(self) -> bool:
        """False when it is known that bytes never arrived; reading these raises TruncatedError."""

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only where the file ends."""

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of the range that are no holes of a sparse file, in ascending order."""

    def close(self) -> None:
        """Give the file back."""


class FileSource:
    """A regular file or block device, opened read-only."""

    __slots__ = ("_fd", "complete", "path", "size")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd
        self.complete = True
        self.size = os.lseek(fd, 0, os.SEEK_END)

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only where the file ends.

        Raises:
            OSError: the operating system could not read.
        """
        if offset >= self.size:
            return b""
        data = os.pread(self._fd, size, offset)
        while 0 < len(data) < size:  # a signal or a network file system may cut a read short
            more = os.pread(self._fd, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of the range that are no holes; all of it where the system cannot tell."""
        end = min(end, self.size)
        while start < end:
            try:
                first = os.lseek(self._fd, start, os.SEEK_DATA)
                hole = os.lseek(self._fd, first, os.SEEK_HOLE)
            except OSError as error:
                if error.errno != errno.ENXIO:  # ENXIO: nothing but a hole up to the end
                    yield start, end
                return
            if first >= end:
                return
            yield max(first, start), min(hole, end)
            start = hole

    def close(self) -> None:
        """Close the file; further reads raise OSError."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def open_source(path: str, wanted: Callable[[bytes], bool] | None = None) -> FileSource:
    """Open ``path`` for reading; ``-`` is standard input, and a pipe is spooled to a file.

    Args:
        path: the file.
        wanted: whether a stream with these first bytes is worth spooling; what is not is left
            after them.

    Raises:
        OSError: missing, a folder, no permission, or no space to spool a stream.
        FormatError: a device that is no file, or a stream larger than the free space.
    """
    if "\0" in path:
        raise OSError(errno.EINVAL, "no file name holds a NUL", path.replace("\0", "\ufffd"))
    fd = os.dup(0) if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        mode = os.fstat(fd).st_mode
        _refuse_folder(path, mode)
        if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
            return FileSource(path, fd)
        _refuse_device(path, mode)
        spooled = _spool(path, fd, wanted)
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return FileSource(path, spooled)


def _refuse_folder(path: str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)


def _refuse_device(path: str, mode: int) -> None:
    # /dev/zero never ends and /dev/mem is a running machine
    if stat.S_ISCHR(mode) and path != os.devnull:
        what = "standard input is a terminal or device" if path == "-" else "a character device"
        if path != "-" or os.isatty(0):
            raise FormatError(f"{what}: no dump can be read from it", path=path)


def _spool(path: str, fd: int, wanted: Callable[[bytes], bool] | None) -> int:
    # A stream cannot be read by position: copy it to an unnamed file.
    with Spool(path) as spool:
        head = b""
        while len(head) < SPOOL_HEAD and (chunk := os.read(fd, SPOOL_CHUNK)):
            head += chunk
        spool.write(head)
        if wanted is None or wanted(head[:SPOOL_HEAD]):
            while chunk := os.read(fd, SPOOL_CHUNK):
                spool.write(chunk)
        return spool.detach()


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
        if not chunk.strip(b"\0"):
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
