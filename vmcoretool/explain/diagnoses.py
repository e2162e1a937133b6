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
_DAMAGE: Final = {"headers-odd", "note-damaged", "page-map-damaged"}


class Diagnosis(NamedTuple):
    """Whether one cause applies to a dump; ``applies`` is None where the dump does not show it."""

    applies: bool | None
    why: str


def yes(why: str) -> Diagnosis:
    """It applies."""
    return Diagnosis(applies=True, why=why)


def no(why: str) -> Diagnosis:
    """It does not."""
    return Diagnosis(applies=False, why=why)


def perhaps(why: str) -> Diagnosis:
    """The dump does not show it."""
    return Diagnosis(applies=None, why=why)


def _command(inspection: Inspection, target: str) -> CrashCommand | None:
    return next((command for command in inspection.commands if command.target == target), None)


def address_not_recorded(inspection: Inspection) -> Diagnosis:
    """Whether no note gives crash the address."""
    command = _command(inspection, "hypervisor")
    if command and command.requires_option and inspection.verdict.xen_phys_start is not None:
        info = inspection.vmcore.crash_info
        if info and info.xen_phys_start is not None:
            return no(f"{_NOTE} records {info.xen_phys_start:#x}, which is wrong")
        what = "has no xen_phys_start" if info else "is missing"
        return yes(f"{_NOTE} {what}")
    if inspection.verdict.status == "not-relocatable":
        return no("this hypervisor does not relocate itself")
    return no(f"crash reads the address from {_NOTE} of this dump")


def address_wrong(inspection: Inspection) -> Diagnosis:
    """Whether a recorded address differs from the proven one."""
    wrong = [row for row in inspection.verdict.contradicting if row.strength == "recorded"]
    if wrong:
        return yes(f"{wrong[0].source} records {wrong[0].xen_phys_start or 0:#x}")
    if inspection.verdict.status == "verified":
        start = inspection.verdict.xen_phys_start or 0
        info = inspection.vmcore.crash_info
        recorded = info is not None and info.xen_phys_start is not None
        what = "the recorded address is right" if recorded else "the dump records none"
        return perhaps(f"{what}; was another one than {start:#x} given to the program?")
    return perhaps("the address is not proved")


def crash_release(rows: tuple[Requirement, ...]) -> Callable[[Inspection], Diagnosis]:
    """Whether the crash on the PATH has not followed one of some changes in Xen."""

    def ask(inspection: Inspection) -> Diagnosis:
        version = inspection.xen.version if inspection.xen else None
        if version is None:
            return perhaps("the dump does not show Xen's version")
        needed = [row for row in rows if (version.major, version.minor) >= row.xen]
        if not needed:
            return no(f"Xen {version.text} is older than what changed")
        return _compared(version.text, needed[0])

    return ask


def _compared(xen: str, row: Requirement) -> Diagnosis:
    # the crash on the PATH with what a Xen needs
    if row.crash is None:
        return yes(f"no crash up to {dotted(crash_releases.NEWEST_KNOWN)} reads Xen {xen}")
    from vmcoretool.debuggers.crash_program import find_crash  # noqa: PLC0415 - starts a process

    program = find_crash()
    needed = f"Xen {xen} needs crash {dotted(row.crash)}"
    if program is None or program.release is None:
        return perhaps(f"{needed}; none is on the PATH here")
    old = not crash_releases.copes(program.release, row.crash)
    return Diagnosis(old, f"{needed}; this is {dotted(program.release)}")


def not_a_host(inspection: Inspection) -> Diagnosis:
    """Whether the dump is of something else than a Xen host."""
    host = inspection.kind == "xen-host"
    return Diagnosis(not host, f"this dump is of kind {inspection.kind}")


def not_its_panic(inspection: Inspection) -> Diagnosis:
    """Whether it was not dom0 that panicked."""
    if inspection.crash.panic is None:
        return perhaps("the console does not show what panicked")
    if inspection.crash.dom0_panicked:
        return perhaps("dom0 panicked itself: its session opens, other guests' do not")
    return yes("the hypervisor panicked, not dom0")


def cut_short(inspection: Inspection) -> Diagnosis:
    """Whether a part of the dump is missing at its end."""
    if _part_missing(inspection):
        return no("a part of the set is missing, which was not named")
    container = inspection.vmcore.container
    if not container.row.readable_by_crash:
        return no(f"it is {container.format}, which no program but this reads")
    whole = container.complete
    return Diagnosis(not whole, "the file is whole" if whole else "the file is cut short")


