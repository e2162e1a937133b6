"""Compression around a whole dump: gzip, bzip2, xz, zstd, lz4.

Dumps are read by position.  Files that record their blocks allow that (:mod:`.blocks`); the others
are decompressed once into an unnamed temporary file, with holes for zeros.  The first bytes are
looked at before anything is written, the free space of the disk is respected, and there is a limit
to what comes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vmcoretool.addresses import MIB, FileOffset
from vmcoretool.errors import (
    FormatError,
    TruncatedError,
    UnknownFormatError,
    UnsupportedFormatError,
    VmcoreError,
)
from vmcoretool.sources.blocks import (
    Block,
    BlockSource,
    DamagedStreamError,
    MemoryLimitError,
    is_skippable,
    xz_blocks,
    zstd_blocks,
    zstd_frame_end,
)
from vmcoretool.sources.file import FileSource
from vmcoretool.sources.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmcoretool.budget import Budget
    from vmcoretool.sources.file import ByteSource

CHUNK: Final = MIB
HEAD: Final = 8192
_MAX_WINDOW: Final = 1 << 27
_XZ_MEMORY: Final = 256 * MIB
_LIMITS: Final = {"zstd": (_MAX_WINDOW, "zstd -d --long=31"), "xz": (_XZ_MEMORY, "xz -d")}


def open_compressed(
    source: ByteSource,
    name: str,
    wanted: Callable[[bytes], bool],
    budget: Budget,
) -> ByteSource:
    """The decompressed bytes; what a cut stream still gave is kept and marked incomplete.

    Args:
        source: the compressed file.
        name: "gzip", "bzip2", "xz", "zstd" or "lz4".
        wanted: whether these first bytes are worth decompressing the rest.
        budget: its caller may end the work.

    Raises:
        UnknownFormatError: what is inside is no dump.
        FormatError: the stream is damaged in its first bytes, or too large for the disk.
        UnsupportedFormatError: the codec's module is not installed, or the stream needs more memory
            than it may take.
    """
    in_blocks = _by_blocks(source, name, wanted, budget)
    if in_blocks:
        return in_blocks
    chunks = _STREAMS[name](source)
    with Spool(source.path) as spool:
        complete = True
        try:
            for chunk in chunks:
                if not spool.size and not wanted(chunk[:HEAD]):
                    raise _no_dump(source, name)
                spool.write(chunk)
                if not budget.progress(f"decompressing {name}", chunks.place, source.size):
                    complete = False
                    break
        except MemoryLimitError as error:
            raise _too_large(source, name) from error
        except DamagedStreamError as error:
            if not spool.size:
                raise FormatError(
                    f"the {name} stream is damaged: {error}",
                    path=source.path,
                    where=FileOffset(chunks.place),
                    cure="get the file again",
                ) from error
            complete = False
        complete = complete and chunks.ended
        if not spool.size:
            raise _empty(source, name, ended=chunks.ended)
        inner = FileSource(source.path, spool.detach())
    source.close()
    inner.complete = complete and source.complete
    return inner


def _no_dump(source: ByteSource, name: str) -> UnknownFormatError:
    what = f"{name}-compressed, but what is inside is not a dump"
    return UnknownFormatError(what, path=source.path)


def _too_large(source: ByteSource, name: str) -> UnsupportedFormatError:
    limit, command = _LIMITS[name]
    return UnsupportedFormatError(
        f"decompressing this {name} stream takes more memory than the limit of {limit // MIB} MiB",
        path=source.path,
        cure=f"decompress it first: {command}",
    )


def _empty(source: ByteSource, name: str, *, ended: bool) -> FormatError:
    if ended:
        what = f"{name}-compressed, but what is inside is empty"
        return UnknownFormatError(what, path=source.path, cure="copy it again")
    return TruncatedError(
        f"the {name} stream ends before its first byte of data",
        path=source.path,
        where=FileOffset(source.size),
        cure="get the file again",
    )


def _by_blocks(
    source: ByteSource,
    name: str,
    wanted: Callable[[bytes], bool],
    budget: Budget,
) -> ByteSource | None:
    # None where the file records no blocks, or only one; damage is then found by the stream reader
    if name not in _BLOCKS:
        return None
    stream = _STREAMS[name]
    stream(source)  # says what is not installed
    blocks = _BLOCKS[name](source)
    if len(blocks) < 2:
        return None
    inner = BlockSource(source, name, blocks, stream, budget)
    try:
        head = inner.pread(HEAD, 0)
    except FormatError:
        inner.discard()
        return None
    try:
        if not wanted(head):
            raise _no_dump(source, name)
    except VmcoreError:
        inner.discard()
        raise
    return inner


def _trouble(error: Exception) -> DamagedStreamError:
    # libzstd says that a frame requires too much memory, liblzma that a limit is exceeded
    limit = "memory" in str(error).lower()
    return (MemoryLimitError if limit else DamagedStreamError)(str(error))


class _Stream:
    # Feeds a decoder with an interface like bz2.BZ2Decompressor's; several streams in a row count
    # as one, as with the command-line tools.
    def __init__(
        self,
        source: ByteSource,
        make: Callable[[], Any],
        errors: tuple[type[Exception], ...],
        empty: Callable[[Any], bool],
    ) -> None:
        self._source = source
        self._make = make
        self._errors = errors
        self._empty = empty
        self.place = 0
        self.ended = False

    def __iter__(self) -> Iterator[bytes]:
        decoder = self._make()
        data = self._more()
        while data or not self._empty(decoder):
            try:
                chunk = decoder.decompress(data, CHUNK)
            except self._errors as error:
                if self.ended:  # padding or rubbish behind a whole stream
                    return
                raise _trouble(error) from error
            data = b""
            if chunk:
                self.ended = False
                yield chunk
            if decoder.eof:
                self.ended = True
                data = (decoder.unused_data or b"").lstrip(b"\0")
                decoder = self._make()
            if not data and self._empty(decoder):
                data = self._more()

    def _more(self) -> bytes:
        data = self._source.pread(CHUNK, self.place)
        self.place += len(data)
        return data


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
        chunk = self._inner.decompress(self._inner.unconsumed_tail + data, limit)
        self.eof, self.unused_data = self._inner.eof, self._inner.unused_data
        return chunk


def _needs_input(decoder: Any) -> bool:
    return bool(decoder.needs_input)


def _gzip(source: ByteSource) -> _Stream:
    import zlib  # noqa: PLC0415 - as above

    return _Stream(source, _Inflater, (zlib.error,), _needs_input)


def _bzip2(source: ByteSource) -> _Stream:
    import bz2  # noqa: PLC0415 - as above

    return _Stream(source, bz2.BZ2Decompressor, (OSError, ValueError), _needs_input)


def _xz_decoder() -> Any:
    import lzma  # noqa: PLC0415 - as above

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def _xz(source: ByteSource) -> _Stream:
    import lzma  # noqa: PLC0415 - as above

    return _Stream(source, _xz_decoder, (lzma.LZMAError,), _needs_input)


def _lz4(source: ByteSource) -> _Stream:
    try:
        import lz4.frame  # noqa: PLC0415 - as above
    except ImportError as error:
        raise _missing("lz4", source) from error
    return _Stream(source, lz4.frame.LZ4FrameDecompressor, (RuntimeError, ValueError), _needs_input)


class _ZstdStream:
    # zstandard has a reader of its own, which crosses frames
    def __init__(self, source: ByteSource) -> None:
        try:
            import zstandard  # noqa: PLC0415 - as above
        except ImportError as error:
            raise _missing("zstandard", source) from error
        self._error = zstandard.ZstdError
        self._source = source
        self.place = 0
        self.ended = False
        inflater: Any = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
        self._inner = inflater.stream_reader(self, read_across_frames=True, read_size=CHUNK)

    def read(self, size: int = CHUNK) -> bytes:
        data = self._source.pread(size, self.place)
        self.place += len(data)
        return data

    def __iter__(self) -> Iterator[bytes]:
        while True:
            try:
                chunk = self._inner.read(CHUNK)
            except self._error as error:
                raise _trouble(error) from error
            if not chunk:
                # the reader takes a cut frame for its end: only a whole last frame is one
                self.ended = self._whole()
                return
            yield chunk

    def _whole(self) -> bool:
        import zstandard  # noqa: PLC0415 - as above

        return _zstd_frames_end(self._source, zstandard)


def _zstd_frames_end(source: ByteSource, zstandard: Any) -> bool:
    # True when the last frame ends with the file.
    at = 0
    while at < source.size:
        head = source.pread(18, at)
        if is_skippable(head):
            at += 8 + int.from_bytes(head[4:8], "little")
            continue
        try:
            body = at + zstandard.frame_header_size(head)
            checksum = zstandard.get_frame_parameters(head).has_checksum
        except zstandard.ZstdError:
            return False
        end = zstd_frame_end(source, body, checksum=checksum)
        if end is None:
            return False
        at = end
    return at == source.size


def _missing(package: str, source: ByteSource) -> UnsupportedFormatError:
    return UnsupportedFormatError(
        f"the file is compressed and the module {package} is not installed",
        path=source.path,
        cure=f"pip install {package}, or decompress the file first",
    )


_STREAMS: Final[dict[str, Callable[[ByteSource], Any]]] = {
    "gzip": _gzip,
    "bzip2": _bzip2,
    "xz": _xz,
    "zstd": _ZstdStream,
    "lz4": _lz4,
}
_BLOCKS: Final[dict[str, Callable[[ByteSource], list[Block]]]] = {
    "xz": xz_blocks,
    "zstd": zstd_blocks,
}
