"""Whether a dump shows that a cause of an error applies to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.debuggers import crash_releases
from vmcoretool.debuggers.crash_releases import dotted
from vmcoretool.debuggers.session import learnt_by_crash
from vmcoretool.xen.image.layouts import DIRECTMAPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmcoretool.debuggers.crash import CrashCommand
    from vmcoretool.debuggers.crash_releases import Requirement
    from vmcoretool.inspection.inspect import Inspection

_NOTE: Final = "the XEN_ELFNOTE_CRASH_INFO note"
_OF_A_PROCESS: Final = {("CORE", 3), ("CORE", 6), ("CORE", 0x46494C45)}
"""NT_PRPSINFO, NT_AUXV and NT_FILE: Linux writes them of processes only (fs/binfmt_elf.c)."""


class Diagnosis(NamedTuple):
    """Whether one cause applies to a dump; ``applies`` is None where the dump does not show it."""

    applies: bool | None
    why: str


def _yes(why: str) -> Diagnosis:
    return Diagnosis(applies=True, why=why)


def _no(why: str) -> Diagnosis:
    return Diagnosis(applies=False, why=why)


def _perhaps(why: str) -> Diagnosis:
    return Diagnosis(applies=None, why=why)


def _command(inspection: Inspection, target: str) -> CrashCommand | None:
    return next((command for command in inspection.commands if command.target == target), None)


def address_not_recorded(inspection: Inspection) -> Diagnosis:
    """Whether no note gives crash the address."""
    command = _command(inspection, "hypervisor")
    if command and command.requires_option and inspection.verdict.xen_phys_start is not None:
        info = inspection.vmcore.crash_info
        if info and info.xen_phys_start is not None:
            return _no(f"{_NOTE} records {info.xen_phys_start:#x}, which is wrong")
        what = "has no xen_phys_start" if info else "is missing"
        return _yes(f"{_NOTE} {what}")
    if inspection.verdict.status == "not-relocatable":
        return _no("this hypervisor does not relocate itself")
    return _no(f"crash reads the address from {_NOTE} of this dump")


def address_wrong(inspection: Inspection) -> Diagnosis:
    """Whether a recorded address differs from the proven one."""
    wrong = [row for row in inspection.verdict.contradicting if row.strength == "recorded"]
    if wrong:
        return _yes(f"{wrong[0].source} records {wrong[0].xen_phys_start or 0:#x}")
    if inspection.verdict.status == "verified":
        start = inspection.verdict.xen_phys_start or 0
        return _perhaps(
            f"the recorded address is right; was another one than {start:#x} given to the program?"
        )
    return _perhaps("the address is not proved")


def other_namelist(inspection: Inspection) -> Diagnosis:
    """Whether a hypervisor's symbol file is of another build."""
    return _namelist(inspection, "hypervisor")


def other_vmlinux(inspection: Inspection) -> Diagnosis:
    """Whether dom0's debug image is of another build."""
    return _namelist(inspection, "dom0")


def _namelist(inspection: Inspection, target: str) -> Diagnosis:
    rows = [match for match in inspection.symbol_files.matches if match.target == target]
    wrong = [match for match in rows if match.match == "differs"]
    chosen = inspection.symbol_files.chosen.get(target)
    if chosen and not any(match.candidate.named for match in wrong):
        return _no(f"{chosen.candidate.path} belongs to the dump; use this one")
    if wrong:
        return _yes(f"{wrong[0].candidate.path}: {wrong[0].reasons[0]}")
    option = "--xen-syms" if target == "hypervisor" else "--vmlinux"
    return _perhaps(f"give the symbol file with {option} to have it compared")


def no_dwarf(inspection: Inspection) -> Diagnosis:
    """Whether the chosen symbol files lack debugging data."""
    chosen = inspection.symbol_files.chosen
    if not chosen:
        return _perhaps("give the symbol file with --xen-syms or --vmlinux to have it checked")
    bare = [match for match in chosen.values() if not match.candidate.dwarf]
    if bare:
        return _yes(f"{bare[0].candidate.path} has none")
    return _no("the matching files have DWARF")


def crash_release(rows: tuple[Requirement, ...]) -> Callable[[Inspection], Diagnosis]:
    """Whether the crash on the PATH has not followed one of some changes in Xen."""

    def ask(inspection: Inspection) -> Diagnosis:
        version = inspection.xen.version if inspection.xen else None
        if version is None:
            return _perhaps("the dump does not show Xen's version")
        needed = [row for row in rows if (version.major, version.minor) >= row.xen]
        if not needed:
            return _no(f"Xen {version.text} is older than what changed")
        return _compared(version.text, needed[0])

    return ask


def _compared(xen: str, row: Requirement) -> Diagnosis:
    # the crash on the PATH with what a Xen needs
    if row.crash is None:
        return _yes(f"no crash up to {dotted(crash_releases.NEWEST_KNOWN)} reads Xen {xen}")
    from vmcoretool.debuggers.crash_program import find_crash  # noqa: PLC0415 - starts a process

    program = find_crash()
    needed = f"Xen {xen} needs crash {dotted(row.crash)}"
    if program is None or program.release is None:
        return _perhaps(f"{needed}; none is on the PATH here")
    old = not crash_releases.copes(program.release, row.crash)
    return Diagnosis(old, f"{needed}; this is {dotted(program.release)}")


def not_a_host(inspection: Inspection) -> Diagnosis:
    """Whether the dump is of something else than a Xen host."""
    host = inspection.kind == "xen-host"
    return Diagnosis(not host, f"this dump is of kind {inspection.kind}")


