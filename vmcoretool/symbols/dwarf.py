"""Members of a structure, from a symbol file's debugging data; pyelftools does the work.

What crash can read depends on what a structure has, not on a version number: distributions carry
changes back.  One compilation unit is looked at, the one that must have the structure.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

from elftools.common.exceptions import DWARFError, ELFError
from elftools.construct.core import ConstructError
from elftools.elf.elffile import ELFFile

from vmcoretool.addresses import MIB
from vmcoretool.errors import NamelistError
from vmcoretool.symbols.elf import SHF_ALLOC, SHF_COMPRESSED
from vmcoretool.symbols.file import open_namelist

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_UNITS: Final = 4096
MAX_DEBUG: Final = 64 * MIB
"""What all sections of debugging data may hold together; a hypervisor's come to some 30 MiB."""
MAX_ENTRIES: Final = 200_000
# what pyelftools raises of damaged data, besides its own errors
_DAMAGE: Final = (
    DWARFError,
    ELFError,
    ConstructError,
    struct.error,
    zlib.error,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    RecursionError,
)


def members_of(path: str, unit: str, name: str) -> frozenset[str] | None:
    """The members of a structure, or None where the file does not tell.

    Args:
        path: an ELF file.
        unit: how the name of the compilation unit ends, such as "common/domain.c".
        name: the structure's.

    Raises:
        OSError: the file cannot be read.
    """
    if not _bounded(path):
        return None
    with open(path, "rb") as file:  # noqa: PTH123 - a name as folders give it
        try:
            dwarf = ELFFile(file).get_dwarf_info()
            for _, found in zip(range(MAX_UNITS), dwarf.iter_CUs(), strict=False):
                if _name(found.get_top_DIE()).endswith(unit):
                    return _members(found, name)
        except _DAMAGE:
            return None
    return None


def _bounded(path: str) -> bool:
    # pyelftools reads sections of any size whole, and unpacks packed ones
    try:
        with open_namelist(path) as namelist:
            elf = namelist.elf
            if elf is None:
                return False
            rows = [row for row in elf.sections if row.has_bytes]
            # tables and names of sections are read whole as well
            size = sum(row.size for row in rows if not row.flags & SHF_ALLOC)
            return size <= MAX_DEBUG and all(
                row.offset + row.size <= elf.source.size and not row.flags & SHF_COMPRESSED
                for row in rows
            )
    except NamelistError:
        return False


def _members(unit: Any, name: str) -> frozenset[str] | None:
    for entry in _entries(unit):
        if entry.tag == "DW_TAG_structure_type" and entry.has_children and _name(entry) == name:
            inner = (row for row in entry.iter_children() if row.tag == "DW_TAG_member")
            return frozenset(filter(None, map(_name, inner)))
    return None


def _entries(unit: Any) -> Iterator[Any]:
    for _, entry in zip(range(MAX_ENTRIES), unit.iter_DIEs(), strict=False):
        yield entry


def _name(entry: Any) -> str:
    value = entry.attributes.get("DW_AT_name")
    return value.value.decode("utf-8", "backslashreplace") if value else ""