def split_part(inspection: Inspection) -> Diagnosis:
    """Whether a part of a split set is missing."""
    missing = _part_missing(inspection)
    return Diagnosis(missing, "a part is missing" if missing else "no part is missing")


def _part_missing(inspection: Inspection) -> bool:
    return any(found.code == "split-part-missing" for found in inspection.findings)


def filtered(inspection: Inspection) -> Diagnosis:
    """Whether pages were left out."""
    excluded = inspection.vmcore.container.pages.excluded_pages
    return Diagnosis(None if excluded else False, f"{excluded} pages were left out")


def p2m_missing(inspection: Inspection) -> Diagnosis:
    """Whether the note does not lead to dom0's p2m tree."""
    domain = next((domain for domain in inspection.domains if domain.id == 0), None)
    if inspection.kind == "xen-host" and inspection.vmcore.crash_info is None:
        return yes(f"{_NOTE} is missing")
    if domain is None:
        return perhaps("the dump shows no dom0")
    _, noted = learnt_by_crash(inspection.vmcore)
    if domain.p2m_mfn is None:
        return yes("dom0 has no tree")
    if noted != domain.p2m_mfn:
        where = f"mfn {noted:#x}" if noted else "nothing"
        return yes(f"{_NOTE} names {where}, dom0's tree is at mfn {domain.p2m_mfn:#x}")
    return no(f"{_NOTE} names dom0's tree, at mfn {domain.p2m_mfn:#x}")


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


def bigmem(inspection: Inspection) -> Diagnosis:
    """Whether the direct map is elsewhere than crash and makedumpfile expect."""
    directmap = inspection.xen.directmap if inspection.xen else None
    if directmap is None:
        return perhaps("the dump does not show where the direct map starts")
    unusual = directmap is not DIRECTMAPS[0]
    return Diagnosis(unusual, f"the direct map starts at {directmap.start:#x}")


def readable(inspection: Inspection) -> Diagnosis:
    """Whether crash knows the format at all."""
    row = inspection.vmcore.container.row
    process = inspection.vmcore.process
    if process:
        named = f" ({process.name})" if process.name else ""
        return yes(f"it is the core of a process{named}, not of a machine")
    return no(f"it is {row.name}") if row.readable_by_crash else yes(f"it is {row.name}")


def written_by_qemu(inspection: Inspection) -> Diagnosis:
    """Whether QEMU's dump-guest-memory wrote the dump."""
    if any(note.owner == "QEMU" for note in inspection.vmcore.notes):
        return yes("it has QEMU's notes")
    return no("it has no note of QEMU")


def one_guest(inspection: Inspection) -> Diagnosis:
    """Whether it is the dump of one guest of a Xen host."""
    guest = inspection.kind == "xen-domain"
    return Diagnosis(guest, f"this dump is of kind {inspection.kind}")


def always(inspection: Inspection) -> Diagnosis:
    """Nothing: the cause lies in how the program was called."""
    del inspection
    return perhaps("does not depend on the dump")


def not_flattened(inspection: Inspection) -> Diagnosis:
    """Whether the file is no flattened stream."""
    flat = any_flattened(inspection).applies
    return no("it is a flattened stream") if flat else yes("it is not flattened")


def page_codec(inspection: Inspection) -> Diagnosis:
    """Whether pages of the dump are compressed in a way that builds of crash may lack."""
    if inspection.vmcore.container.format != "kdump":
        return no("it is not kdump-compressed")
    return perhaps("it is kdump-compressed; its pages may be in LZO, snappy or zstd")


def damaged(inspection: Inspection) -> Diagnosis:
    """Whether the dump's headers or notes are damaged."""
    codes = {found.code for found in inspection.findings} & _DAMAGE
    return yes(f"it has the finding {min(codes)}") if codes else perhaps("no damage was found")


def kdump_already(inspection: Inspection) -> Diagnosis:
    """Whether the dump is kdump-compressed."""
    name = inspection.vmcore.container.format
    return yes("it is") if name == "kdump" else no(f"it is {name}")


def not_a_part(inspection: Inspection) -> Diagnosis:
    """Whether the dump is not kdump-compressed."""
    name = inspection.vmcore.container.format
    return yes(f"it is {name}") if name != "kdump" else no("it is kdump-compressed")


def other_machine(inspection: Inspection) -> Diagnosis:
    """Whether the dump is of another machine than x86_64, for which most crashes are built."""
    machine = inspection.vmcore.architecture
    return no("it is of x86_64") if machine == "x86_64" else yes(f"it is of {machine}")
