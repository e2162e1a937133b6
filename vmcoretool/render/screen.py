"""An Inspection on one screen: 24 rows of 80 columns, the most wanted first.

Who crashed and why, where, when, on which host; the address and how sure it is; what to type next;
findings with their cures.  What would be a row too many is left out, the least wanted first, and
``-v`` shows it all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.debuggers.session import file_argument
from vmcoretool.printable import printable
from vmcoretool.render.fold import columns
from vmcoretool.render.happened import CALLER, DEATHS, happened
from vmcoretool.render.layout import (
    LABEL,
    command_lines,
    fill,
    labelled,
    paint,
    shortened,
    size_words,
)
from vmcoretool.render.owner import host_of, title_words, wholeness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.debuggers.crash import CrashCommand
    from vmcoretool.findings import Finding
    from vmcoretool.inspection.inspect import Inspection

ROWS: Final = 23
"""Of a terminal of 24: the last one is the shell's."""
_DOMAINS: Final = 3
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+:@-]*")
"""Of a program, as part of a command that is to be pasted: no option, nothing to quote."""
_FINDINGS: Final = 3
_SHORT: Final = 2
_LEVELS: Final = {"error": 0, "warning": 1, "info": 2}
_SHORT_MEANINGS: Final = {
    "verified": "by its page tables",
    "not-relocatable": "crash needs no option",
    "reported": "recorded, not proved",
    "disputed": "sources differ",
    "unknown": "neither notes nor memory show it",
}
_TYPES: Final = {"pv": "PV", "hvm": "HVM or PVH", "unknown": "type unknown"}
_CONSOLE: Final = ("console", "Xen's own last words")
_CPUS: Final = ("cpus", "what each CPU did")
_DMESG: Final = ("dmesg", "dom0's log up to the end")
_NOTES: Final = ("notes", "all notes, decoded")


class Row(NamedTuple):
    """A line, and how soon it is left out where there are too many; 0: never."""

    text: str
    rank: int = 0


def screen(inspection: Inspection, *, width: int, colour: bool = False) -> list[str]:
    """The lines of the screen: at most 23, and none wider unless one argument is."""
    rows = _rows(inspection, width, colour=colour, whole=True)
    if sum(_height(row, width) for row in rows) > ROWS:
        rows = _rows(inspection, width, colour=colour, whole=False)
    return [row.text for row in _fitting(rows, width)]


def _rows(inspection: Inspection, width: int, *, colour: bool, whole: bool) -> list[Row]:
    # whole: the findings' cures in full
    rows = [*_title(inspection, width, colour=colour)]
    host = host_of(inspection)
    if host:
        rows += [Row("", 4), *_story(host, width, colour=colour), Row("", 5)]
        rows += [*_address(host, width, colour=colour), Row("", 6)]
        rows += [*_not_used(host, width), *_next(host, width, colour=colour)]
    else:
        rows += [Row("", 3), *(Row(line) for line in other_lines(inspection, width))]
    findings = sorted(inspection.findings, key=lambda found: _LEVELS.get(found.level, 3))
    return [*rows, *_findings(findings, width, colour=colour, whole=whole)]


def _fitting(rows: list[Row], width: int) -> list[Row]:
    left = list(rows)
    taken = sum(_height(row, width) for row in rows)
    for rank in range(max(row.rank for row in rows), 0, -1):
        for at in range(len(left) - 1, -1, -1):
            if taken <= ROWS:
                return left
            if left[at].rank == rank:
                taken -= _height(left.pop(at), width)
    return left


