"""An Inspection as the JSON object of schema ``vmcoretool/inspect/1``.

Addresses are lower-case ``0x`` strings (not every JSON reader keeps 64-bit numbers), sizes and
counts are numbers, unknown is null, an absent list is empty.  Output is ASCII.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from vmcoretool.debuggers.crash import shell
from vmcoretool.findings import finding
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from vmcoretool.debuggers.crash import CrashCommand
    from vmcoretool.host.account import Account
    from vmcoretool.host.signature import Signature
    from vmcoretool.inspection.inspect import Inspection
    from vmcoretool.symbols.matching import Match
    from vmcoretool.vmcore import Vmcore
    from vmcoretool.xen.cpus import CpuActivity
    from vmcoretool.xen.domains import Domain

SCHEMA: Final = "vmcoretool/inspect/1"
MAX_EXTENTS: Final = 65_536
"""That are listed; a host has some dozens, QEMU's dumps of paged memory up to some 10^5."""


def inspection_json(inspection: Inspection) -> str:
    """One line of JSON."""
    return json.dumps(to_dict(inspection), separators=(", ", ": "))


def to_dict(inspection: Inspection) -> dict[str, Any]:
    """The object that inspect.schema.json beside this file describes."""
    host = inspection.kind == "xen-host"
    dump = _dump(inspection.vmcore)
    findings = inspection.findings
    if not dump.get("extents_complete", True):
        message = f"the list of memory extents was cut off behind {MAX_EXTENTS}"
        findings = (*findings, finding("work-limited", message))
    return {
        "schema": SCHEMA,
        "dump": dump,
        "kind": inspection.kind,
        "xen": _xen(inspection) if host else None,
        "relocation": _relocation(inspection) if host else None,
        "idle_page_table": _idle_page_table(inspection),
        **account_object(inspection.account),
        "dom0": _dom0(inspection) if host else None,
        "cpus": [cpu_object(use, inspection.crash.cpu) for use in inspection.cpus],
        "domains": [domain_object(domain) for domain in inspection.domains],
        "namelists": [
            _namelist(one, inspection.symbol_files.chosen.get(one.target) is one)
            for one in inspection.symbol_files.matches
        ],
        "commands": [command_object(command) for command in inspection.commands],
        "makedumpfile": [
            {
                "purpose": one.purpose,
                "argv": [_text(word) for word in one.argv],
                "shell": shell(one.argv),
                "caveats": list(one.caveats),
            }
            for one in inspection.filters
        ],
        "findings": [found._asdict() for found in findings],
        "nested": _nested(inspection.nested),
    }


def _nested(inspection: Inspection | None) -> dict[str, Any] | None:
    if inspection is None:
        return None
    return {
        "xen": _xen(inspection),
        "relocation": _relocation(inspection),
        "idle_page_table": _idle_page_table(inspection),
    }


_NULL_KEYS: Final = (
    "xen",
    "relocation",
    "idle_page_table",
    "cause",
    "crashed_at",
    "machine",
    "dom0",
    "cpus",
    "domains",
    "namelists",
    "commands",
    "makedumpfile",
    "findings",
    "nested",
)


def failure_object(paths: tuple[str, ...], error: dict[str, Any]) -> dict[str, Any]:
    """The object for a dump that could not be inspected: ``error`` and what was given."""
    return {
        "schema": SCHEMA,
        "dump": {"paths": [_text(path) for path in paths]},
        "kind": None,
        **dict.fromkeys(_NULL_KEYS),
        "error": error,
    }


def command_object(command: CrashCommand) -> dict[str, Any]:
    """One command as in ``commands``."""
    return {
        "target": command.target,
        "purpose": command.purpose,
        "argv": [_text(word) for word in command.argv],
        "shell": command.shell(),
        "ready": command.ready,
        "requires_option": command.requires_option,
        "caveats": list(command.caveats),
    }


def _namelist(one: Match, used: bool) -> dict[str, Any]:  # noqa: FBT001 - one of its facts
    file = one.candidate
    return {
        "path": _text(file.path),
        "target": one.target,
        "match": one.match,
        "reasons": [printable(reason) for reason in one.reasons],
        "dwarf": None if file.error else file.dwarf,
        "build_id": file.build_id,
        "origin": file.origin,
        "used": used,
    }


def _address(value: int | None) -> str | None:
    return None if value is None else f"{value:#x}"


def _text(word: str) -> str:
    # A file name may hold bytes that are no UTF-8; JSON cannot carry them, so they are escaped.
    return word.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _dump(vmcore: Vmcore) -> dict[str, Any]:
    container = vmcore.container
    pages = container.pages
    info = vmcore.crash_info
    extents = list(islice(pages.extents(), MAX_EXTENTS + 1))
    return {
        "paths": [_text(path) for path in vmcore.paths],
        "format": container.format,
        "layers": list(vmcore.layers),
        "architecture": vmcore.architecture,
        "word_size": info.word_size if info else container.machine.word_size,
        "byte_order": container.machine.byte_order,
        "size": vmcore.size,
        "complete": container.complete,
        "extents": [
            {"start": f"{start:#x}", "end": f"{end:#x}"} for start, end in extents[:MAX_EXTENTS]
        ],
        **({} if len(extents) <= MAX_EXTENTS else {"extents_complete": False}),
        "pages": None
        if not container.row.has_memory
        else {"present": pages.present_pages, "excluded": pages.excluded_pages},
    }


