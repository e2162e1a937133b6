"""All that decides which commands open a dump, and what crash reads from its notes by itself."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vmcoretool.debuggers import crash_releases
from vmcoretool.host.symbol_files import HYPERVISOR
from vmcoretool.notes.elf_note import XEN_ELFNOTE_CRASH_INFO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vmcoretool.debuggers.crash_program import CrashProgram
    from vmcoretool.evidence.weigh import Verdict
    from vmcoretool.host.identity import XenIdentity
    from vmcoretool.host.symbol_files import SymbolFiles
    from vmcoretool.vmcore import Vmcore
    from vmcoretool.xen.domains import Domain
    from vmcoretool.xen.panic import CrashText

VMLINUX: Final = "vmlinux"
"""What stands for a kernel's debug image where none is known."""
_CRASH_WORDS: Final = 9


def file_argument(path: str) -> str:
    """``path`` as an argument that cannot be taken for an option."""
    return f"./{path}" if path.startswith("-") else path


def learnt_by_crash(vmcore: Vmcore) -> tuple[int, int]:
    """xen_phys_start and p2m frame that crash takes from the notes by itself; 0 for none."""
    width = 4 if vmcore.architecture == "i386" else 8
    order: Literal["little", "big"] = vmcore.container.machine.byte_order
    start = p2m = 0
    for note in vmcore.notes:
        count = len(note.desc) // width
        if note.type != XEN_ELFNOTE_CRASH_INFO or not count:
            continue
        words = [
            int.from_bytes(note.desc[at * width : (at + 1) * width], order)
            for at in (count - 2, count - 1)
            if at >= 0
        ]
        if count > _CRASH_WORDS:
            start = start or words[0]
        p2m = p2m or words[-1]
    return start, p2m


class Sessions(NamedTuple):
    """All that decides which sessions of crash open a dump, and by which commands.

    Attributes:
        vmcore: the dump.
        verdict: decides the address.
        xen: which hypervisor.
        event: what the console tells of the crash.
        domains: those that were found.
        symbol_files: which symbol file goes with which session.
        program: the crash on this system, None where there is none or it was not looked for.
        panicked: ids of domains to whether their own kernel panicked, as far as their logs tell.
    """

    vmcore: Vmcore
    verdict: Verdict
    xen: XenIdentity
    event: CrashText
    domains: tuple[Domain, ...]
    symbol_files: SymbolFiles
    program: CrashProgram | None = None
    panicked: Mapping[int, bool] = MappingProxyType({})

    @property
    def release(self) -> tuple[int, int, int]:
        """The crash release that is judged: the newest known one where none is installed."""
        installed = self.program.release if self.program else None
        return installed or crash_releases.NEWEST_KNOWN

    @property
    def option(self) -> tuple[str, ...]:
        """The address as crash takes it: it beats the note and costs nothing."""
        start = self.verdict.xen_phys_start
        return () if start is None else ("--xen_phys_start", f"{start:#x}")

    @property
    def is_placeholder(self) -> bool:
        """Whether the dump has no file that another program could open."""
        return self.vmcore.paths[0] == "-" or not self.vmcore.container.row.has_memory

    @property
    def dumps(self) -> tuple[str, ...]:
        """The dump's files as arguments."""
        if self.is_placeholder:
            return ("VMCORE",)
        suffix = self.vmcore.container.row.crash_suffix
        return tuple(file_argument(path) + suffix for path in self.vmcore.paths)

    def has_member(self, unit: str, name: str, member: str) -> bool | None:
        """Whether a structure of the hypervisor has a member, by its symbol file's DWARF."""
        chosen = self.symbol_files.chosen.get(HYPERVISOR)
        other = self.symbol_files.companions.get(HYPERVISOR)
        file = other or (chosen.candidate if chosen else None)
        if file is None or not file.dwarf or file.compression:
            return None
        from vmcoretool.symbols.dwarf import members_of  # noqa: PLC0415 - pyelftools is slow

        try:
            members = members_of(file.path, unit, name)
        except OSError:
            return None
        return None if members is None else member in members

    def namelists(self, target: str, placeholder: str) -> tuple[str, ...]:
        """The symbol file's arguments: it, or the two halves of one, or a placeholder.

        A file that the user named and nothing refuted stays, though it proved nothing either.
        """
        chosen = self.symbol_files.chosen.get(target)
        if chosen is None:
            named = self.symbol_files.named.get(target)
            return (file_argument(named.candidate.path) if named else placeholder,)
        halves = [chosen.candidate]
        other = self.symbol_files.companions.get(target)
        if other:
            halves.append(other)
        halves.sort(key=lambda one: one.debug_only)
        return tuple(file_argument(one.path) for one in halves)
