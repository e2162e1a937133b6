"""A table of symbols: names and addresses, wherever they come from."""

from __future__ import annotations

from bisect import bisect_right
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from vmcoretool.errors import MissingSymbolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vmcoretool.addresses import Vaddr


class SymbolPlace(NamedTuple):
    """An address by name: ``offset`` bytes behind the symbol."""

    name: str
    offset: int

    def __str__(self) -> str:
        return f"{self.name}+{self.offset:#x}" if self.offset else self.name


class Symbols(NamedTuple):
    """The symbols of one program, as they are linked.

    Attributes:
        basis: where they come from, for people.
        by_name: addresses; of equal names the first one's.
        addresses: ascending, each once.
        names: of each address, the first name that the table gives it.
    """

    basis: str
    by_name: Mapping[str, Vaddr]
    addresses: tuple[Vaddr, ...]
    names: tuple[str, ...]

    def address(self, name: str) -> Vaddr:
        """A symbol's address.

        Raises:
            MissingSymbolError: there is none of this name.
        """
        try:
            return self.by_name[name]
        except KeyError:
            raise MissingSymbolError(f"no symbol {name} in {self.basis}") from None

    def place(self, vaddr: int) -> SymbolPlace | None:
        """The last symbol at or before an address, and how far behind it; None before the first."""
        at = bisect_right(self.addresses, vaddr) - 1
        return SymbolPlace(self.names[at], vaddr - self.addresses[at]) if at >= 0 else None


def make_symbols(rows: Iterable[tuple[str, Vaddr]], *, basis: str) -> Symbols:
    """A table from names and addresses in any order."""
    by_name: dict[str, Vaddr] = {}
    by_address: dict[Vaddr, str] = {}
    for name, vaddr in rows:
        by_name.setdefault(name, vaddr)
        by_address.setdefault(vaddr, name)
    addresses = tuple(sorted(by_address))
    names = tuple(by_address[vaddr] for vaddr in addresses)
    return Symbols(basis, MappingProxyType(by_name), addresses, names)
