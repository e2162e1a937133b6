"""The hypervisor's build-id: the one GNU note in its image, or in xen.efi a CodeView record.

Linked in behind the read-only data (Xen commit a353cab905 ("build_id: Provide ld-embedded
build-ids") (in 4.7)).  xen.efi has a PE debug directory entry with a record behind it
(xen/common/version.c, ``xen_build_init``): "RSDS" and a GUID of 16 bytes, which is the build-id::

    -16 Type 2   -12 SizeOfData   -8 AddressOfRawData   -4 PointerToRawData   +0 "RSDS"   +4 GUID
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import MIB, Vaddr
from vmcoretool.xen.search import image_blocks

if TYPE_CHECKING:
    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.xen.image.image import Image

SEARCH_LIMIT: Final = MIB // 2
# n_type NT_GNU_BUILD_ID and the owner; n_namesz 4 and n_descsz stand before them
_MARK: Final = b"\x03\0\0\0GNU\0"
_SIZES: Final = (16, 20)
_RECORD: Final = b"RSDS"
_CODEVIEW: Final = 2
_GUID_SIZE: Final = 16


def find_build_id(memory: PhysicalMemory, image: Image, near: Vaddr) -> str | None:
    """The build-id in lower-case hexadecimal, or None where the image has none in the dump.

    Args:
        memory: of the dump.
        image: whose pages are searched.
        near: where to start: the strings of CRASH_INFO, which are read-only data too.
    """
    for vaddr, block in image_blocks(memory, image, near, SEARCH_LIMIT):
        found = _note(block) or _record(block, vaddr - image.layout.virt_start)
        if found:
            return found.hex()
    return None


def _note(block: bytes) -> bytes:
    at = block.find(_MARK, 8)
    while at >= 0:
        namesz = int.from_bytes(block[at - 8 : at - 4], "little")
        size = int.from_bytes(block[at - 4 : at], "little")
        desc = block[at + 8 : at + 8 + size] if size in _SIZES else b""
        if at % 4 == 0 and namesz == 4 and len(desc) == size and any(desc):
            return desc
        at = block.find(_MARK, at + 1)
    return b""


def _record(block: bytes, offset: int) -> bytes:
    # the entry before the record holds the record's own place in the image
    at = block.find(_RECORD, 16)
    while at >= 0:
        kind, _, address = struct.unpack_from("<III", block, at - 16)
        guid = block[at + 4 : at + 4 + _GUID_SIZE]
        if (kind, address) == (_CODEVIEW, offset + at) and len(guid) == _GUID_SIZE and any(guid):
            return guid
        at = block.find(_RECORD, at + 1)
    return b""
