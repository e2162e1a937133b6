"""Which of the files that were named are parts of one dump; each is opened once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.errors import VmcoreError
from vmcoretool.formats.find import is_dump
from vmcoretool.sources.file import MemorySource, open_source
from vmcoretool.sources.layers import Wanted, find_layer, peek

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmcoretool.sources.file import ByteSource

_HEADERS: Final = 1 << 20


def is_dump_or_layer(head: bytes) -> bool:
    """Whether a file with these first bytes may be a dump, or something around one."""
    return is_dump(head) or find_layer(head) is not None


class DumpFiles(NamedTuple):
    """The files of one dump, each opened once and not read yet; whoever gets them closes them.

    Attributes:
        paths: as the user named them, in the order given.
        sources: the files; none where the first one could not be opened.
        error: why it could not, or None.
    """

    paths: tuple[str, ...]
    sources: tuple[ByteSource, ...]
    error: OSError | VmcoreError | None = None

    def close(self) -> None:
        """Close files that nobody opened as a dump."""
        for source in self.sources:
            source.close()


def group_parts(paths: Sequence[str], *, format_name: str | None = None) -> Iterator[DumpFiles]:
    """The files grouped into dumps: parts of one split set together, in the order given.

    Each path is opened once, when its turn comes - or all that are left, from the first part of a
    split set on.  Only first bytes are looked at.  A file that cannot be opened is a dump of its
    own, which raises the reason when it is opened.

    Args:
        paths: as for :func:`open_vmcore`.
        format_name: likewise.
    """
    wanted = None if format_name else is_dump_or_layer
    waiting = list(paths)
    opened: list[tuple[DumpFiles, bytes | None]] = []
    try:
        while waiting or opened:
            if not opened:
                opened.append(_open_part(waiting.pop(0), wanted, alone=len(paths) == 1))
            files, mark = opened.pop(0)
            if mark is not None:
                opened += [_open_part(path, wanted) for path in waiting]
                waiting.clear()
                same = [other for other, theirs in opened if theirs == mark]
                opened = [row for row in opened if row[1] != mark]
                files = DumpFiles(
                    tuple(path for part in (files, *same) for path in part.paths),
                    tuple(source for part in (files, *same) for source in part.sources),
                )
            yield files
    finally:
        for files, _ in opened:
            files.close()


def _open_part(
    path: str, wanted: Wanted | None, *, alone: bool = False
) -> tuple[DumpFiles, bytes | None]:
    # a file, and what all parts of its split set share
    try:
        source = open_source(path, wanted)
    except (OSError, VmcoreError) as error:
        return DumpFiles((path,), (), error), None
    return DumpFiles((path,), (source,)), None if alone else _set_of(source)


def _set_of(source: ByteSource) -> bytes | None:
    from vmcoretool.formats.kdump.header import KDUMP, is_split_part  # noqa: PLC0415 - sets are rare
    from vmcoretool.formats.note_segments import MAX_NOTE_BYTES  # noqa: PLC0415 - likewise

    try:
        if find_layer(source.pread(64, 0)) is None:
            return is_split_part(source)
        if not peek(source, len(KDUMP)).startswith(KDUMP):
            return None
        head = MemorySource(source.path, peek(source, MAX_NOTE_BYTES + _HEADERS))
        return is_split_part(head)
    except (OSError, VmcoreError):
        return None
