"""Layers around a dump, taken off before its format is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.budget import Budget

if TYPE_CHECKING:
    from vmcoretool.sources.file import ByteSource

MAX_LAYERS: Final = 4
Wanted = Callable[[bytes], bool]


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
    open: Callable[[ByteSource, str, Wanted, Budget], ByteSource]


def _flattened(source: ByteSource, name: str, wanted: Wanted, budget: Budget) -> ByteSource:
    from vmcoretool.sources.flattened import open_flattened  # noqa: PLC0415 - most files are bare

    del name, wanted, budget
    return open_flattened(source)


def _compressed(source: ByteSource, name: str, wanted: Wanted, budget: Budget) -> ByteSource:
    from vmcoretool.sources.compressed import open_compressed  # noqa: PLC0415 - likewise

    return open_compressed(source, name, wanted, budget)


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
    source: ByteSource, is_dump: Wanted, budget: Budget | None = None
) -> tuple[ByteSource, tuple[str, ...]]:
    """The bytes inside all layers, and the layers' names, outermost first.

    Args:
        source: the file.
        is_dump: whether a file with these first bytes is a dump, so that nothing else is
            decompressed; it may raise what is to be said of such a file.
        budget: its caller may end the decompression; what there is so far is the result.

    Raises:
        FormatError: a layer is damaged beyond use.
        OSError: reading, or spooling what cannot be read in place, failed.
    """

    def wanted(head: bytes) -> bool:
        return is_dump(head) or find_layer(head) is not None

    budget = budget or Budget()
    names: list[str] = []
    while len(names) < MAX_LAYERS:
        layer = find_layer(source.pread(64, 0))
        if layer is None:
            break
        source = layer.open(source, layer.name, wanted, budget)
        names.append(layer.name)
    return source, tuple(names)


def find_layer(head: bytes) -> Layer | None:
    """The layer that a file with these first bytes is, or None."""
    return next((layer for layer in LAYERS if head.startswith(layer.magic)), None)
