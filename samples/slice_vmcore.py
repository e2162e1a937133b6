#!/usr/bin/env python3
"""Cut a vmcore to its headers, its notes and the data pages that evidence needs.

    python3 samples/slice_vmcore.py VMCORE OUT [--linux] [--keep 0xSTART-0xEND]...

The slice holds what one inspection needs: page tables, the idle page table, the pages of the
strings and symbols that the notes point to, the console ring, the build-id, the domains' and
virtual CPUs' structures.  No code page of the hypervisor gets in: a page that the image maps
executable is refused; and no page of guest memory, but for tables and shared info pages.
``--linux`` adds dom0's VMCOREINFO, the pages of its log, and those of its kernel's banner and
build-id.  The ELF headers are written anew, the notes are copied byte by byte.
"""

from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vmcoretool import Extent, Maddr, MemoryFault, Vaddr, Vmcore, inspect_vmcore, open_vmcore
from vmcoretool.evidence.facts import Facts
from vmcoretool.evidence.known import Place
from vmcoretool.inspection.inspect import locate
from vmcoretool.linux.image import kernel_blocks, runs_of
from vmcoretool.memory.pages import Missing, PageReader, PartialPage
from vmcoretool.memory.physical import PhysicalMemory
from vmcoretool.memory.x86_64 import walk
from vmcoretool.render.notes import note_objects
from vmcoretool.xen.search import image_windows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmcoretool.addresses import Mfn
    from vmcoretool.xen.image.image import Image

PAGE = 4096
NX = 1 << 63
_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")


class _Recorder(PageReader):
    """A PageReader that remembers which pages were read one by one; searches read larger blocks."""

    def __init__(self, pages: PageReader) -> None:
        self.pages = pages
        self.touched: set[int] = set()

    @property
    def present_pages(self) -> int:
        return self.pages.present_pages

    @property
    def excluded_pages(self) -> int:
        return self.pages.excluded_pages

    def extents(self) -> Iterable[Extent]:
        return self.pages.extents()

    def is_present(self, maddr: int) -> bool:
        return self.pages.is_present(maddr)

    def is_excluded(self, maddr: int) -> bool:
        return self.pages.is_excluded(maddr)

    def stored(self) -> Iterable[Extent]:
        return self.pages.stored()

    def run(self, mfn: Mfn, count: int) -> bytes:
        return self.pages.run(mfn, count)

    def page(self, mfn: Mfn) -> bytes | PartialPage | Missing:
        page = self.pages.page(mfn)
        if not isinstance(page, Missing):
            self.touched.add(mfn * PAGE)
        return page


def needed_pages(vmcore: Vmcore) -> set[int]:
    """Machine addresses of the pages that inspecting the dump needs, code pages refused."""
    recorder = _Recorder(vmcore.container.pages)
    shadow = vmcore._replace(memory=PhysicalMemory(recorder))
    inspection = inspect_vmcore(shadow)
    note_objects(shadow)
    pages = recorder.touched
    place = Place(Facts(vmcore))
    for image in place.images:
        if not image.layout.relocatable:
            continue
        build_id = inspection.xen.build_id if inspection.xen else None
        if build_id:
            pages |= _pages_with(vmcore, image, bytes.fromhex(build_id))
        info = vmcore.vmcoreinfo_xen
        for key in info.entries if info else ():
            symbol = info.symbol(key.removeprefix("SYMBOL(").removesuffix(")")) if info else None
            at = image.maddr_of(symbol) if symbol is not None else None
            if at is not None:
                pages.add(at & -PAGE)
        if place.ring:
            pointer = image.maddr_of(place.ring.pointer) if place.ring.pointer else None
            pages |= {pointer & -PAGE} if pointer else set()
            pages |= set(range(place.ring.maddr, place.ring.maddr + len(place.ring.data), PAGE))
        for page in pages:
            vaddr = image.vaddr_of(page)
            if vaddr is not None:
                _refuse_code(vmcore.memory, image.root, vaddr, page)
    return pages


_KERNEL_MARKS: Final = (
    b"Linux version ",
    b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0",
    b"Linux" + bytes(60),  # struct new_utsname
)


