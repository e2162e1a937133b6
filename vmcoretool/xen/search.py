"""Searching memory: an image in blocks from a place outwards, or all of a dump page by page."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import MIB, PAGE_SIZE, Maddr, Vaddr
from vmcoretool.memory.x86_64 import FRAME_MASK, PRESENT
from vmcoretool.xen.image.layouts import LINEAR_PT_SLOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.budget import Budget
    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.xen.image.image import Image

BLOCK: Final = 64 * 1024
SCAN_BLOCK: Final = MIB
SCAN: Final = "memory-scan"


def image_blocks(
    memory: PhysicalMemory, image: Image, near: Vaddr, limit: int, *, step: int = BLOCK
) -> Iterator[tuple[Vaddr, bytes]]:
    """Pieces of an image that are in the dump, nearest to ``near`` first.

    Args:
        memory: of the dump.
        image: whose pages are searched.
        near: hypervisor virtual address to start from.
        limit: how many bytes are read at most.
        step: how many at a time.
    """
    places = [
        (Vaddr(run.vaddr + at), Maddr(run.maddr + at), min(step, run.size - at))
        for run in image.runs
        for at in range(0, run.size, step)
    ]
    places.sort(key=lambda place: abs(place[0] + step // 2 - near))
    for vaddr, maddr, size in places:
        at = 0
        while at < size and limit > 0:
            piece = memory.read_some(maddr + at, min(size - at, limit))
            if piece:
                yield Vaddr(vaddr + at), piece
                limit -= len(piece)
                at += len(piece)
            else:
                at = (at & -PAGE_SIZE) + PAGE_SIZE


def self_references(memory: PhysicalMemory, budget: Budget) -> Iterator[Maddr]:
    """Every page of the dump whose slot 258 refers to the page itself.

    One pass that looks at one word of each page; holes of a sparse file are skipped.

    Args:
        memory: of the dump.
        budget: its caller may end the pass.
    """
    extents = [extent for extent in memory.pages.stored() if extent.end > extent.start]
    total = sum(extent.end - extent.start for extent in extents)
    work = budget.work(SCAN)
    done = 0
    for extent in extents:
        at = extent.start + PAGE_SIZE - 1 & -PAGE_SIZE
        while at + PAGE_SIZE <= extent.end:
            if not work.progress(done, total):
                return
            block = memory.read_some(at, min(SCAN_BLOCK, extent.end - at))
            whole = len(block) & -PAGE_SIZE
            for page, entry in zip(
                range(at, at + whole, PAGE_SIZE), _slots(block, whole), strict=True
            ):
                if entry & FRAME_MASK == page and entry & PRESENT:
                    yield Maddr(page)
            step = whole or PAGE_SIZE  # a page that only partly lies here cannot be a table
            at += step
            done += step
    work.progress(total, total)


def _slots(block: bytes, whole: int) -> list[int]:
    # the word at slot 258 of each page of a block
    if not whole:
        return []
    words = memoryview(block)[:whole].cast("Q")[LINEAR_PT_SLOT :: PAGE_SIZE // 8].tolist()
    if sys.byteorder == "little":
        return words
    return [int.from_bytes(word.to_bytes(8, "big"), "little") for word in words]
