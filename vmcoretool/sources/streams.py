"""Compressed streams as pieces of what they hold, whatever the codec.

Several streams in a row count as one, as with the command-line tools, and zeros between and behind
them are passed over.  Hostile files have a million streams of nothing: a stream is fed little by
little at first, so that what its decoder leaves over is never much to copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vmcoretool.addresses import MIB
from vmcoretool.errors import UnsupportedFormatError, VmcoreError
from vmcoretool.sources.spool import is_zeros

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmcoretool.budget import Budget
    from vmcoretool.sources.file import ByteSource

CHUNK: Final = MIB
MAX_WINDOW: Final = 1 << 27
XZ_MEMORY: Final = 256 * MIB
MAX_EMPTY: Final = 1 << 20
"""Streams that hold nothing, in one file."""
_FIRST_BITE: Final = 256
_SMALL: Final = 1 << 16
_EMPTY_PER_PIECE: Final = 1024


class DamagedStreamError(VmcoreError):
    """What every decoder's own exception becomes."""


class MemoryLimitError(DamagedStreamError):
    """A sound stream, perhaps, but its decoder would need more memory than it may take."""


def _damage(error: Exception) -> DamagedStreamError:
    # libzstd says that a frame requires too much memory, liblzma that a limit is exceeded
    limit = "memory" in str(error).lower()
    return (MemoryLimitError if limit else DamagedStreamError)(str(error))


class Stream:
    """A file's streams, decoded by an object with an interface like bz2.BZ2Decompressor's.

    Attributes:
        place: how far the file is read.
        ended: whether the last stream so far came to its end.
    """

    def __init__(
        self,
        source: ByteSource,
        make: Callable[[], Any],
        errors: tuple[type[Exception], ...],
        budget: Budget,
    ) -> None:
        """Read nothing yet.

        Args:
            source: the file.
            make: a new decoder.
            errors: what it raises of damaged data.
            budget: bounds the number of streams that hold nothing.
        """
        self._source = source
        self._make = make
        self._errors = errors
        self._work = budget.work("streams that hold nothing", steps=MAX_EMPTY)
        self._failure: DamagedStreamError | None = None
        self.place = 0
        self.ended = False

    def __iter__(self) -> Iterator[bytes]:
        """The pieces of the data, at most :data:`CHUNK` each; b"" where reading took long.

        Raises:
            DamagedStreamError: what follows is damaged.
        """
        held = bytearray()
        for piece in self._pieces():
            if len(piece) >= _SMALL or not piece:
                if held:
                    yield bytes(held)
                    held.clear()
                yield piece
                continue
            held += piece
            if len(held) >= _SMALL:
                yield bytes(held)
                held.clear()
        if held:
            yield bytes(held)
        if self._failure:
            raise self._failure

    def _pieces(self) -> Iterator[bytes]:
        # as decoders give them; what they raise is kept until all before it was handed out
        empty = 0
        while (self.place == 0 or self._follows()) and (not empty or self._work.go_on()):
            start = self.place
            filled = False
            try:
                for piece in self._member():
                    if piece:
                        filled, self.ended = True, False
                    yield piece
            except self._errors as error:
                if not self.ended:  # else it is rubbish behind a whole stream
                    self._failure = _damage(error)
                return
            if self.place == start or self.place >= self._source.size:
                return
            empty = 0 if filled else empty + 1
            if empty and not empty % _EMPTY_PER_PIECE:
                yield b""
        self.ended = self.ended and self.place >= self._source.size

    def _member(self) -> Iterator[bytes]:
        # one stream; where it ends early, the place is at the end of the file
        decoder = self._make()
        size = _FIRST_BITE
        while not decoder.eof:
            data = b""
            if decoder.needs_input:
                data = self._source.pread(size, self.place)
                if not data:
                    return
                self.place += len(data)
                size = min(2 * size, CHUNK)
            piece = decoder.decompress(data, CHUNK)
            if piece or size == CHUNK:
                yield piece
        self.place -= len(decoder.unused_data or b"")
        self.ended = True

    def _follows(self) -> bool:
        # whether anything but zeros follows; the place is moved there
        size = _FIRST_BITE
        while data := self._source.pread(size, self.place):
            if not is_zeros(data):
                self.place += len(data) - len(data.lstrip(b"\0"))
                return True
            self.place += len(data)
            size = min(2 * size, CHUNK)
            if size == CHUNK:  # holes of a sparse file need not be read
                ranges = self._source.data_ranges(self.place, self._source.size)
                self.place = next(iter(ranges), (self._source.size, 0))[0]
        return False


