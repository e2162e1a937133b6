"""What is true of a dump, from everything but vmcoretool."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tests.lab.packages import efi_map, run, xen_syms

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.scenarios import Scenario

# the log's lines; Xen moves itself when QEMU loads it, and is told its place by GRUB and EFI
_BASE: Final = (
    re.compile(r"New Xen image base address: (0x[0-9a-f]+)"),
    re.compile(r"Xen image load base address: (0x[0-9a-f]+)"),
)
_SYMBOLS: Final = ("idle_pg_table", "domain_list", "conring", "conring_size", "xen_phys_start")


def collect(scenario: Scenario, folder: Path) -> dict[str, Any]:
    """The facts, from the boot log, the package's symbol file and dom0's own listing."""
    log = (folder / "boot.log").read_text(errors="replace")
    facts: dict[str, Any] = {"scenario": scenario.name, "kind": "xen-host"}
    if scenario.xen is None:
        return {**facts, "kind": "linux"}
    facts["xen_version"] = _first(log, r"Xen version (\S+)")
    facts["build_id"] = _first(log, r"build-id: ([0-9a-f]+)")
    facts["xen_phys_start"] = next(
        (found.group(1) for pattern in _BASE if (found := pattern.search(log))), None
    )
    facts["command_line"] = _first(log, r"\(XEN\) Command line: (.*)")
    facts["crash_line"] = next(
        (line for line in log.splitlines() if scenario.crash and scenario.crash in line), None
    )
    facts["crashed_cpu"] = _crashed_cpu(log, facts["crash_line"])
    # the first Linux in the log is dom0's; the crash kernel's comes later
    facts["dom0_release"] = _first(log, r"Linux version (\S+)")
    facts["domains"] = _domains(log) if scenario.guests else [{"id": 0, "type": "pv"}]
    if scenario.boot == "efi":
        facts["symbols"] = _chosen(efi_map(scenario.xen).read_text())
    else:
        namelist = xen_syms(scenario.xen)
        facts["symbols"] = symbols(namelist) if namelist else {}
    return facts


def symbols(path: Path) -> dict[str, str]:
    """Addresses as ``nm`` prints them."""
    return _chosen(run("nm", path).stdout)


def _chosen(lines: str) -> dict[str, str]:
    split = [line.split() for line in lines.splitlines()]
    return {
        words[2]: hex(int(words[0], 16)) for words in split if words[2:3] and words[2] in _SYMBOLS
    }


def _crashed_cpu(log: str, line: str | None) -> int | None:
    # "Executing kexec image on cpu1" follows the cause, in the same line or the next
    if line is None:
        return None
    found = re.search(r"Executing kexec image on cpu ?(\d+)", log[log.index(line) :])
    return int(found.group(1)) if found else None


def _domains(log: str) -> list[dict[str, Any]]:
    listing = log.partition("LAB-LIST\n")[2].partition("LAB-LIST-END")[0]
    found = []
    for line in listing.splitlines():
        words = line.split()
        if len(words) >= 6 and words[1].isdigit():
            kind = "hvm" if words[0].startswith("pvh") else "pv"
            found.append({"id": int(words[1]), "type": kind, "memory_mib": int(words[2])})
    return found


def _first(log: str, pattern: str) -> str | None:
    found = re.search(pattern, log)
    return found.group(1).strip() if found else None
