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
from vmcoretool.xen.search import image_windows

if TYPE_CHECKING:
    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.memory.search import Window
    from vmcoretool.xen.image.image import Image

SEARCH_LIMIT: Final = MIB // 2
# n_type NT_GNU_BUILD_ID and the owner; n_namesz and n_descsz stand before them
_MARK: Final = b"\x03\0\0\0GNU\0"
_SIZES_BEFORE: Final = struct.Struct("<II")
_SIZES: Final = (16, 20)
_ENTRY: Final = struct.Struct("<IIII")
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
    for window in image_windows(memory, image, near, SEARCH_LIMIT):
        found = _note(window) or _record(window, image.layout.virt_start)
        if found:
            return found.hex()
    return None


def _note(window: Window) -> bytes:
    for start in window.find(_MARK, _SIZES_BEFORE.size):
        at = start + _SIZES_BEFORE.size
        namesz, size = _SIZES_BEFORE.unpack_from(window.data, start)
        desc = window.data[at + len(_MARK) :][:size] if size in _SIZES else b""
        if (window.at + at) % 4 == 0 and namesz == 4 and len(desc) == size and any(desc):
            return desc
    return b""


def _record(window: Window, virt_start: int) -> bytes:
    # the entry before the record holds the record's own place in the image
    for start in window.find(_RECORD, _ENTRY.size):
        at = start + _ENTRY.size
        kind, _, address, _ = _ENTRY.unpack_from(window.data, start)
        guid = window.data[at + len(_RECORD) :][:_GUID_SIZE]
        place = window.at + at - virt_start
        if (kind, address) == (_CODEVIEW, place) and len(guid) == _GUID_SIZE and any(guid):
            return guid
    return b""
