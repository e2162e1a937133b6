"""Who owns a machine page: ``page_info._domain`` in the hypervisor's frame table.

VMCOREINFO_XEN gives the frame table's pointer, the size of ``page_info`` and the offset of
``_domain``, 32 bits wide: since 3.4 the frame number of the owner's ``struct domain`` (Xen commit
84be7c5af4 (2011-01-06) corrected the offset), before that the lower half of its address
(xen/include/asm-x86/mm.h).  On machines whose memory has large holes the table is indexed without
them; what is found is then checked against a page whose owner is known.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import MIB, Maddr
from vmcoretool.errors import MemoryFault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmcoretool.notes.vmcoreinfo import VmcoreInfo
    from vmcoretool.xen.space import XenSpace

MAX_PAGE_INFO: Final = 256
MAX_COUNTED: Final = 1 << 25
"""Frames that are counted at most: 128 GiB."""


class FrameTable:
    """The frame table of one hypervisor."""

    def __init__(self, space: XenSpace, start: int, size: int, offset: int) -> None:
        self._space = space
        self._start = start
        self._size = size
        self._offset = offset
        self._owners: dict[int, int] = {}

    def know(self, struct_domain: int, domain_id: int) -> None:
        """Tell the table where a domain's ``struct domain`` lies."""
        maddr = self._space.maddr(struct_domain)
        self._owners[maddr >> 12] = domain_id
        self._owners.setdefault(struct_domain & 0xFFFF_FFFF, domain_id)

    def owner(self, maddr: int) -> int | None:
        """The id of the domain that owns the page, None where no known domain does.

        Raises:
            MemoryFault: the entry is not in the dump.
        """
        at = self._start + (maddr >> 12) * self._size + self._offset
        return self._owners.get(self._space.number(at, 4))

    def count(self, frames: int) -> dict[int, int]:
        """Domain ids and how many of the first ``frames`` pages each owns, as far as they are here.

        Raises:
            MemoryFault: the table's first page is not in the dump.
        """
        counts: Counter[int] = Counter()
        stride = self._size // 4
        step = MIB // self._size
        for first in range(0, min(frames, MAX_COUNTED), step):
            length = min(step, frames - first) * self._size
            try:
                block = self._space.read(self._start + first * self._size, length)
            except MemoryFault:
                if not first:
                    raise
                continue
            counts.update(array("I", block)[self._offset // 4 :: stride])
        return {domain: counts[key] for key, domain in self._owners.items() if counts.get(key)}


def find_frame_table(space: XenSpace, info: VmcoreInfo) -> FrameTable | None:
    """The frame table that VMCOREINFO_XEN describes; None where it does not, or memory is gone."""
    pointer = info.symbol("frame_table")
    size, offset = info.size("page_info"), info.offset("page_info._domain")
    if pointer is None or size is None or offset is None:
        return None
    if not 8 <= size <= MAX_PAGE_INFO or size % 4 or offset % 4 or offset + 4 > size:
        return None
    try:
        start = space.number(pointer)
        space.number(start, 4)
    except MemoryFault:
        return None
    return FrameTable(space, start, size, offset)


def owned(table: FrameTable | None, pages: Iterable[Maddr], domain_id: int) -> bool | None:
    """Whether all pages are one domain's; None where the table does not say."""
    if table is None:
        return None
    try:
        return all(table.owner(page) == domain_id for page in pages)
    except MemoryFault:
        return None
