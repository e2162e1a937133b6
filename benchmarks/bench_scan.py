#!/usr/bin/env python3
"""What searching memory costs.

    python3 benchmarks/bench_scan.py [VMCORE]

The candidate scan runs over a sparse dump of 1 TiB.  The pass over slot 258 of every page runs over
a page-cached file of at least 1 GiB, against `cat FILE >/dev/null` in the same run: over VMCORE, or
over a file of random bytes that is built for it.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.bench_inspect import build_sparse  # noqa: E402 - the tree's own builder
from tests.builders import notes  # noqa: E402 - likewise
from tests.builders.elf_core import ElfCore, Load  # noqa: E402 - likewise
from vmcoretool import inspect_vmcore, open_vmcore  # noqa: E402 - likewise
from vmcoretool.budget import Budget  # noqa: E402 - likewise
from vmcoretool.xen.search import self_references  # noqa: E402 - likewise

ROUNDS = 7
GIB = 1 << 30


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        sparse = Path(folder) / "sparse-1TiB"
        build_sparse(sparse, without_cr3=True)
        candidate_scan(sparse)
        if len(sys.argv) > 1:
            slot_pass(Path(sys.argv[1]))
        else:
            big = Path(folder) / "big"
            build_big(big)
            slot_pass(big)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process: {peak:.0f} MiB (limit 128)")


def candidate_scan(path: Path) -> None:
    start = time.perf_counter()
    with open_vmcore(path) as vmcore:
        verdict = inspect_vmcore(vmcore).verdict
    seconds = time.perf_counter() - start
    derived = [one.source for one in verdict.evidence if one.strength == "derived"]
    print(f"candidate scan, sparse 1 TiB: {seconds:.2f} s (aim 1), {verdict.status} by {derived}")


def slot_pass(path: Path) -> None:
    size = path.stat().st_size
    passes, cats = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        with Path(os.devnull).open("wb") as null:
            subprocess.run(["cat", str(path)], stdout=null, check=True)
        cats.append(time.perf_counter() - start)
        start = time.perf_counter()
        with open_vmcore(path) as vmcore:
            found = sum(1 for _ in self_references(vmcore.memory, Budget()))
        passes.append(time.perf_counter() - start)
    ours, cat = statistics.median(passes), statistics.median(cats)
    speed = size / ours / GIB
    print(f"slot 258 of {size / GIB:.2f} GiB: {ours:.3f} s, {speed:.1f} GiB/s, {found} found")
    print(f"cat >/dev/null:        {cat:.3f} s, {size / cat / GIB:.1f} GiB/s")
    print(f"ratio {cat / ours:.2f} of cat's speed (aim 0.5)")


def build_big(path: Path) -> None:
    head = ElfCore([Load(0x100000, b"")], [notes.prstatus()]).build()
    size = 5 * GIB // 4
    header = bytearray(head.ljust(4096, b"\0"))
    at = 64 + 56  # the PT_LOAD's program header, behind the PT_NOTE's
    header[at + 8 : at + 16] = (4096).to_bytes(8, "little")
    header[at + 32 : at + 40] = header[at + 40 : at + 48] = size.to_bytes(8, "little")
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        file.write(header)
        for _ in range(size >> 20):
            file.write(block)


if __name__ == "__main__":
    main()
