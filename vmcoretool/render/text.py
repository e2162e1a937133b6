"""An Inspection as text that a person can act on at 3 a.m."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.printable import bash_word, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.host.identity import Kind
    from vmcoretool.inspection.inspect import Inspection
    from vmcoretool.vmcore import Vmcore

_DOMAINS: Final = 12
_COMMANDS: Final = 6
_NAMELISTS: Final = 16
_COLOURS: Final = {
    "verified": "32",
    "not-relocatable": "32",
    "reported": "33",
    "disputed": "31",
    "unknown": "31",
    "ready": "32",
    "error": "31",
    "warning": "33",
}
_KINDS: Final = {
    "xen-host": "crash dump of a Xen host",
    "xen-domain": "dump of a single Xen guest, not of a Xen host",
    "linux": "dump of a native Linux kernel, not of a Xen host",
    "unknown": "memory dump without any trace of Xen",
}
_MEANINGS: Final = {
    "verified": "proved from the dump's own page tables",
    "not-relocatable": "this hypervisor does not move itself: crash needs no option",
    "reported": "recorded in the dump, but nothing in it proves the value",
    "disputed": "what is recorded and what memory shows differ",
    "unknown": "neither notes nor memory tell",
}


def whose(kind: Kind, vmcore: Vmcore) -> str:
    """Whose memory a dump is, in words; of one that is cut short, what is left may not tell."""
    if kind == "unknown" and not vmcore.container.complete:
        return "what is left of this dump does not tell whose memory it is"
    return _KINDS[kind]


def inspection_text(inspection: Inspection, *, verbose: bool = False, colour: bool = False) -> str:
    """The whole answer, in lines of printable ASCII, and colour where asked for."""
    lines = list(_head(inspection))
    if inspection.kind == "xen-host":
        lines += _host(inspection, verbose=verbose, colour=colour)
    elif inspection.kind in ("linux", "xen-domain"):
        lines += ["", "  Open it with:  crash VMLINUX " + bash_word(inspection.vmcore.paths[0])]
    lines += _findings(inspection, colour=colour)
    return "\n".join(lines)


def _paint(word: str, key: str, *, colour: bool) -> str:
    return f"\x1b[1;{_COLOURS[key]}m{word}\x1b[0m" if colour and key in _COLOURS else word


def _size(size: int) -> str:
    value, unit = float(size), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{size} bytes" if unit == "bytes" else f"{value:.1f} {unit}"


def _head(inspection: Inspection) -> Iterator[str]:
    vmcore = inspection.vmcore
    yield f"{printable(' '.join(vmcore.paths))}: {whose(inspection.kind, vmcore)}"
    yield ""
    pages = vmcore.container.pages
    cut = "NOT ALL DECOMPRESSED" if vmcore.budget.unfinished else "CUT SHORT"
    whole = "complete" if vmcore.container.complete else cut
    excluded = pages.excluded_pages
    form = " in ".join((vmcore.container.format, *reversed(vmcore.layers)))
    how = "left out" if vmcore.container.complete else "left out or lost"
    left_out = f", {excluded} pages {how}" if excluded else ""
    yield (
        f"  Dump       {form}, {vmcore.architecture}, {_size(vmcore.size)}, {whole}; "
        f"{pages.present_pages} pages{left_out}"
    )


def _host(inspection: Inspection, *, verbose: bool, colour: bool) -> Iterator[str]:
    yield from _identity(inspection)
    yield ""
    yield from _address(inspection, colour=colour)
    yield ""
    yield from _evidence(inspection, verbose=verbose)
    yield from _namelists(inspection)
    yield ""
    yield "Commands"
    shown = inspection.commands if verbose else inspection.commands[:_COMMANDS]
    for command in shown:
        ready = _paint("READY", "ready", colour=colour) if command.ready else "not ready"
        yield f"  {command.target}: {command.purpose}  ({ready})"
        yield f"    {command.display()}"
        yield from (f"      - {caveat}" for caveat in command.caveats)
    rest = len(inspection.commands) - len(shown)
    if rest:
        yield f"  and {rest} more guests: vmcoretool crash prints all"
    for one in inspection.filters:
        yield f"  a smaller copy: {one.purpose}"
        yield f"    {one.display()}"
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
    if version is None:
        yield "  Xen        version not recorded"
    else:
        yield f"  Xen        {version.text}"
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
    if crash.panic is not None:
        yield f"  panic      {printable(crash.panic)}"
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
        said = ", ".join(f"{domain.id} {domain.type}" for domain in inspection.domains[:_DOMAINS])
        more = f" and {rest} more" if (rest := len(inspection.domains) - _DOMAINS) > 0 else ""
        yield f"  domains    {said}{more}"
    elif inspection.domains_trouble:
        yield f"  domains    not found: {printable(inspection.domains_trouble)}"


def _address(inspection: Inspection, *, colour: bool) -> Iterator[str]:
    verdict = inspection.verdict
    status = _paint(verdict.status.upper(), verdict.status, colour=colour)
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


def _evidence(inspection: Inspection, *, verbose: bool) -> Iterator[str]:
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
        yield f"  {one.source:<16} {value:<13} {one.strength}{against}"
        yield from (f"      {part}" for part in one.basis.split("; "))
        if verbose:
            yield from (f"      {step}" for step in one.steps)
    for source, values in guesses.items():
        yield f"  {source:<16} possible too: {', '.join(values)}"
    for silence in verdict.silent:
        yield f"  {silence.source:<16} silent: {silence.reason}"


def _findings(inspection: Inspection, *, colour: bool) -> Iterator[str]:
    if not inspection.findings:
        return
    yield ""
    yield "Findings"
    for found in inspection.findings:
        level = _paint(found.level, found.level, colour=colour)
        yield f"  {level} [{found.code}] {found.message}"
        if found.advice:
            yield f"      -> {found.advice}"
