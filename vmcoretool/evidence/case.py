"""A dump under examination."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vmcoretool.addresses import Maddr, Vaddr
from vmcoretool.memory.x86_64 import frame
from vmcoretool.notes.elf_note import XEN_ELFNOTE_CRASH_INFO, XEN_ELFNOTE_CRASH_REGS
from vmcoretool.notes.registers import obsolete_cr3
from vmcoretool.xen.build_id import find_build_id
from vmcoretool.xen.console import Ring, find_ring
from vmcoretool.xen.image.contradiction import contradiction
from vmcoretool.xen.image.idle_table import (
    NOT_RELOCATED_LIMIT,
    IdleTable,
    idle_table_at,
    idle_table_of,
)
from vmcoretool.xen.image.image import BASE_ALIGNMENT
from vmcoretool.xen.image.layouts import NOT_RELOCATED
from vmcoretool.xen.image.roots import Root, Survey, survey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vmcoretool.symbols.candidates import Candidate, Found
    from vmcoretool.symbols.matching import Match
    from vmcoretool.symbols.places import Places
    from vmcoretool.vmcore import Vmcore
    from vmcoretool.xen.image.image import Image
    from vmcoretool.xen.vmcoreinfo import Traces

Scan = Literal["auto", "always", "never"]
ENOUGH_STRINGS = 3
"""How many strings of CRASH_INFO must agree on one base."""
CANDIDATES = 8
"""How many multiples of 2 MiB below its strings an image is looked for."""


class Claim(NamedTuple):
    """An address that somebody wrote down, or that a pattern suggests, and who says so."""

    name: str
    xen_phys_start: Maddr


class ExactBase(NamedTuple):
    """The image's place by ``strings`` strings that a symbol file has at known addresses."""

    virt_start: Vaddr
    base: Maddr
    strings: int


class HypervisorNamelist(NamedTuple):
    """What came of the search for the hypervisor's symbol file.

    Attributes:
        matches: every candidate for it, with the verdict.
        chosen: the best of those that match, or None.
        symbols: its addresses; none where none matches.
        exact_base: where its own strings put the image, or None; needs no page table.
    """

    matches: tuple[Match, ...]
    chosen: Match | None
    symbols: Mapping[str, Vaddr]
    exact_base: ExactBase | None


NO_NAMELIST: Final = HypervisorNamelist((), None, {}, None)


