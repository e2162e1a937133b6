"""What many tests need: the samples, dumps held in memory, and the command line."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vmcoretool import Inspection, Vmcore, inspect_vmcore
from vmcoretool.formats.dump_files import group_parts
from vmcoretool.vmcore import read_vmcore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.budget import Budget

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = sorted(path.parent for path in (ROOT / "samples").glob("*/vmcore"))
ELF_SAMPLES = [path for path in SAMPLES if path.name.startswith(("xen-", "linux-"))]
XEN_SAMPLES = [path for path in SAMPLES if path.name.startswith("xen-")]
RELOCATED = [path for path in XEN_SAMPLES if path.name != "xen-3.1-hypervisor-panic"]


_LOOPS: Final = 1_000_000
_LOOPS_TAKE: Final = 0.075
"""Seconds of CPU that the loop takes where the limits of CPU time were set."""


def cpu_seconds(limit: int) -> int:
    """So many seconds of CPU of an idle machine, as seconds of this one as busy as it is now."""
    start = time.process_time()
    total = 0
    for number in range(_LOOPS):
        total += number * number % 7
    slower = (time.process_time() - start) / _LOOPS_TAKE
    return math.ceil(limit * min(max(slower, 1.0), 5.0))


class BytesSource:
    """A ByteSource over bytes, which counts what is read of it."""

    def __init__(self, data: bytes, path: str = "vmcore") -> None:
        self.data = data
        self.path = path
        self.complete = True
        self.reads = 0
        self.bytes_read = 0

    @property
    def size(self) -> int:
        return len(self.data)

    def pread(self, size: int, offset: int) -> bytes:
        piece = self.data[offset : offset + size]
        self.reads += 1
        self.bytes_read += len(piece)
        return piece

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        if start < end:
            yield start, end

    def close(self) -> None:
        pass


HELD: list[Vmcore] = []


def open_bytes(data: bytes, budget: Budget | None = None) -> Vmcore:
    """A dump that is closed when the test is over."""
    HELD.append(read_vmcore(BytesSource(data), budget=budget))
    return HELD[-1]


def grouped(paths: list[str]) -> list[list[str]]:
    """How files are grouped into dumps."""
    groups = []
    for files in group_parts(paths):
        groups.append(list(files.paths))
        files.close()
    return groups


def inspect_bytes(data: bytes, **options: Any) -> Inspection:
    return inspect_vmcore(open_bytes(data), **options)


def truth(sample: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((sample / "truth.json").read_text())
    return facts


def true_base(sample: Path) -> int:
    return int(truth(sample)["xen_phys_start"], 16)


def environment_to_measure() -> dict[str, str]:
    """For processes whose imports, memory or time are measured: without the coverage's own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
    return kept | {"PYTHONPATH": str(ROOT)}


def tool(
    *arguments: str | bytes | Path, stdin: Any = subprocess.DEVNULL, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in a process of its own, as a user does."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT)) | options.pop("env", {})
    return subprocess.run(
        [sys.executable, "-m", "vmcoretool", *arguments],
        stdin=stdin,
        capture_output=True,
        check=False,
        env=environment,
        timeout=60,
        **options,
    )


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """As tool, with text in and out."""
    command = [sys.executable, "-m", "vmcoretool", *map(str, words)]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=environment
    )


def is_safe(text: str) -> bool:
    """Whether a terminal may show it: lines of printable text."""
    return all(line.isprintable() for line in text.split("\n"))
