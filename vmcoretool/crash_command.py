"""The exact ``crash`` command lines: what to type, and what is still missing.

crash's rules are those of its netdump.c and xen_hyper.c, unchanged from 7.0.4 to 9.0: the
CRASH_INFO note is found by type alone and its words are counted, xen_phys_start is the last but
one of *more than nine*, the p2m frame the last; the command line beats the note; a number is
always read as hexadecimal.  Hypervisor mode needs a namelist whose name starts with "xen-syms",
or ``--hyper``.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from vmcoretool.containers.api import EM_386
from vmcoretool.notes.elf_note import XEN_ELFNOTE_CRASH_INFO
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from vmcoretool.evidence.weigh import Verdict
    from vmcoretool.vmcore import Vmcore

XEN_SYMS: Final = "xen-syms"
VMLINUX: Final = "vmlinux"
_CRASH_WORDS: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashCommand:
    """One crash session.

    Attributes:
        target: "hypervisor", "dom0" or "domN".
        argv: the arguments, ready for exec.
        ready: whether it would open as it stands.
        requires_option: crash would not learn the right address from this dump by itself.
        caveats: what is missing and where to get it.
    """

    target: str
    argv: tuple[str, ...]
    ready: bool
    requires_option: bool
    caveats: tuple[str, ...]

    def shell(self) -> str:
        """The command quoted for any POSIX shell; safe to eval whatever the files are called."""
        return shlex.join(self.argv)

    def display(self) -> str:
        r"""The command for a terminal: control characters appear as in bash's ``$'\n'``."""
        return " ".join(_display(word) for word in self.argv)


def _display(word: str) -> str:
    if word.isascii() and word.isprintable():
        return shlex.quote(word)
    escaped = printable(word.replace("\\", "\\\\").replace("'", "\\'"))
    return f"$'{escaped}'"


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


def suggest(
    vmcore: Vmcore, verdict: Verdict, *, xen_syms: str | None, vmlinux: str | None
) -> tuple[CrashCommand, ...]:
    """The commands for the hypervisor and dom0.

    Args:
        vmcore: the dump.
        verdict: decides the address.
        xen_syms: the hypervisor's namelist as the user named it, or None for a placeholder.
        vmlinux: dom0's, likewise.
    """
    option: tuple[str, ...] = ()
    if verdict.xen_phys_start is not None:
        option = ("--xen_phys_start", f"{verdict.xen_phys_start:#x}")
    stream = vmcore.paths[0] == "-"
    text = vmcore.container.format == "readelf-text"
    targets = ("VMCORE",) if stream or text else tuple(map(file_argument, vmcore.paths))
    common = _address_caveats(verdict)
    if stream:
        common += ("crash cannot read a stream: save it to a file first",)
    if text:
        common += ("VMCORE stands for the dump that this text is about",)
    elif not vmcore.container.complete:
        common += ("the dump is cut short: crash may stop at a missing page",)
    return (
        _hypervisor(vmcore, verdict, option, (xen_syms, targets), common),
        _dom0(vmcore, option, (vmlinux, targets), common),
    )


def _hypervisor(
    vmcore: Vmcore,
    verdict: Verdict,
    option: tuple[str, ...],
    files: tuple[str | None, tuple[str, ...]],
    common: tuple[str, ...],
) -> CrashCommand:
    namelist, targets = files
    caveats = list(common)
    hyper: tuple[str, ...] = ()
    if namelist is None:
        caveats.append(
            "xen-syms stands for the symbol file of this very build of Xen, with DWARF: "
            "give it with --xen-syms PATH"
        )
    else:
        caveats.append(f"{printable(namelist)} was not compared with the dump")
        if not namelist.rpartition("/")[2].startswith(XEN_SYMS):
            hyper = ("--hyper",)
    if vmcore.architecture == "i386":
        caveats.append("a 32-bit hypervisor needs a crash built for 32-bit x86")
    learnt, _ = learnt_by_crash(vmcore)
    needed = verdict.status != "not-relocatable" and learnt != verdict.xen_phys_start
    return CrashCommand(
        target="hypervisor",
        argv=("crash", *option, *hyper, file_argument(namelist or XEN_SYMS), *targets),
        ready=False,
        requires_option=needed,
        caveats=tuple(caveats),
    )


def _dom0(
    vmcore: Vmcore,
    option: tuple[str, ...],
    files: tuple[str | None, tuple[str, ...]],
    common: tuple[str, ...],
) -> CrashCommand:
    namelist, targets = files
    caveats = list(common)
    info = vmcore.crash_info
    p2m = info.dom0_p2m_mfn if info else None
    _, learnt = learnt_by_crash(vmcore)
    if namelist is None:
        caveats.append(
            "vmlinux stands for the debug image of dom0's kernel: give it with --vmlinux PATH"
        )
    else:
        caveats.append(f"{printable(namelist)} was not compared with the dump")
    if p2m is None:
        caveats.append("the notes do not tell dom0's p2m tree, which crash needs as --p2m_mfn")
    if info and info.word_size == 8 and vmcore.container.machine.e_machine == EM_386:
        caveats.append("a 32-bit dom0 on a 64-bit Xen: no crash can use these notes for it")
    needed = p2m is None or p2m != learnt
    p2m_option = ("--p2m_mfn", f"{p2m:#x}") if needed and p2m is not None else ()
    return CrashCommand(
        target="dom0",
        argv=("crash", *option, *p2m_option, file_argument(namelist or VMLINUX), *targets),
        ready=False,
        requires_option=needed,
        caveats=tuple(caveats),
    )


def _address_caveats(verdict: Verdict) -> tuple[str, ...]:
    if verdict.status == "unknown":
        return ("the hypervisor's address is unknown: crash cannot open it like this",)
    if verdict.status == "disputed" and verdict.xen_phys_start is None:
        return ("two addresses contradict each other: see the evidence before choosing one",)
    if verdict.status == "reported":
        return ("the address is only recorded, nothing in this dump proves it",)
    return ()
