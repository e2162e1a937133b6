"""Whether the symbol files that were named show that a cause of an error applies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.debuggers import crash_releases
from vmcoretool.debuggers.crash_releases import dotted
from vmcoretool.explain.diagnoses import no, perhaps, yes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.explain.diagnoses import Diagnosis
    from vmcoretool.inspection.inspect import Inspection
    from vmcoretool.symbols.candidates import Candidate

_NAME_IT: Final = "give the symbol file with --xen-syms or --vmlinux to have it checked"
_PURPOSES: Final = {"--xen-syms": "hypervisor", "--vmlinux": "linux"}


def _candidates(inspection: Inspection) -> list[Candidate]:
    # the files that the user named, each once; else those that belong to the dump
    files = inspection.symbol_files
    found = {match.candidate.path: match.candidate for match in files.matches}
    named = [candidate for candidate in found.values() if candidate.named]
    return named or [match.candidate for match in files.chosen.values()]


def _readable(inspection: Inspection) -> Iterator[Candidate]:
    return (one for one in _candidates(inspection) if not one.error)


def other_namelist(inspection: Inspection) -> Diagnosis:
    """Whether a hypervisor's symbol file is of another build."""
    return _of_another_build(inspection, "hypervisor")


def other_vmlinux(inspection: Inspection) -> Diagnosis:
    """Whether dom0's debug image is of another build."""
    return _of_another_build(inspection, "dom0")


def _of_another_build(inspection: Inspection, target: str) -> Diagnosis:
    rows = [match for match in inspection.symbol_files.matches if match.target == target]
    wrong = [match for match in rows if match.match == "differs"]
    chosen = inspection.symbol_files.chosen.get(target)
    if chosen and not any(match.candidate.named for match in wrong):
        return no(f"{chosen.candidate.path} belongs to the dump; use this one")
    if wrong:
        return yes(f"{wrong[0].candidate.path}: {wrong[0].reasons[0]}")
    option = "--xen-syms" if target == "hypervisor" else "--vmlinux"
    return perhaps(f"give the symbol file with {option} to have it compared")


def no_namelist(inspection: Inspection) -> Diagnosis:
    """Whether a file that was named is no symbol file of a hypervisor or a kernel."""
    for one in _candidates(inspection):
        if one.error:
            return yes(f"{one.path}: {one.error}")
        if one.purpose == "other":
            return yes(f"{one.path} is of neither a hypervisor nor a kernel")
        if not one.elf:
            return yes(f"{one.path} is a list of symbols, not an ELF file")
    return perhaps(_NAME_IT) if not _candidates(inspection) else no("those named are symbol files")


def other_program(inspection: Inspection) -> Diagnosis:
    """Whether a file that was named is of another program than its option asks for."""
    for one in _readable(inspection):
        wanted = _PURPOSES.get(one.origin, one.purpose)
        if one.purpose != wanted:
            return yes(f"{one.path} is not of a {wanted}")
    return perhaps(_NAME_IT)


def no_dwarf(inspection: Inspection) -> Diagnosis:
    """Whether the symbol files lack debugging data."""
    files = list(_readable(inspection))
    bare = [one for one in files if not one.dwarf]
    if bare:
        return yes(f"{bare[0].path} has none")
    return no("the matching files have DWARF") if files else perhaps(_NAME_IT)


def dwarf_5(inspection: Inspection) -> Diagnosis:
    """Whether the crash on the PATH is too old for the debugging data of a symbol file."""
    files = list(_readable(inspection))
    new = [one for one in files if one.dwarf_version == 5]
    if not new:
        told = any(one.dwarf_version for one in files)
        return no("no symbol file has DWARF 5") if told else perhaps(_NAME_IT)
    from vmcoretool.debuggers.crash_program import find_crash  # noqa: PLC0415 - starts a process

    program = find_crash()
    needed = (
        f"{new[0].path} has DWARF 5, which crash reads from {dotted(crash_releases.DWARF_5)} on"
    )
    if program is None or program.release is None:
        return perhaps(f"{needed}; none is on the PATH here")
    text = f"{needed}; this is {dotted(program.release)}"
    old = not crash_releases.copes(program.release, crash_releases.DWARF_5)
    return yes(text) if old else no(text)


def packed_namelist(inspection: Inspection) -> Diagnosis:
    """Whether a symbol file is compressed."""
    packed = [one for one in _candidates(inspection) if one.compression]
    if not packed:
        return perhaps("no such file was examined")
    return yes(f"{packed[0].path} is {packed[0].compression}")


def split_namelist(inspection: Inspection) -> Diagnosis:
    """Whether a symbol file is half of a pair."""
    halves = [one for one in _candidates(inspection) if one.debug_only]
    if not halves:
        return perhaps("no such file was examined")
    return yes(f"{halves[0].path} is one")


def two_symbol_files(inspection: Inspection) -> Diagnosis:
    """Whether more than one symbol file was named."""
    named = [one.path for one in _candidates(inspection) if one.named]
    if len(named) > 1:
        return yes(f"{' and '.join(named)} were named")
    return perhaps(_NAME_IT) if not named else no(f"{named[0]} alone was named")