def linux_pages(vmcore: Vmcore) -> set[int]:
    """What dmesg, vmcoreinfo and dom0's release need."""
    recorder = _Recorder(vmcore.container.pages)
    shadow = vmcore._replace(memory=PhysicalMemory(recorder))
    host = locate(shadow).host()
    chosen, _ = host.linux_vmcoreinfo()
    dom0 = host.domain(0)
    if chosen is None or dom0 is None:
        sys.exit("dom0 has no VMCOREINFO here")
    host.kernel_log(dom0, chosen.info)
    pages = recorder.touched | {chosen.maddr & -PAGE}
    for root, _ in host.roots(dom0):
        for block in kernel_blocks(shadow.memory, root):
            for run in runs_of(shadow.memory, block):
                data = vmcore.memory.read(run.maddr, run.size)
                for mark in _KERNEL_MARKS:
                    at = data.find(mark)
                    while at >= 0:
                        pages |= {run.maddr + at + near & -PAGE for near in (-1024, 0, 1024)}
                        at = data.find(mark, at + 1)
        break
    return pages | recorder.touched


def _pages_with(vmcore: Vmcore, image: Image, needle: bytes) -> set[int]:
    found = set()
    for vaddr, block, _ in image_windows(vmcore.memory, image, image.runs[0].vaddr, 1 << 30):
        at = block.find(needle)
        maddr = image.maddr_of(vaddr + at) if at >= 0 else None
        if maddr is not None and (
            block[at - 16 : at - 12] == b"\x04\0\0\0" or block[at - 4 : at] == b"RSDS"
        ):
            found.add(maddr - 16 & -PAGE)
    return found


def _refuse_code(memory: PhysicalMemory, root: Maddr, vaddr: Vaddr, page: int) -> None:
    try:
        done = walk(memory, root, vaddr)
    except MemoryFault:
        return
    # builds that map whole 2 MiB pages executable cannot tell code from data this way
    if done.maddr == page and done.page_size == PAGE and not done.steps[-1].entry & NX:
        read_only = not done.steps[-1].entry & 2
        if read_only and not _is_text(memory.read(Maddr(page), PAGE)):
            sys.exit(f"page {page:#x} is code")


def _is_text(data: bytes) -> bool:
    printable = sum(32 <= byte < 127 or byte == 0 for byte in data)
    return printable > 0.9 * len(data)


def write_slice(vmcore: Vmcore, pages: set[int], out: Path) -> None:
    """Write an ELF64 core with one PT_NOTE and a PT_LOAD for each run of pages."""
    notes = b"".join(blob.data for blob in vmcore.container.note_blobs)
    runs: list[list[int]] = []
    for page in sorted(pages):
        if runs and runs[-1][1] == page:
            runs[-1][1] = page + PAGE
        else:
            runs.append([page, page + PAGE])
    note_offset = _EHDR.size + _PHDR.size * (len(runs) + 1)
    offset = note_offset + len(notes) + PAGE - 1 & -PAGE
    phdrs = [_PHDR.pack(4, 0, note_offset, 0, 0, len(notes), len(notes), 0)]
    body = b""
    for start, end in runs:
        phdrs.append(_PHDR.pack(1, 7, offset + len(body), 0, start, end - start, end - start, 0))
        body += vmcore.memory.read(Maddr(start), end - start)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    ehdr = _EHDR.pack(ident, 4, 62, 1, 0, 64, 0, 0, 64, 56, len(phdrs), 0, 0, 0)
    head = ehdr + b"".join(phdrs) + notes
    out.write_bytes(head.ljust(offset, b"\0") + body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("vmcore")
    parser.add_argument("out", type=Path)
    parser.add_argument("--linux", action="store_true")
    parser.add_argument("--keep", action="append", default=[], metavar="0xSTART-0xEND")
    options = parser.parse_args()
    with open_vmcore(options.vmcore) as vmcore:
        pages = needed_pages(vmcore)
        if options.linux:
            pages |= linux_pages(vmcore)
        for text in options.keep:
            start, end = (int(part, 16) for part in text.split("-"))
            pages |= set(range(start & -PAGE, end, PAGE))
        write_slice(vmcore, pages, options.out)
    print(f"{options.out}: {len(pages)} pages")


if __name__ == "__main__":
    main()
