"""Which hypervisor images the page tables of a dump's CPUs lead to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.errors import MemoryFault
from vmcoretool.memory.x86_64 import frame
from vmcoretool.xen.image.idle_table import find_not_relocated
from vmcoretool.xen.image.image import Image, find_image, find_windows, image_slot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vmcoretool.addresses import Maddr, Vaddr
    from vmcoretool.memory.physical import PhysicalMemory

ENOUGH_ROOTS: Final = 32
"""Tables that lead to an image are not counted beyond this: 4,096 CPUs prove no more than 32."""


MAX_UPPERS: Final = 16
"""Different level 3 tables of slot 261 that are followed; a host has one, and a nested Xen one."""


class Root(NamedTuple):
    """A level 4 table and where its address was learnt, such as "cr3 of CPU 0"."""

    name: str
    maddr: Maddr


class MappedImage(NamedTuple):
    """An image and the roots that map it."""

    image: Image
    roots: tuple[Root, ...]


class RootWalks(NamedTuple):
    """What all roots led to.

    Attributes:
        mapped: the images found.
        faults: for each other root, why it led to none.
        elsewhere: the roots among these that are readable tables, but of something else.
    """

    mapped: tuple[MappedImage, ...]
    faults: tuple[str, ...]
    elsewhere: tuple[Root, ...]


def walk_roots(
    memory: PhysicalMemory,
    roots: Iterable[Root],
    pgd_l4: Vaddr | None,
    *,
    ran_low: bool,
    objection: Callable[[Image], str],
) -> RootWalks:
    """Walk every root; never raises, a root that leads nowhere is told in ``faults``.

    Args:
        memory: of the dump.
        roots: level 4 tables, the most trusted first.
        pgd_l4: hint from VMCOREINFO_XEN.
        objection: why an image cannot be the one that ran, or "".
        ran_low: registers or strings show a hypervisor in the first 16 MiB of the direct map, as
            only one that does not relocate itself can be.
    """
    by_upper: dict[Maddr, tuple[Image, ...]] = {}
    named: dict[tuple[Vaddr, Maddr], tuple[Image, list[Root]]] = {}
    faults: list[str] = []
    elsewhere: list[Root] = []
    useful = 0
    for root in roots:
        if useful >= ENOUGH_ROOTS:
            break
        try:
            images = _images(memory, root, pgd_l4, by_upper, ran_low=ran_low)
        except MemoryFault as error:
            faults.append(f"{root.name}: {error.what}")
            continue
        if not images:
            faults.append(f"{root.name}: table {root.maddr:#x} maps no hypervisor image")
            elsewhere.append(root)
            continue
        against = [why for image in images if (why := objection(image))]
        if against:
            faults.append(f"{root.name}: {against[0]}")
            continue
        useful += 1
        for image in images:
            key = (image.layout.virt_start, image.base)
            named.setdefault(key, (image, []))[1].append(root)
    mapped = tuple(MappedImage(image, tuple(roots)) for image, roots in named.values())
    return RootWalks(mapped, tuple(faults), tuple(elsewhere))


def _images(
    memory: PhysicalMemory,
    root: Root,
    pgd_l4: Vaddr | None,
    by_upper: dict[Maddr, tuple[Image, ...]],
    *,
    ran_low: bool,
) -> tuple[Image, ...]:
    fault: MemoryFault | None = None
    images: tuple[Image, ...] = ()
    upper = image_slot(memory, root.maddr)
    if upper is not None:
        table = frame(upper.entry)
        try:
            if table not in by_upper and len(by_upper) < MAX_UPPERS:
                by_upper[table] = ()  # a table that faults once is not followed again
                windows = find_windows(memory, upper)
                found = (find_image(window, root.maddr, pgd_l4) for window in windows)
                by_upper[table] = tuple(image for image in found if image)
            images = by_upper.get(table, ())
        except MemoryFault as error:
            fault = error
    if not images and ran_low:
        low = find_not_relocated(memory, root.maddr)
        images = (low,) if low else ()
    if not images and fault:
        raise fault
    return images
