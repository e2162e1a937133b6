"""What keeps a crash session from opening, known before it is started."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from vmcoretool.debuggers import crash_releases
from vmcoretool.debuggers.crash_releases import dotted
from vmcoretool.debuggers.packages import (
    UNPACK,
    Caveat,
    kernel_brief,
    kernel_package,
    namelist_caveats,
)
from vmcoretool.debuggers.session import VMLINUX
from vmcoretool.formats.api import EM_X86_64
from vmcoretool.host.symbol_files import DOM0
from vmcoretool.printable import printable
from vmcoretool.xen.image.layouts import DIRECTMAPS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.debuggers.session import Sessions
    from vmcoretool.formats.api import Format
    from vmcoretool.vmcore import Vmcore
    from vmcoretool.xen.domains import Domain


def build_id_note(build_id: str | None) -> str:
    """A build-id in brackets, or nothing."""
    return f" (build-id {build_id})" if build_id else ""


def release_caveats(sessions: Sessions) -> Iterator[Caveat]:
    """Whether this crash, or any, reads this Xen."""
    version = sessions.xen.version
    row = crash_releases.requirement(version, sessions.has_member) if version else None
    if row is None or version is None:
        return
    since = dotted(row.xen)
    newest, mine = dotted(crash_releases.NEWEST_KNOWN), dotted(sessions.release)
    error = crash_releases.first_error(version, sessions.release, row)
    fails = f"it ends with '{error}'"
    if crash_releases.copes(sessions.release, row.crash):
        if sessions.program is None and row.crash is not None:
            yield Caveat(
                f"Xen {since} and later need crash {dotted(row.crash)} "
                "('vmcoretool --version' shows which is here)",
                blocks=False,
            )
    elif row.crash is None:
        ends = f"crash {mine} ends with '{error}'"
        yield Caveat(f"no crash up to {newest} opens Xen {since} or later: {ends}")
    else:
        yield Caveat(
            f"Xen {since} and later need crash {dotted(row.crash)}, here is {mine}: {fails}"
        )


def directmap_caveats(sessions: Sessions) -> Iterator[Caveat]:
    """Whether crash finds the hypervisor's heap."""
    directmap = sessions.xen.directmap
    if directmap is not None and directmap is not DIRECTMAPS[0]:
        yield Caveat(
            f"this Xen was built with {directmap.name}: crash looks for the direct map at "
            f"{DIRECTMAPS[0].start:#x} only, and ends with 'type: \"fill_pcpu_struct\"'"
        )


def dwarf_caveats(sessions: Sessions, target: str) -> Iterator[Caveat]:
    """Whether this crash reads the chosen file's debugging data."""
    chosen = sessions.symbol_files.chosen.get(target)
    dwarf = chosen.candidate.dwarf_version if chosen else None
    if dwarf == 5 and sessions.release < crash_releases.DWARF_5:
        needed = dotted(crash_releases.DWARF_5)
        yield Caveat(f"its debugging data is DWARF 5, which crash reads from {needed} on")


def linux_caveats(sessions: Sessions, target: str, domain: Domain | None) -> Iterator[Caveat]:
    """What keeps a guest's Linux from opening: its symbol file, its memory, its fate."""
    kernel = sessions.symbol_files.kernels.get(target)
    release = f" of {kernel.release}" if kernel else ""
    build_id = build_id_note(kernel.build_id if kernel else None)
    yield from namelist_caveats(
        sessions.symbol_files,
        target,
        VMLINUX,
        f"the debug image{release}{build_id}: give it with --vmlinux PATH{kernel_package(kernel)}",
        kernel_brief(kernel),
    )
    yield from dwarf_caveats(sessions, target)
    shared = domain.shared_info if domain else None
    if shared and shared.word_size == 4 and sessions.vmcore.architecture == "x86_64":
        yield Caveat("a 32-bit guest on a 64-bit Xen: crash for x86_64 cannot follow its memory")
    p2m = domain.p2m_mfn if domain else None
    if p2m is not None and not sessions.vmcore.memory.pages.is_present(p2m << 12):
        yield Caveat(
            "its memory is not in the dump: it was filtered or cut short",
            brief="its memory is not in the dump",
        )
    if target == DOM0 and sessions.event.dom0_not_built:
        yield Caveat("the host crashed before dom0 ran: there is no Linux to look at")
        return
    yield from _backtrace_caveats(sessions, target, domain)


