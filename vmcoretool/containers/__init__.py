"""The formats that can be read, in the order they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.containers import elf_core, kdump, raw, readelf_text, recognised, xen_core
from vmcoretool.containers.api import HeadSource
from vmcoretool.errors import FormatError, UnknownFormatError, UnsupportedFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmcoretool.containers.api import Container, Format
    from vmcoretool.source import ByteSource

FORMATS: Final[tuple[Format, ...]] = (
    xen_core.FORMAT,  # an ELF too: it must be asked before elf_core
    elf_core.FORMAT,
    kdump.FORMAT,
    readelf_text.FORMAT,
    raw.FORMAT,
)
ENTRY_POINTS: Final = "vmcoretool_v1"


def is_dump(head: bytes) -> bool:
    """Whether some format may claim a file with these first bytes."""
    source = HeadSource(head)
    return any(candidate.probe(source) for candidate in FORMATS) or bool(
        recognised.recognise(source)
    )


def open_container(sources: Sequence[ByteSource], *, format_name: str | None = None) -> Container:
    """Take a dump apart with the first format that claims it, or with the one named.

    Args:
        sources: the file, or the parts of a split set in any order.
        format_name: skips recognition.

    Raises:
        UnknownFormatError: no format claims the file.
        UnsupportedFormatError: a format claims it that is not read in this form.
        FormatError: a format claims it, but its headers are damaged beyond use.
        OSError: the file cannot be read.
    """
    first = sources[0]
    try:
        for candidate in (*FORMATS, *_outside(first, format_name)):
            if candidate.name == format_name or (format_name is None and candidate.probe(first)):
                return candidate.open(sources)
        recognised.refuse(first)
    except (FormatError, UnsupportedFormatError) as error:
        error.path = error.path or first.path
        raise
    if first.size == 0:
        raise UnknownFormatError("the file is empty", path=first.path, cure="copy it again")
    raise UnknownFormatError(
        "not a dump in any format known here",
        path=first.path,
        cure="'vmcoretool formats' lists what can be read",
    )


def find_formats(name: str | None = None) -> tuple[Format, ...]:
    """All formats, or those called ``name``, with those that other packages register.

    A package registers a :class:`Format` under the entry point group "vmcoretool_v1".
    """
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow, and nearly never needed

    found = [*FORMATS, *(one.load() for one in entry_points(group=ENTRY_POINTS))]
    return tuple(one for one in found if name in (None, one.name))


def _outside(source: ByteSource, format_name: str | None) -> Iterator[Format]:
    # Looked up only when no format built in claims the file.
    built_in = any(
        row.name == format_name or (format_name is None and row.probe(source)) for row in FORMATS
    )
    if not built_in:
        yield from find_formats()[len(FORMATS) :]
