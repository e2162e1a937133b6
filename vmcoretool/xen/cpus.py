"""What each CPU was doing when it was saved, as far as the dump proves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vmcoretool.addresses import MADDR_LIMIT, PAGE_SIZE
from vmcoretool.errors import MemoryFault
from vmcoretool.memory.paging import FRAME_MASK, frame
from vmcoretool.memory.search import words
from vmcoretool.xen.space import HYPERVISOR_END, HYPERVISOR_START

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from vmcoretool.addresses import Maddr
    from vmcoretool.budget import Budget, Work
    from vmcoretool.notes.registers import CpuState
    from vmcoretool.xen.domains import Domain
    from vmcoretool.xen.frame_table import FrameTable
    from vmcoretool.xen.image.image import Image
    from vmcoretool.xen.space import XenSpace

Context = Literal["hypervisor", "guest-kernel", "guest-user"]
STRUCT_VCPU: Final = 4096
"""What is looked at of ``struct vcpu``: less than a page in all versions."""
_LOWER_HALF: Final = 1 << 47
_VCPUS_ASKED: Final = 512
MAX_VCPUS_ASKED: Final = 16_384
"""Virtual CPUs of all domains together that are looked at."""


class CpuActivity(NamedTuple):
    """One CPU.

    Attributes:
        state: what was saved of it.
        context: where its instruction pointer lies, or None where it was not saved.
        address_space: whose tables its cr3 names: "idle", "domain N", or None where nothing tells.
        basis: how the address space was told, or why it was not.
        domain: the id of the domain whose tables these are, or None.
    """

    state: CpuState
    context: Context | None
    address_space: str | None
    basis: str
    domain: int | None = None


def find_activity(  # noqa: PLR0913, PLR0917 - all that is known of the host
    states: Sequence[CpuState],
    space: XenSpace,
    idle_tables: Collection[Maddr],
    frames: FrameTable | None,
    domains: Sequence[Domain],
    budget: Budget,
) -> tuple[CpuActivity, ...]:
    """What each CPU was doing.

    Args:
        states: from the notes.
        space: the hypervisor's memory.
        idle_tables: machine addresses of idle page tables.
        frames: tells whose page a table is.
        domains: those that were found; their virtual CPUs name tables that nobody owns.
        budget: of the dump.
    """
    contexts = [_context(state, space.image) for state in states]
    roots = {frame(state.cr3) for state in states if state.cr3}
    work = budget.work("looking at virtual CPUs", steps=MAX_VCPUS_ASKED)
    tables = _vcpu_tables(space, domains, roots, work)
    return tuple(
        CpuActivity(state, context, *_address_space(state, idle_tables, frames, domains, tables))
        for state, context in zip(states, contexts, strict=True)
    )


def _address_space(
    state: CpuState,
    idle_tables: Collection[Maddr],
    frames: FrameTable | None,
    domains: Sequence[Domain],
    tables: Mapping[int, tuple[int, int]],
) -> tuple[str | None, str, int | None]:
    if not state.cr3:
        return None, "no cr3 was saved", None
    root = frame(state.cr3)
    if root in idle_tables:
        return "idle", f"cr3 is the idle page table {root:#x}", None
    try:
        owner = frames.owner(root) if frames else None
    except MemoryFault:
        owner = None
    if owner is not None:
        kind = next((one.type for one in domains if one.id == owner), "unknown")
        return f"domain {owner}", f"{root:#x} is a page of that {kind} domain", owner
    if root in tables:
        domain, vcpu = tables[root]
        basis = f"{root:#x} is named in struct vcpu of its vcpu {vcpu}"
        return f"domain {domain}", basis, domain
    return None, f"no known domain owns or names the table {root:#x}", None


def _vcpu_tables(
    space: XenSpace, domains: Sequence[Domain], roots: Collection[int], work: Work
) -> dict[int, tuple[int, int]]:
    # Which of the roots struct vcpu names as an address, with flags or without: among them, of an
    # HVM guest, the monitor table, which has no owner.
    found: dict[int, tuple[int, int]] = {}
    for domain in domains:
        for vcpu in domain.vcpus[:_VCPUS_ASKED]:
            if not work.go_on():
                return found
            try:
                raw = space.read(vcpu.vaddr, STRUCT_VCPU)
            except MemoryFault:
                continue
            for word in words(raw, "Q"):
                if PAGE_SIZE <= word < MADDR_LIMIT and word & FRAME_MASK in roots:
                    found.setdefault(frame(word), (domain.id, vcpu.vcpu))
    return found


def _context(state: CpuState, image: Image) -> Context | None:
    rip = state.registers.get("rip")
    if rip is None or not state.saved:
        return None
    if image.maddr_of(rip) is not None or HYPERVISOR_START <= rip < HYPERVISOR_END:
        return "hypervisor"
    return "guest-user" if rip < _LOWER_HALF else "guest-kernel"