class Case:
    """A dump under examination: what sources share, each part worked out once and on demand.

    Attributes:
        vmcore: the dump.
        user_claim: --xen-phys-start, or None.
        scan: whether memory may be searched: when doubt is left, always or never.
        places: where symbol files are looked for, or None: nowhere.
        doubt: whether the sources asked so far leave the address unproven.
        scanned: idle tables that only a scan found.
        budget: of the dump.
    """

    def __init__(
        self,
        vmcore: Vmcore,
        *,
        user_claim: Maddr | None = None,
        scan: Scan = "auto",
        places: Places | None = None,
    ) -> None:
        self.vmcore = vmcore
        self.user_claim = user_claim
        self.scan = scan
        self.places = places
        self.doubt = True
        self.scanned: list[IdleTable] = []
        self.budget = vmcore.budget
        self._images: dict[tuple[Maddr, ...], tuple[Image, ...]] = {}
        self._objections: dict[Maddr, str] = {}
        self._found: Found | None = None
        self._build_ids: dict[Maddr, str | None] = {}
        self._namelists: dict[tuple[Maddr, ...], HypervisorNamelist] = {}
        self._downloads: dict[str, tuple[Candidate, ...]] = {}

    @cached_property
    def xen_notes(self) -> bool:
        """Whether a note says that this is a Xen host's memory."""
        types = (XEN_ELFNOTE_CRASH_INFO, XEN_ELFNOTE_CRASH_REGS)
        return self.vmcore.vmcoreinfo_xen is not None or any(
            note.owner == "Xen" and note.type in types for note in self.vmcore.notes
        )

    @cached_property
    def pgd_l4(self) -> Vaddr | None:
        """The idle table's address as VMCOREINFO_XEN has it."""
        info = self.vmcore.vmcoreinfo_xen
        return info.symbol("pgd_l4") if info else None

    @cached_property
    def roots(self) -> tuple[Root, ...]:
        """Level 4 tables that CPUs were using, each once."""
        named: dict[Maddr, list[str]] = {}
        for cpu in self.vmcore.cpus:
            if cpu.cr3:
                named.setdefault(frame(cpu.cr3), []).append(str(cpu.cpu))
        roots = [
            Root(f"cr3 of CPU {', '.join(cpus[:4])}{' ...' * (len(cpus) > 4)}", maddr)
            for maddr, cpus in named.items()
        ]
        old = obsolete_cr3(self.vmcore.notes, self.vmcore.container.machine.byte_order)
        if old and frame(old) not in named:
            roots.append(Root("NT_XEN_KDUMP_CR3", frame(old)))
        return tuple(roots)

    @cached_property
    def survey(self) -> Survey:
        """The images that those tables map."""
        if self.vmcore.architecture != "x86_64":
            text = f"four-level page tables are not those of {self.vmcore.architecture}"
            return Survey((), (text,), ())
        memory = self.vmcore.memory
        return survey(
            memory, self.roots, self.pgd_l4, ran_low=self.ran_low, objection=self.objection
        )

    def objection(self, image: Image) -> str:
        """Why tables that show an image must be damaged, or "".

        A damaged pgd_l4 looks like damaged tables, so a note that agrees with these is believed.
        """
        info = self.vmcore.crash_info
        if not image.layout.relocatable or (info and info.xen_phys_start == image.base):
            return ""
        if image.base not in self._objections:
            rips = [cpu.registers.get("rip", 0) for cpu in self.vmcore.cpus]
            why = contradiction(self.vmcore.memory, image, rips, self.pgd_l4)
            self._objections[image.base] = why
        return self._objections[image.base]

    @property
    def images(self) -> tuple[Image, ...]:
        """The images that CPUs' tables map or, failing these, the idle tables found so far."""
        found = tuple(sighting.image for sighting in self.survey.sightings)
        idle_tables = (*self.idle_tables, *self.scanned)
        if found or not idle_tables:
            return found
        known = tuple(idle.maddr for idle in idle_tables)
        if known not in self._images:
            roots = [Root("idle page table", maddr) for maddr in known]
            again = survey(
                self.vmcore.memory,
                roots,
                self.pgd_l4,
                ran_low=False,
                objection=self.objection,
            )
            self._images[known] = tuple(sighting.image for sighting in again.sightings)
        return self._images[known]

    @cached_property
    def ran_low(self) -> bool:
        """Whether the hypervisor ran in the first 16 MiB of the direct map (up to 3.1)."""
        low = NOT_RELOCATED.directmap_start
        return self.low_strings or any(
            low <= cpu.registers.get("rip", 0) < low + NOT_RELOCATED_LIMIT
            for cpu in self.vmcore.cpus
        )

    @cached_property
    def low_strings(self) -> bool:
        """Whether the strings of CRASH_INFO lie in the first 16 MiB of machine memory."""
        info = self.vmcore.crash_info
        pointers = [at for at in info.strings if at] if info else []
        return bool(pointers) and max(pointers) < NOT_RELOCATED_LIMIT

    @cached_property
    def string_candidates(self) -> tuple[Maddr, ...]:
        """Bases a few MiB below the strings of CRASH_INFO; the strings lie in the image."""
        info = self.vmcore.crash_info
        pointers = [at for at in info.strings if at] if info else []
        if not pointers:
            return ()
        top = min(pointers) & -BASE_ALIGNMENT
        return tuple(
            Maddr(top - step * BASE_ALIGNMENT)
            for step in range(CANDIDATES)
            if top - step * BASE_ALIGNMENT > 0
        )

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """Addresses to look at: those somebody wrote down, then those the strings suggest."""
        info = self.vmcore.crash_info
        claims = []
        if info and info.xen_phys_start is not None:
            claims.append(Claim("crash-info-note", info.xen_phys_start))
        if self.user_claim is not None:
            claims.append(Claim("user", self.user_claim))
        claims += [Claim("string-pointers", base) for base in self.string_candidates]
        return tuple(claims)

    @cached_property
    def idle_tables(self) -> tuple[IdleTable, ...]:
        """Every page that proves itself an idle page table, from the tables down to claims.

        Where no cr3 leads to one, pgd_l4 is looked at in the place that a claimed address gives
        it; the page found there proves itself or does not count.
        """
        memory = self.vmcore.memory
        found = [
            idle
            for sighting in self.survey.sightings
            if (idle := idle_table_of(memory, sighting.image, self.pgd_l4))
        ]
        if not found and self.pgd_l4 is not None:
            for claim in self.claims:
                idle = idle_table_at(memory, claim.xen_phys_start, self.pgd_l4)
                if idle and idle.base not in [one.base for one in found]:
                    found.append(idle)
        return tuple(found)

    @cached_property
    def ring(self) -> Ring | None:
        """The console ring of the first image that has one in the dump."""
        found = self.image_and_ring
        return found[1] if found else None

    @cached_property
    def image_and_ring(self) -> tuple[Image, Ring] | None:
        """The first image that has a console ring in the dump, and that ring."""
        for image in self.images:
            idle_tables = (*self.idle_tables, *self.scanned)
            bases = [idle.vaddr for idle in idle_tables if idle.base == image.base]
            near = bases[0] if bases else image.runs[-1].vaddr
            ring = find_ring(self.vmcore.memory, image, near)
            if ring:
                return image, ring
        return None

    @cached_property
    def traces(self) -> Traces:
        """What the image itself still holds of the notes that the headers lack."""
        from vmcoretool.xen.vmcoreinfo import Traces, find_traces  # noqa: PLC0415 - for poor dumps

        return find_traces(self.vmcore.memory, self.images[0]) if self.images else Traces()

    def build_id(self, image: Image) -> str | None:
        """An image's build-id in lower-case hexadecimal, or None where it has none in the dump."""
        if image.base not in self._build_ids:
            info = self.vmcore.crash_info
            strings = [image.vaddr_of(at) for at in info.strings] if info else []
            first = image.runs[0]
            # behind the read-only data, which ends the first run where no string tells where it is
            behind = Vaddr(first.vaddr + first.size)
            near = next((at for at in strings if at is not None), behind)
            self._build_ids[image.base] = find_build_id(self.vmcore.memory, image, near)
        return self._build_ids[image.base]

    @cached_property
    def _promising(self) -> bool:
        return self.places is not None and self.places.promising

    def may_have_namelists(self, *build_ids: str | None) -> bool:
        """Whether a symbol file may turn up for programs of these build-ids."""
        if self.places is None:
            return False
        return self._promising or any(self.places.links(one) for one in build_ids if one)

    def candidates_for(self, build_id: str | None) -> tuple[Candidate, ...]:
        """The files that may be symbol files of this dump, those under a build-id's links first."""
        if self.places is None or not self.may_have_namelists(build_id):
            return ()
        from vmcoretool.symbols.candidates import (  # noqa: PLC0415 - costs 1/20 of a start
            USUAL,
            find_candidates,
            look_at,
        )

        if self._found is None:
            self._found = find_candidates(self.places, self.budget)
        linked = self.places.links(build_id) if build_id else ()
        found = tuple(look_at(path, USUAL) for path in linked)
        found += tuple(one for one in self._found.candidates if one.path not in linked)
        if build_id and self.places.debuginfod and not _whole(found, build_id):
            found += self._fetched(build_id)
        return found

    def _fetched(self, build_id: str) -> tuple[Candidate, ...]:
        from vmcoretool.symbols.debuginfod import fetch  # noqa: PLC0415 - only when asked for

        if build_id not in self._downloads:
            self._downloads[build_id] = fetch(build_id, self.budget)
        return self._downloads[build_id]

    @property
    def search_troubles(self) -> tuple[str, ...]:
        """What kept the search for symbol files from being whole."""
        return self._found.reasons if self._found else ()

    @property
    def namelist(self) -> HypervisorNamelist:
        """The hypervisor's symbol file, by what is known of the hypervisor now."""
        build_id = self.build_id(self.images[0]) if self.images and self.places else None
        if not self.may_have_namelists(build_id):
            return NO_NAMELIST
        from vmcoretool.evidence.hypervisor_namelist import (  # noqa: PLC0415 - as above
            find_hypervisor_namelist,
        )

        known = tuple(image.base for image in self.images)
        if known not in self._namelists:
            self._namelists[known] = find_hypervisor_namelist(self)
        return self._namelists[known]

    @property
    def no_scan(self) -> str:
        """Why memory is not searched now; "" where it is."""
        if self.scan == "never":
            return "--no-scan given"
        if self.scan == "always":
            return ""
        if not self.doubt:
            return "not needed, the address is proven (--scan looks all the same)"
        if self.vmcore.vmcoreinfo_linux and not self.xen_notes:
            return "the headers are those of a native Linux (--scan looks all the same)"
        if self.survey.elsewhere and not self.xen_notes:
            return "the saved cr3 leads to something else (--scan looks all the same)"
        return ""


def _whole(found: tuple[Candidate, ...], build_id: str) -> bool:
    return any(one.build_id == build_id and one.dwarf and not one.debug_only for one in found)
