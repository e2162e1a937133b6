"""Names of the hypervisor's addresses: from the symbol file that belongs to the dump, if any."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import Vaddr
from vmcoretool.errors import MissingSymbolError, NamelistError
from vmcoretool.host.spaces import HYPERVISOR
from vmcoretool.symbols.matching import ALIASES
from vmcoretool.symbols.table import Symbols, make_symbols

if TYPE_CHECKING:
    from vmcoretool.host.host import Host

_NAMED: Final = re.compile(r"([A-Za-z_.$][\w.$#/@-]{0,254})(?:\+(0x[0-9a-fA-F]{1,16}|\d{1,16}))?")


class Named(NamedTuple):
    """An address as its user wrote it: a symbol and how many bytes behind it."""

    name: str
    offset: int


def parse_named(text: str) -> Named | None:
    """``NAME`` or ``NAME+0xOFF``; None of what is neither."""
    found = _NAMED.fullmatch(text)
    if found is None:
        return None
    digits = found[2] or "0"
    return Named(found[1], int(digits, 16 if digits.startswith("0x") else 10))


class Names:
    """The names that are known of one host's hypervisor."""

    def __init__(self, host: Host) -> None:
        """Read nothing yet."""
        self._host = host
        self._table: Symbols | None = None
        self._whole = False

    def address(self, space: str, named: Named) -> Vaddr:
        """The address that a user named.

        Args:
            space: of which address space.
            named: what the user wrote.

        Raises:
            MissingSymbolError: nothing known has this name.
            NamelistError, OSError: the symbol file cannot be read.
        """
        if space != HYPERVISOR:
            raise MissingSymbolError(
                f"{named.name}: names are known of the hypervisor's addresses only",
                cure="give the address in hexadecimal",
            )
        vaddr = self._symbols().by_name.get(named.name) or self._noted(named.name)
        if vaddr is None:
            raise MissingSymbolError(
                f"no symbol {named.name} is known",
                cure=""
                if self._host.hypervisor.namelist
                else "name a symbol file that belongs to the dump with --xen-syms",
            )
        return Vaddr(vaddr + named.offset & (1 << 64) - 1)

    def place(self, vaddr: int) -> str:
        """``NAME+0xOFF`` of an address in the hypervisor's image, "" where it is not known."""
        image = self._host.image
        if image is None or not self._host.hypervisor.namelist or image.maddr_of(vaddr) is None:
            return ""
        try:
            found = self._symbols().place(vaddr)
        except (NamelistError, OSError):
            return ""  # the answer stands without it
        if not self._whole:
            return ""  # the next name of a few may be that of something far away
        return f"{found.name}+{found.offset:#x}" if found else ""

    def _noted(self, name: str) -> Vaddr | None:
        # VMCOREINFO_XEN has some, under names of its own
        info = self._host.vmcoreinfo
        known = info.symbols() if info else {}
        others = [theirs for theirs, ours in ALIASES.items() if ours == name]
        return next((known[one] for one in (name, *others) if one in known), None)

    def _symbols(self) -> Symbols:
        if self._table is None:
            path = self._host.hypervisor.namelist
            self._table = make_symbols((), basis="no symbol file")
            if path:
                from vmcoretool.symbols.file import open_namelist  # noqa: PLC0415 - few name one

                with open_namelist(path) as namelist:
                    self._table = namelist.table()
                    self._whole = namelist.elf is not None  # of a map file a few are kept
        return self._table
