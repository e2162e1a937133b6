"""Compression around a whole dump: gzip, bzip2, xz, zstd, lz4.

Dumps are read by position.  Files that record their blocks allow that (:mod:`.blocks`); the others
are decompressed once into an unnamed temporary file, with holes for zeros.  The first bytes are
looked at before more is decompressed, the free space of the disk is respected, and there is a limit
to what comes out.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import MIB, FileOffset
from vmcoretool.budget import Budget
from vmcoretool.errors import (
    FormatError,
    StoppedError,
    TruncatedError,
    UnknownFormatError,
    UnsupportedFormatError,
    VmcoreError,
)
from vmcoretool.sources.blocks import Allowance, BlockSource
from vmcoretool.sources.file import FileSource
from vmcoretool.sources.indexes import Index, xz_index, zstd_index
from vmcoretool.sources.readable import UpToBadSector
from vmcoretool.sources.spool import Spool
from vmcoretool.sources.streams import (
    MAX_WINDOW,
    STREAMS,
    XZ_MEMORY,
    DamagedStreamError,
    MemoryLimitError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmcoretool.budget import Work
    from vmcoretool.sources.file import ByteSource
    from vmcoretool.sources.indexes import Block
    from vmcoretool.sources.layers import Terms
    from vmcoretool.sources.streams import Stream, ZstdStream

HEAD: Final = 8192
_FAR: Final = 16 * MIB
_LIMITS: Final = {"zstd": (MAX_WINDOW, "zstd -d --long=31"), "xz": (XZ_MEMORY, "xz -d")}
_INDEXES: Final[dict[str, Callable[[ByteSource, Budget], Index]]] = {
    "xz": xz_index,
    "zstd": zstd_index,
}


def open_compressed(source: ByteSource, name: str, terms: Terms) -> ByteSource:
    """The decompressed bytes; what a cut stream still gave is kept and marked incomplete.

    Args:
        source: the compressed file; the result owns it.
        name: "gzip", "bzip2", "xz", "zstd" or "lz4".
        terms: what may be inside, and how much of it; its caller may end the work.

    Raises:
        UnknownFormatError: what is inside is no dump.
        FormatError: the stream is damaged in its first bytes, or too large for the disk.
        StoppedError: the work was ended before the first byte came out.
        UnsupportedFormatError: the codec's module is not installed, or the stream needs more memory
            than it may take.
    """
    readable = UpToBadSector(source)
    stream = STREAMS[name](readable, terms.budget)  # says what is not installed
    work = terms.budget.work(f"decompressing {name}", size=terms.limit)
    index = _INDEXES[name](readable, terms.budget) if name in _INDEXES else Index([], None)
    if len(index.blocks) > 1:
        in_blocks = _by_blocks(source, name, index.blocks, terms, work)
        if in_blocks:
            in_blocks.complete = readable.complete
            in_blocks.unreadable = readable.unreadable
            return in_blocks
    with Spool(source.path) as spool:
        finished = _fill(spool, stream, source, work, terms)
        whole = stream.ended if index.whole is None else index.whole
        if not spool.size and readable.unreadable:
            raise OSError(errno.EIO, readable.unreadable, source.path)
        if not spool.size:
            raise _empty(source, name, ended=whole, finished=finished)
        inner = FileSource(source.path, spool.detach())
    source.close()
    inner.complete = finished and whole and readable.complete
    inner.unreadable = readable.unreadable
    return inner


def first_bytes(source: ByteSource, name: str, size: int) -> bytes:
    """What a compressed file begins with, at least ``size`` bytes of it where it has them.

    Nothing is kept, and no more than needed is read; where that fails, there are fewer.
    """
    found = bytearray()
    try:
        stream = STREAMS[name](UpToBadSector(source), Budget())
        for piece in stream:
            found += piece
            if len(found) >= size or stream.place > _FAR:
                break
    except (DamagedStreamError, UnsupportedFormatError):
        pass
    return bytes(found)


def _fill(
    spool: Spool, stream: Stream | ZstdStream, source: ByteSource, work: Work, terms: Terms
) -> bool:
    # Whether the stream was read as far as it can be; False: the caller or a limit ended it.
    name = work.name.rpartition(" ")[2]
    try:
        for piece in stream:
            if piece and not spool.size and not terms.wanted(piece[:HEAD]):
                raise _no_dump(source, name)
            spool.write(piece)
            go_on = work.progress(stream.place, source.size)
            if not (work.go_on(size=len(piece)) and go_on):
                terms.budget.leave(work.name, stream.place, source.size)
                return False
    except MemoryLimitError as error:
        raise _too_large(source, name) from error
    except DamagedStreamError as error:
        if spool.size:
            return False
        raise FormatError(
            f"the {name} stream is damaged: {error.what}",
            path=source.path,
            where=FileOffset(stream.place),
            cure="get the file again",
        ) from error
    return True


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


def _empty(source: ByteSource, name: str, *, ended: bool, finished: bool) -> VmcoreError:
    if not finished:
        what = f"the decompression of the {name} stream was ended before its first byte of data"
        return StoppedError(what, path=source.path, cure="run it again, or decompress it first")
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
    source: ByteSource, name: str, blocks: list[Block], terms: Terms, work: Work
) -> BlockSource | None:
    # None where the first block is damaged; the stream reader then finds out what is left
    inner = BlockSource(source, blocks, STREAMS[name], Allowance(terms.budget, work))
    try:
        head = inner.peek(HEAD)
        known = terms.wanted(head)
    except FormatError:
        inner.discard()
        return None
    except BaseException:
        inner.discard()
        raise
    if not known:
        inner.discard()
        raise _no_dump(source, name)
    return inner