def _backtrace_caveats(sessions: Sessions, target: str, domain: Domain | None) -> Iterator[Caveat]:
    # where no task of the session's kernel ran, newer releases give up at the start
    panicked = sessions.panicked.get(domain.id) if domain else None
    if target == DOM0 and sessions.event.panic is not None:
        panicked = sessions.event.dom0_panicked
    broken = crash_releases.NO_PANIC_TASK
    if panicked or sessions.release < broken.since:
        return
    who = "dom0" if target == DOM0 else "its kernel"
    reason = f"{who} did not panic"
    if panicked is None:
        reason = f"it is not known whether {who} panicked; if it did not"
    here = f", here is {dotted(sessions.release)}" if sessions.program else ""
    text = (
        f"{reason}: crash {dotted(broken.since)} and later end with '{broken.error}' where its "
        f"CPUs were idle; use an older one{here}"
    )
    yield Caveat(text, blocks=sessions.symbol_files.chosen.get(target) is not None)


def address_caveats(sessions: Sessions) -> Iterator[Caveat]:
    """Whether there is an address to give."""
    verdict = sessions.verdict
    if verdict.status == "unknown":
        yield Caveat(
            "the hypervisor's address is unknown: crash cannot open it like this",
            brief="its address is unknown",
        )
    elif verdict.status == "disputed" and verdict.xen_phys_start is None:
        yield Caveat("two addresses contradict each other: see the evidence before choosing one")


def dump_caveats(sessions: Sessions) -> Iterator[Caveat]:
    """Whether crash reads such a file at all."""
    vmcore = sessions.vmcore
    if not vmcore.container.row.has_memory:
        yield Caveat(
            "VMCORE stands for the dump that this text is about",
            brief="VMCORE stands for the dump itself",
        )
        return
    if vmcore.paths[0] == "-":
        yield Caveat("crash cannot read a stream: save it to a file first")
    yield from _format_caveats(vmcore.container.row)
    if not vmcore.container.complete and not vmcore.budget.unfinished:
        yield Caveat(
            "the dump is cut short: crash may stop at a missing page", brief="it is cut short"
        )
    if any(one.code == "split-part-missing" for one in vmcore.findings):
        yield Caveat(
            "a part of the split set is missing: crash ends with 'seek error'; name all",
            brief="name all parts of the split set",
        )
    yield from _layer_caveats(vmcore)
    if sessions.program and vmcore.container.row.packs_pages:
        needed = crash_releases.COMPRESSED
        if sessions.release < needed:
            yield Caveat(f"kdump-compressed dumps of a Xen host need crash {dotted(needed)}")
    if vmcore.container.elf_bits == 32 and vmcore.container.machine.e_machine == EM_X86_64:
        yield Caveat("a 32-bit ELF file of an x86_64 machine: crash refuses it")


def _format_caveats(row: Format) -> Iterator[Caveat]:
    if not row.readable_by_crash:
        yield Caveat(f"crash cannot read this format: {printable(row.title)}")
    if row.crash_suffix:
        yield Caveat(
            f"crash reads such a file as FILE{row.crash_suffix}, as the memory of a machine "
            "without notes; that it opens a Xen host so was not seen",
            brief="crash may not open a Xen host's raw memory",
        )


def _layer_caveats(vmcore: Vmcore) -> Iterator[Caveat]:
    name = printable(shlex.quote(vmcore.paths[0]))
    for layer in vmcore.layers:
        if layer in UNPACK:
            yield Caveat(
                f"crash reads no {layer} file: {UNPACK[layer]} {name}",
                brief=f"{UNPACK[layer]} {name} first",
            )
    if "flattened" in vmcore.layers and vmcore.container.elf_bits:
        yield Caveat(
            f"crash refuses many flattened ELF files ('cannot realloc resized ELF header buffer'): "
            f"makedumpfile -R rearranged-vmcore < {name}",
            brief=f"makedumpfile -R NEW < {name} first, crash refuses flattened ELF files",
        )
