r"""Linux's VMCOREINFO in memory: kexec-tools writes none into the headers of a Xen host's dump.

The kernel keeps a complete note, header and all (kernel/crash_core.c, ``vmcoreinfo_note``)::

    +0  n_namesz 11   +4  n_descsz   +8  n_type 0   +12  "VMCOREINFO\0", padded   +24  text

Its first key is OSRELEASE (in all versions); format strings and programs that parse such notes hold
pieces of it, never the whole.  Guests with the same kernel have the same text: only the owner of
the page tells them apart.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import PAGE_SIZE, FileOffset, Maddr
from vmcoretool.budget import NO_LIMIT
from vmcoretool.memory.search import machine_runs, windows
from vmcoretool.notes.elf_note import Note
from vmcoretool.notes.vmcoreinfo import VmcoreInfo, parse_vmcoreinfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmcoretool.budget import Budget
    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.memory.search import Window

MAX_TEXT: Final = 4096
"""VMCOREINFO_BYTES: a page, in all versions."""
MAX_MARKS: Final = 1 << 21
MAX_LINES: Final = 1 << 17
"""Of all notes together: a thousand guests have as many."""
MAX_FOREIGN: Final = 64
"""Pages that are not the wanted domain's of which a note is given all the same."""
_LEAST_LINES: Final = 8
_MARK: Final = b"VMCOREINFO\0\0OSRELEASE="
_HEADER: Final = struct.Struct("<III")
_TEXT: Final = 24
_KEYS: Final = ("OSRELEASE", "PAGESIZE")


class Found(NamedTuple):
    """A note in memory: where its header stands, and what it says."""

    maddr: Maddr
    info: VmcoreInfo


def search_vmcoreinfo(
    memory: PhysicalMemory,
    budget: Budget,
    allowance: int = NO_LIMIT,
    *,
    is_foreign: Callable[[Maddr], bool] = lambda _: False,
    backwards: bool = False,
) -> Iterator[Found]:
    """Every such note in the dump's memory, as far as a budget of notes and lines goes.

    Guests can write as many such notes into their memory as they like: those in foreign pages take
    nothing off the budget.

    Args:
        memory: of the dump.
        budget: its caller may end the search.
        allowance: how many bytes are looked at.
        is_foreign: whether a page cannot hold the note that is looked for; of the first MAX_FOREIGN
            such pages one note each is given, of the others none.
        backwards: from the highest address down; the notes are the same.
    """
    runs = machine_runs(memory)
    total = sum(run.size for run in runs)
    work = budget.work("searching VMCOREINFO", size=allowance)
    notes = budget.work("searching VMCOREINFO", steps=MAX_MARKS, size=MAX_LINES)
    done = 0
    if not work.progress(done, total):
        return
    ahead = _TEXT + MAX_TEXT
    foreign = 0
    for window in windows(memory, runs, work, ahead=ahead, backwards=backwards):
        for at, is_own in _places(window, is_foreign, backwards=backwards):
            foreign += not is_own
            if foreign > MAX_FOREIGN and not is_own:
                continue
            note = _note(window, at)
            lines = max(note.desc.count(b"\n"), _LEAST_LINES) if note else 0
            if is_own and not notes.go_on(size=lines):
                return
            info = parse_vmcoreinfo(note) if note else None
            if info and all(key in info.entries for key in _KEYS):
                yield Found(Maddr(window.at + at), info)
        done += window.own
        if not work.progress(done, total):
            return
    work.progress(total, total)


def _places(
    window: Window, is_foreign: Callable[[Maddr], bool], *, backwards: bool
) -> Iterator[tuple[int, bool]]:
    # (offset, whether it counts) of each note's header; of a foreign page the first one that is met
    if _MARK not in window.data:
        return
    bounds = range(-(window.at % PAGE_SIZE), window.own, PAGE_SIZE)
    for page in reversed(bounds) if backwards else bounds:
        start, end = max(page, 0), min(page + PAGE_SIZE, window.own)
        places = list(window.find(_MARK, _HEADER.size, start, end))
        if places and is_foreign(Maddr(window.at + start)):
            yield places[-1 if backwards else 0], False
        else:
            for at in reversed(places) if backwards else places:
                yield at, True


def _note(window: Window, at: int) -> Note | None:
    # up to the text's first NUL; None where the header is none of Linux's
    namesz, descsz, kind = _HEADER.unpack_from(window.data, at)
    if (namesz, kind) != (11, 0) or not 0 < descsz <= MAX_TEXT:
        return None
    start = at + _TEXT
    text, nul, _ = window.data[start : start + descsz].partition(b"\0")
    return Note(
        owner="VMCOREINFO",
        type=0,
        desc=text,
        offset=FileOffset(window.at + at),
        desc_offset=FileOffset(window.at + start),
        complete=bool(nul) or len(text) == descsz,
    )
