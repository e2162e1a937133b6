"""Which process a core is of, where it is no machine's.

Linux writes NT_AUXV and NT_FILE of processes only, and the process's name into NT_PRPSINFO, which
/proc/kcore has, too (fs/binfmt_elf.c; struct elf_prpsinfo of include/linux/elfcore.h)::

    +40 (32 bits: +28)   pr_fname, 16 bytes     +56 (+44)   pr_psargs, 80 bytes
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmcoretool.notes.elf_note import Note

NT_PRPSINFO: Final = 3
NT_AUXV: Final = 6
NT_FILE: Final = 0x46494C45
_NAME_AT: Final = {136: 40, 124: 28, 128: 32}
"""Where pr_fname starts, by the size of the note: 64 bits, 32 bits, 32 bits with wide ids."""
_NAME_SIZE: Final = 16


class Process(NamedTuple):
    """A process that left a core; ``name`` is "" where the core does not hold it."""

    name: str


def find_process(notes: Iterable[Note]) -> Process | None:
    """The process whose core has these notes, or None where they are not a process's."""
    name, is_process = "", False
    for note in notes:
        if note.owner != "CORE":
            continue
        is_process = is_process or note.type in (NT_AUXV, NT_FILE)
        at = _NAME_AT.get(len(note.desc))
        if note.type == NT_PRPSINFO and at is not None and not name:
            text = note.desc[at : at + _NAME_SIZE].split(b"\0")[0]
            name = printable(text.decode("utf-8", "backslashreplace"))
    return Process(name) if is_process else None
