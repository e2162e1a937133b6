"""Bytes of a dump by position: ``pread``, never a cursor and never a map.

A mapped file that shrinks kills the process with SIGBUS; ``pread`` just comes back short.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from vmcoretool.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SPOOL_HEAD: Final = 4096


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


class ReadableObject(Protocol):
    """What a dump may be read from in a file's place."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def pread(self, size: int, offset: int) -> bytes:
        """Exactly ``size`` bytes from ``offset``; fewer only at the end."""

    def close(self) -> None:
        """Give back what it holds."""


class ObjectSource:
    """The bytes of any such object; an answer of a wrong length is an error of input and output.

    Attributes:
        path: its ``path`` or ``name`` where it has one, else its class.
        size: its length in bytes.
        complete: always True: nobody knows better.
    """

    def __init__(self, readable: ReadableObject) -> None:
        if not callable(getattr(readable, "pread", None)) or not hasattr(readable, "size"):
            name = type(readable).__name__
            raise TypeError(f"{name} is neither a path nor has it pread(size, offset) and size")
        self._readable = readable
        called = getattr(readable, "path", None) or getattr(readable, "name", None)
        self.path = str(called or f"<{type(readable).__name__}>")
        self.size = readable.size
        self.complete = True

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only where it ends.

        Raises:
            OSError: it could not read, or it gave another number of bytes.
        """
        wanted = max(min(size, self.size - offset), 0)
        data = self._readable.pread(wanted, offset) if wanted else b""
        if len(data) != wanted:
            what = f"{len(data)} bytes came for {wanted} (file offset {offset:#x})"
            raise OSError(errno.EIO, what, self.path)
        return data

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """All of it: holes are not known."""
        if start < min(end, self.size):
            yield start, min(end, self.size)

    def close(self) -> None:
        """Close the object."""
        self._readable.close()


class FileSource:
    """A regular file or block device, opened read-only.

    One that is dropped without :meth:`close` closes its file and warns (ResourceWarning).
    """

    __slots__ = ("_file", "complete", "path", "size", "unreadable")

    def __init__(self, path: str, fd: int) -> None:
        """Take over a file descriptor; ``path`` is named in messages."""
        self._file = io.FileIO(fd)
        self._file.name = path  # what the warning names
        self.path = path
        self.complete = True
        self.unreadable = ""
        self.size = os.lseek(fd, 0, os.SEEK_END)

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only where the file ends.

        Raises:
            OSError: the operating system could not read; it names file and offset.
            ValueError: it is closed.
        """
        fd = self._descriptor()
        if offset >= self.size:
            return b""
        try:
            return self._read(fd, size, offset)
        except OSError as error:
            what = f"{os.strerror(error.errno or 0)} (file offset {offset:#x})"
            raise OSError(error.errno, what, self.path) from error

    @staticmethod
    def _read(fd: int, size: int, offset: int) -> bytes:
        data = os.pread(fd, size, offset)
        while 0 < len(data) < size:  # a signal or a network file system may cut a read short
            more = os.pread(fd, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of the range that are no holes; all of it where the system cannot tell."""
        fd = self._descriptor()
        end = min(end, self.size)
        while start < end:
            try:
                first = os.lseek(fd, start, os.SEEK_DATA)
                hole = os.lseek(fd, first, os.SEEK_HOLE)
            except OSError as error:
                if error.errno != errno.ENXIO:  # ENXIO: nothing but a hole up to the end
                    yield start, end
                return
            if first >= end:
                return
            yield max(first, start), min(hole, end)
            start = hole

    def close(self) -> None:
        """Close the file; further reads raise ValueError."""
        self._file.close()

    def __reduce__(self) -> NoReturn:
        refuse_pickling(self.path)

    def _descriptor(self) -> int:
        try:
            return self._file.fileno()
        except ValueError:
            raise ValueError(f"{self.path}: read after it was closed") from None


class MemorySource:
    """Bytes in memory, as a source."""

    def __init__(self, path: str, data: bytes, *, complete: bool = True) -> None:
        """Take the bytes; ``path`` is named in messages."""
        self.path = path
        self.size = len(data)
        self.complete = complete
        self._data = data

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only where they end."""
        return self._data[offset : offset + size]

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """All of it."""
        if start < min(end, self.size):
            yield start, min(end, self.size)

    def close(self) -> None:
        """Nothing is held."""


class WindowedSource:
    """Small reads that follow one another, out of one larger read."""

    def __init__(self, source: ByteSource, window: int = 4096) -> None:
        """Read nothing yet; the source stays its owner's."""
        self._source = source
        self._window = window
        self._start = 0
        self._data = b""

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only where the file ends."""
        at = offset - self._start
        if at < 0 or at + size > len(self._data):
            self._data = self._source.pread(max(size, self._window), offset)
            self._start, at = offset, 0
        return self._data[at : at + size]


def refuse_pickling(path: str) -> NoReturn:
    """What an open file answers to being copied into another process.

    Raises:
        TypeError: always.
    """
    raise TypeError(
        f"{path}: an open file cannot be pickled: open the dump again where it is needed"
    )


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
    from vmcoretool.sources.spool import SPOOL_CHUNK, Spool  # noqa: PLC0415 - few dumps are streams

    with Spool(path) as spool:
        head = b""
        while len(head) < SPOOL_HEAD and (chunk := os.read(fd, SPOOL_CHUNK)):
            head += chunk
        spool.write(head)
        if wanted is None or wanted(head[:SPOOL_HEAD]):
            while chunk := os.read(fd, SPOOL_CHUNK):
                spool.write(chunk)
        return spool.detach()
