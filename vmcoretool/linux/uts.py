"""A Linux's host name: ``init_uts_ns`` in the image's .data.

``struct new_utsname`` (include/uapi/linux/utsname.h) is six texts of 65 bytes: sysname, nodename,
release, version, machine, domainname.  Since 6.1 (init/version.c) a weak copy without a build
number in its version ("# SMP ..." for "#1 SMP ...") lies in .data, too; nobody writes to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import MIB
from vmcoretool.linux.image import FEW_MISSES, contents
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmcoretool.budget import Budget
    from vmcoretool.linux.image import Block
    from vmcoretool.linux.kernel import Kernel
    from vmcoretool.memory.physical import PhysicalMemory

SEARCH_LIMIT: Final = 4 * MIB
_FIELD: Final = 65
_SIZE: Final = 6 * _FIELD
_RELEASE_AT: Final = 2 * _FIELD
_LINUX: Final = b"Linux\0"
_NOT_SET: Final = b"(none)"


def find_hostname(
    memory: PhysicalMemory, blocks: Iterable[Block], kernel: Kernel, budget: Budget
) -> str | None:
    """The name that was given to the host: "" where none was, None where nothing tells.

    Args:
        memory: of the dump.
        blocks: of the kernel's image.
        kernel: the release must be its own.
        budget: limits the search.
    """
    work = budget.work("searching the host name", steps=4096)
    writable = (block for block in blocks if block.writable)
    wanted = kernel.release.encode("ascii")  # found much faster than a text padded with zeros
    for _, data in contents(memory, writable, limit=SEARCH_LIMIT, misses=FEW_MISSES):
        at = data.find(wanted)
        while at >= 0:
            if not work.go_on():
                return None
            name = _nodename(data, at - _RELEASE_AT, kernel.release) if at >= _RELEASE_AT else None
            if name is not None:
                return "" if name == _NOT_SET else printable(name)
            at = data.find(wanted, at + 1)
    return None


def _nodename(data: bytes, start: int, release: str) -> bytes | None:
    if not data.startswith(_LINUX, start):
        return None
    fields = [data[at : at + _FIELD].split(b"\0")[0] for at in range(start, start + _SIZE, _FIELD)]
    numbered = fields[3][:1] == b"#" and fields[3][1:2].isdigit()
    return fields[1] if fields[2] == release.encode("ascii") and numbered else None
