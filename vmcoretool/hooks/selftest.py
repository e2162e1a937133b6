"""Trying the capture hook before a crash: with this system's own shells, on a small real dump."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from importlib.resources import files
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.hooks.systems import capture_script
from vmcoretool.inspection.inspect import inspect_vmcore
from vmcoretool.vmcore import open_vmcore

if TYPE_CHECKING:
    from collections.abc import Iterator

SHELLS: Final = (("sh",), ("bash",), ("dash",), ("busybox", "sh"))
SECONDS: Final = 60
CAPTURED: Final = "vmcoretool-notes.elf"


class Trial(NamedTuple):
    """One thing that was tried, how it went, and whether that is right."""

    name: str
    outcome: str
    right: bool


def sample() -> bytes:
    """A small ELF core of a real Xen 4.17: notes and the pages that prove the address."""
    import gzip  # noqa: PLC0415 - only here

    return gzip.decompress(files("vmcoretool.hooks").joinpath("selftest.elf.gz").read_bytes())


def selftest() -> Iterator[Trial]:
    """Run the hook in each shell that is here; its output must prove the address like the dump."""
    for tool in ("dd", "od", "mkdir", "mv", "rm", "date", "sleep"):
        there = shutil.which(tool)
        needed = tool not in ("date", "sleep")
        yield Trial(tool, there or "is not installed", bool(there) or not needed)
    with tempfile.TemporaryDirectory(prefix="vmcoretool-selftest-") as folder:
        dump = os.path.join(folder, "vmcore")
        script = os.path.join(folder, "capture.sh")
        with open(dump, "wb") as file:
            file.write(sample())
        with open(script, "w", encoding="utf-8") as file:
            file.write(capture_script())
        yield _inspected("the dump itself", dump)
        for shell in SHELLS:
            if shutil.which(shell[0]):
                yield _captured(shell, script, dump, folder)


def _captured(shell: tuple[str, ...], script: str, dump: str, folder: str) -> Trial:
    name = f"the hook in {' '.join(shell)}"
    place = tempfile.mkdtemp(dir=folder)
    try:
        done = subprocess.run(  # noqa: S603 - shells found on PATH, our own script
            [*shell, script, place],
            cwd="/",
            env={**os.environ, "VMCORE": dump},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Trial(name, f"did not end within {SECONDS} s", right=False)
    captured = os.path.join(place, CAPTURED)
    if done.returncode or not os.path.exists(captured):
        said = done.stderr.decode("ascii", "backslashreplace").strip()
        return Trial(name, f"status {done.returncode}: {said}", right=False)
    return _inspected(name, captured)


def _inspected(name: str, path: str) -> Trial:
    with open_vmcore(path) as vmcore:
        verdict = inspect_vmcore(vmcore).verdict
        size = vmcore.size
    start = "-" if verdict.xen_phys_start is None else f"{verdict.xen_phys_start:#x}"
    return Trial(name, f"{size} bytes, {start} {verdict.status}", verdict.status == "verified")
