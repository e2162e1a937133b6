"""An Inspection in full: all evidence, all silence, each step of the proof, every command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.printable import printable
from vmcoretool.render.fold import fold
from vmcoretool.render.happened import happened
from vmcoretool.render.layout import LABEL, command_lines, paint, size_words
from vmcoretool.render.owner import host_of, title_words, wholeness
from vmcoretool.render.screen import other_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.inspection.inspect import Inspection

_NAMELISTS: Final = 16
_UNLIMITED: Final = 1 << 20
_PROGRAMS: Final = ("crash ", "makedumpfile ", "vmcoretool ")
_SOURCE: Final = 18
_MEANINGS: Final = {
    "verified": "proved from the dump's own page tables",
    "not-relocatable": "this hypervisor does not move itself: crash needs no option",
    "reported": "recorded in the dump, but nothing in it proves the value",
    "disputed": "what is recorded and what memory shows differ",
    "unknown": "neither notes nor memory show it",
}


def full(inspection: Inspection, *, colour: bool = False, width: int | None = None) -> list[str]:
    """The lines of the long form.

    Args:
        inspection: what was found.
        colour: whether to colour.
        width: of the terminal they are for; None: lines are not wrapped.
    """
    wide = width or _UNLIMITED
    lines = list(_head(inspection))
    host = host_of(inspection)
    if host:
        lines += _host(host, wide, colour=colour)
    else:
        lines += ["", *other_lines(inspection, wide)]
    lines += _findings(inspection, colour=colour)
    if width is None:
        return lines
    # a command's lines are broken between its arguments already
    return [
        part
        for line in lines
        for part in ([line] if line.lstrip().startswith(_PROGRAMS) else fold(line, width))
    ]


def _head(inspection: Inspection) -> Iterator[str]:
    vmcore = inspection.vmcore
    yield f"{printable(' '.join(vmcore.paths))}: {title_words(inspection)}"
    yield ""
    pages = vmcore.container.pages
    whole = wholeness(vmcore)
    excluded = pages.excluded_pages
    form = " in ".join((vmcore.container.format, *reversed(vmcore.layers)))
    how = "left out" if vmcore.container.complete else "left out or lost"
    left_out = f", {excluded} pages {how}" if excluded else ""
    yield (
        f"  Dump       {form}, {vmcore.architecture}, {size_words(vmcore.size)}, {whole}; "
        f"{pages.present_pages} pages{left_out}"
    )


def _host(inspection: Inspection, width: int, *, colour: bool) -> Iterator[str]:
    yield ""
    for label, text, _ in happened(inspection):
        yield f"  {label:<{LABEL}}{text}"
    yield from _identity(inspection)
    yield ""
    yield from _address(inspection, colour=colour)
    yield ""
    yield from _evidence(inspection)
    yield from _namelists(inspection)
    if inspection.commands or inspection.filters:
        yield ""
        yield "Commands"
    for command in inspection.commands:
        ready = paint("READY", "ready", colour=colour) if command.ready else "not ready"
        yield f"  {command.target}: {command.purpose}  ({ready})"
        yield from command_lines(command.argv, width, "    ")
        yield from (f"      - {caveat}" for caveat in command.caveats)
    for one in inspection.filters:
        yield f"  a smaller copy: {one.purpose}"
        yield from command_lines(one.argv, width, "    ")
        yield from (f"      - {caveat}" for caveat in one.caveats)


def _namelists(inspection: Inspection) -> Iterator[str]:
    matches = inspection.symbol_files.matches
    if not matches:
        return
    yield ""
    yield "Symbol files"
    for one in matches[:_NAMELISTS]:
        used = inspection.symbol_files.chosen.get(one.target) is one
        verdict = f"used for {one.target}" if used else f"{one.match}, {one.target}"
        yield f"  {printable(one.candidate.path)}  {verdict}"
        yield from (f"      {printable(reason)}" for reason in one.reasons)
    if len(matches) > _NAMELISTS:
        yield f"  and {len(matches) - _NAMELISTS} more: --json lists all"


def _identity(inspection: Inspection) -> Iterator[str]:
    identity = inspection.xen
    version = identity.version if identity else None
    if version is not None:
        built = [part for part in (version.compile_date, version.compiler) if part]
        if built:
            yield f"  built      {', '.join(built)}"
        if version.changeset:
            yield f"  changeset  {version.changeset}"
    if identity and identity.build_id:
        yield f"  build-id   {identity.build_id}"
    yield from _crash(inspection)
    yield from _guests(inspection)


def _crash(inspection: Inspection) -> Iterator[str]:
    crash, cpus = inspection.crash, inspection.vmcore.cpus
    cause = inspection.account.cause
    if crash.panic is not None and (cause is None or cause.headline != crash.panic):
        yield f"  Xen's line {crash.panic}"
    saved = sum(cpu.saved for cpu in cpus)
    who = "" if crash.cpu is None else f"; CPU {crash.cpu} crashed"
    yield f"  CPUs       {len(cpus)}, registers saved of {saved}{who}"


def _guests(inspection: Inspection) -> Iterator[str]:
    kernel = inspection.dom0_kernel
    if kernel:
        build_id = f", build-id {kernel.build_id}" if kernel.build_id else ""
        yield f"  dom0       Linux {kernel.release}{build_id}"
    info = inspection.vmcore.crash_info
    if info and info.dom0_p2m_mfn is not None:
        yield f"  dom0       p2m tree at mfn {info.dom0_p2m_mfn:#x}"
    if inspection.domains:
        rows = (f"dom{domain.id} {domain.type}" for domain in inspection.domains)
        yield f"  domains    {', '.join(rows)}"
    elif inspection.domains_trouble:
        yield f"  domains    not found: {printable(inspection.domains_trouble)}"


def _address(inspection: Inspection, *, colour: bool) -> Iterator[str]:
    verdict = inspection.verdict
    status = paint(verdict.status.upper(), verdict.status, colour=colour)
    start = "-" if verdict.xen_phys_start is None else f"{verdict.xen_phys_start:#x}"
    yield f"xen_phys_start  {start}  {status}: {_MEANINGS[verdict.status]}"
    idle = inspection.idle_page_table
    if idle is None:
        yield "idle_pg_table   unknown"
        return
    names = " = ".join((*idle.symbols[1:], idle.alias))
    yield f"idle_pg_table   vaddr {idle.vaddr:#x}, maddr {idle.maddr:#x}  (= {names})"
    if not idle.proven:
        yield f"                {idle.proof}"


def _evidence(inspection: Inspection) -> Iterator[str]:
    verdict = inspection.verdict
    yield "Evidence"
    guesses: dict[str, list[str]] = {}
    for one in verdict.evidence:
        value = "not relocated" if one.xen_phys_start is None else f"{one.xen_phys_start:#x}"
        contradicts = one in verdict.contradicting
        if contradicts and one.strength == "suggested":
            guesses.setdefault(one.source, []).append(value)
            continue
        against = "  AGAINST" if contradicts else ""
        yield f"  {one.source:<{_SOURCE}} {value:<13} {one.strength}{against}"
        yield from (f"      {part}" for part in one.parts)
        yield from (f"      {step}" for step in one.steps)
    for source, values in guesses.items():
        yield f"  {source:<{_SOURCE}} possible too: {', '.join(values)}"
    for silence in verdict.silent:
        yield f"  {silence.source:<{_SOURCE}} silent: {silence.reason}"


def _findings(inspection: Inspection, *, colour: bool) -> Iterator[str]:
    if not inspection.findings:
        return
    yield ""
    yield "Findings"
    for found in inspection.findings:
        level = paint(found.level, found.level, colour=colour)
        yield f"  {level} [{found.code}] {found.message}"
        if found.advice:
            yield f"      -> {found.advice}"
