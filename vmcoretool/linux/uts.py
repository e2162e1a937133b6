"""A Linux's host name: ``init_uts_ns`` in the image's .data.

``struct new_utsname`` (include/uapi/linux/utsname.h) is six texts of 65 bytes: sysname, nodename,
release, version, machine, domainname.  The kernel's own ends its banner with the same version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import MIB
from vmcoretool.linux.image import contents
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
_MARK: Final = b"Linux" + bytes(_FIELD - 5)
_NOT_SET: Final = b"(none)"


def find_hostname(
    memory: PhysicalMemory, blocks: Iterable[Block], kernel: Kernel, budget: Budget
) -> str | None:
    """The name that was given to the host: "" where none was, None where nothing tells.

    Args:
        memory: of the dump.
        blocks: of the kernel's image.
        kernel: whose name it is: release and version must be its own.
        budget: limits the search.
    """
    work = budget.work("searching the host name", steps=4096)
    writable = (block for block in blocks if block.writable)
    for _, data in contents(memory, writable, limit=SEARCH_LIMIT):
        at = data.find(_MARK)
        while at >= 0:
            if not work.go_on():
                return None
            fields = [
                data[start : start + _FIELD].split(b"\0")[0]
                for start in range(at, at + _SIZE, _FIELD)
            ]
            release, version = (printable(field) for field in fields[2:4])
            if release == kernel.release and version and kernel.banner.endswith(version):
                return "" if fields[1] == _NOT_SET else printable(fields[1])
            at = data.find(_MARK, at + 1)
    return None
