"""The domains of a host, from ``domain_list`` and each one's shared info page.

VMCOREINFO_XEN (3.3 and later) has ``SYMBOL(domain_list)``, ``SIZE(domain)`` and the offsets of
``domain_id`` and ``next_in_list``; everything else in ``struct domain`` moves between versions.
What is needed of it is found by what it points to: the shared info page by the public ABI of
its arch part (xen/include/public/xen.h and arch-x86/xen.h)::

              64-bit guest   32-bit guest
    wc_version     0xC00        0x900     even; then wc_sec, wc_nsec
    max_pfn        0xC10        0x90C     one word each from here on
    pfn_to_mfn_frame_list_list, nmi_reason, p2m_cr3, p2m_vaddr

and a ``struct vcpu`` by its own number in its first word and its domain's address soon after.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import PAGE_SIZE, Maddr, Mfn
from vmcoretool.errors import MemoryFault, TranslationFault
from vmcoretool.memory.search import words
from vmcoretool.xen.frame_table import owned
from vmcoretool.xen.space import HYPERVISOR_END, HYPERVISOR_START

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Iterator

    from vmcoretool.budget import Budget, Work
    from vmcoretool.notes.vmcoreinfo import VmcoreInfo
    from vmcoretool.xen.frame_table import FrameTable
    from vmcoretool.xen.space import XenSpace

FIRST_RESERVED: Final = 0x7FF0
"""DOMID_FIRST_RESERVED: no domain has this id or a higher one (xen/include/public/xen.h)."""
MAX_VCPUS: Final = 8192
MAX_STRUCT: Final = 16_384
MAX_STEPS: Final = 150_000
"""Steps of some 10 us for the whole list; a usual domain needs 24."""
_BYTES_A_STEP: Final = 256
_POINTER_STEPS: Final = 3
_SHARED_INFO: Final = {8: (0xC00, 0xC10, "<5Q"), 4: (0x900, 0x90C, "<5I")}
_NANOSECONDS: Final = 1_000_000_000
_VCPU_HEAD: Final = 64
_MAX_FRAME: Final = 1 << 40


class SharedInfo(NamedTuple):
    """What a guest shares with the hypervisor; a word that is not set is 0.

    Attributes:
        maddr: of the page.
        word_size: the guest's, 8 or 4 bytes.
        max_pfn: how many pseudo-physical pages the guest says it has.
        frame_list_list: mfn of the top of its p2m tree; all ones: it keeps none.
        p2m_cr3: cr3 of the tables through which ``p2m_vaddr`` is read.
        p2m_vaddr: guest virtual address of the linear p2m list.
        wc_sec: when the host started by Xen's clock, in seconds since 1970.
    """

    maddr: Maddr
    word_size: int
    max_pfn: int
    frame_list_list: int
    p2m_cr3: int
    p2m_vaddr: int
    wc_sec: int = 0


class Vcpu(NamedTuple):
    """A virtual CPU: its number, its ``struct vcpu``, and the CPU it ran on last."""

    vcpu: int
    vaddr: int
    processor: int


class Domain(NamedTuple):
    """One domain.

    Attributes:
        id: domain id.
        vaddr: hypervisor virtual address of its ``struct domain``.
        type: "pv", "hvm" (also PVH: without symbols the dump does not tell) or "unknown".
        shared_info: of its shared info page, or None where none was found.
        vcpus: the virtual CPUs that were found.
        basis: how the type was told.
        max_vcpus: how many it has, or None where struct domain has that elsewhere (before 4.8).
        whole: False where pages that might tell its type are not in the dump.
    """

    id: int
    vaddr: int
    type: str
    shared_info: SharedInfo | None
    vcpus: tuple[Vcpu, ...]
    basis: str
    max_vcpus: int | None = None
    whole: bool = True

    @property
    def max_pfn(self) -> int | None:
        """One more than the highest pfn that a PV domain says it uses, or None."""
        return self.shared_info.max_pfn if self.shared_info and self.type == "pv" else None

    @property
    def p2m_mfn(self) -> Mfn | None:
        """Top of the p2m tree, as crash's --p2m_mfn wants it; None where there is none."""
        shared = self.shared_info
        if shared is None or not 0 < shared.frame_list_list < _MAX_FRAME:
            return None
        return Mfn(shared.frame_list_list)


_EMPTY: Final = "the list is empty: no domain was created yet, or its head is damaged"


