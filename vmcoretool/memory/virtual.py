"""Virtual memory: the one reader through page tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vmcoretool.addresses import PAGE_SIZE, Maddr, Vaddr
from vmcoretool.errors import MemoryFault, TableFault, TranslationFault
from vmcoretool.memory.paging import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.budget import Work
    from vmcoretool.memory.paging import Level, Paging, Translation
    from vmcoretool.memory.physical import PhysicalMemory

Fallback = Callable[[int], Maddr | None]
"""Where a virtual address lies that no table translates, by other knowledge; None: unknown."""


class VirtualMemory:
    """What a processor sees at virtual addresses.

    Attributes:
        memory: machine memory.
        root: of the tables; bits that are no address are masked off.
        paging: the mode, such as the module ``vmcoretool.memory.x86_64``.
    """

    __slots__ = ("_fallback", "memory", "paging", "root")

    def __init__(
        self,
        memory: PhysicalMemory,
        root: Maddr,
        paging: Paging,
        fallback: Fallback | None = None,
    ) -> None:
        """Virtual memory through the tables at ``root``.

        Args:
            memory: of the dump.
            root: machine address of the top table.
            paging: the mode.
            fallback: asked for an address that the tables do not translate.
        """
        self.memory = memory
        self.root = root
        self.paging = paging
        self._fallback = fallback

    def translate(self, vaddr: int) -> Translation:
        """The walk to an address; the tables alone decide.

        Raises:
            TranslationFault: nothing is mapped there.
            TableFault: a table on the way is not in the dump.
        """
        return self.paging.walk(self.memory, self.root, Vaddr(vaddr))

    def maddr(self, vaddr: int) -> Maddr:
        """The machine address of a byte.

        Raises:
            TranslationFault: nothing is mapped there.
            TableFault: a table on the way is not in the dump.
        """
        return self._place(vaddr)[0]

    def read(self, vaddr: int, size: int) -> bytes:
        """Exactly ``size`` bytes.

        Raises:
            TranslationFault: a part of them is not mapped.
            MemoryFault: a table on the way or a byte is not in the dump.
        """
        parts = []
        while size > 0:
            maddr, room = self._place(vaddr)
            step = min(size, room)
            parts.append(self.memory.read(maddr, step))
            vaddr += step
            size -= step
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def number(self, vaddr: int, size: int = 8) -> int:
        """The little-endian unsigned number of ``size`` bytes.

        Raises:
            MemoryFault: as :meth:`read`.
        """
        return int.from_bytes(self.read(vaddr, size), "little")

    def c_string(self, vaddr: int, limit: int) -> bytes | None:
        """The bytes up to a NUL, without it; None when no NUL follows ``limit`` bytes or sooner.

        Raises:
            MemoryFault: as :meth:`read`, before a NUL was found.
        """
        text = b""
        while len(text) <= limit:
            at = vaddr + len(text)
            piece = self.read(at, PAGE_SIZE - at % PAGE_SIZE)
            end = piece.find(b"\0")
            text += piece if end < 0 else piece[:end]
            if end >= 0:
                return text if len(text) <= limit else None
        return None

    def runs(self, start: int, end: int, work: Work) -> Iterator[Run]:
        """What is mapped from ``start`` up to ``end``, in ascending order.

        Tables that are not in the dump are passed over: what they map is not known.

        Args:
            start: virtual address of the first byte.
            end: of the first byte that is not asked for.
            work: one step is taken for each page and hole.
        """
        held: Run | None = None
        while start < end and work.go_on():
            try:
                done = self.translate(start)
            except (TranslationFault, TableFault) as error:
                start = _behind(start, self.paging.LEVELS, error.level)
                continue
            size = min(done.page_size - start % done.page_size, end - start)
            if held and (held.vaddr + held.size, held.maddr + held.size) == (start, done.maddr):
                held = held._replace(size=held.size + size)
            else:
                if held:
                    yield held
                held = Run(Vaddr(start), done.maddr, size)
            start += size
        if held:
            yield held

    def _place(self, vaddr: int) -> tuple[Maddr, int]:
        # Where a byte lies, and how many bytes from it on lie in one piece.
        try:
            done = self.paging.walk(self.memory, self.root, Vaddr(vaddr))
        except MemoryFault:
            maddr = self._fallback(vaddr) if self._fallback else None
            if maddr is None:
                raise
            return maddr, PAGE_SIZE - vaddr % PAGE_SIZE
        return done.maddr, done.page_size - vaddr % done.page_size


def _behind(vaddr: int, levels: tuple[Level, ...], number: int) -> int:
    # The first address behind what one entry of that level maps.
    shift = next(level.shift for level in levels if level.number == number)
    return (vaddr >> shift) + 1 << shift
