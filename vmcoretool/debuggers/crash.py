"""The exact ``crash`` command lines: what to type, whether it will open, and what is missing.

crash's rules are those of its netdump.c and xen_hyper.c, unchanged from 7.0.4 to 9.0: the
CRASH_INFO note is found by type alone and its words are counted, xen_phys_start is the last but
one of *more than nine*, the p2m frame the last; the command line beats the note; a number is
always read as hexadecimal.  Hypervisor mode needs a namelist whose name starts with "xen-syms",
or ``--hyper``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.debuggers.crash_caveats import (
    address_caveats,
    build_id_note,
    directmap_caveats,
    dump_caveats,
    dwarf_caveats,
    linux_caveats,
    release_caveats,
)
from vmcoretool.debuggers.packages import (
    Caveat,
    hypervisor_brief,
    hypervisor_package,
    namelist_caveats,
)
from vmcoretool.debuggers.session import VMLINUX, learnt_by_crash
from vmcoretool.formats.api import EM_386
from vmcoretool.host.symbol_files import DOM0, HYPERVISOR, session_of
from vmcoretool.printable import bash_word, shell_word

if TYPE_CHECKING:
    from vmcoretool.debuggers.session import Sessions
    from vmcoretool.xen.domains import Domain

XEN_SYMS: Final = "xen-syms"


class CrashCommand(NamedTuple):
    """One crash session.

    Attributes:
        target: "hypervisor", "dom0" or "domN".
        purpose: what one sees in it.
        argv: the arguments, ready for exec.
        ready: whether it would open as it stands.
        requires_option: crash would not learn the right address from this dump by itself.
        caveats: what is missing and where to get it.
        missing: what keeps it from being ready, each in a few words.
    """

    target: str
    purpose: str
    argv: tuple[str, ...]
    ready: bool
    requires_option: bool
    caveats: tuple[str, ...]
    missing: tuple[str, ...] = ()

    def shell(self) -> str:
        """The command quoted for any POSIX shell; safe to eval whatever the files are called."""
        return shell(self.argv)

    def display(self) -> str:
        r"""The command for a terminal: control characters appear as in bash's ``$'\n'``."""
        return display(self.argv)


def display(argv: tuple[str, ...]) -> str:
    r"""Arguments for a terminal: control characters appear as in bash's ``$'\n'``."""
    return " ".join(map(bash_word, argv))


def shell(argv: tuple[str, ...]) -> str:
    """Arguments for any POSIX shell, in printable text, newlines and tabs."""
    return " ".join(map(shell_word, argv))


def suggest(sessions: Sessions) -> tuple[CrashCommand, ...]:
    """The commands for the hypervisor, dom0, and each PV domain beside it."""
    common = (*address_caveats(sessions), *dump_caveats(sessions))
    found = [_hypervisor(sessions, common), _dom0(sessions, common)]
    found += [
        _guest(sessions, domain, common)
        for domain in sessions.domains
        if domain.id and domain.type == "pv"
    ]
    return tuple(found)


def without_command(domains: tuple[Domain, ...]) -> tuple[Domain, ...]:
    """The domains that no crash can open from a host's dump."""
    return tuple(one for one in domains if one.type != "pv")


def _command(  # noqa: PLR0913 - a command's parts
    sessions: Sessions,
    target: str,
    purpose: str,
    argv: tuple[str, ...],
    caveats: tuple[Caveat, ...],
    *,
    required: bool,
) -> CrashCommand:
    return CrashCommand(
        target=target,
        purpose=purpose,
        argv=("crash", *sessions.option, *argv, *sessions.dumps),
        ready=not any(one.blocks for one in caveats),
        requires_option=required,
        caveats=tuple(one.text for one in caveats),
        missing=tuple(one.brief or one.text for one in caveats if one.blocks),
    )


def _hypervisor(sessions: Sessions, common: tuple[Caveat, ...]) -> CrashCommand:
    vmcore, verdict = sessions.vmcore, sessions.verdict
    version = sessions.xen.version
    caveats = list(common)
    if verdict.status == "reported":
        caveats.append(
            Caveat(
                "the address is only recorded; nothing in this dump proves it",
                brief="the address is only recorded",
            )
        )
    if vmcore.architecture == "i386":
        caveats.append(Caveat("a 32-bit hypervisor needs a crash built for 32-bit x86"))
    caveats += namelist_caveats(
        sessions.symbol_files,
        HYPERVISOR,
        XEN_SYMS,
        "the symbol file of this very build of Xen"
        f"{build_id_note(sessions.xen.build_id)}, with DWARF; give it with --xen-syms PATH; it "
        f"comes from {hypervisor_package(sessions.xen)}",
        hypervisor_brief(sessions.xen),
    )
    if version:
        caveats += release_caveats(sessions)
    caveats += directmap_caveats(sessions)
    caveats += dwarf_caveats(sessions, HYPERVISOR)
    files = sessions.namelists(HYPERVISOR, XEN_SYMS)
    named = files[0].rpartition("/")[2].startswith(XEN_SYMS)
    learnt, _ = learnt_by_crash(vmcore)
    return _command(
        sessions,
        HYPERVISOR,
        "Xen itself: its log, domains, virtual CPUs, stacks",
        (*(() if named else ("--hyper",)), *files),
        tuple(caveats),
        required=verdict.status != "not-relocatable" and learnt != verdict.xen_phys_start,
    )


def _dom0(sessions: Sessions, common: tuple[Caveat, ...]) -> CrashCommand:
    vmcore = sessions.vmcore
    info = vmcore.crash_info
    domain = next((domain for domain in sessions.domains if domain.id == 0), None)
    noted = info.dom0_p2m_mfn if info else None
    p2m = (domain.p2m_mfn if domain else None) or noted
    caveats = list(common)
    caveats += linux_caveats(sessions, DOM0, domain)
    if domain and domain.type == "hvm":
        caveats.append(Caveat("dom0 is a PVH domain: crash cannot follow its memory"))
    elif p2m is None:
        caveats.append(Caveat("neither notes nor memory name dom0's p2m tree"))
    if info and info.word_size == 8 and vmcore.container.machine.e_machine == EM_386:
        caveats.append(
            Caveat("a 32-bit dom0 on a 64-bit Xen: no release of crash can use these notes for it")
        )
    _, learnt = learnt_by_crash(vmcore)
    needed = p2m is None or p2m != learnt
    option = ("--p2m_mfn", f"{p2m:#x}") if needed and p2m is not None else ()
    return _command(
        sessions,
        DOM0,
        "dom0's Linux: processes, log, stacks",
        (*option, *sessions.namelists(DOM0, VMLINUX)),
        tuple(caveats),
        required=needed,
    )


def _guest(sessions: Sessions, domain: Domain, common: tuple[Caveat, ...]) -> CrashCommand:
    target = session_of(domain.id)
    caveats = [*common, *linux_caveats(sessions, target, domain)]
    p2m = domain.p2m_mfn
    if p2m is None:
        caveats.append(Caveat("its shared info page names no p2m tree, which crash needs"))
    option = ("--p2m_mfn", f"{p2m:#x}") if p2m is not None else ("--p2m_mfn", "MFN")
    return _command(
        sessions,
        target,
        f"the Linux of PV domain {domain.id}",
        (*option, *sessions.namelists(target, VMLINUX)),
        tuple(caveats),
        required=True,
    )
