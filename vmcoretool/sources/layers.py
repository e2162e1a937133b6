"""Layers around a dump, taken off before its format is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB
from vmcoretool.budget import Budget
from vmcoretool.errors import FormatError
from vmcoretool.sources.file import MemorySource

if TYPE_CHECKING:
    from vmcoretool.sources.file import ByteSource

MAX_LAYERS: Final = 4
ALLOWANCE: Final = 1024 * MIB
RATIO: Final = 4096
"""A layer may hold this often the size of the file around it, besides the allowance.

No host's dump comes near: of each GiB of free memory its frame table alone has 8 MiB of links.
"""
Wanted = Callable[[bytes], bool]


class Terms(NamedTuple):
    """On what terms a layer is taken off.

    Attributes:
        wanted: whether a file with these first bytes is worth decompressing.
        budget: its caller may end the work; it remembers what was cut off.
        limit: how many bytes may come out.
    """

    wanted: Wanted
    budget: Budget
    limit: int


class Layer(NamedTuple):
    """One kind of wrapping.

    Attributes:
        name: as in JSON ``dump.layers``.
        title: one line for people.
        magic: what the file's first bytes can be.
        open: the bytes inside; FormatError from here is final.
    """

    name: str
    title: str
    magic: tuple[bytes, ...]
    open: Callable[[ByteSource, str, Terms], ByteSource]


def _flattened(source: ByteSource, name: str, terms: Terms) -> ByteSource:
    from vmcoretool.sources.flattened import open_flattened  # noqa: PLC0415 - most files are bare

    del name
    return open_flattened(source, terms.budget)


def _compressed(source: ByteSource, name: str, terms: Terms) -> ByteSource:
    from vmcoretool.sources.compressed import open_compressed  # noqa: PLC0415 - likewise

    return open_compressed(source, name, terms)


LAYERS: Final[tuple[Layer, ...]] = (
    Layer(
        "flattened",
        "makedumpfile -F, its stream over ssh (vmcore.flat), QEMU kdump-*; read in place",
        (b"makedumpfile\0\0\0\0",),
        _flattened,
    ),
    Layer("gzip", "decompressed to a temporary file", (b"\x1f\x8b",), _compressed),
    Layer("bzip2", "decompressed to a temporary file", (b"BZh",), _compressed),
    Layer(
        "xz",
        "blocks are decompressed when needed; a file of one block as a whole",
        (b"\xfd7zXZ\0",),
        _compressed,
    ),
    Layer(
        "zstd",
        "frames are decompressed when needed; a file of one frame as a whole",
        # a frame, or a skippable one of any of the 16 kinds (pzstd begins with one)
        (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + kind]) + b"\x2a\x4d\x18" for kind in range(16))),
        _compressed,
    ),
    Layer("lz4", "decompressed to a temporary file", (b"\x04\x22\x4d\x18",), _compressed),
)


def unwrap(
    source: ByteSource, is_dump: Wanted, budget: Budget | None = None, *, limit: int | None = None
) -> tuple[ByteSource, tuple[str, ...]]:
    """The bytes inside all layers, and the layers' names, outermost first.

    Args:
        source: the file; closed where this fails.
        is_dump: whether a file with these first bytes is a dump, so that nothing else is
            decompressed; it may raise the reason why such a file is not read.
        budget: its caller may end the decompression; what there is so far is the result.
        limit: how many bytes may come out of a layer; the default is far above any real dump's.

    Raises:
        FormatError: a layer is damaged beyond use.
        OSError: reading, or spooling what cannot be read in place, failed.
    """

    def wanted(head: bytes) -> bool:
        return is_dump(head) or find_layer(head) is not None

    if limit is None:
        limit = ALLOWANCE + RATIO * source.size
    terms = Terms(wanted, budget or Budget(), limit)
    names: list[str] = []
    try:
        while len(names) < MAX_LAYERS:
            layer = find_layer(source.pread(64, 0))
            if layer is None:
                break
            source = layer.open(source, layer.name, terms)
            names.append(layer.name)
    except BaseException:
        source.close()
        raise
    return source, tuple(names)


def peek(source: ByteSource, size: int) -> bytes:
    """What is inside all layers begins with; nothing but that is decompressed, and nothing kept.

    Where a layer is damaged, there are fewer bytes or none.

    Raises:
        OSError: the file cannot be read.
    """
    inner: ByteSource = source
    for _ in range(MAX_LAYERS):
        layer = find_layer(inner.pread(64, 0))
        if layer is None:
            break
        inner = MemorySource(source.path, _first_bytes(inner, layer.name, size))
    return inner.pread(size, 0)


def _first_bytes(source: ByteSource, name: str, size: int) -> bytes:
    if name != "flattened":
        from vmcoretool.sources.compressed import first_bytes  # noqa: PLC0415 - likewise

        return first_bytes(source, name, size)
    from vmcoretool.sources.flattened import open_flattened  # noqa: PLC0415 - likewise

    head = MemorySource(source.path, source.pread(2 * size, 0))
    try:
        flat = open_flattened(head)
        return flat.pread(min(size, next((end for _, end in flat.data_ranges(0, size)), 0)), 0)
    except FormatError:
        return b""


def find_layer(head: bytes) -> Layer | None:
    """The layer that a file with these first bytes is, or None."""
    return next((layer for layer in LAYERS if head.startswith(layer.magic)), None)
