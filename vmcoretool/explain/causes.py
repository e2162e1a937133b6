"""The causes of errors of crash and makedumpfile, and their cures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.debuggers import crash_releases
from vmcoretool.debuggers.crash_releases import dotted
from vmcoretool.explain import diagnoses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmcoretool.debuggers.crash_releases import Requirement
    from vmcoretool.explain.diagnoses import Diagnosis
    from vmcoretool.explain.texts import ErrorText
    from vmcoretool.inspection.inspect import Inspection


class Cause(NamedTuple):
    """One reason for an error.

    Attributes:
        name: as :attr:`ErrorText.causes` names it.
        text: what is wrong.
        cure: what to do.
        ask: decides whether it applies to a dump of a Xen host.
    """

    name: str
    text: str
    cure: str
    ask: Callable[[Inspection], Diagnosis]


def causes_of(row: ErrorText) -> Iterator[Cause]:
    """The causes of a text, likely ones first."""
    for name in row.causes:
        yield _crash_release(row.requirements) if name == CRASH_RELEASE else CAUSES[name]


def _crash_release(rows: tuple[Requirement, ...]) -> Cause:
    # of the changes that end with the text in question
    releases = [dotted(row.crash) for row in rows if row.crash]
    cure = (
        f"Use crash {releases[0]} or later."
        if releases
        else f"No crash up to {dotted(crash_releases.NEWEST_KNOWN)} reads it. Open dom0, or use "
        "vmcoretool's own commands: console, cpus, domains, dmesg."
    )
    ask = diagnoses.crash_release(rows)
    return Cause(CRASH_RELEASE, "This release of crash does not read this Xen.", cure, ask)


CRASH_RELEASE: Final = "crash-release"
_OPTION: Final = "Give crash or makedumpfile the option --xen_phys_start as 'inspect' prints it."
_PARTS: Final = "Name all parts of the set on one command line."

CAUSES: Final = {
    cause.name: cause
    for cause in (
        Cause(
            "address-not-recorded",
            "The dump does not record where the hypervisor was.",
            _OPTION,
            diagnoses.address_not_recorded,
        ),
        Cause(
            "address-wrong",
            "A wrong address was given or recorded.",
            _OPTION,
            diagnoses.address_wrong,
        ),
        Cause(
            "other-namelist",
            "The symbol file is of another build, or is stripped.",
            "Use the one that 'inspect --search DIR' picks: it compares builds, not names.",
            diagnoses.other_namelist,
        ),
        Cause(
            "other-vmlinux",
            "The vmlinux is of another build.",
            "Use the one that 'inspect --search DIR' picks.",
            diagnoses.other_vmlinux,
        ),
        Cause(
            "no-namelist",
            "The file is not a symbol file of a hypervisor.",
            "For a hypervisor session, give crash xen-syms, not xen.gz or vmlinux.",
            diagnoses.other_namelist,
        ),
        Cause(
            "no-dwarf",
            "The symbol file was built without debugging data.",
            "'inspect' names the package; Debian's of 4.14 and 4.17 have none. vmcoretool's own "
            "commands (console, cpus, domains, dmesg) need none.",
            diagnoses.no_dwarf,
        ),
        Cause(
            "not-a-host",
            "The dump is not of a Xen host.",
            "Open it with vmlinux.",
            diagnoses.not_a_host,
        ),
        Cause(
            "not-its-panic",
            "The Linux that was opened did not panic itself.",
            "Use a crash before 8.0.6 (Debian 12 has 8.0.2), or 'vmcoretool dmesg'.",
            diagnoses.not_its_panic,
        ),
        Cause("cut-short", "The dump is cut short.", "Copy it again.", diagnoses.cut_short),
        Cause(
            "split-part", "One part of a split set was given alone.", _PARTS, diagnoses.split_part
        ),
        Cause(
            "filtered",
            "The pages were filtered out when the dump was made (-X leaves other guests out).",
            "Take the dump again without -X, or look at what there is with vmcoretool.",
            diagnoses.filtered,
        ),
        Cause(
            "p2m-missing",
            "The XEN_ELFNOTE_CRASH_INFO note does not name the guest's p2m tree, or it keeps none.",
            "Give --p2m_mfn as 'inspect' prints it.",
            diagnoses.p2m_missing,
        ),
        Cause(
            "flattened",
            "The dump is a flattened ELF file.",
            "makedumpfile -R NEW < FILE",
            diagnoses.flattened,
        ),
        Cause(
            "packed",
            "The dump is compressed as a whole.",
            "Decompress it first; vmcoretool itself reads it as it is.",
            diagnoses.packed,
        ),
        Cause(
            "bigmem",
            "This Xen was built with BIGMEM, and its heap lies elsewhere.",
            "No option of crash or makedumpfile helps; vmcoretool's own commands read it.",
            diagnoses.bigmem,
        ),
        Cause(
            "packed-namelist",
            "The symbol file is compressed.",
            "Decompress it first; vmcoretool itself reads it as it is.",
            diagnoses.packed_namelist,
        ),
        Cause(
            "no-such-dump",
            "The file is not a dump, or in a format that crash does not read.",
            "'vmcoretool inspect FILE' shows what it is.",
            diagnoses.readable,
        ),
        Cause(
            "split-namelist",
            "The debugging data was split off (.debug).",
            "Name both files: crash VMLINUX VMLINUX.debug VMCORE",
            diagnoses.split_namelist,
        ),
        Cause(
            "no-crash-info",
            "The dump has no XEN_ELFNOTE_CRASH_INFO note.",
            "Leave -X out; crash needs --xen_phys_start as 'inspect' prints it.",
            diagnoses.no_crash_info,
        ),
        Cause(
            "no-vmcoreinfo-xen",
            "The dump has no VMCOREINFO_XEN note.",
            "Leave -X out, or give --xen-syms a file with DWARF.",
            diagnoses.no_vmcoreinfo_xen,
        ),
        Cause(
            "needs-vmlinux",
            "dom0's symbols are missing.",
            "makedumpfile -x VMLINUX -d 31 VMCORE NEW, with dom0's debug image; or stay at -d 1.",
            diagnoses.always,
        ),
        Cause("no-dump", "No dump was named.", "Name the vmcore, last.", diagnoses.always),
        Cause(
            "harmless",
            "Nothing is wrong.",
            "'set -p CPU' shows the one that crashed.",
            diagnoses.always,
        ),
        Cause("no-threads", "The option was given.", "Leave --num-threads out.", diagnoses.always),
        Cause(
            "makedumpfile-release",
            "This release of makedumpfile fails on every dump of a Xen host.",
            "Use 1.7.2 or later.",
            diagnoses.always,
        ),
        Cause(
            "qemu",
            "The dump was written by QEMU's dump-guest-memory.",
            "Have QEMU write kdump (dump-guest-memory -z); crash reads the ELF file as it is.",
            diagnoses.written_by_qemu,
        ),
        Cause(
            "one-guest",
            "The file is a guest's, written by 'xl dump-core'.",
            "makedumpfile does not read it; crash and vmcoretool do.",
            diagnoses.one_guest,
        ),
        Cause(
            "log-of-dom0",
            "dom0's symbols are missing.",
            "'vmcoretool dmesg VMCORE' prints dom0's log without them.",
            diagnoses.always,
        ),
        Cause(
            "flattened-first",
            "The dump is a flattened stream.",
            "makedumpfile -R NEW < FILE",
            diagnoses.any_flattened,
        ),
        Cause(
            "no-codec",
            "This build of crash lacks the dump's compression.",
            "Use another build of crash, or rewrite the dump: makedumpfile -c -d 1 VMCORE NEW. "
            "vmcoretool itself reads it as it is.",
            diagnoses.always,
        ),
        Cause(
            "no-namelist-given",
            "No symbol file was named.",
            "Paste a command that 'inspect' prints; the symbol file stands before the dump.",
            diagnoses.always,
        ),
    )
}
