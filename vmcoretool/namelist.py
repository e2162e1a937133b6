"""Symbol files: an ELF file's ``.symtab``, or a ``.map`` file as ``nm`` writes it.

Addresses alone are read; DWARF is only noted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB, Vaddr
from vmcoretool.errors import MissingSymbolError, NamelistError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_MAP: Final = 64 * MIB
_FIELDS: Final = 3


class Namelist(NamedTuple):
    """One symbol file.

    Attributes:
        path: as the user named it.
        symbols: names to addresses.
        build_id: lower-case hexadecimal, or None where the file has no note of it.
        dwarf: whether it has debugging data, which crash needs.
    """

    path: str
    symbols: Mapping[str, Vaddr]
    build_id: str | None
    dwarf: bool

    def address(self, name: str) -> Vaddr:
        """A symbol's address.

        Raises:
            MissingSymbolError: the file has no such symbol.
        """
        try:
            return self.symbols[name]
        except KeyError:
            raise MissingSymbolError(f"no symbol {name}", path=self.path) from None


def read_namelist(path: str) -> Namelist:
    """Read a symbol file.

    Raises:
        NamelistError: it is neither an ELF file with symbols nor a ``.map`` file.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - a name as the user gave it
        magic = file.read(4)
    namelist = _from_elf(path) if magic == b"\x7fELF" else _from_map(path)
    if not namelist.symbols:
        raise NamelistError(
            "the file holds no symbols", path=path, cure="give the one of the debug package"
        )
    return namelist


def _from_elf(path: str) -> Namelist:
    # slow to import, and only needed for a symbol file
    from elftools.common.exceptions import ELFError  # noqa: PLC0415
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415
    from elftools.elf.sections import NoteSection, SymbolTableSection  # noqa: PLC0415

    symbols: dict[str, Vaddr] = {}
    build_id: str | None = None
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            elf = ELFFile(file)
            dwarf = elf.get_section_by_name(".debug_info") is not None
            for section in elf.iter_sections():
                if isinstance(section, SymbolTableSection):
                    for symbol in section.iter_symbols():
                        symbols.setdefault(symbol.name, Vaddr(symbol["st_value"]))
                elif isinstance(section, NoteSection):
                    for note in section.iter_notes():
                        if note["n_type"] == "NT_GNU_BUILD_ID":
                            build_id = build_id or note["n_desc"]
    except (ELFError, ValueError, TypeError, KeyError, UnicodeError) as error:
        raise NamelistError(f"a damaged ELF file: {error}", path=path) from error
    return Namelist(path, symbols, build_id, dwarf)


def _from_map(path: str) -> Namelist:
    symbols: dict[str, Vaddr] = {}
    with open(path, "rb") as file:  # noqa: PTH123 - as above
        text = file.read(MAX_MAP + 1)
    if len(text) > MAX_MAP:
        raise NamelistError("too large for a map file", path=path)
    for line in text.splitlines():
        words = line.split()
        if len(words) != _FIELDS or len(words[1]) != 1:
            raise NamelistError("neither an ELF file nor a map file as nm writes it", path=path)
        try:
            # Xen's own maps name static symbols "file.c#symbol"
            name = words[2].decode("ascii").rpartition("#")[2]
            symbols.setdefault(name, Vaddr(int(words[0], 16)))
        except ValueError as error:
            raise NamelistError("not a map file as nm writes it", path=path) from error
    return Namelist(path, symbols, None, dwarf=False)