def _xen(inspection: Inspection) -> dict[str, Any]:
    identity = inspection.xen
    version = identity.version if identity else None
    directmap = identity.directmap if identity else None
    return {
        "version": version.text if version else None,
        "major": version.major if version else None,
        "minor": version.minor if version else None,
        "extra": version.extra if version else None,
        "changeset": version.changeset if version else None,
        "compiler": version.compiler if version else None,
        "compile_date": version.compile_date if version else None,
        "build_id": identity.build_id if identity else None,
        "command_line": inspection.crash.command_line,
        "virt_start": _address(identity.virt_start) if identity else None,
        "directmap_start": _address(directmap.start) if directmap else None,
        "crashed_cpu": inspection.crash.cpu,
        "crashed_cpu_basis": inspection.crash.cpu_basis or None,
        "panic": inspection.crash.panic,
        "signature": _signature(inspection.signature),
    }


def _relocation(inspection: Inspection) -> dict[str, Any]:
    verdict = inspection.verdict
    return {
        "status": verdict.status,
        "xen_phys_start": _address(verdict.xen_phys_start),
        "evidence": [
            {
                "source": one.source,
                "xen_phys_start": _address(one.xen_phys_start),
                "strength": one.strength,
                "basis": one.basis,
                "steps": list(one.steps),
            }
            for one in verdict.evidence
        ],
        "silent": [{"source": one.source, "reason": one.reason} for one in verdict.silent],
    }


def account_object(account: Account) -> dict[str, Any]:
    """The keys that say who crashed and why, when, and on which machine."""
    cause, moment, machine = account.cause, account.crashed_at, account.machine
    return {
        "cause": None
        if cause is None
        else {
            "who": cause.who,
            "headline": cause.headline,
            "function": cause.function,
            "task": cause.task and cause.task._asdict(),
            "cpu": cause.cpu,
            "vcpu": cause.vcpu,
            "frames": [],
            "basis": cause.basis,
        },
        "crashed_at": {
            "time": moment.time,
            "uptime_s": None if moment.uptime is None else round(moment.uptime, 6),
            "basis": moment.basis,
        },
        "machine": {
            "hardware": machine.hardware,
            "bios": machine.bios,
            "hostname": machine.hostname or None,
        },
    }


def _idle_page_table(inspection: Inspection) -> dict[str, Any] | None:
    idle = inspection.idle_page_table
    if idle is None:
        return None
    return {
        "symbol": idle.symbols[0],
        "symbols": list(idle.symbols),
        "alias": idle.alias,
        "vaddr": f"{idle.vaddr:#x}",
        "maddr": f"{idle.maddr:#x}",
        "levels": idle.levels,
        "proven": idle.proven,
        "proof": idle.proof,
    }


def _dom0(inspection: Inspection) -> dict[str, Any]:
    info = inspection.vmcore.crash_info
    linux = inspection.vmcore.vmcoreinfo_linux
    kernel = inspection.dom0_kernel
    source = "headers" if linux else "memory" if kernel else None
    return {
        "release": linux.entries.get("OSRELEASE") if linux else kernel.release if kernel else None,
        "build_id": linux.entries.get("BUILD-ID") if linux else kernel.build_id if kernel else None,
        "p2m_mfn": _address(info.dom0_p2m_mfn) if info else None,
        "vmcoreinfo_source": source,
    }


def _signature(signature: Signature | None) -> dict[str, Any] | None:
    if signature is None:
        return None
    row: dict[str, Any] = {"id": signature.id, **signature._asdict()}
    return row | {"rip_offset": _address(signature.rip_offset)}


def cpu_object(use: CpuActivity, crashed: int | None) -> dict[str, Any]:
    """One CPU as in ``cpus``."""
    cpu = use.state
    rip = cpu.registers.get("rip", cpu.registers.get("eip"))
    return {
        "cpu": cpu.cpu,
        "crashed": None if crashed is None else cpu.cpu == crashed,
        "saved": cpu.saved,
        "rip": _address(rip) if cpu.saved else None,
        "cr3": _address(cpu.cr3) if cpu.cr3 else None,
        "context": use.context,
        "address_space": use.address_space,
        "basis": use.basis,
    }


def domain_object(domain: Domain) -> dict[str, Any]:
    """One domain as in ``domains``."""
    shared = domain.shared_info
    pv = shared if domain.type == "pv" else None
    return {
        "id": domain.id,
        "type": domain.type,
        "p2m_mfn": _address(domain.p2m_mfn),
        "max_pfn": domain.max_pfn,
        "word_size": pv.word_size if pv else None,
        "p2m_cr3": _address(pv.p2m_cr3) if pv and pv.p2m_cr3 else None,
        "p2m_vaddr": _address(pv.p2m_vaddr) if pv and pv.p2m_vaddr else None,
        "shared_info": _address(shared.maddr) if shared else None,
        "vcpus": len(domain.vcpus) or None,
        "basis": domain.basis,
    }