def _height(row: Row, width: int) -> int:
    # rows of the terminal: a command's argument may be wider than it
    return max(-(-columns(row.text) // width), 1)


def _title(inspection: Inspection, width: int, *, colour: bool) -> Iterator[Row]:
    vmcore = inspection.vmcore
    form = " in ".join((vmcore.container.format, *reversed(vmcore.layers)))
    whole = wholeness(vmcore)
    size = size_words(vmcore.size)
    excluded = vmcore.container.pages.excluded_pages
    left_out = f", {excluded} pages not in it" if excluded else ""
    name = printable(" ".join(vmcore.paths))
    if len(name) > width:  # the commands name the files in full
        more = f" and {len(vmcore.paths) - 1} more" if len(vmcore.paths) > 1 else ""
        name = f".../{printable(vmcore.paths[0].rpartition('/')[2])}{more}"
    title = f"{name}: {title_words(inspection)}, "
    text = f"{title}{form}, {size}, {whole}{left_out}"
    if len(text) > width and vmcore.container.complete and not excluded:
        text = f"{title}{size}"
    for number, line in enumerate(fill(text.split(" "), width, "", "  ")):
        yield Row(paint(line, "head", colour=colour) if not number else line)


def _story(inspection: Inspection, width: int, *, colour: bool) -> Iterator[Row]:
    for label, text, rank in happened(inspection):
        lines = labelled(label, _trace(text, width) if label == "in" else text, width)
        for number, line in enumerate(lines):
            died = label in DEATHS and not number
            shown = paint(line[: len(label)], "died", colour=colour and died) + line[len(label) :]
            yield Row(shown, 2 if number >= _SHORT and not rank else rank)
    domains = shortened(_domains(inspection), 2 * (width - LABEL) - 12)
    if not inspection.domains:
        domains = shortened(domains, width - LABEL)
    yield from (Row(line) for line in labelled("domains", domains, width))


def _trace(text: str, width: int) -> str:
    # as many functions as one line takes, the innermost always
    names = text.split(CALLER)
    while len(names) > 1 and LABEL + len(CALLER.join(names)) > width:
        names.pop()
    return CALLER.join(names)


def _domains(inspection: Inspection) -> str:
    kernels = inspection.symbol_files.kernels
    parts: list[str] = []
    seen: set[str] = set()
    for domain in inspection.domains[:_DOMAINS]:
        name = f"dom{domain.id}"
        kernel = kernels.get(name)
        release = ""
        if kernel:
            release = ", same Linux" if kernel.release in seen else f", Linux {kernel.release}"
            seen.add(kernel.release)
        count = len(domain.vcpus)
        vcpus = f", {count} vCPU{'s' * (count != 1)}" if count else ""
        parts.append(f"{name} ({_TYPES.get(domain.type, domain.type)}{vcpus}{release})")
    rest = len(inspection.domains) - _DOMAINS
    if rest > 0:
        parts.append(f"and {rest} more: vmcoretool domains")
    if not parts:
        return f"not found: {printable(inspection.domains_trouble) or 'none is there'}"
    return ", ".join(parts)


def _address(inspection: Inspection, width: int, *, colour: bool) -> Iterator[Row]:
    verdict = inspection.verdict
    status = paint(verdict.status.upper(), verdict.status, colour=colour)
    start = "-" if verdict.xen_phys_start is None else f"{verdict.xen_phys_start:#x}"
    meaning = _SHORT_MEANINGS[verdict.status]
    agree = sum(row.xen_phys_start == verdict.xen_phys_start for row in verdict.evidence)
    against = sum(row.strength != "suggested" for row in verdict.contradicting)
    line = f"xen_phys_start  {start}  {verdict.status.upper()}: {meaning}"
    if agree and verdict.xen_phys_start is not None:
        count = f"; {agree} source{'s agree' if agree > 1 else ' has it'}"
        count += f", {against} not" if against else ""
        line += count if len(line + count) <= width else ""
    line = shortened(line, width)
    yield Row(line.replace(verdict.status.upper(), status, 1))
    idle = inspection.idle_page_table
    if idle is None:
        yield Row("idle_pg_table   unknown", 1)
        return
    doubt = "" if idle.proven else "  (not proved: -v)"
    yield Row(f"idle_pg_table   vaddr {idle.vaddr:#x}, maddr {idle.maddr:#x}{doubt}", 1)


def _not_used(inspection: Inspection, width: int) -> Iterator[Row]:
    # symbol files that the user asked for
    findings = [row.message for row in inspection.findings if row.code == "namelist-not-used"]
    seen = {message.partition(": ")[0] for message in findings}
    for match in inspection.symbol_files.matches:
        path = printable(match.candidate.path)
        used = match in inspection.symbol_files.chosen.values()
        wanted = match.candidate.asked_for and not used and path not in seen
        if wanted and len(seen) < _SHORT + len(findings):
            seen.add(path)
            text = f"not used: {path}: {printable('; '.join(match.reasons))}"
            for line in fill(shortened(text, _SHORT * width - 24).split(" "), width, "", "  "):
                yield Row(line)


# --- what to type next ------------------------------------------------------------------------


def _next(inspection: Inspection, width: int, *, colour: bool) -> Iterator[Row]:
    yield Row(paint("Next", "head", colour=colour))
    sides = _sides(inspection)
    paths = _paths(inspection)
    asked = False
    for side in sides:
        if side == "dom0" and inspection.dom0_kernel is None:
            continue
        for number, (name, note) in enumerate(_own_commands(side, inspection) * (not asked)):
            for line in command_lines(("vmcoretool", name, *paths), width, "  ", note):
                yield Row(line, 3 if number else 0)
        asked = True
    commands = sorted(
        inspection.commands,
        key=lambda command: (not command.ready, _place(command.target, sides)),
    )
    shown = [command for command in commands if command.ready][:_SHORT] or commands[:1]
    for command in shown:
        yield from _session(command, width, colour=colour)
    rest = [command for command in commands if command not in shown]
    if rest:
        names = [command.target for command in rest]
        more = f" and {len(names) - _DOMAINS} more" if len(names) > _DOMAINS else ""
        unready = "" if any(command.ready for command in rest) else ": not ready"
        note = f"{', '.join(names[:_DOMAINS])}{more}{unready}"
        for line in command_lines(("vmcoretool", "crash", *paths), width, "  ", note):
            yield Row(line, 4)
    for line in command_lines(("vmcoretool", "inspect", "-v", *paths), width, "  ", "the evidence"):
        yield Row(line, 8)


def _own_commands(side: str, inspection: Inspection) -> tuple[tuple[str, str], ...]:
    # those that have something to print
    if side == "dom0":
        return (_DMESG,)
    if inspection.account.console:
        return (_CONSOLE, _CPUS)
    return (_CPUS, _NOTES)


def _paths(inspection: Inspection) -> tuple[str, ...]:
    if inspection.vmcore.paths[0] == "-":
        return ("VMCORE",)
    return tuple(map(file_argument, inspection.vmcore.paths))


def _sides(inspection: Inspection) -> tuple[str, ...]:
    cause = inspection.account.cause
    if cause is not None and cause.who == "dom0":
        return ("dom0", "hypervisor")
    return ("hypervisor", "dom0")


def _place(target: str, sides: tuple[str, ...]) -> int:
    return sides.index(target) if target in sides else len(sides)


def _session(command: CrashCommand, width: int, *, colour: bool) -> Iterator[Row]:
    ready = paint("ready", "ready", colour=colour)
    state = f"{command.target}: ready" if command.ready else f"{command.target}, not ready: "
    for line in _two_lines(state + "; ".join(command.missing), width, "  # "):
        yield Row(line.replace("ready", ready, 1) if command.ready else line)
    yield from (Row(line) for line in command_lines(command.argv, width, "  "))


def _two_lines(text: str, width: int, indent: str) -> list[str]:
    # as much of a text as they hold
    for limit in range(_SHORT * (width - len(indent)), width, -1):
        lines = fill(shortened(text, limit).split(), width, indent, indent)
        if len(lines) <= _SHORT:
            break
    return lines


def other_lines(inspection: Inspection, width: int) -> Iterator[str]:
    """What there is to show of a dump that is not a Xen host's, and what to type next."""
    info = inspection.vmcore.vmcoreinfo_linux
    entries = info.entries if info else {}
    image = ""
    if "OSRELEASE" in entries:
        release = printable(entries["OSRELEASE"])
        yield from labelled("Linux", release, width)
        image = f" of {release}"
    if "BUILD-ID" in entries:
        build_id = printable(entries["BUILD-ID"])
        yield from labelled("build-id", build_id, width)
        image += ", of that build-id"
    if image:
        yield ""
    yield "Next"
    paths = _paths(inspection)
    if inspection.vmcore.process:
        name = inspection.vmcore.process.name
        program = name if _PLAIN_NAME.fullmatch(name) else "PROGRAM"
        packed = "decompress it first" if inspection.vmcore.layers else ""
        yield from command_lines(("gdb", program, *paths), width, "  ", packed)
        return
    nested = any(found.code == "nested-xen-image" for found in inspection.findings)
    if nested or inspection.kind == "unknown":
        yield from command_lines(("vmcoretool", *_NOTES[:1], *paths), width, "  ", _NOTES[1])
        return
    guest = "" if inspection.kind == "linux" else ", if the guest ran Linux"
    yield from fill(f"VMLINUX: the debug image{image}{guest}".split(), width, "  # ", "  # ")
    yield from command_lines(("crash", "VMLINUX", *paths), width, "  ")
    name, note = ("vmcoreinfo", "the kernel's own description") if info else _NOTES
    yield from command_lines(("vmcoretool", name, *paths), width, "  ", note)


# --- findings ---------------------------------------------------------------------------------


def _findings(findings: list[Finding], width: int, *, colour: bool, whole: bool) -> Iterator[Row]:
    if not findings:
        return
    yield Row("", 3)
    for found in findings[:_FINDINGS]:
        level = paint(found.level, found.level, colour=colour)
        text = f"{found.level} [{found.code}] {found.message}"
        lines = fill(text.split(" "), width, "", "     ")
        if not whole:
            lines = fill(shortened(text, 2 * width - 20).split(" "), width, "", "     ")
        yield Row(lines[0].replace(found.level, level, 1))
        yield from map(Row, lines[1:])
        if found.advice:
            cure = fill(f"-> {found.advice}".split(" "), width, "  ", "     ")
            cut = [shortened(f"  -> {found.advice}", width)]
            yield from (Row(line, 1) for line in (cure if whole else cut))
    rest = len(findings) - _FINDINGS
    if rest > 0:
        yield Row(f"and {rest} more finding{'s' * (rest > 1)}: inspect -v")
