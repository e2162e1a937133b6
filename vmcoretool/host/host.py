"""A crashed Xen host: its console, CPUs, domains and dom0's kernel, found without symbols."""

from __future__ import annotations

import struct
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import Maddr, Mfn
from vmcoretool.errors import LogError, MemoryFault
from vmcoretool.linux.kernel import Kernel, find_kernel
from vmcoretool.memory.search import scan_allowance
from vmcoretool.memory.x86_64 import FRAME_MASK, frame
from vmcoretool.printable import printable
from vmcoretool.xen.console import Console, console_by_symbols, read_console
from vmcoretool.xen.cpus import STRUCT_VCPU, CpuActivity, find_activity
from vmcoretool.xen.domains import Domain, DomainList, find_domains
from vmcoretool.xen.frame_table import FrameTable, find_frame_table
from vmcoretool.xen.image.layouts import LINEAR_PT_SLOT
from vmcoretool.xen.p2m import tree_trouble
from vmcoretool.xen.panic import CrashText, read_crash_text
from vmcoretool.xen.space import XenSpace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.budget import Work
    from vmcoretool.evidence.weigh import Verdict
    from vmcoretool.host.hypervisor import Hypervisor
    from vmcoretool.notes.vmcoreinfo import VmcoreInfo
    from vmcoretool.vmcore import Vmcore
    from vmcoretool.xen.image.image import Image

MAX_TABLES: Final = 1 << 18
"""Words of all struct vcpu that may be a guest's cr3 and are tried, at some 10 us each."""
_VCPU_STEPS: Final = 8
_DOM0: Final = 0
_COMMAND_LINE_SIZE: Final = 1024
_ROOTS_ASKED: Final = 2


