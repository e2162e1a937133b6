"""The hypervisor's build-id: the one GNU note in its image.

Linked in from 4.7 on (Xen commit a353cab905 (2016-04-06)) behind the read-only data; xen.efi has it
in a section of its own, 16 bytes long.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import MIB, Vaddr
from vmcoretool.xen.search import image_blocks

if TYPE_CHECKING:
    from vmcoretool.memory import PhysicalMemory
    from vmcoretool.xen.image import Image

SEARCH_LIMIT: Final = MIB
# n_namesz 4, n_descsz 16 or 20, n_type NT_GNU_BUILD_ID (3), "GNU"
_NOTE: Final = re.compile(rb"\x04\0\0\0([\x10\x14])\0\0\0\x03\0\0\0GNU\0")


def find_build_id(memory: PhysicalMemory, image: Image, near: Vaddr) -> str | None:
    """The build-id in lower-case hexadecimal, or None where the image has none in the dump.

    Args:
        memory: of the dump.
        image: whose pages are searched.
        near: where to start: the strings of CRASH_INFO, which are read-only data too.
    """
    for _, block in image_blocks(memory, image, near, SEARCH_LIMIT):
        for match in _NOTE.finditer(block):
            size = match[1][0]
            desc = block[match.end() : match.end() + size]
            if match.start() % 4 == 0 and len(desc) == size and any(desc):
                return desc.hex()
    return None
