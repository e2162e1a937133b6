"""Raw memory: the file's byte N is machine address N.  Taken only on request: it has no mark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import PAGE_SIZE, Extent, FileOffset, Maddr
from vmcoretool.formats.api import (
    EM_X86_64,
    Container,
    Format,
    Machine,
    Observed,
    only_source,
    read_or_lost,
    report_incomplete,
)
from vmcoretool.memory.pages import ABSENT, FilePlace, Missing, PageReader, PartialPage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmcoretool.addresses import Mfn
    from vmcoretool.sources.file import ByteSource


class _RawPages(PageReader):
    # all of the file, from address 0 on
    def __init__(self, source: ByteSource) -> None:
        self._source = source

    @property
    def present_pages(self) -> int:
        return self._source.size + PAGE_SIZE - 1 >> 12

    @property
    def end(self) -> Maddr:
        return Maddr(self._source.size)

    def extents(self) -> Iterator[Extent]:
        yield Extent(Maddr(0), Maddr(self._source.size))

    def stored(self) -> Iterator[Extent]:
        for start, end in self._source.data_ranges(0, self._source.size):
            yield Extent(Maddr(start & -PAGE_SIZE), Maddr(end))

    def is_present(self, maddr: int) -> bool:
        return 0 <= maddr < self._source.size

    def page(self, mfn: Mfn) -> bytes | PartialPage | Missing:
        start = mfn * PAGE_SIZE
        if not 0 <= start < self._source.size:
            return ABSENT
        data = read_or_lost(self._source, PAGE_SIZE, start)
        if isinstance(data, Missing) or len(data) == PAGE_SIZE:
            return data
        return PartialPage(((0, data),)) if data else ABSENT

    def run(self, mfn: Mfn, count: int) -> bytes:
        data = self._source.pread(count * PAGE_SIZE, mfn * PAGE_SIZE)
        return data[: len(data) & -PAGE_SIZE]

    def where_is(self, maddr: int) -> FilePlace | None:
        if not self.is_present(maddr):
            return None
        size = min(PAGE_SIZE - maddr % PAGE_SIZE, self._source.size - maddr)
        return FilePlace(self._source.path, FileOffset(maddr), size)


def _never(source: ByteSource) -> bool:
    del source
    return False


def _open(sources: Sequence[ByteSource]) -> Container:
    source = only_source(sources, "raw memory")
    observed = Observed()
    report_incomplete(source, observed)
    return Container(
        row=FORMAT,
        machine=Machine(EM_X86_64, "little"),
        pages=_RawPages(source),
        note_blobs=(),
        complete=observed.complete,
        findings=observed.findings,
    )


FORMAT: Final = Format(
    name="raw",
    title="raw memory of an x86_64 machine, only with --format raw",
    references=("byte N of the file is machine address N",),
    probe=_never,
    open=_open,
    limitations=("holes below 4 GiB must be in the file", "no notes"),
    readable_by_crash=True,
    crash_suffix="@0",  # MEMORY-IMAGE@ADDRESS of crash's own help; without it crash ends at once
)