def not_its_panic(inspection: Inspection) -> Diagnosis:
    """Whether it was not dom0 that panicked."""
    if inspection.crash.panic is None:
        return _perhaps("the console does not show what panicked")
    if inspection.crash.dom0_panicked:
        return _perhaps("dom0 panicked itself: its session opens, other guests' do not")
    return _yes("the hypervisor panicked, not dom0")


def cut_short(inspection: Inspection) -> Diagnosis:
    """Whether a part of the dump is missing at its end."""
    whole = inspection.vmcore.container.complete
    return Diagnosis(not whole, "the file is whole" if whole else "the file is cut short")


def split_part(inspection: Inspection) -> Diagnosis:
    """Whether a part of a split set is missing."""
    missing = any(found.code == "split-part-missing" for found in inspection.findings)
    return Diagnosis(missing, "a part is missing" if missing else "no part is missing")


def filtered(inspection: Inspection) -> Diagnosis:
    """Whether pages were left out."""
    excluded = inspection.vmcore.container.pages.excluded_pages
    return Diagnosis(None if excluded else False, f"{excluded} pages were left out")


def p2m_missing(inspection: Inspection) -> Diagnosis:
    """Whether the note does not lead to dom0's p2m tree."""
    domain = next((domain for domain in inspection.domains if domain.id == 0), None)
    if domain is None:
        return _perhaps("the dump shows no dom0")
    _, noted = learnt_by_crash(inspection.vmcore)
    if domain.p2m_mfn is None:
        return _yes("dom0 has no tree")
    if noted != domain.p2m_mfn:
        where = f"mfn {noted:#x}" if noted else "nothing"
        return _yes(f"{_NOTE} names {where}, dom0's tree is at mfn {domain.p2m_mfn:#x}")
    return _no(f"{_NOTE} names dom0's tree, at mfn {domain.p2m_mfn:#x}")


def flattened(inspection: Inspection) -> Diagnosis:
    """Whether it is a flattened ELF file."""
    layers = inspection.vmcore.layers
    flat = "flattened" in layers and inspection.vmcore.container.elf_bits is not None
    return Diagnosis(flat, "it is" if flat else "it is not a flattened ELF file")


def any_flattened(inspection: Inspection) -> Diagnosis:
    """Whether the file is a flattened stream of any format."""
    flat = "flattened" in inspection.vmcore.layers
    return Diagnosis(flat, "it is" if flat else "it is not flattened")


def packed(inspection: Inspection) -> Diagnosis:
    """Whether the dump is compressed as a whole."""
    packed = [layer for layer in inspection.vmcore.layers if layer != "flattened"]
    return Diagnosis(
        bool(packed), f"it is {packed[0]}" if packed else "it is not compressed as a whole"
    )


def no_crash_info(inspection: Inspection) -> Diagnosis:
    """Whether there is no CRASH_INFO note."""
    there = inspection.vmcore.crash_info is not None
    return Diagnosis(not there, "it has one" if there else "it has none")


def no_vmcoreinfo_xen(inspection: Inspection) -> Diagnosis:
    """Whether there is no VMCOREINFO_XEN note."""
    there = inspection.vmcore.vmcoreinfo_xen is not None
    return Diagnosis(not there, "it has one" if there else "it has none")


def split_namelist(inspection: Inspection) -> Diagnosis:
    """Whether a symbol file is half of a pair."""
    halves = [match for match in inspection.symbol_files.matches if match.candidate.debug_only]
    if not halves:
        return _perhaps("no such file was examined")
    return _yes(f"{halves[0].candidate.path} is one")


def bigmem(inspection: Inspection) -> Diagnosis:
    """Whether the direct map is elsewhere than crash and makedumpfile expect."""
    directmap = inspection.xen.directmap if inspection.xen else None
    if directmap is None:
        return _perhaps("the dump does not show where the direct map starts")
    unusual = directmap is not DIRECTMAPS[0]
    return Diagnosis(unusual, f"the direct map starts at {directmap.start:#x}")


def packed_namelist(inspection: Inspection) -> Diagnosis:
    """Whether a symbol file is compressed."""
    packed = [row for row in inspection.symbol_files.matches if row.candidate.compression]
    if not packed:
        return _perhaps("no such file was examined")
    return _yes(f"{packed[0].candidate.path} is {packed[0].candidate.compression}")


def readable(inspection: Inspection) -> Diagnosis:
    """Whether crash knows the format at all."""
    row = inspection.vmcore.container.row
    if any((note.owner, note.type) in _OF_A_PROCESS for note in inspection.vmcore.notes):
        return _yes("it is the core of a process, not of a machine")
    return _no(f"it is {row.name}") if row.readable_by_crash else _yes(f"it is {row.name}")


def written_by_qemu(inspection: Inspection) -> Diagnosis:
    """Whether QEMU's dump-guest-memory wrote the dump."""
    if any(note.owner == "QEMU" for note in inspection.vmcore.notes):
        return _yes("it has QEMU's notes")
    return _no("it has no note of QEMU")


def one_guest(inspection: Inspection) -> Diagnosis:
    """Whether it is the dump of one guest of a Xen host."""
    guest = inspection.kind == "xen-domain"
    return Diagnosis(guest, f"this dump is of kind {inspection.kind}")


def always(inspection: Inspection) -> Diagnosis:
    """Nothing: the cause lies in how the program was called."""
    del inspection
    return _perhaps("does not depend on the dump")