class DomainList(NamedTuple):
    """The domains in the list's order.

    Attributes:
        domains: those found.
        trouble: why it ended early, or "".
        lost: whether that is memory that is not in the dump, which is no damage.
    """

    domains: tuple[Domain, ...]
    trouble: str
    lost: bool = False


class _Layout(NamedTuple):
    # what VMCOREINFO_XEN says of struct domain
    head: int
    id_at: int
    next_at: int
    size: int


def find_domains(
    space: XenSpace, info: VmcoreInfo, frames: FrameTable | None, budget: Budget
) -> DomainList:
    """Walk the list; damage ends it with a reason, never with an endless loop.

    Args:
        space: the hypervisor's memory.
        info: VMCOREINFO_XEN.
        frames: tells whose page is whose; it learns of every domain found.
        budget: of the dump.
    """
    layout = _layout(info)
    if isinstance(layout, str):
        return DomainList((), layout)
    work = budget.work("the domain list", steps=MAX_STEPS)
    found: list[Domain] = []
    trouble, lost = "", False
    try:
        for pointer, domain_id, raw in _structs(space, layout, work):
            if frames:
                frames.know(pointer, domain_id)
            domain = _domain(space, pointer, domain_id, raw, frames, work)
            found.append(domain._replace(max_vcpus=_max_vcpus(raw, layout.id_at)))
    except TranslationFault as error:
        trouble = str(error)
    except MemoryFault as error:
        trouble, lost = str(error), True
    except _ListError as error:
        trouble = str(error)
    return DomainList(tuple(found), trouble or _EMPTY * (not found), lost)


class _ListError(Exception):
    # why the list is not followed further
    pass


def _spend(work: Work, steps: int) -> None:
    if not work.go_on(steps):
        raise _ListError("the search was cut off: the domains behind these were not looked at")


def _layout(info: VmcoreInfo) -> _Layout | str:
    # or why there is none
    head = info.symbol("domain_list")
    id_at, next_at = info.offset("domain.domain_id"), info.offset("domain.next_in_list")
    size = info.size("domain")
    if head is None or id_at is None or next_at is None or size is None:
        return "VMCOREINFO_XEN does not describe the domain list"
    size = min(size, MAX_STRUCT)
    if max(id_at + 2, next_at + 8) > size:
        return "VMCOREINFO_XEN's offsets lie outside struct domain"
    return _Layout(head, id_at, next_at, size)


