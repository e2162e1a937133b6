"""Decompression of single pages, each with a hard limit on its output.

kdump marks the codec of each page in its descriptor (makedumpfile diskdump_mod.h,
DUMP_DH_COMPRESSED_*).  Modules are imported when a page needs them.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

from vmcoretool.errors import FormatError, UnsupportedFormatError

if TYPE_CHECKING:
    from collections.abc import Callable

ZLIB: Final = 0x1
LZO: Final = 0x2
SNAPPY: Final = 0x4
ZSTD: Final = 0x20
NAMES: Final = {ZLIB: "zlib", LZO: "LZO", SNAPPY: "snappy", ZSTD: "zstd"}


class PageDataError(FormatError):
    """Compressed data that does not yield one page; it becomes the damage of that page."""


def find_codec(flags: int) -> Callable[[bytes, int], bytes]:
    """The function that decompresses pages with these flags: (data, page size) -> page.

    Raises:
        PageDataError: the flags name no codec.
        UnsupportedFormatError: the codec's module is not installed.
    """
    makers = {ZLIB: lambda: _zlib, LZO: _lzo, SNAPPY: _snappy, ZSTD: _zstd}
    make: Callable[[], Callable[[bytes, int], bytes]] | None = makers.get(flags)
    if make is None:
        raise PageDataError(f"page flags {flags:#x} name no compression")
    try:
        return make()
    except ImportError as error:
        package = {LZO: "lzallright", SNAPPY: "cramjam", ZSTD: "zstandard"}[flags]
        raise UnsupportedFormatError(
            f"pages are compressed with {NAMES[flags]}, whose module is not installed",
            cure=f"pip install {package}",
        ) from error


def _zlib(data: bytes, size: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        page = inflater.decompress(data, size)
        # the checksum is verified at the end of the stream only, which the limit may hide
        more = inflater.decompress(inflater.unconsumed_tail, 1) if not inflater.eof else b""
    except zlib.error as error:
        raise PageDataError(f"zlib: {error}") from error
    if more or not inflater.eof:
        raise PageDataError("zlib: the stream does not end with the page")
    return _whole(page, size)


def _lzo() -> Callable[[bytes, int], bytes]:
    from lzallright import LZOCompressor, LZOError  # noqa: PLC0415 - only LZO dumps pay for it

    def decompress(data: bytes, size: int) -> bytes:
        # LZO expands at most 255-fold, so a damaged page of 64 KiB stays below 16 MiB
        try:
            return _whole(LZOCompressor.decompress(data, size), size)
        except LZOError as error:
            raise PageDataError(f"LZO: {error}") from error

    return decompress


def _snappy() -> Callable[[bytes, int], bytes]:
    import cramjam  # noqa: PLC0415 - likewise

    def decompress(data: bytes, size: int) -> bytes:
        if _varint(data) != size:
            raise PageDataError("snappy: the stated length is not that of a page")
        try:
            return _whole(bytes(cramjam.snappy.decompress_raw(data)), size)
        except cramjam.DecompressionError as error:
            raise PageDataError(f"snappy: {error}") from error

    return decompress


def _zstd() -> Callable[[bytes, int], bytes]:
    import threading  # noqa: PLC0415 - likewise

    import zstandard  # noqa: PLC0415 - likewise

    class PerThread(threading.local):
        # python-zstandard's decompressors must not be used by two threads at once
        def __init__(self) -> None:
            self.inflater: Any = zstandard.ZstdDecompressor(max_window_size=1 << 27)

    own = PerThread()

    def decompress(data: bytes, size: int) -> bytes:
        try:
            # the stated size is what would be allocated: it must be known to be a page's
            if zstandard.frame_content_size(data) != size:
                raise PageDataError("zstd: the stated length is not that of a page")
            return _whole(own.inflater.decompress(data, max_output_size=size), size)
        except zstandard.ZstdError as error:
            raise PageDataError(f"zstd: {error}") from error

    return decompress


def _varint(data: bytes) -> int:
    value = 0
    for at, byte in enumerate(data[:5]):
        value |= (byte & 0x7F) << 7 * at
        if byte < 0x80:
            return value
    return -1


def _whole(page: bytes, size: int) -> bytes:
    if len(page) != size:
        raise PageDataError(f"{len(page)} bytes came out, a page has {size}")
    return page
