"""Other shapes of a dump that is at hand: flattened, kdump-compressed, one guest's, a process's."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tests.builders import notes, variants
from tests.builders.elf_core import ElfCore, Load
from tests.builders.kdump import Kdump
from tests.builders.memory import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = 4096
_INCOMPLETE = 8
_PROGRAM = struct.Struct("<IIQQQQQQ")


def flattened(data: bytes) -> bytes:
    """A file as ``makedumpfile -F`` writes one: pieces, each with its offset and size."""
    head = b"makedumpfile".ljust(16, b"\0") + struct.pack(">QQ", 1, 1)
    pieces = [
        struct.pack(">qq", at, len(data[at : at + _BLOCK])) + data[at : at + _BLOCK]
        for at in range(0, len(data), _BLOCK)
    ]
    return head.ljust(_BLOCK, b"\0") + b"".join(pieces) + struct.pack(">qq", -1, -1)


def as_kdump(
    core: bytes,
    *,
    codec: int = 1,
    split: tuple[int, int] | None = None,
    excluded: bool = False,
    incomplete: bool = False,
) -> bytes:
    """The whole pages of an ELF64 vmcore, kdump-compressed, with its notes.

    Args:
        core: the vmcore.
        codec: of the pages.
        split: first frame of this part, and the one behind its last.
        excluded: all other pages up to the last one are left out, as a dump level does.
        incomplete: the header says that there was no room for all of it.
    """
    pages = {}
    for offset, paddr, size in _loads(core):
        for at in range(0, size - PAGE + 1, PAGE):
            pages[(paddr + at) // PAGE] = core[offset + at : offset + at + PAGE]
    _, start, length = variants.note_segment(core)
    ram = set(range(max(pages))) if excluded else set()
    blob = core[start : start + length]
    status = codec | _INCOMPLETE if incomplete else None
    return Kdump(pages, ram, notes=blob, codec=codec, split=split, status=status).build()


def process_core() -> bytes:
    """The core of a process: no machine addresses, and the notes that Linux writes of processes."""
    blob = notes.prstatus() + notes.note(b"CORE", 3, bytes(136)) + notes.note(b"CORE", 6, bytes(32))
    return ElfCore([Load(0, bytes(PAGE))], [blob]).build()


def _loads(core: bytes) -> Iterator[tuple[int, int, int]]:
    # file offset, machine address and size of each PT_LOAD
    (phoff,) = struct.unpack_from("<Q", core, 32)
    (phnum,) = struct.unpack_from("<H", core, 56)
    for at in range(phoff, phoff + _PROGRAM.size * phnum, _PROGRAM.size):
        kind, _, offset, _, paddr, filesz, _, _ = _PROGRAM.unpack_from(core, at)
        if kind == 1:
            yield offset, paddr, filesz
