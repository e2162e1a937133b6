"""Raw memory: the file's byte N is machine address N.  Taken only on request: it has no mark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import Extent, Maddr
from vmcoretool.errors import FormatError, MemoryFault
from vmcoretool.findings import finding
from vmcoretool.formats.api import EM_X86_64, Container, Format, Machine, only_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmcoretool.sources.file import ByteSource


class _RawPages:
    # The PageReader: all of the file, from address 0 on.
    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self.present_pages = source.size + 4095 >> 12
        self.excluded_pages = 0

    def extents(self) -> Iterator[Extent]:
        yield Extent(Maddr(0), Maddr(self._source.size))

    def stored(self) -> Iterator[Extent]:
        for start, end in self._source.data_ranges(0, self._source.size):
            yield Extent(Maddr(start & -4096), Maddr(end))

    def is_present(self, maddr: int) -> bool:
        return 0 <= maddr < self._source.size

    def is_excluded(self, maddr: int) -> bool:
        del maddr
        return False

    def read_at(self, maddr: int, size: int) -> bytes:
        try:
            return self._source.pread(size, maddr)
        except FormatError as error:
            raise MemoryFault(Maddr(maddr), reason=f"was lost: {error.what}") from error


def _never(source: ByteSource) -> bool:
    del source
    return False


def _open(sources: Sequence[ByteSource]) -> Container:
    source = only_source(sources, "raw memory")
    lost = "the stream around the memory ends early or is damaged"
    return Container(
        format="raw",
        machine=Machine(EM_X86_64, "little"),
        pages=_RawPages(source),
        note_blobs=(),
        complete=source.complete,
        findings=() if source.complete else (finding("truncated", lost),),
    )


FORMAT: Final = Format(
    name="raw",
    title="raw memory of an x86_64 machine, only with --format raw",
    reference="byte N of the file is machine address N",
    probe=_never,
    open=_open,
    limits="holes below 4 GiB must be in the file; no notes",
)
