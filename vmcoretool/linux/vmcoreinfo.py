r"""Linux's VMCOREINFO in memory: kexec-tools writes none into the headers of a Xen host's dump.

The kernel keeps a complete note, header and all (kernel/crash_core.c, ``vmcoreinfo_note``)::

    +0  n_namesz 11   +4  n_descsz   +8  n_type 0   +12  "VMCOREINFO\0", padded   +24  text

Its first key is OSRELEASE (in all versions); format strings and programs that parse such notes hold
pieces of it, never the whole.  Guests with the same kernel have the same text: only the owner of
the page tells them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB, FileOffset, Maddr
from vmcoretool.errors import MemoryFault
from vmcoretool.notes.elf_note import Note
from vmcoretool.notes.vmcoreinfo import VmcoreInfo, parse_vmcoreinfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.budget import Budget
    from vmcoretool.memory.physical import PhysicalMemory

MAX_NOTE: Final = 64 * 1024
_MARK: Final = b"VMCOREINFO\0\0OSRELEASE="
_HEADER: Final = 12
_TEXT: Final = 24
_KEYS: Final = ("OSRELEASE", "PAGESIZE")


class Found(NamedTuple):
    """A note in memory: where its header stands, and what it says."""

    maddr: Maddr
    info: VmcoreInfo


def search_vmcoreinfo(
    memory: PhysicalMemory, budget: Budget, *, backwards: bool = False
) -> Iterator[Found]:
    """Every such note in the dump's memory.

    Args:
        memory: of the dump.
        budget: its caller may end the search.
        backwards: from the highest address down; the notes are the same.
    """
    extents = [extent for extent in memory.pages.stored() if extent.end > extent.start]
    total = sum(extent.end - extent.start for extent in extents)
    work = budget.work("searching VMCOREINFO")
    done = 0
    for start, end in reversed(extents) if backwards else extents:
        places = range(start, end, MIB)
        for at in reversed(places) if backwards else places:
            if not work.progress(done, total):
                return
            size = min(MIB, end - at)
            found = list(_search_block(memory, at, size, end))
            yield from reversed(found) if backwards else found
            done += size
    work.progress(total, total)


def _search_block(memory: PhysicalMemory, at: int, size: int, end: int) -> Iterator[Found]:
    # a note that starts in the block, even when its mark lies behind it
    limit = min(at + size + _TEXT + len(_MARK), end)
    while at < limit:
        block = memory.read_some(at, limit - at)
        place = block.find(_MARK, _HEADER)
        while place >= 0:
            found = _read(memory, Maddr(at + place - _HEADER))
            if found:
                yield found
            place = block.find(_MARK, place + 1)
        at += len(block) or 4096


def _read(memory: PhysicalMemory, maddr: Maddr) -> Found | None:
    try:
        header = memory.read(maddr, _TEXT)
    except MemoryFault:
        return None
    namesz, descsz, kind = (int.from_bytes(header[i : i + 4], "little") for i in (0, 4, 8))
    if (namesz, kind) != (11, 0) or not 0 < descsz <= MAX_NOTE:
        return None
    text = b""
    while len(text) < descsz:
        piece = memory.read_some(maddr + _TEXT + len(text), descsz - len(text))
        if not piece:
            break
        text += piece
    note = Note(
        owner="VMCOREINFO",
        type=0,
        desc=text,
        offset=FileOffset(maddr),
        desc_offset=FileOffset(maddr + _TEXT),
        complete=len(text) == descsz,
    )
    info = parse_vmcoreinfo(note)
    if not all(key in info.entries for key in _KEYS):
        return None
    return Found(maddr, info)
