"""The formats that can be read, in the order they are asked."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from vmcoretool.errors import UnknownFormatError, UnsupportedFormatError
from vmcoretool.formats.api import Format, HeadSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from importlib.metadata import EntryPoint

    from vmcoretool.errors import VmcoreError
    from vmcoretool.formats.api import Container
    from vmcoretool.sources.file import ByteSource

FORMAT_MODULES: Final = ("elf_core", "xen_dump_core", "kdump.reader", "readelf_text", "raw")
"""The modules of the formats built in, each with a row FORMAT, in the order they are asked.

They are imported one by one until one claims the file: construct and others cost start-up time.
"""
ZEROS: Final = 4096
"""A file that begins with so many zeros, or is no longer, is told so."""
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


def is_dump_inside(head: bytes, more: Callable[[int], ByteSource]) -> bool:
    """Like :func:`is_dump`, for what is to be unpacked first: in vain where it is not read.

    Args:
        head: the first bytes of what is inside.
        more: so many of the first bytes, as a source.

    Raises:
        UnsupportedFormatError: a format that is known but not read.
    """
    if is_dump(head):
        return True
    _refuse(HeadSource(head), more)
    return False


def _refuse(source: ByteSource, more: Callable[[int], ByteSource]) -> None:
    # raise for what is known but not read
    from vmcoretool.formats.recognised import TAR, recognise, refusal  # noqa: PLC0415 - rarely

    row = recognise(source)
    if row is None:
        return
    if row.magic != TAR:
        raise refusal(row, source.path)
    from vmcoretool.formats.archives import (  # noqa: PLC0415 - likewise
        BLOCK,
        MAX_BYTES,
        begins_with_member,
        dump_in_tar,
    )

    if not begins_with_member(source.pread(BLOCK, 0)):
        raise refusal(row, source.path)
    whole = more(MAX_BYTES)
    raise refusal(row, whole.path, dump_in_tar(whole, is_dump))


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
    _refuse(first, lambda _: first)
    raise _unknown(first)


def _unknown(source: ByteSource) -> VmcoreError:
    # what is known of a file that no format claims
    from vmcoretool.formats.recognised import may_be_raw, zeros_in_front  # noqa: PLC0415 - rarely
    from vmcoretool.formats.texts import text_of  # noqa: PLC0415 - likewise

    path = source.path
    if source.size == 0:
        return UnknownFormatError("the file is empty", path=path, cure="copy it again")
    zeros = zeros_in_front(source)
    if zeros >= min(source.size, ZEROS):
        extent = "it holds" if zeros == source.size else f"its first {zeros} bytes are"
        return UnknownFormatError(
            f"{extent} nothing but zeros: what was there is lost, or was never written",
            path=path,
            cure="get the file again; raw memory of a machine needs --format raw",
        )
    text = text_of(source)
    if text:
        name, headline = text
        what = f"this is {name}, not a dump"
        return UnsupportedFormatError(
            f"{what}; its last panic: {headline}" if headline else f"{what}; it names no panic",
            path=path,
            cure="give the dump itself: it may lie beside it, or readelf-Wn.out",
        )
    return UnknownFormatError(
        "not a dump in any format known here",
        path=path,
        cure="if it is raw memory of a machine, say so: --format raw"
        if may_be_raw(source)
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
