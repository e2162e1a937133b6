"""What a dump tells of the hypervisor's place by itself: pure functions of the dump, made once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vmcoretool.addresses import Maddr, Vaddr
from vmcoretool.memory.x86_64 import frame
from vmcoretool.notes.elf_note import XEN_ELFNOTE_CRASH_INFO, XEN_ELFNOTE_CRASH_REGS
from vmcoretool.notes.registers import obsolete_cr3
from vmcoretool.xen.build_id import find_build_id
from vmcoretool.xen.image.idle_table import (
    NOT_RELOCATED_LIMIT,
    IdleTable,
    idle_table_at,
    idle_table_of,
)
from vmcoretool.xen.image.image import BASE_ALIGNMENT
from vmcoretool.xen.image.layouts import NOT_RELOCATED
from vmcoretool.xen.image.roots import Root, RootWalks, walk_roots

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmcoretool.vmcore import Vmcore
    from vmcoretool.xen.image.image import Image

Scan = Literal["auto", "always", "never"]
CANDIDATES: Final = 8
"""How many multiples of 2 MiB below its strings an image is looked for."""
_CPUS_NAMED: Final = 4
_POINTERS: Final = ("domain_list", "dom_xen", "dom_io")
"""Variables in VMCOREINFO_XEN that point to a struct domain (xen/arch/x86/machine_kexec.c)."""


class Asked(NamedTuple):
    """What the caller asked for besides the dump.

    Attributes:
        xen_phys_start: the caller's own claim, or None; it is weighed, not believed.
        scan: whether all memory may be searched: while doubt is left, always or never.
    """

    xen_phys_start: Maddr | None = None
    scan: Scan = "auto"


class Facts:
    """What follows from the dump alone, each part worked out once and on demand.

    Attributes:
        vmcore: the dump.
        asked: what the caller asked for.
    """

    def __init__(self, vmcore: Vmcore, asked: Asked = Asked()) -> None:  # noqa: B008 - immutable
        self.vmcore = vmcore
        self.asked = asked
        # of images, by what tells them apart: two roots may map the same one
        self._objections: dict[tuple[Vaddr, Maddr], str] = {}
        self._build_ids: dict[tuple[Vaddr, Maddr], str | None] = {}

    @cached_property
    def xen_notes(self) -> bool:
        """Whether a note says that this is a Xen host's memory."""
        types = (XEN_ELFNOTE_CRASH_INFO, XEN_ELFNOTE_CRASH_REGS)
        return self.vmcore.vmcoreinfo_xen is not None or any(
            note.owner == "Xen" and note.type in types for note in self.vmcore.notes
        )

    @cached_property
    def pgd_l4(self) -> Vaddr | None:
        """The idle page table's address by the VMCOREINFO_XEN of the headers."""
        info = self.vmcore.vmcoreinfo_xen
        return info.symbol("pgd_l4") if info else None

    @cached_property
    def strings(self) -> tuple[Maddr, ...]:
        """The addresses of strings that XEN_ELFNOTE_CRASH_INFO has, zeros left out."""
        info = self.vmcore.crash_info
        return tuple(at for at in info.strings if at) if info else ()

    @cached_property
    def rips(self) -> tuple[int, ...]:
        """The instruction pointers that were saved, in the order of the CPUs."""
        saved = (cpu.registers.get("rip", 0) for cpu in self.vmcore.cpus)
        return tuple(rip for rip in saved if rip)

    @cached_property
    def roots(self) -> tuple[Root, ...]:
        """Level 4 tables that CPUs were using, each once."""
        named: dict[Maddr, list[str]] = {}
        for cpu in self.vmcore.cpus:
            if cpu.cr3:
                named.setdefault(frame(cpu.cr3), []).append(str(cpu.cpu))
        roots = [
            Root(f"cr3 of CPU {', '.join(cpus[:_CPUS_NAMED])}{' ...' * more}", maddr)
            for maddr, cpus in named.items()
            for more in [len(cpus) > _CPUS_NAMED]
        ]
        old = obsolete_cr3(self.vmcore.notes, self.vmcore.container.machine.byte_order)
        if old and frame(old) not in named:
            roots.append(Root("NT_XEN_KDUMP_CR3", frame(old)))
        return tuple(roots)

    @cached_property
    def walks(self) -> RootWalks:
        """Where the tables of the CPUs lead, and which images they map."""
        if self.vmcore.architecture != "x86_64":
            text = f"four-level page tables are not those of {self.vmcore.architecture}"
            return RootWalks((), (text,), ())
        return self._follow(self.roots, ran_low=self.ran_low)

    def images_of(self, idle_tables: Iterable[IdleTable]) -> tuple[Image, ...]:
        """The images that idle page tables map."""
        roots = [Root("idle page table", idle.maddr) for idle in idle_tables]
        found = self._follow(roots, ran_low=False)
        return tuple(row.image for row in found.mapped)

    def _follow(self, roots: Iterable[Root], *, ran_low: bool) -> RootWalks:
        memory = self.vmcore.memory
        return walk_roots(memory, roots, self.pgd_l4, ran_low=ran_low, objection=self.objection)

    def objection(self, image: Image) -> str:
        """Why tables that show an image must be damaged, or "".

        A damaged pgd_l4 looks like damaged tables, so a note that agrees with these is believed.
        """
        note = self.vmcore.crash_info
        if not image.layout.relocatable or (note and note.xen_phys_start == image.base):
            return ""
        from vmcoretool.xen.image.contradiction import (  # noqa: PLC0415 - most notes agree
            contradiction,
        )

        key = _key(image)
        if key not in self._objections:
            info = self.vmcore.vmcoreinfo_xen
            known = info.symbols() if info else {}
            pointers = tuple(known[name] for name in _POINTERS if name in known)
            memory = self.vmcore.memory
            why = contradiction(memory, image, self.rips, self.pgd_l4, pointers)
            self._objections[key] = why
        return self._objections[key]

    def build_id(self, image: Image) -> str | None:
        """An image's build-id in lower-case hexadecimal, or None where it has none in the dump."""
        key = _key(image)
        if key not in self._build_ids:
            first = image.runs[0]
            # behind the read-only data, which ends the first run where no string tells where it is
            behind = Vaddr(first.vaddr + first.size)
            strings = (image.vaddr_of(at) for at in self.strings)
            near = next((at for at in strings if at is not None), behind)
            self._build_ids[key] = find_build_id(self.vmcore.memory, image, near)
        return self._build_ids[key]

    @cached_property
    def ran_low(self) -> bool:
        """Whether the hypervisor ran in the first 16 MiB of the direct map (up to 3.1)."""
        low = NOT_RELOCATED.directmap_start
        return self.low_strings or any(low <= rip < low + NOT_RELOCATED_LIMIT for rip in self.rips)

    @cached_property
    def low_strings(self) -> bool:
        """Whether the strings of CRASH_INFO lie in the first 16 MiB of machine memory."""
        return bool(self.strings) and max(self.strings) < NOT_RELOCATED_LIMIT

    @cached_property
    def string_candidates(self) -> tuple[Maddr, ...]:
        """Bases a few MiB below the strings of CRASH_INFO; the strings lie in the image."""
        if not self.strings:
            return ()
        top = min(self.strings) & -BASE_ALIGNMENT
        bases = (Maddr(top - step * BASE_ALIGNMENT) for step in range(CANDIDATES))
        return tuple(base for base in bases if base > 0)

    @cached_property
    def claims(self) -> tuple[Maddr, ...]:
        """Addresses to look at: those somebody wrote down, then those the strings suggest."""
        info = self.vmcore.crash_info
        recorded = [info.xen_phys_start if info else None, self.asked.xen_phys_start]
        return (*(base for base in recorded if base is not None), *self.string_candidates)

    @cached_property
    def idle_tables(self) -> tuple[IdleTable, ...]:
        """Every page that proves itself an idle page table, from the tables down to claims.

        Where no cr3 leads to one, pgd_l4 is looked at in the place that a claimed address gives
        it; the page found there proves itself or does not count.
        """
        memory = self.vmcore.memory
        found = [
            idle
            for row in self.walks.mapped
            if (idle := idle_table_of(memory, row.image, self.pgd_l4))
        ]
        if not found and self.pgd_l4 is not None:
            for base in self.claims:
                idle = idle_table_at(memory, base, self.pgd_l4)
                if idle and idle.base not in [other.base for other in found]:
                    found.append(idle)
        return tuple(found)


def _key(image: Image) -> tuple[Vaddr, Maddr]:
    return image.layout.virt_start, image.base