class Host:
    """What the hypervisor's memory tells; each part is worked out once, on demand, from values.

    A symbol file that belongs to the dump makes answers exact, and never other ones.

    Attributes:
        vmcore: the dump.
        memory: its machine memory.
        verdict: where the hypervisor is.
        hypervisor: what is proven of it.
    """

    def __init__(self, vmcore: Vmcore, verdict: Verdict, hypervisor: Hypervisor) -> None:
        self.vmcore = vmcore
        self.memory = vmcore.memory
        self.verdict = verdict
        self.hypervisor = hypervisor

    @property
    def image(self) -> Image | None:
        """The image that the verdict is about."""
        return self.hypervisor.image

    @cached_property
    def space(self) -> XenSpace | None:
        """The hypervisor's virtual memory; None where no image was proven."""
        if self.image is None:
            return None
        directmap = self.hypervisor.directmap
        start = directmap.start if directmap else self.image.layout.directmap_start
        return XenSpace(self.memory, self.image, start)

    @property
    def vmcoreinfo(self) -> VmcoreInfo | None:
        """VMCOREINFO_XEN from the headers, else from its array in the image."""
        return self.hypervisor.vmcoreinfo

    @cached_property
    def console(self) -> Console | None:
        """The console's text, or None where no ring is in the dump."""
        symbols = self.hypervisor.symbols
        if self.space is not None and symbols:
            try:
                exact = console_by_symbols(self.space, symbols)
            except MemoryFault:
                exact = None
            if exact:
                return exact
        found = self.hypervisor.console
        return read_console(self.memory, *found) if found else None

    @cached_property
    def crash(self) -> CrashText:
        """What the console tells of the crash."""
        text = read_crash_text(self.console.lines) if self.console else CrashText()
        at = self.hypervisor.symbols.get("saved_cmdline")
        if text.command_line is None and self.space is not None and at is not None:
            try:
                line = self.space.c_string(at, _COMMAND_LINE_SIZE)
            except MemoryFault:
                return text
            return text if line is None else text._replace(command_line=printable(line))
        return text

    @cached_property
    def _domains_and_frames(self) -> tuple[DomainList, FrameTable | None]:
        # one answer: the frame table knows a domain's pages once the domain was found
        if self.space is None:
            return DomainList((), "no image of the hypervisor is proven in the dump"), None
        if self.vmcoreinfo is None:
            why = (
                "neither the notes nor the image hold VMCOREINFO_XEN, which Xen 3.3 and later "
                "write when a crash kernel is loaded"
            )
            return DomainList((), why), None
        frames = find_frame_table(self.space, self.vmcoreinfo)
        return find_domains(self.space, self.vmcoreinfo, frames, self.vmcore.budget), frames

    @property
    def frames(self) -> FrameTable | None:
        """The frame table, which knows the domains; None where it is not in the dump."""
        return self._domains_and_frames[1]

    @property
    def domain_list(self) -> DomainList:
        """The domains, and why there are none or not all."""
        return self._domains_and_frames[0]

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains that were found."""
        return self.domain_list.domains

    def domain(self, number: int) -> Domain | None:
        """The domain of an id."""
        return next((one for one in self.domains if one.id == number), None)

    @cached_property
    def cpus(self) -> tuple[CpuActivity, ...]:
        """What each CPU was doing."""
        states = self.vmcore.cpus
        if self.space is None:
            reason = "no image of the hypervisor is proven in the dump"
            return tuple(CpuActivity(state, None, None, reason) for state in states)
        idle, budget = self.hypervisor.idle_tables, self.vmcore.budget
        return find_activity(states, self.space, idle, self.frames, self.domains, budget)

    def roots(self, domain: Domain) -> Iterator[tuple[Maddr, str]]:
        """Level 4 tables of a PV domain and how each was found, each table once."""
        seen: set[Maddr] = set()
        for root, basis in self._roots(domain):
            if root not in seen:
                seen.add(root)
                yield root, basis

    def _roots(self, domain: Domain) -> Iterator[tuple[Maddr, str]]:
        shared = domain.shared_info
        if shared and shared.p2m_cr3 and shared.word_size == 8:
            yield frame(shared.p2m_cr3), "p2m_cr3 of its shared info page"
        if self.space is None or domain.type == "hvm":
            return
        for use in self.cpus:
            if use.domain == domain.id and use.state.cr3:
                yield frame(use.state.cr3), f"cr3 of CPU {use.state.cpu}"
        for vcpu in domain.vcpus:
            if not self._tables_tried.go_on(_VCPU_STEPS):
                return
            for root in self._tables_in(self.space, vcpu.vaddr, domain):
                yield root, f"cr3 in struct vcpu of its vcpu {vcpu.vcpu}"

    def _tables_in(self, space: XenSpace, vaddr: int, domain: Domain) -> Iterator[Maddr]:
        # what a struct vcpu names as its guest's table
        try:
            raw = space.read(vaddr, STRUCT_VCPU)
        except MemoryFault:
            return
        for (word,) in struct.iter_unpack("<Q", raw):
            if self._is_guest_table(word, domain):
                yield frame(word)

    @cached_property
    def _tables_tried(self) -> Work:
        # one allowance for all domains: each may have thousands of virtual CPUs
        return self.vmcore.budget.work("looking for the domains' page tables", steps=MAX_TABLES)

    def _is_guest_table(self, word: int, domain: Domain) -> bool:
        # Xen's linear page tables: slot 258 of a guest's level 4 table refers to the table. That of
        # a 32-bit guest is Xen's and has no owner (xen/arch/x86/domain.c, setup_compat_l4).
        root = frame(word)
        if not root or word >> 52 or self.frames is None or not self._tables_tried.go_on():
            return False
        try:
            entry = self.memory.read_u64(Maddr(root + 8 * LINEAR_PT_SLOT))
            owner = self.frames.owner(root)
            compat = bool(domain.shared_info and domain.shared_info.word_size == 4)
            return entry & FRAME_MASK == root and (owner == domain.id or (compat and owner is None))
        except MemoryFault:
            return False

    @cached_property
    def dom0_kernel(self) -> Kernel | None:
        """dom0's kernel, by its banner and build-id in memory."""
        domain = self.domain(_DOM0)
        return self.kernel(domain) if domain else None

    def kernel(self, domain: Domain) -> Kernel | None:
        """A PV domain's Linux, by its banner and build-id in memory."""
        like = (self.dom0_kernel,) if domain.id != _DOM0 and self.dom0_kernel else ()
        for root, _ in islice(self.roots(domain), _ROOTS_ASKED):
            found = find_kernel(self.memory, root, like)
            if found:
                return found
        return None

    def linux_vmcoreinfo(
        self, domain_id: int = _DOM0, *, backwards: bool = False
    ) -> tuple[Candidate | None, tuple[Candidate, ...]]:
        """A domain's own VMCOREINFO, found in memory, and everything found on the way.

        Args:
            domain_id: whose.
            backwards: search from the highest address down; the answer is the same.

        Returns:
            The one the domain owns, or None, and the candidates, ``owner`` None where unknown; of
            those that other domains own a few only.
        """
        from vmcoretool.linux.vmcoreinfo import search_vmcoreinfo  # noqa: PLC0415 - as below

        candidates: list[Candidate] = []
        chosen = None
        allowance = scan_allowance(self.vmcore.sources)
        for found in search_vmcoreinfo(
            self.memory,
            self.vmcore.budget,
            allowance,
            is_foreign=lambda maddr: self._owner(maddr) not in (None, domain_id),
            backwards=backwards,
        ):
            candidate = Candidate(found.maddr, found.info, self._owner(found.maddr))
            candidates.append(candidate)
            if candidate.owner == domain_id:
                chosen = candidate
                break
        return chosen, tuple(candidates)

    def _owner(self, maddr: Maddr) -> int | None:
        try:
            return self.frames.owner(maddr) if self.frames else None
        except MemoryFault:
            return None

    def kernel_log(self, domain: Domain, info: VmcoreInfo) -> tuple[bytes, ...]:
        """The Linux log of a PV domain, oldest line first.

        Args:
            domain: whose.
            info: its VMCOREINFO.

        Raises:
            LogError: no table of the domain leads to the log, or it is not in the dump.
        """
        # no inspection reads a log by its VMCOREINFO
        from vmcoretool.linux.printk import kernel_reader, log_lines  # noqa: PLC0415

        trouble = LogError(f"no page table of domain {domain.id} is known")
        word_size = domain.shared_info.word_size if domain.shared_info else 8
        for root, _ in self.roots(domain):
            try:
                read = kernel_reader(self.memory, root)
                return tuple(log_lines(info, read, word_size, self.vmcore.budget))
            except LogError as error:
                trouble = error
        raise trouble

    def p2m_trouble(self, domain: Domain) -> str:
        """What is wrong with a domain's p2m tree, "" where nothing is seen to be."""
        if domain.shared_info is None or domain.type != "pv" or self.frames is None:
            return ""
        return tree_trouble(self.memory, domain.shared_info, self.frames, domain.id)

    @cached_property
    def dom0_p2m(self) -> P2mCheck | None:
        """dom0's p2m tree as the note and as its shared info page say; None without both."""
        info = self.vmcore.crash_info
        domain = self.domain(_DOM0)
        if info is None or info.dom0_p2m_mfn is None or domain is None or domain.p2m_mfn is None:
            return None
        return P2mCheck(info.dom0_p2m_mfn, domain.p2m_mfn)


class Candidate(NamedTuple):
    """A VMCOREINFO note of Linux in memory, and which domain owns its page, or None."""

    maddr: Maddr
    info: VmcoreInfo
    owner: int | None


class P2mCheck(NamedTuple):
    """The same fact from two places."""

    note: Mfn
    shared_info: Mfn

    @property
    def agree(self) -> bool:
        """Whether they do."""
        return self.note == self.shared_info
