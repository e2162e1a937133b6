"""Machine memory made of pages in a dictionary, and the pages of a small Linux kernel."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vmcoretool.addresses import MADDR_LIMIT, PAGE_SIZE, Extent, Maddr, Mfn
from vmcoretool.formats.no_memory import NoMemory
from vmcoretool.memory.extents import ExtentMap
from vmcoretool.memory.pages import ABSENT, EXCLUDED, Missing, PageReader
from vmcoretool.memory.physical import PhysicalMemory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PAGE = PAGE_SIZE
KERNEL = 0xFFFF_FFFF_8100_0000
NOTHING = PhysicalMemory(NoMemory())
"""Memory without a byte."""


class Pages(PageReader):
    """``pages`` maps frame numbers to bytes; ``excluded`` frames were left out."""

    def __init__(self, pages: Mapping[int, bytes], excluded: Iterable[int] = ()) -> None:
        self.pages = pages
        self.excluded = frozenset(excluded)

    def page(self, mfn: Mfn) -> bytes | Missing:
        page = self.pages.get(mfn)
        if page is None:
            return EXCLUDED if mfn in self.excluded else ABSENT
        return page

    def extents(self) -> Iterable[Extent]:
        return ExtentMap(map(_bounds, {*self.pages, *self.excluded}))

    def stored(self) -> Iterable[Extent]:
        # one extent for each page, so that searches meet as many borders as can be
        return [Extent(Maddr(low), Maddr(high)) for low, high in map(_bounds, sorted(self.pages))]


def _bounds(frame: int) -> tuple[int, int]:
    return frame * PAGE_SIZE, (frame + 1) * PAGE_SIZE


def pages_at(pages: Mapping[int, bytes]) -> Pages:
    """The same of pages by their machine addresses."""
    return Pages({maddr // PAGE_SIZE: page for maddr, page in pages.items()})


class Runs(Pages):
    """As Pages, but many pages are read at once, as from a file."""

    def run(self, mfn: Mfn, count: int) -> bytes:
        last = int(mfn)
        while last in self.pages and last < mfn + count:
            last += 1
        return b"".join(self.pages[frame] for frame in range(mfn, last))


class Filtered(Pages):
    """Memory up to a limit whose absent pages were left out, for they held zeros."""

    def __init__(self, pages: Mapping[int, bytes], end: int = MADDR_LIMIT) -> None:
        super().__init__(pages)
        self.limit = end

    def page(self, mfn: Mfn) -> bytes | Missing:
        found = super().page(mfn)
        return EXCLUDED if found is ABSENT and mfn * PAGE < self.limit else found


def memory_of(pages: Mapping[int, bytes]) -> PhysicalMemory:
    return PhysicalMemory(Pages(pages))


def kernel_tables(first: int, content: bytes) -> tuple[Maddr, dict[int, bytes]]:
    """A root that maps read-only pages of a kernel image, and all pages, from a frame on."""
    image = [content[at : at + PAGE].ljust(PAGE, b"\0") for at in range(0, len(content) or 1, PAGE)]
    tables: dict[int, bytes] = {}
    for level, shift in enumerate((39, 30, 21)):
        slot = KERNEL >> shift & 511
        tables[first + level] = table({slot: (first + level + 1) << 12 | 1})
    leaves = ((first + 4 + at) << 12 | 1 | 1 << 63 for at in range(len(image)))
    tables[first + 3] = table(dict(enumerate(leaves, KERNEL >> 12 & 511)))
    tables |= {first + 4 + at: page for at, page in enumerate(image)}
    return Maddr(first << 12), tables


def table(entries: Mapping[int, int]) -> bytes:
    """A page of 512 entries, by slot."""
    page = bytearray(PAGE)
    for slot, entry in entries.items():
        struct.pack_into("<Q", page, 8 * slot, entry)
    return bytes(page)


def kernel_notes(build_id: bytes) -> bytes:
    """The notes of a kernel image: its build-id, and one of Xen's."""
    note = struct.pack("<III", 4, len(build_id), 3) + b"GNU\0" + build_id
    return note + struct.pack("<III", 4, 8, 2) + b"Xen\0" + bytes(8)


def kernel_page(release: str, build_id: bytes) -> bytes:
    """A kernel image of one page: banner and notes."""
    banner = f"Linux version {release} (builder) #1 SMP\n".encode()
    return banner.ljust(1024, b"\0") + kernel_notes(build_id)
