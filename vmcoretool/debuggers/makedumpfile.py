"""``makedumpfile`` command lines that make a smaller copy, where plain ones fail on this dump.

makedumpfile takes xen_phys_start from a CRASH_INFO note of ten words, or from its option.  Linux
pages can be told apart only with the kernel's symbols: from its debug image (``-x``).  Linux's
VMCOREINFO (``-i``) is no way on a Xen host's dump: 1.7.2 to 1.7.9 look for the hypervisor's symbols
in that file, too, close it, and read it again (makedumpfile.c, ``initial_xen``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.debuggers.crash import display
from vmcoretool.debuggers.session import file_argument, learnt_by_crash
from vmcoretool.notes.elf_note import XEN_ELFNOTE_CRASH_INFO
from vmcoretool.xen.image.layouts import DIRECTMAPS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.debuggers.session import Sessions

OUTPUT: Final = "smaller-vmcore"
_AGAIN: Final = "the copy keeps the note as it is: crash will need --xen_phys_start again"


class FilterCommand(NamedTuple):
    """One way to a smaller copy.

    Attributes:
        purpose: what is left out.
        argv: the arguments, ready for exec; the last is the file to be written.
        caveats: what to know before.
    """

    purpose: str
    argv: tuple[str, ...]
    caveats: tuple[str, ...]

    def display(self) -> str:
        """The command for a terminal."""
        return display(self.argv)


def suggest_filters(sessions: Sessions) -> Iterator[FilterCommand]:
    """The commands that need something of this dump's; none where plain makedumpfile works."""
    vmcore = sessions.vmcore
    placeholder = sessions.is_placeholder
    noted = any(note.type == XEN_ELFNOTE_CRASH_INFO for note in vmcore.notes)
    if not vmcore.container.row.input_of_makedumpfile or vmcore.layers or placeholder or not noted:
        return  # makedumpfile's own output is not filtered twice, and it asks for the note
    if sessions.xen.directmap not in (None, DIRECTMAPS[0]):
        return  # "Can't get through the domain_list": it knows the usual direct map only
    start = sessions.verdict.xen_phys_start
    learnt, _ = learnt_by_crash(vmcore)
    option: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    if start is not None and learnt != start:
        option = ("--xen_phys_start", f"{start:#x}")
        caveats = (_AGAIN,)
        argv = ("makedumpfile", *option, "-c", "-d", "1", *sessions.dumps, OUTPUT)
        yield FilterCommand("pages of zeros left out, the rest compressed", argv, caveats)
    chosen = sessions.symbol_files.chosen.get("dom0")
    file = chosen.candidate if chosen else None
    if file and file.elf and file.dwarf and not file.compression:
        debug = file_argument(file.path)
        argv = ("makedumpfile", *option, "-x", debug, "-c", "-d", "31", *sessions.dumps, OUTPUT)
        yield FilterCommand("dom0's caches, user and free pages left out, too", argv, caveats)
