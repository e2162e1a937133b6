"""What is known while sources are asked: values; what a source adds makes a new one."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.evidence.weigh import is_open
from vmcoretool.xen.ring import find_ring

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vmcoretool.addresses import Maddr, Vaddr
    from vmcoretool.evidence.api import Evidence, Silence
    from vmcoretool.evidence.facts import Facts
    from vmcoretool.notes.vmcoreinfo import VmcoreInfo
    from vmcoretool.symbols.matching import Match
    from vmcoretool.xen.image.idle_table import IdleTable
    from vmcoretool.xen.image.image import Image
    from vmcoretool.xen.ring import Ring
    from vmcoretool.xen.vmcoreinfo import ImageNotes


class ExactBase(NamedTuple):
    """The image's place by ``strings`` strings that a symbol file has at known addresses."""

    virt_start: Vaddr
    base: Maddr
    strings: int


class HypervisorNamelist(NamedTuple):
    """What came of the search for the hypervisor's symbol file.

    Attributes:
        matches: every candidate for it, with the result of the comparison.
        chosen: the best of those that match, or None.
        symbols: its addresses; none where none matches.
        exact_base: where its own strings put the image, or None; needs no page table.
    """

    matches: tuple[Match, ...]
    chosen: Match | None
    symbols: Mapping[str, Vaddr]
    exact_base: ExactBase | None


NO_NAMELIST: Final = HypervisorNamelist((), None, {}, None)


class Place:
    """Where the hypervisor is, by the dump and by what scans found; each part is made once.

    Attributes:
        facts: of the dump.
        scanned: idle page tables that only a scan found.
    """

    def __init__(self, facts: Facts, scanned: tuple[IdleTable, ...] = ()) -> None:
        self.facts = facts
        self.scanned = scanned

    def and_scanned(self, *tables: IdleTable) -> Place:
        """The same with more tables."""
        return Place(self.facts, (*self.scanned, *tables)) if tables else self

    @cached_property
    def idle_tables(self) -> tuple[IdleTable, ...]:
        """All pages that proved themselves idle page tables, those of scans last."""
        return (*self.facts.idle_tables, *self.scanned)

    @cached_property
    def images(self) -> tuple[Image, ...]:
        """The images that CPUs' tables map or, failing these, the idle page tables."""
        found = tuple(row.image for row in self.facts.walks.mapped)
        return found or (self.facts.images_of(self.idle_tables) if self.idle_tables else ())

    @cached_property
    def image_and_ring(self) -> tuple[Image, Ring] | None:
        """The first image that has a console ring in the dump, and that ring."""
        for image in self.images:
            bases = [idle.vaddr for idle in self.idle_tables if idle.base == image.base]
            near = bases[0] if bases else image.runs[-1].vaddr
            vmcore = self.facts.vmcore
            ring = find_ring(vmcore.memory, image, near, vmcore.budget)
            if ring:
                return image, ring
        return None

    @property
    def ring(self) -> Ring | None:
        """That ring."""
        return self.image_and_ring[1] if self.image_and_ring else None

    @cached_property
    def image_notes(self) -> ImageNotes:
        """What the first image itself still holds of the notes that the headers lack."""
        from vmcoretool.xen.vmcoreinfo import (  # noqa: PLC0415 - for poor dumps
            ImageNotes,
            find_image_notes,
        )

        memory = self.facts.vmcore.memory
        return find_image_notes(memory, self.images[0]) if self.images else ImageNotes()

    @property
    def vmcoreinfo(self) -> VmcoreInfo | None:
        """VMCOREINFO_XEN from the headers, else from its array in the image."""
        return self.facts.vmcore.vmcoreinfo_xen or self.image_notes.vmcoreinfo


class Known(NamedTuple):
    """What the sources asked so far know.

    Attributes:
        place: where the hypervisor is.
        statements: theirs, in the order in which they were asked.
        namelist: the hypervisor's symbol file; looked for once no source can add an image.
    """

    place: Place
    statements: tuple[Evidence | Silence, ...] = ()
    namelist: HypervisorNamelist = NO_NAMELIST

    @property
    def facts(self) -> Facts:
        """Of the dump."""
        return self.place.facts

    @property
    def in_doubt(self) -> bool:
        """Whether nothing is proven yet, or two things are."""
        return is_open(self.statements)

    def learn(self, found: Evidence | Silence | Place) -> Known:
        """What is known with one thing more."""
        if isinstance(found, Place):
            return self._replace(place=found)
        return self._replace(statements=(*self.statements, found))
