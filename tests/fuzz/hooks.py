"""The hooks' own files: a system's configuration, edited and given back; reports beside dumps."""

from __future__ import annotations

import shutil
from functools import cache
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

from tests.fuzz import mutators
from tests.fuzz.oracles import Fault, check_command, outcome
from tests.fuzz.runs import call, scratch
from tests.fuzz.seeds import Seed, built_host, sample
from vmcoretool import VmcoreError
from vmcoretool.hooks import runner
from vmcoretool.hooks.dumps import Search
from vmcoretool.hooks.report import is_done, leave_report
from vmcoretool.hooks.systems import SYSTEMS, system_under
from vmcoretool.hooks.trust import not_roots_alone

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

FILES: Final = ("etc/os-release", "etc/kdump.conf", "etc/sysconfig/kdump")


@cache
def seeds() -> list[Seed]:
    """os-release, two configuration files and a dump, as one input."""
    rhel = b'ID="rhel"\nID_LIKE="fedora"\n'
    conf = b"path /var/crash\ncore_collector makedumpfile -l --message-level 7 -d 31\n"
    suse = b'KDUMP_POSTSCRIPT=""\nKDUMP_REQUIRED_PROGRAMS=""\nXCA=/usr/lib64/xen/bin/x\nCRASH=no'
    dump, whole = sample("linux-native").data, built_host().data
    found = [
        Seed("rhel", mutators.join([rhel, conf, suse, dump])),
        Seed("suse", mutators.join([b"ID=sles\nID_LIKE=suse\n", conf, suse, whole])),
        Seed("xcp-ng", mutators.join([b"ID=xenenterprise\n", b"", suse, dump])),
        Seed("debian", mutators.join([b"ID=debian\n", conf, b"", whole])),
    ]
    return [seed._replace(base=built_host().base) for seed in found]


def mutate(rng: Random, data: bytes, other: bytes) -> bytes:
    files = mutators.split(data)
    at = rng.randrange(len(files))
    change = mutators.text if at < len(FILES) else mutators.structured
    others = mutators.split(other)
    files[at] = change(rng, files[at], others[min(at, len(others) - 1)])
    return mutators.join(files)


def run(data: bytes, seed: Seed) -> str:
    """Install, look, take away: what was there before is there again; and report on a dump."""
    files = [*mutators.split(data), b"", b"", b"", b""]
    root = scratch() / "root"
    shutil.rmtree(root, ignore_errors=True)
    for name, content in zip(FILES, files, strict=False):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    before = _tree(root)
    system = system_under(str(root)) or SYSTEMS[len(data) % len(SYSTEMS)]
    kinds = [system]
    kinds += [_hook("install", root, system, words) for words in (["--dry-run"], [], [])]
    kinds += [_hook("status", root, system, []), _hook("uninstall", root, system, [])]
    after = _tree(root)
    if after != before:
        changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
        raise Fault(f"uninstall does not give back what was there\n{changed} {kinds}")
    kinds += [_reported(root, files[3]), _trusted(root, data), _after_boot(root, files[0])]
    return str(kinds)


def _after_boot(root: Path, said: bytes) -> str:
    # what the process that inspects says, and how it ends, are no more to be trusted
    (root / "said").write_bytes(said)
    (root / "child").write_text(f"cat {root}/said\nexit {len(said) % 4}\n")
    (root / "crash/2026-11-25/vmcoretool.json").unlink()
    child = "/bin/sh", str(root / "child")
    with (
        patch.object(runner, "own_command", lambda: child),
        patch.object(runner, "_STEP", 0.001),
    ):
        ran = call(["hook", "run", str(root / "crash")])
    check_command(ran.code, ran.out, ran.err, as_json=False, codes=(0,))
    return str(ran.out.count(b"\n"))


def _trusted(root: Path, data: bytes) -> str:
    # a program in a folder that others may or may not change, and the program that runs it
    program = root / "bin/program"
    program.parent.mkdir()
    program.write_bytes(b"#!/bin/sh\n" if data[-1:] < b"\x40" else data[:100])
    program.chmod(0o700 + data[len(data) // 2] % 0o100 if data else 0)
    program.parent.chmod(0o755 + 0o20 * (data[-2:] > b"\x80"))
    link = root / "bin/link"
    link.symlink_to("link" if data[-3:] < b"\x20" else "program")
    found = not_roots_alone(str(link))
    return found[1][:20] if found else ""


def _hook(verb: str, root: Path, system: str, more: list[str]) -> str:
    words = ["hook", verb, "--root", str(root), "--system", system, "--exec", "/opt/x", *more]
    ran = call(words)
    check_command(ran.code, ran.out, ran.err, as_json=False, codes=(0, 1, 5))
    return f"{verb} {ran.code}"


def _tree(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() or path.is_symlink())
    return {
        str(path.relative_to(root)): str(path.readlink()).encode()
        if path.is_symlink()
        else path.read_bytes()
        for path in files
    }


def _reported(root: Path, dump: bytes) -> str:
    folder = root / "crash/2026-11-25"
    folder.mkdir(parents=True)
    (root / "crash").chmod(0o755)
    folder.chmod(0o755)
    path = folder / "vmcore"
    path.write_bytes(dump)
    odd = folder / "vmcoretool.json"
    odd.write_bytes(b'{"report": {' + dump[:4096] if dump[-1:] < b"\x80" else dump[:4096])
    found = list(Search(str(root / "crash")).found())
    kinds = [str(len(found)), str(is_done(str(path)))]
    try:
        report, why = leave_report(str(path))
    except VmcoreError as error:
        return str([*kinds, outcome(error)])
    if not is_done(str(path)):
        raise Fault("a report that was written is not known again")
    return str([*kinds, why or report.summary.partition(";")[0]])
