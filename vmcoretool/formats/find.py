"""The formats that can be read, in the order they are asked."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from vmcoretool.errors import UnknownFormatError, UnsupportedFormatError
from vmcoretool.formats.api import Format, HeadSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.metadata import EntryPoint

    from vmcoretool.formats.api import Container
    from vmcoretool.sources.file import ByteSource

FORMAT_MODULES: Final = ("elf_core", "xen_dump_core", "kdump.reader", "readelf_text", "raw")
"""The modules of the formats built in, each with a row FORMAT, in the order they are asked.

They are imported one by one until one claims the file: construct and others cost start-up time.
"""
ENTRY_POINTS: Final = ("vmcoretool.formats", "vmcoretool_v1")
"""The group, and the name it had before."""


def built_in_formats() -> Iterator[Format]:
    """The rows of the formats that come with the package, in the order they are asked."""
    for name in FORMAT_MODULES:
        module: Any = import_module(f"vmcoretool.formats.{name}")
        row: Format = module.FORMAT
        yield row


def is_dump(head: bytes) -> bool:
    """Whether a format that is read may claim a file with these first bytes."""
    source = HeadSource(head)
    return any(candidate.probe(source) for candidate in _candidates())


def is_dump_inside(head: bytes) -> bool:
    """Like :func:`is_dump`, for what is to be unpacked first: in vain where it is not read.

    Raises:
        UnsupportedFormatError: a format that is known but not read.
    """
    if is_dump(head):
        return True
    from vmcoretool.formats.recognised import refuse  # noqa: PLC0415 - as rarely as can be

    refuse(HeadSource(head))
    return False


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
    for candidate in _candidates():
        if candidate.name == format_name or (format_name is None and candidate.probe(first)):
            return candidate.open(sources)
    from vmcoretool.formats.recognised import (  # noqa: PLC0415 - nothing claimed it
        may_be_raw,
        refuse,
    )

    refuse(first)
    if first.size == 0:
        raise UnknownFormatError("the file is empty", path=first.path, cure="copy it again")
    raise UnknownFormatError(
        "not a dump in any format known here",
        path=first.path,
        cure="if it is raw memory of a machine, say so: --format raw"
        if may_be_raw(first)
        else "'vmcoretool formats' lists what can be read",
    )


def find_formats() -> tuple[Format, ...]:
    """All formats: those built in, then those that other packages register.

    A package registers a :class:`Format` under the entry point group "vmcoretool.formats".
    """
    return tuple(_candidates())


def check_format(name: str) -> None:
    """Raise for a name that no format has.

    Raises:
        ValueError: naming those that there are.
    """
    names = [row.name for row in find_formats()]
    if name not in names:
        raise ValueError(f"{name!r} is no format; there are: {', '.join(names)}")


def outside_formats() -> Iterator[Format]:
    """The rows that other packages register; they are asked when nothing built in claims a file.

    A package that cannot be loaded has a row too, which says so and claims nothing.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow, and nearly never needed

    for point in (point for group in ENTRY_POINTS for point in entry_points(group=group)):
        try:
            row = point.load()
        except Exception as error:  # noqa: BLE001 - another package's import can raise anything
            yield _unusable(point, f"{type(error).__name__}: {error}")
            continue
        yield row if isinstance(row, Format) else _unusable(point, "it is no Format")


def _unusable(point: EntryPoint, why: str) -> Format:
    what = f"the package that registers it cannot be used: {' '.join(why.split())}"

    def refuse_all(sources: Sequence[ByteSource]) -> Container:
        raise UnsupportedFormatError(
            f"format {point.name}: {what}",
            path=sources[0].path,
            cure=f"install a package whose {point.value} works, or remove it",
        )

    return Format(
        name=point.name,
        title=what,
        references=(point.value,),
        probe=lambda _: False,
        open=refuse_all,
        limitations=("not usable",),
    )


def _candidates() -> Iterator[Format]:
    yield from built_in_formats()
    yield from outside_formats()