def _structs(space: XenSpace, layout: _Layout, work: Work) -> Iterator[tuple[int, int, bytes]]:
    # each struct domain of the list: where it lies, its id, its bytes
    seen: set[int] = set()
    last = -1
    pointer = space.number(layout.head)
    while pointer:
        if pointer in seen:
            raise _ListError(f"the list leads back to {pointer:#x}")
        seen.add(pointer)
        # each struct domain is allocated, none lies in the image
        if not _is_pointer(pointer) or space.image.maddr_of(pointer) is not None:
            raise _ListError(f"{pointer:#x} is no struct domain")
        _spend(work, layout.size // _BYTES_A_STEP)
        raw = space.read(pointer, layout.size)
        domain_id = int.from_bytes(raw[layout.id_at : layout.id_at + 2], "little")
        # domain_create() keeps the list in ascending order (xen/common/domain.c)
        if not last < domain_id < FIRST_RESERVED:
            raise _ListError(f"{pointer:#x} is no struct domain: id {domain_id} has no place there")
        yield pointer, domain_id, raw
        last = domain_id
        pointer = int.from_bytes(raw[layout.next_at : layout.next_at + 8], "little")


def _is_pointer(value: int) -> bool:
    return HYPERVISOR_START <= value < HYPERVISOR_END and not value % 8


def _domain(  # noqa: PLR0913, PLR0917 - one struct, and what it is looked at with
    space: XenSpace,
    vaddr: int,
    domain_id: int,
    raw: bytes,
    frames: FrameTable | None,
    work: Work,
) -> Domain:
    numbers = words(raw, "Q")
    pointers = [(index, word) for index, word in enumerate(numbers) if _is_pointer(word)]
    pages = (word for _, word in pointers if not word % PAGE_SIZE)
    lost: list[int] = []
    shared = next(_shared_infos(space, domain_id, pages, frames, work, lost), None)
    vcpus = _vcpus(space, vaddr, numbers, pointers, work)
    if shared is None:
        basis = "no shared info page was found"
        if lost:
            basis += f": {len(lost)} pages that may be it are not in the dump"
        return Domain(domain_id, vaddr, "unknown", None, vcpus, basis, whole=not lost)
    if shared.max_pfn or shared.frame_list_list or shared.p2m_cr3:
        basis = f"its shared info page {shared.maddr:#x} describes a p2m list"
        return Domain(domain_id, vaddr, "pv", shared, vcpus, basis)
    basis = f"its shared info page {shared.maddr:#x} describes no p2m list"
    return Domain(domain_id, vaddr, "hvm", shared, vcpus, basis)


def _max_vcpus(raw: bytes, id_at: int) -> int | None:
    # struct domain has begun with domain_id, max_vcpus since 4.8; before, that word was padding
    count = int.from_bytes(raw[4:8], "little")
    return count if id_at == 0 and 0 < count <= MAX_VCPUS else None


def _shared_infos(  # noqa: PLR0913, PLR0917 - as above
    space: XenSpace,
    domain_id: int,
    pages: Iterable[int],
    frames: FrameTable | None,
    work: Work,
    lost: list[int],
) -> Iterator[SharedInfo]:
    # ``lost`` gets the pages that are not in the dump
    for pointer in pages:
        _spend(work, _POINTER_STEPS)
        try:
            maddr = space.maddr(pointer)
            page = space.memory.read(maddr, PAGE_SIZE)
        except TranslationFault:
            continue
        except MemoryFault:
            lost.append(pointer)
            continue
        shared = parse_shared_info(page, maddr)
        # shared with the guest, so it is the guest's; a table that does not say decides nothing
        if shared is None:
            continue
        if owned(frames, [maddr], domain_id) is not False or (
            frames and frames.settle(maddr, domain_id)
        ):
            yield shared


def parse_shared_info(page: bytes, maddr: Maddr) -> SharedInfo | None:
    """What a page says if it is a shared info page, else None.

    Its wall clock has been set, its frame numbers are such, and no other word is wild.
    """
    for word_size, (clock_at, arch_at, layout) in _SHARED_INFO.items():
        version, seconds, nanoseconds = struct.unpack_from("<3I", page, clock_at)
        max_pfn, top, _, p2m_cr3, p2m_vaddr = struct.unpack_from(layout, page, arch_at)
        clock = version and not version % 2 and seconds and nanoseconds < _NANOSECONDS
        all_ones = (1 << 8 * word_size) - 1
        if clock and max_pfn < _MAX_FRAME and (top < _MAX_FRAME or top == all_ones):
            return SharedInfo(maddr, word_size, max_pfn, top, p2m_cr3, p2m_vaddr, wc_sec=seconds)
    return None


def _vcpus(
    space: XenSpace,
    domain: int,
    numbers: array[int],
    pointers: list[tuple[int, int]],
    work: Work,
) -> tuple[Vcpu, ...]:
    # struct domain holds an array of pointers (up to 3.4) or a pointer to one (4.0 and later)
    for index, word in pointers:
        if word == domain:
            continue
        _spend(work, _POINTER_STEPS)
        try:
            if _vcpu(space, domain, word, 0):
                return _numbered(space, domain, numbers[index : index + MAX_VCPUS], work)
            pointer = space.number(word)
            if _is_pointer(pointer) and pointer != domain and _vcpu(space, domain, pointer, 0):
                return _numbered(space, domain, _pointers(space, word), work)
        except MemoryFault:
            continue
    return ()


def _pointers(space: XenSpace, vaddr: int) -> Iterator[int]:
    for index in range(MAX_VCPUS):
        yield space.number(vaddr + 8 * index)


def _numbered(
    space: XenSpace, domain: int, pointers: Iterable[int], work: Work
) -> tuple[Vcpu, ...]:
    found: list[Vcpu] = []
    try:
        for number, pointer in enumerate(pointers):
            _spend(work, _POINTER_STEPS)
            vcpu = _vcpu(space, domain, pointer, number) if _is_pointer(pointer) else None
            if vcpu is None:
                break
            found.append(vcpu)
    except MemoryFault:
        pass  # what follows is not in the dump
    return tuple(found)


def _vcpu(space: XenSpace, domain: int, pointer: int, number: int) -> Vcpu | None:
    # struct vcpu: vcpu_id, processor, vcpu_info, domain in all versions (xen/include/xen/sched.h)
    head = space.read(pointer, _VCPU_HEAD)
    vcpu_id, processor = struct.unpack_from("<2I", head)
    if vcpu_id != number or struct.pack("<Q", domain) not in head[8:]:
        return None
    return Vcpu(number, pointer, processor)