class _Inflater:
    # zlib's decompressobj for gzip, with the interface of the others
    def __init__(self) -> None:
        import zlib  # noqa: PLC0415 - only what is compressed pays for it

        self._inner = zlib.decompressobj(31)
        self.unused_data = b""
        self.eof = False

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, limit: int) -> bytes:
        piece = self._inner.decompress(self._inner.unconsumed_tail + data, limit)
        self.eof, self.unused_data = self._inner.eof, self._inner.unused_data
        return piece


def _gzip(source: ByteSource, budget: Budget) -> Stream:
    import zlib  # noqa: PLC0415 - as above

    return Stream(source, _Inflater, (zlib.error,), budget)


def _bzip2(source: ByteSource, budget: Budget) -> Stream:
    import bz2  # noqa: PLC0415 - as above

    return Stream(source, bz2.BZ2Decompressor, (OSError, ValueError), budget)


def _xz_decoder() -> Any:
    import lzma  # noqa: PLC0415 - as above

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)


def _xz(source: ByteSource, budget: Budget) -> Stream:
    import lzma  # noqa: PLC0415 - as above

    return Stream(source, _xz_decoder, (lzma.LZMAError,), budget)


def _lz4(source: ByteSource, budget: Budget) -> Stream:
    try:
        import lz4.frame  # noqa: PLC0415 - as above
    except ImportError as error:
        raise _missing("lz4", source) from error
    errors = (RuntimeError, ValueError)
    return Stream(source, lz4.frame.LZ4FrameDecompressor, errors, budget)


class _Feed:
    # What zstandard's reader reads from; apart from the stream, as the reader is no object that
    # the garbage collector could find in a circle.
    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self.place = 0

    def read(self, size: int = CHUNK) -> bytes:
        data = self._source.pread(size, self.place)
        self.place += len(data)
        return data


class ZstdStream:
    """All frames of a zstd file, with the interface of :class:`Stream`.

    ``ended`` stays False: the reader takes a cut frame for its end, so only the file's block
    headers tell (:func:`vmcoretool.sources.indexes.zstd_index`).
    """

    def __init__(self, source: ByteSource, budget: Budget) -> None:
        """Read nothing yet."""
        del budget
        try:
            import zstandard  # noqa: PLC0415 - as above
        except ImportError as error:
            raise _missing("zstandard", source) from error
        self._error = zstandard.ZstdError
        self._feed = _Feed(source)
        inflater: Any = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        self._inner = inflater.stream_reader(self._feed, read_across_frames=True, read_size=CHUNK)
        self.ended = False

    @property
    def place(self) -> int:
        """How far the file is read."""
        return self._feed.place

    def __iter__(self) -> Iterator[bytes]:
        """The pieces of the data.

        Raises:
            DamagedStreamError: what follows is damaged.
        """
        while True:
            try:
                piece = self._inner.read(CHUNK)
            except self._error as error:
                raise _damage(error) from error
            if not piece:
                return
            yield piece


def _missing(package: str, source: ByteSource) -> UnsupportedFormatError:
    return UnsupportedFormatError(
        f"the file is compressed and the module {package} is not installed",
        path=source.path,
        cure=f"pip install {package}, or decompress the file first",
    )


STREAMS: Final[dict[str, Callable[[ByteSource, Budget], Stream | ZstdStream]]] = {
    "gzip": _gzip,
    "bzip2": _bzip2,
    "xz": _xz,
    "zstd": ZstdStream,
    "lz4": _lz4,
}
