"""Searching an image from a place outwards, or a dump for pages that refer to themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import PAGE_SIZE, Maddr, Vaddr
from vmcoretool.budget import NO_LIMIT
from vmcoretool.memory.paging import FRAME_MASK, PRESENT, Run
from vmcoretool.memory.search import machine_runs, windows, words
from vmcoretool.xen.image.layouts import LINEAR_PT_SLOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.budget import Budget
    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.memory.search import Window
    from vmcoretool.xen.image.image import Image

BLOCK: Final = 64 * 1024
SCAN: Final = "memory-scan"


def image_windows(
    memory: PhysicalMemory, image: Image, near: Vaddr, limit: int, *, step: int = BLOCK
) -> Iterator[Window]:
    """What of an image is in the dump, nearest to ``near`` first; windows overlap by a page.

    Args:
        memory: of the dump.
        image: whose pages are searched.
        near: hypervisor virtual address to start from.
        limit: how many bytes are looked at, at least where there are as many.
        step: how many at a time.
    """
    for window in windows(memory, image.runs, step=step, near=near):
        yield window
        limit -= window.own
        if limit <= 0:
            return


def self_references(
    memory: PhysicalMemory, budget: Budget, allowance: int = NO_LIMIT
) -> Iterator[Maddr]:
    """Every page of the dump whose slot 258 refers to the page itself.

    One pass that looks at one word of each page; holes of a sparse file are skipped.

    Args:
        memory: of the dump.
        budget: its caller may end the pass.
        allowance: how many bytes are looked at.
    """
    # a page that only partly lies in an extent cannot be a table
    runs = [
        Run(Vaddr(start), Maddr(start), end - start)
        for run in machine_runs(memory)
        if (start := run.vaddr + PAGE_SIZE - 1 & -PAGE_SIZE)
        < (end := run.vaddr + run.size & -PAGE_SIZE)
    ]
    total = sum(run.size for run in runs)
    work = budget.work(SCAN, size=allowance)
    done = 0
    if not work.progress(done, total):
        return
    for at, data, own in windows(memory, runs, work, ahead=0):
        whole = own & -PAGE_SIZE
        entries = words(data[:whole], "Q", LINEAR_PT_SLOT, PAGE_SIZE // 8)
        for page, entry in zip(range(at, at + whole, PAGE_SIZE), entries, strict=True):
            if entry & FRAME_MASK == page and entry & PRESENT:
                yield Maddr(page)
        done += own
        if not work.progress(done, total):
            return
    work.progress(total, total)
