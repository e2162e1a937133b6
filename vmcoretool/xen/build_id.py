"""The hypervisor's build-id: the one GNU note in its image.

Linked in from 4.7 on (Xen commit a353cab905 (2016-04-06)) behind the read-only data; xen.efi has it
in a section of its own, 16 bytes long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import MIB, Vaddr
from vmcoretool.xen.search import image_blocks

if TYPE_CHECKING:
    from vmcoretool.memory import PhysicalMemory
    from vmcoretool.xen.image import Image

SEARCH_LIMIT: Final = MIB // 2
# n_type NT_GNU_BUILD_ID and the owner; n_namesz 4 and n_descsz stand before them
_MARK: Final = b"\x03\0\0\0GNU\0"
_SIZES: Final = (16, 20)


def find_build_id(memory: PhysicalMemory, image: Image, near: Vaddr) -> str | None:
    """The build-id in lower-case hexadecimal, or None where the image has none in the dump.

    Args:
        memory: of the dump.
        image: whose pages are searched.
        near: where to start: the strings of CRASH_INFO, which are read-only data too.
    """
    for _, block in image_blocks(memory, image, near, SEARCH_LIMIT):
        at = block.find(_MARK, 8)
        while at >= 0:
            namesz = int.from_bytes(block[at - 8 : at - 4], "little")
            size = int.from_bytes(block[at - 4 : at], "little")
            desc = block[at + 8 : at + 8 + size] if size in _SIZES else b""
            if at % 4 == 0 and namesz == 4 and len(desc) == size and any(desc):
                return desc.hex()
            at = block.find(_MARK, at + 1)
    return None
