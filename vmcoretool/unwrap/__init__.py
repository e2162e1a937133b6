"""Layers around a dump, taken off before its format is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.unwrap import flattened

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmcoretool.source import ByteSource

MAX_LAYERS: Final = 4


class Layer(NamedTuple):
    """One kind of wrapping.

    Attributes:
        name: as in JSON ``dump.layers``.
        title: one line for people.
        probe: whether these first bytes are it.
        open: the bytes inside; FormatError from here is final.
    """

    name: str
    title: str
    probe: Callable[[bytes], bool]
    open: Callable[[ByteSource], ByteSource]


LAYERS: Final[tuple[Layer, ...]] = (
    Layer(
        "flattened",
        "makedumpfile -F, its stream over ssh (vmcore.flat), QEMU kdump-*",
        flattened.probe,
        flattened.open_flattened,
    ),
)


def unwrap(source: ByteSource) -> tuple[ByteSource, tuple[str, ...]]:
    """The bytes inside all layers, and the layers' names, outermost first.

    Raises:
        FormatError: a layer is damaged beyond use.
        OSError: reading, or spooling what cannot be read in place, failed.
    """
    names: list[str] = []
    while len(names) < MAX_LAYERS:
        head = source.pread(64, 0)
        layer = next((one for one in LAYERS if one.probe(head)), None)
        if layer is None:
            break
        source = layer.open(source)
        names.append(layer.name)
    return source, tuple(names)
