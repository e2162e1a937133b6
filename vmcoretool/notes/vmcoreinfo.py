"""VMCOREINFO text: ``KEY=value`` lines that a kernel or hypervisor publishes about itself.

Xen's (xen/common/kexec.c, Xen commit 65ce603cc1 ("extract vmcoreinfo from /proc/vmcore for Xen")
(in 3.3)) has ``PAGESIZE=``, ``SYMBOL(x)=`` in
hexadecimal without 0x, ``SIZE(x)=`` and ``OFFSET(x.y)=`` in decimal, and no xen_phys_start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vmcoretool.addresses import Vaddr
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vmcoretool.notes.elf_note import Note


class VmcoreInfo(NamedTuple):
    """One VMCOREINFO text.

    Attributes:
        raw: the text as it stands in the dump, up to its first NUL.
        entries: whole keys to values, both printable; the first of equal keys counts.
        note: the note that carries it.
    """

    raw: bytes
    entries: Mapping[str, str]
    note: Note

    def symbol(self, name: str) -> Vaddr | None:
        """The address in ``SYMBOL(name)=``, or None when absent or not hexadecimal."""
        value = self._number(f"SYMBOL({name})", 16)
        return None if value is None else Vaddr(value)

    def symbols(self) -> dict[str, Vaddr]:
        """All addresses in ``SYMBOL(name)=`` lines."""
        names = [
            key.removeprefix("SYMBOL(").removesuffix(")")
            for key in self.entries
            if key.startswith("SYMBOL(") and key.endswith(")")
        ]
        return {name: at for name in names if (at := self.symbol(name)) is not None}

    def size(self, name: str) -> int | None:
        """The bytes in ``SIZE(name)=``, or None."""
        return self._number(f"SIZE({name})", 10)

    def offset(self, name: str) -> int | None:
        """The bytes in ``OFFSET(name)=``, or None."""
        return self._number(f"OFFSET({name})", 10)

    def _number(self, key: str, base: int) -> int | None:
        try:
            value = int(self.entries[key], base)
        except (KeyError, ValueError):
            return None
        return value if 0 <= value < 1 << 64 else None


def parse_vmcoreinfo(note: Note) -> VmcoreInfo:
    """Split the text into whole lines; a line that the end of the file cut off is left out."""
    raw = note.desc.split(b"\0", 1)[0]
    lines = raw.split(b"\n")
    if not note.complete and b"\0" not in note.desc:
        lines.pop()
    entries: dict[str, str] = {}
    for line in lines:
        key, equals, value = line.partition(b"=")
        if equals:
            entries.setdefault(printable(key), printable(value))
    return VmcoreInfo(raw=raw, entries=entries, note=note)
