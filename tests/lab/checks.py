"""Holds vmcoretool to what is true of a dump."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.builders import variants
from tests.lab.packages import run, xen_syms
from tests.lab.scenarios import CAPTURED
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lab.scenarios import Scenario

# facts that vmcoretool does not tell yet, by the JSON keys that will hold them
PENDING: Final[tuple[str, ...]] = ()
HEAD: Final = 1 << 20
_GIB: Final = 1 << 30


class Row(NamedTuple):
    """One fact of one dump: what is true, what vmcoretool says."""

    scenario: str
    fact: str
    true: object
    told: object

    @property
    def right(self) -> bool:
        """Whether they are the same."""
        return self.true == self.told


def inspect(*words: object, **variables: str) -> tuple[int, dict[str, Any]]:
    """Exit status and JSON of ``vmcoretool inspect``, with environment variables."""
    command = [sys.executable, "-m", "vmcoretool", "inspect", "--json", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if not done.stdout:
        raise AssertionError(f"{command}: {done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, answer


def check(scenario: Scenario, folder: Path) -> Iterator[Row]:
    """Every fact of the truth that vmcoretool tells."""
    truth = json.loads((folder / "truth.json").read_text()) | {"folder": str(folder)}
    status, answer = inspect(folder / "vmcore")
    name = scenario.name
    yield Row(name, "kind", truth["kind"], answer["kind"])
    if scenario.xen is None:
        yield Row(name, "exit", 6, status)
        return
    yield Row(name, "exit", 0, status)
    xen, relocation = answer["xen"], answer["relocation"]
    version = xen["version"] if scenario.save == "kdump" else truth["xen_version"]
    yield Row(name, "version", truth["xen_version"], version)
    yield Row(name, "build_id", truth["build_id"], xen["build_id"])
    yield Row(name, "status", "verified", relocation["status"])
    yield Row(name, "xen_phys_start", truth["xen_phys_start"], relocation["xen_phys_start"])
    idle = truth["symbols"].get("idle_pg_table")
    if idle:
        maddr = int(idle, 16) % _GIB + int(truth["xen_phys_start"], 16)
        yield Row(name, "idle_pg_table", idle, answer["idle_page_table"]["vaddr"])
        yield Row(name, "its maddr", hex(maddr), answer["idle_page_table"]["maddr"])
    yield Row(name, "log's base", *_boot_log(truth, relocation))
    yield from _crash(scenario, truth, answer)
    captured = folder / CAPTURED
    if captured.exists() and scenario.save == "kdump":  # dumps made by an older lab lack it
        _, small = inspect(captured)
        for key in ("status", "xen_phys_start"):
            yield Row(name, f"captured {key}", relocation[key], small["relocation"][key])
    for command in answer["commands"]:
        if command["target"] == "hypervisor":
            words = ["crash", "--xen_phys_start", truth["xen_phys_start"]]
            yield Row(name, "command", words, command["argv"][:3])


def _crash(scenario: Scenario, truth: dict[str, Any], answer: dict[str, Any]) -> Iterator[Row]:
    name, xen = scenario.name, answer["xen"]
    yield Row(name, "crashed CPU", truth["crashed_cpu"], xen["crashed_cpu"])
    said = None if xen["panic"] is None else xen["panic"] in (truth["crash_line"] or "")
    yield Row(name, "panic", None if not scenario.crash else True, said)
    # a ring that has wrapped no longer holds the line
    line = xen["command_line"] or truth["command_line"]
    yield Row(name, "command line", truth["command_line"], line)
    if scenario.save != "kdump":
        return  # Xen describes its domains when a crash kernel is loaded
    told = [{"id": one["id"], "type": one["type"]} for one in answer["domains"]]
    true = [{"id": one["id"], "type": one["type"]} for one in truth["domains"]]
    yield Row(name, "domains", true, told)
    note = answer["dom0"]["p2m_mfn"]
    yield Row(name, "dom0's p2m", note, answer["domains"][0]["p2m_mfn"])
    yield Row(name, "dom0's Linux", truth.get("dom0_release"), answer["dom0"]["release"])
    yield from _texts(scenario, truth)


def _texts(scenario: Scenario, truth: dict[str, Any]) -> Iterator[Row]:
    name = scenario.name
    # the console against the serial line, the log's end against dom0's panic
    folder = Path(truth["folder"])
    serial = (folder / "boot.log").read_text(errors="replace")
    lines = run_tool("console", folder / "vmcore").splitlines()
    wrong = [line for line in lines if line not in serial]
    yield Row(name, "console lines that are wrong", [], wrong)
    syms = xen_syms(scenario.xen) if scenario.xen and scenario.boot != "efi" else None
    if syms:
        exact = run_tool("console", "--xen-syms", syms, folder / "vmcore").splitlines()
        yield Row(name, "console by symbols", "the same", "the same" if exact == lines else "other")
    if truth["crash_line"] and "Dom0 crashed" in truth["crash_line"]:
        log = run_tool("dmesg", folder / "vmcore")
        said = "Kernel panic - not syncing: sysrq triggered crash" in log
        yield Row(name, "dmesg", "has the panic", "has the panic" if said else "lacks it")


def run_tool(*words: object) -> str:
    """What a command of vmcoretool prints."""
    command = [sys.executable, "-m", "vmcoretool", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.stdout


def _boot_log(truth: dict[str, Any], relocation: dict[str, Any]) -> tuple[object, object]:
    # a ring that has wrapped no longer holds the line; where it does, it must say the same
    said = [one for one in relocation["evidence"] if one["source"] == "boot-log"]
    value = said[0]["xen_phys_start"] if said else truth["xen_phys_start"]
    return truth["xen_phys_start"], value


VARIANTS: Final[dict[str, tuple[Callable[[bytes], bytes], str]]] = {
    "zeroed": (variants.word_zeroed, "verified"),
    "9-words": (variants.nine_words, "verified"),
    "removed": (variants.removed, "verified"),
    "plus-2-MiB": (variants.shifted, "disputed"),
}


def write_variant(vmcore: Path, name: str, target: Path) -> None:
    """A copy of a dump with other notes; what lies behind the headers is the same."""
    with vmcore.open("rb") as file:
        head = file.read(HEAD)
    assert struct.unpack_from("<H", head, 56)[0] < 1000
    changed = VARIANTS[name][0](head)
    assert len(changed) == len(head)
    run("cp", "--sparse=always", vmcore, target)
    with target.open("rb+") as file:
        file.write(changed)


def check_variant(name: str, variant: str, path: Path, truth: dict[str, Any]) -> Iterator[Row]:
    """The address must be found whatever the note says."""
    status, answer = inspect(path)
    wanted = VARIANTS[variant][1]
    label = f"{name}, note {variant}"
    yield Row(label, "status", wanted, answer["relocation"]["status"])
    start = answer["relocation"]["xen_phys_start"]
    yield Row(label, "xen_phys_start", truth["xen_phys_start"], start)
    yield Row(label, "exit", 0 if wanted == "verified" else 1, status)
    for command in answer["commands"]:
        if command["target"] == "hypervisor":
            yield Row(label, "option", "needed", _needed(command))


def _needed(command: dict[str, Any]) -> str:
    return "needed" if command["requires_option"] else "not needed"


MADE: Final = {
    "-c": ["-c"],
    "-l": ["-l"],
    "-E": ["-E"],
    "-X -c": ["-X", "-c"],
    "-d 1": ["-c", "-d", "1"],
    "-F -c": ["-F", "-c"],
}


def check_made(name: str, options: str, vmcore: Path, target: Path) -> Iterator[Row]:
    """The same verdict from what makedumpfile makes of the dump."""
    label = f"{name}, makedumpfile {options}"
    words = ["makedumpfile", *MADE[options], str(vmcore)]
    with target.open("wb") as out:
        if "-F" in words:
            done = subprocess.run(words, stdout=out, stderr=subprocess.PIPE, check=False)
        else:
            target.unlink()
            done = subprocess.run([*words, str(target)], capture_output=True, check=False)
    if done.returncode:
        said = re.sub(r"\s+", " ", (done.stdout or b"").decode("latin-1") + done.stderr.decode())
        yield Row(label, "makedumpfile", "refuses", "refuses" if said else "silent")
        return
    _, expected = inspect(vmcore)
    status, answer = inspect(target)
    yield Row(label, "exit", 0, status)
    for key in ("status", "xen_phys_start"):
        yield Row(label, key, expected["relocation"][key], answer["relocation"][key])
    yield Row(label, "build_id", expected["xen"]["build_id"], answer["xen"]["build_id"])
