"""The causes of errors, and whether a dump shows that one applies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool import crash_versions
from vmcoretool.crash_versions import dotted
from vmcoretool.situation import learnt_by_crash
from vmcoretool.xen.layouts import DIRECTMAPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmcoretool.crash_command import CrashCommand
    from vmcoretool.crash_versions import Requirement
    from vmcoretool.error_texts import ErrorText
    from vmcoretool.inspection import Inspection


class Diagnosis(NamedTuple):
    """What a dump says of one cause; ``applies`` None where the dump does not tell."""

    applies: bool | None
    why: str


class Cause(NamedTuple):
    """One reason for an error.

    Attributes:
        name: as :attr:`ErrorText.causes` names it.
        text: what is wrong.
        cure: what to do.
        ask: looks whether it is so, in a dump of a Xen host.
    """

    name: str
    text: str
    cure: str
    ask: Callable[[Inspection], Diagnosis]


def causes_of(row: ErrorText) -> Iterator[Cause]:
    """The causes of a text, likely ones first."""
    for name in row.causes:
        yield _crash_release(row.requirements) if name == CRASH_RELEASE else CAUSES[name]


def _yes(why: str) -> Diagnosis:
    return Diagnosis(applies=True, why=why)


def _no(why: str) -> Diagnosis:
    return Diagnosis(applies=False, why=why)


def _perhaps(why: str) -> Diagnosis:
    return Diagnosis(applies=None, why=why)


def _command(inspection: Inspection, target: str) -> CrashCommand | None:
    return next((one for one in inspection.commands if one.target == target), None)


def _address_not_recorded(inspection: Inspection) -> Diagnosis:
    command = _command(inspection, "hypervisor")
    if command and command.requires_option and inspection.verdict.xen_phys_start is not None:
        info = inspection.vmcore.crash_info
        if info and info.xen_phys_start is not None:
            return _no(f"the note records {info.xen_phys_start:#x}, a wrong one")
        what = "has no xen_phys_start" if info else "is missing"
        return _yes(f"the dump's CRASH_INFO note {what}")
    if inspection.verdict.status == "not-relocatable":
        return _no("this hypervisor does not move itself")
    return _no("crash learns the address from this dump's own note")


def _address_wrong(inspection: Inspection) -> Diagnosis:
    liars = [one for one in inspection.verdict.contradicting if one.strength == "recorded"]
    if liars:
        return _yes(f"{liars[0].source} says {liars[0].xen_phys_start or 0:#x}")
    if inspection.verdict.status == "verified":
        start = inspection.verdict.xen_phys_start or 0
        return _perhaps(f"what is recorded is right; was an option given other than {start:#x}?")
    return _perhaps("the address is not proved")


def _other_namelist(inspection: Inspection) -> Diagnosis:
    return _namelist(inspection, "hypervisor")


def _other_vmlinux(inspection: Inspection) -> Diagnosis:
    return _namelist(inspection, "dom0")


def _namelist(inspection: Inspection, target: str) -> Diagnosis:
    rows = [one for one in inspection.selection.matches if one.target == target]
    wrong = [one for one in rows if one.match == "differs"]
    chosen = inspection.selection.chosen.get(target)
    if chosen and not any(one.candidate.named for one in wrong):
        return _no(f"{chosen.candidate.path} belongs to the dump; use this one")
    if wrong:
        return _yes(f"{wrong[0].candidate.path}: {wrong[0].reasons[0]}")
    option = "--xen-syms" if target == "hypervisor" else "--vmlinux"
    return _perhaps(f"give the symbol file with {option} to have it compared")


def _no_dwarf(inspection: Inspection) -> Diagnosis:
    chosen = inspection.selection.chosen
    if not chosen:
        return _perhaps("name the symbol file, and it is looked at: --xen-syms, --vmlinux")
    bare = [one for one in chosen.values() if not one.candidate.dwarf]
    if bare:
        return _yes(f"{bare[0].candidate.path} has none")
    return _no("the matching files have DWARF")


def _crash_release(rows: tuple[Requirement, ...]) -> Cause:
    # "This crash does not know this Xen", of the changes that end with the text in question
    def ask(inspection: Inspection) -> Diagnosis:
        version = inspection.xen.version if inspection.xen else None
        if version is None:
            return _perhaps("the dump does not tell Xen's version")
        needed = [row for row in rows if (version.major, version.minor) >= row.xen]
        if not needed:
            return _no(f"Xen {version.text} is older than what changed")
        return _compared(version.text, needed[0])

    told = [dotted(row.crash) for row in rows if row.crash]
    cure = (
        f"Use crash {told[0]} or later."
        if told
        else f"No crash up to {dotted(crash_versions.NEWEST_KNOWN)} does. Open dom0, or use "
        "vmcoretool's own commands: console, cpus, domains, dmesg."
    )
    return Cause(CRASH_RELEASE, "This crash does not know this Xen.", cure, ask)


def _compared(xen: str, row: Requirement) -> Diagnosis:
    # the crash on the PATH with what a Xen needs
    if row.crash is None:
        return _yes(f"no crash up to {dotted(crash_versions.NEWEST_KNOWN)} reads Xen {xen}")
    from vmcoretool.crash_program import find_crash  # noqa: PLC0415 - starts a process

    program = find_crash()
    needed = f"Xen {xen} needs crash {dotted(row.crash)}"
    if program is None or program.release is None:
        return _perhaps(f"{needed}; none is on the PATH here")
    old = not crash_versions.copes(program.release, row.crash)
    return Diagnosis(old, f"{needed}; this is {dotted(program.release)}")


def _not_a_host(inspection: Inspection) -> Diagnosis:
    host = inspection.kind == "xen-host"
    return Diagnosis(not host, f"this dump is of kind {inspection.kind}")


def _not_its_panic(inspection: Inspection) -> Diagnosis:
    if inspection.crash.panic is None:
        return _perhaps("the console does not tell whose panic it was")
    if inspection.crash.dom0_panicked:
        return _perhaps("dom0 panicked itself: its session opens, other guests' do not")
    return _yes("the panic was the hypervisor's")


def _cut_short(inspection: Inspection) -> Diagnosis:
    whole = inspection.vmcore.container.complete
    return Diagnosis(not whole, "the file is whole" if whole else "the file is cut short")


def _split_part(inspection: Inspection) -> Diagnosis:
    missing = any(one.code == "split-part-missing" for one in inspection.findings)
    return Diagnosis(missing, "a part is missing" if missing else "no part is missing")


def _filtered(inspection: Inspection) -> Diagnosis:
    excluded = inspection.vmcore.container.pages.excluded_pages
    return Diagnosis(None if excluded else False, f"{excluded} pages were left out")


def _p2m_missing(inspection: Inspection) -> Diagnosis:
    domain = next((one for one in inspection.domains if one.id == 0), None)
    if domain is None:
        return _perhaps("the dump shows no dom0")
    _, noted = learnt_by_crash(inspection.vmcore)
    if domain.p2m_mfn is None:
        return _yes("dom0 has no tree")
    if noted != domain.p2m_mfn:
        where = f"mfn {noted:#x}" if noted else "nothing"
        return _yes(f"the note says {where}, dom0's tree is at mfn {domain.p2m_mfn:#x}")
    return _no(f"the note names dom0's tree, at mfn {domain.p2m_mfn:#x}")


def _flattened(inspection: Inspection) -> Diagnosis:
    layers = inspection.vmcore.layers
    flat = "flattened" in layers and inspection.vmcore.container.format == "elf"
    return Diagnosis(flat, "it is" if flat else "it is no flattened ELF file")


def _packed(inspection: Inspection) -> Diagnosis:
    packed = [one for one in inspection.vmcore.layers if one != "flattened"]
    return Diagnosis(
        bool(packed), f"it is {packed[0]}" if packed else "it is not compressed as a whole"
    )


def _no_crash_info(inspection: Inspection) -> Diagnosis:
    there = inspection.vmcore.crash_info is not None
    return Diagnosis(not there, "the note is there" if there else "there is none")


def _no_vmcoreinfo_xen(inspection: Inspection) -> Diagnosis:
    there = inspection.vmcore.vmcoreinfo_xen is not None
    return Diagnosis(not there, "the note is there" if there else "there is none")


def _split_namelist(inspection: Inspection) -> Diagnosis:
    halves = [one for one in inspection.selection.matches if one.candidate.split]
    if not halves:
        return _perhaps("no such file was looked at")
    return _yes(f"{halves[0].candidate.path} is one")


def _bigmem(inspection: Inspection) -> Diagnosis:
    directmap = inspection.xen.directmap if inspection.xen else None
    if directmap is None:
        return _perhaps("the dump does not tell where the direct map starts")
    unusual = directmap is not DIRECTMAPS[0]
    return Diagnosis(unusual, f"the direct map starts at {directmap.start:#x}")


def _packed_namelist(inspection: Inspection) -> Diagnosis:
    packed = [one for one in inspection.selection.matches if one.candidate.packed]
    if not packed:
        return _perhaps("no such file was looked at")
    return _yes(f"{packed[0].candidate.path} is {packed[0].candidate.packed}")


def _readable(inspection: Inspection) -> Diagnosis:
    container = inspection.vmcore.container.format
    return _no(f"it is {container}") if container in _READ_BY_CRASH else _yes(f"it is {container}")


def _always(inspection: Inspection) -> Diagnosis:
    del inspection
    return _perhaps("does not depend on the dump")


CRASH_RELEASE: Final = "crash-release"
_READ_BY_CRASH: Final = ("elf", "kdump", "xen-core")
_OPTION: Final = "Give crash or makedumpfile the option --xen_phys_start as 'inspect' prints it."
_PARTS: Final = "Name all parts of the set on one command line."

CAUSES: Final = {
    cause.name: cause
    for cause in (
        Cause(
            "address-not-recorded",
            "The dump does not record where the hypervisor was.",
            _OPTION,
            _address_not_recorded,
        ),
        Cause("address-wrong", "A wrong address was given or recorded.", _OPTION, _address_wrong),
        Cause(
            "other-namelist",
            "The symbol file is of another build, or is stripped.",
            "Use the one that 'inspect --search DIR' picks: it compares builds, not names.",
            _other_namelist,
        ),
        Cause(
            "other-vmlinux",
            "The vmlinux is of another build.",
            "Use the one that 'inspect --search DIR' picks.",
            _other_vmlinux,
        ),
        Cause(
            "no-namelist",
            "The file is no hypervisor's symbol file.",
            "crash wants xen-syms, not xen.gz or vmlinux, for a hypervisor session.",
            _other_namelist,
        ),
        Cause(
            "no-dwarf",
            "The symbol file was built without debugging data.",
            "'inspect' names the package; Debian's of 4.14 and 4.17 have none. vmcoretool's own "
            "commands (console, cpus, domains, dmesg) need none.",
            _no_dwarf,
        ),
        Cause("not-a-host", "The dump is not of a Xen host.", "Open it with vmlinux.", _not_a_host),
        Cause(
            "not-its-panic",
            "The Linux that was opened did not panic itself.",
            "Use a crash before 8.0.6 (Debian 12 has 8.0.2), or 'vmcoretool dmesg'.",
            _not_its_panic,
        ),
        Cause("cut-short", "The dump is cut short.", "Copy it again.", _cut_short),
        Cause("split-part", "One part of a split set was given alone.", _PARTS, _split_part),
        Cause(
            "filtered",
            "The pages were filtered out when the dump was made (-X leaves other guests out).",
            "Take the dump again without -X, or look at what there is with vmcoretool.",
            _filtered,
        ),
        Cause(
            "p2m-missing",
            "The note does not tell the guest's p2m tree, or the guest keeps none.",
            "Give --p2m_mfn as 'inspect' prints it.",
            _p2m_missing,
        ),
        Cause(
            "flattened",
            "The dump is a flattened ELF file.",
            "makedumpfile -R NEW < FILE",
            _flattened,
        ),
        Cause(
            "packed",
            "The dump is compressed as a whole.",
            "Decompress it first; vmcoretool itself reads it as it is.",
            _packed,
        ),
        Cause(
            "bigmem",
            "This Xen was built with BIGMEM, and its heap lies elsewhere.",
            "Nothing helps crash and makedumpfile; vmcoretool's own commands know it.",
            _bigmem,
        ),
        Cause(
            "packed-namelist",
            "The symbol file is compressed.",
            "Decompress it first; vmcoretool itself compares it as it is.",
            _packed_namelist,
        ),
        Cause(
            "no-such-dump",
            "The file is no dump, or of a form that crash does not know.",
            "'vmcoretool inspect FILE' says what it is.",
            _readable,
        ),
        Cause(
            "split-namelist",
            "The debugging data was split off (.debug).",
            "Name both files: crash VMLINUX VMLINUX.debug VMCORE",
            _split_namelist,
        ),
        Cause(
            "no-crash-info",
            "The dump has no CRASH_INFO note.",
            "Do without -X; crash needs --xen_phys_start as 'inspect' prints it.",
            _no_crash_info,
        ),
        Cause(
            "no-vmcoreinfo-xen",
            "The dump has no VMCOREINFO_XEN note.",
            "Do without -X, or give --xen-syms a file with DWARF.",
            _no_vmcoreinfo_xen,
        ),
        Cause(
            "needs-vmlinux",
            "dom0's symbols are missing.",
            "makedumpfile -x VMLINUX -d 31 VMCORE NEW, with dom0's debug image; or stay at -d 1.",
            _always,
        ),
        Cause("no-dump", "No dump was named.", "Name the vmcore, last.", _always),
        Cause("harmless", "Nothing is wrong.", "'set -p CPU' shows the one that crashed.", _always),
        Cause("no-threads", "The option was given.", "Leave --num-threads out.", _always),
        Cause(
            "makedumpfile-release",
            "This makedumpfile is broken for Xen.",
            "Use 1.7.2 or later.",
            _always,
        ),
        Cause(
            "qemu",
            "The dump was written by QEMU's dump-guest-memory.",
            "Have QEMU write kdump (dump-guest-memory -z); crash reads the ELF file as it is.",
            _always,
        ),
    )
}
