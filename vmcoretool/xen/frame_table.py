"""Who owns a machine page: ``page_info._domain`` in the hypervisor's frame table.

VMCOREINFO_XEN gives the frame table's pointer, the size of ``page_info`` and the offset of
``_domain``, 32 bits wide: since 3.4 the frame number of the owner's ``struct domain``, before that
the lower half of its address (xen/include/asm-x86/mm.h).  Xen 3.4 to 4.0.1 tell a wrong offset
(corrected by Xen commit 84be7c5af4 ("kexec: correct _domain offset info in elf-notes")
(in 4.1)): a page whose owner is known shows the
right one.  On machines whose memory has large holes the table is indexed without them, which
nothing here follows: pages above the first hole have no known owner there.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import MIB, PAGE_SHIFT, PAGE_SIZE, Maddr
from vmcoretool.errors import MemoryFault, TranslationFault
from vmcoretool.memory.search import words

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable

    from vmcoretool.notes.vmcoreinfo import VmcoreInfo
    from vmcoretool.xen.space import XenSpace

MAX_PAGE_INFO: Final = 256
MAX_COUNTED: Final = 1 << 25
"""Frames that are counted at most: 128 GiB."""


class FrameTable:
    """The frame table of one hypervisor.

    One hypervisor writes one form of owner, so both forms are kept apart; the first owner that only
    one of them names decides between them.
    """

    def __init__(self, space: XenSpace, start: int, size: int, offset: int) -> None:
        self._space = space
        self._start = start
        self._size = size
        self._offset = offset
        self._by_frame: dict[int, int] = {}
        self._by_address: dict[int, int] = {}
        self._forms: tuple[dict[int, int], ...] = (self._by_frame, self._by_address)
        self._settled = False

    def know(self, struct_domain: int, domain_id: int) -> None:
        """Tell the table where a domain's ``struct domain`` lies.

        Raises:
            MemoryFault: its place in machine memory is not known.
        """
        self._by_frame[self._space.maddr(struct_domain) >> PAGE_SHIFT] = domain_id
        low = struct_domain & 0xFFFF_FFFF
        if low:  # 0 is nobody
            self._by_address[low] = domain_id

    def owner(self, maddr: int) -> int | None:
        """The id of the domain that owns the page, None where no known domain does.

        Raises:
            MemoryFault: the entry is not in the dump.
        """
        at = self._start + (maddr >> PAGE_SHIFT) * self._size + self._offset
        word = self._space.number(at, 4)
        naming = [form for form in self._forms if word in form]
        if not naming:
            return None
        self._settled = True
        if len(naming) == 1:
            self._forms = (naming[0],)
        return naming[0][word]

    def settle(self, maddr: int, domain_id: int) -> bool:
        """Look for the owner elsewhere in a page's entry, where the told offset names none.

        Args:
            maddr: of a page that by its contents is the domain's.
            domain_id: its owner, which the table knows.

        Returns:
            Whether one other place names the owner; it is used from then on.  Only before any page
            had a known owner where it was told to stand.
        """
        if self._settled:
            return False
        try:
            at = self._start + (maddr >> PAGE_SHIFT) * self._size
            entry = self._space.read(at, self._size)
        except MemoryFault:
            return False
        places = [
            at
            for at in range(0, self._size, 4)
            if domain_id in self._named(int.from_bytes(entry[at : at + 4], "little"))
        ]
        if len(places) != 1:
            return False
        self._offset, self._settled = places[0], True
        return True

    def count(self, frames: int) -> tuple[dict[int, int], int]:
        """Who owns how many of the first ``frames`` pages, as far as the table is here.

        Returns:
            Domain ids with their pages, and of how many of the first MAX_COUNTED frames the entries
            are not in the dump.  Where the machine has no memory the table has holes, and nothing
            is missing.

        Raises:
            MemoryFault: the table's first page is not in the dump.
        """
        counts: Counter[int] = Counter()
        missing = 0
        self._entries(0, 1)
        step = MIB // self._size
        for first in range(0, min(frames, MAX_COUNTED), step):
            count = min(step, min(frames, MAX_COUNTED) - first)
            try:
                counts.update(self._entries(first, count))
            except MemoryFault:
                few = PAGE_SIZE // self._size
                for at in range(first, first + count, few):
                    some = min(few, first + count - at)
                    try:
                        counts.update(self._entries(at, some))
                    except TranslationFault:
                        continue  # a hole of the machine
                    except MemoryFault:
                        missing += some
        owned = [
            {domain: counts[key] for key, domain in form.items() if counts.get(key)}
            for form in self._forms
        ]
        return max(owned, key=lambda pages: sum(pages.values())), missing

    def _named(self, word: int) -> set[int]:
        return {form[word] for form in self._forms if word in form}

    def _entries(self, first: int, count: int) -> array[int]:
        block = self._space.read(self._start + first * self._size, count * self._size)
        return words(block, "I", self._offset // 4, self._size // 4)


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
