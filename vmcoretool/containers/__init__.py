"""The formats that can be read, in the order they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.containers import elf_core
from vmcoretool.errors import FormatError, UnknownFormatError

if TYPE_CHECKING:
    from vmcoretool.containers.api import Container, Format
    from vmcoretool.source import ByteSource

FORMATS: Final[tuple[Format, ...]] = (elf_core.FORMAT,)


def open_container(source: ByteSource, *, format_name: str | None = None) -> Container:
    """Take the file apart with the first format that claims it, or with the one named.

    Raises:
        UnknownFormatError: no format claims the file.
        FormatError: a format claims it, but its headers are damaged beyond use.
        OSError: the file cannot be read.
    """
    try:
        for candidate in FORMATS:
            if candidate.name == format_name or (format_name is None and candidate.probe(source)):
                return candidate.open(source)
    except FormatError as error:
        error.path = error.path or source.path
        raise
    if source.size == 0:
        raise UnknownFormatError("the file is empty", path=source.path, cure="copy it again")
    raise UnknownFormatError(
        "not a dump in any format known here",
        path=source.path,
        cure="'vmcoretool formats' lists what can be read",
    )
