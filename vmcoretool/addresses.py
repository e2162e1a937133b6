"""Kinds of addresses, so that one is never passed where another is meant.

*maddr/mfn* are host machine memory: what ``p_paddr`` holds in a host vmcore.  *vaddr* is a virtual
address; prose always says whose.  All are plain integers in bytes (``Mfn`` in 4 KiB frames).
"""

from __future__ import annotations

from typing import Final, NamedTuple, NewType

Maddr = NewType("Maddr", int)
"""A machine (host physical) byte address."""
Vaddr = NewType("Vaddr", int)
"""A virtual byte address, canonical form."""
Mfn = NewType("Mfn", int)
"""A machine frame number: ``maddr >> 12``."""
FileOffset = NewType("FileOffset", int)
"""A byte offset in the dump file."""

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 1 << PAGE_SHIFT
MIB: Final = 1 << 20
GIB: Final = 1 << 30
MADDR_LIMIT: Final = 1 << 52
"""First byte no x86 page-table entry can reach (Intel SDM vol. 3, 4.1.4: MAXPHYADDR <= 52)."""


class Extent(NamedTuple):
    """A range of machine memory; ``end`` is the first byte after it."""

    start: Maddr
    end: Maddr
