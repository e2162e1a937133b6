"""A dump under examination."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from vmcoretool.notes.registers import obsolete_cr3
from vmcoretool.paging.x86_64 import frame
from vmcoretool.xen.idle_table import (
    NOT_RELOCATED_LIMIT,
    IdleTable,
    idle_table_at,
    idle_table_of,
)
from vmcoretool.xen.layouts import NOT_RELOCATED
from vmcoretool.xen.survey import Root, Survey, survey

if TYPE_CHECKING:
    from vmcoretool.addresses import Maddr, Vaddr
    from vmcoretool.vmcore import Vmcore


class Claim(NamedTuple):
    """An address that somebody wrote down, and who."""

    name: str
    xen_phys_start: Maddr


class Case:
    """A dump under examination: what sources share, each part worked out once and on demand."""

    def __init__(self, vmcore: Vmcore, *, user_claim: Maddr | None = None) -> None:
        self.vmcore = vmcore
        self.user_claim = user_claim

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
            text = f"page tables of {self.vmcore.architecture} are not walked"
            return Survey((), (text,))
        memory = self.vmcore.memory
        return survey(memory, self.roots, self.pgd_l4, ran_low=self.ran_low)

    @cached_property
    def ran_low(self) -> bool:
        """Whether the hypervisor ran in the first 16 MiB of the direct map (up to 3.1)."""
        info = self.vmcore.crash_info
        pointers = [at for at in info.strings if at] if info else []
        low = NOT_RELOCATED.directmap_start
        return bool(pointers and max(pointers) < NOT_RELOCATED_LIMIT) or any(
            low <= cpu.registers.get("rip", 0) < low + NOT_RELOCATED_LIMIT
            for cpu in self.vmcore.cpus
        )

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """Addresses that somebody wrote down."""
        info = self.vmcore.crash_info
        claims = []
        if info and info.xen_phys_start is not None:
            claims.append(Claim("crash-info-note", info.xen_phys_start))
        if self.user_claim is not None:
            claims.append(Claim("user", self.user_claim))
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
                if idle:
                    found.append(idle)
        return tuple(found)
