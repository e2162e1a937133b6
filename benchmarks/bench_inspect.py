#!/usr/bin/env python3
"""What `inspect` costs as a whole process, as ratios measured in one run.

    python3 benchmarks/bench_inspect.py [VMCORE]
    python3 benchmarks/bench_inspect.py VMCORE... --against TREE

Peers are measured beside it where they are installed: `readelf -n` (binutils) and Debian's
python3-libkdumpfile reading xen.phys_start.  Besides a real dump a sparse one of 1 TiB with 4,096
PT_LOADs is built and measured: reading headers must not depend on the size of a dump.

With --against, CPU time is compared with that of another tree, such as an older commit's worktree.
"""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import resource

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.builders import notes  # noqa: E402 - the tree's own builders
from tests.builders.xen_host import XenHost  # noqa: E402 - likewise

ROUNDS = 25
TIB = 1 << 40
LOADS = 4096
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
INSPECT = [sys.executable, "-m", "vmcoretool", "inspect"]
SYSTEM_PYTHON = "/usr/bin/python3"
KDUMPFILE = "import sys, kdumpfile; print(kdumpfile.kdumpfile(sys.argv[1]).attr['xen.phys_start'])"
COUNTED = """
import os, sys
pread, reads = os.pread, []
def counting(fd, size, offset):
    data = pread(fd, size, offset)
    reads.append(len(data))
    {delay}
    return data
os.pread = counting
try:
    from vmcoretool.cli.main import run
except ImportError:  # where older trees have it
    from vmcoretool.cli import run
sys.stdout = open(os.devnull, "w")
run(["inspect", sys.argv[1]])
sys.stderr.write(f"{{len(reads)}} {{sum(reads)}}")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dumps", nargs="*", type=Path, metavar="VMCORE")
    parser.add_argument("--against", type=Path, metavar="TREE", help="another tree of vmcoretool")
    asked = parser.parse_args()
    dumps = asked.dumps or [ROOT / "samples/xen-4.17-dom0-panic/vmcore"]
    compileall.compile_dir(ROOT / "vmcoretool", quiet=1)
    if asked.against:
        compileall.compile_dir(asked.against / "vmcoretool", quiet=1)
        for dump in dumps:
            compare(dump.resolve(), asked.against.resolve())
        return
    real = dumps[0]
    with tempfile.TemporaryDirectory() as folder:
        sparse = Path(folder) / "sparse-1TiB"
        build_sparse(sparse)
        for dump in (real, sparse):
            measure(dump)


def measure(dump: Path) -> None:
    print(f"{dump} ({dump.stat().st_size / (1 << 20):.0f} MiB apparent)")
    tool = [*INSPECT, str(dump)]
    commands = {"inspect": tool, "python3 -c pass": [sys.executable, "-c", "pass"]}
    if shutil.which("readelf"):
        commands["readelf -n"] = ["readelf", "-n", str(dump)]
    peer = [SYSTEM_PYTHON, "-c", KDUMPFILE, str(dump)]
    if (
        Path(SYSTEM_PYTHON).exists()
        and not subprocess.run(peer, capture_output=True, check=False).returncode
    ):
        commands["python3-libkdumpfile"] = peer
    times = wall(commands)
    for name, seconds in times.items():
        ratio = times["inspect"] / seconds
        print(f"  {name:<22} {seconds * 1e3:8.1f} ms   inspect is {ratio:.2f}x")
    print(f"  peak memory            {usage(tool, ROOT).ru_maxrss / 1024:8.1f} MiB (limit 64)")
    reads, size = counts(dump, "")
    mib = size / (1 << 20)
    print(f"  reads of the file      {reads:8d}     (limit 100), {mib:.2f} MiB (limit 4)")
    start = time.perf_counter()
    counts(dump, "import time; time.sleep(0.02)")
    print(f"  with 20 ms per read    {time.perf_counter() - start:8.2f} s   (limit 3)")


def compare(dump: Path, other: Path) -> None:
    """CPU time of `inspect` in both trees and of a bare interpreter, runs of all three in turn."""
    trees = {"this tree": ROOT, "the other": other}
    commands = {name: ([*INSPECT, str(dump)], tree) for name, tree in trees.items()}
    commands["python3 -c pass"] = ([sys.executable, "-c", "pass"], ROOT)
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, (command, tree) in commands.items():
            times[name].append(cpu_time(usage(command, tree)))
    least = {name: min(values) for name, values in times.items()}
    print(dump)
    for name, values in times.items():
        share = least[name] / least["python3 -c pass"]
        middle = statistics.median(values)
        line = f"  {name:<16} CPU {least[name] * 1e3:6.1f} ms, median {middle * 1e3:6.1f}"
        line += f" = {share:5.2f} x python3 -c pass"
        if name in trees:
            reads, size = counts(dump, "", trees[name])
            line += f", {reads} reads of {size / (1 << 20):.2f} MiB"
        print(line)
    print(f"  this tree / the other: {least['this tree'] / least['the other']:.2f}")


def wall(commands: dict[str, list[str]]) -> dict[str, float]:
    # interleaved, so that a busy machine slows all of them alike
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, capture_output=True, env=environment(ROOT), check=False)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def usage(command: list[str], tree: Path) -> resource.struct_rusage:
    """What a child used; it runs in its tree, so that no installed package comes first."""
    with Path(os.devnull).open("w") as null:
        process = subprocess.Popen(
            command, stdout=null, stderr=null, env=environment(tree), cwd=tree
        )
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0
    return used


def cpu_time(used: resource.struct_rusage) -> float:
    return used.ru_utime + used.ru_stime


def environment(tree: Path) -> dict[str, str]:
    return {**ENVIRONMENT, "PYTHONPATH": str(tree)}


def counts(dump: Path, delay: str, tree: Path = ROOT) -> tuple[int, int]:
    program = COUNTED.format(delay=delay)
    command = [sys.executable, "-c", program, str(dump)]
    done = subprocess.run(
        command, capture_output=True, env=environment(tree), cwd=tree, check=True, text=True
    )
    reads, size = done.stderr.split()
    return int(reads), int(size)


def build_sparse(path: Path, *, without_cr3: bool = False) -> None:
    """A host of 1 TiB in 4,096 PT_LOADs, of which only the hypervisor's pages hold data."""
    host = XenHost(small_pages=True)
    blob = host.note_blob()
    if without_cr3:
        blob = notes.vmcoreinfo_xen(host.pgd_l4)
    each = TIB // LOADS
    note_offset = 64 + 56 * (LOADS + 1)
    data_offset = note_offset + len(blob) + 4095 & -4096
    phdrs = [struct.pack("<IIQQQQQQ", 4, 0, note_offset, 0, 0, len(blob), len(blob), 0)]
    for number in range(LOADS):
        paddr = number * each
        size = each - 4096  # a hole after each, so that none can be merged
        phdrs.append(struct.pack("<IIQQQQQQ", 1, 7, data_offset + paddr, 0, paddr, size, size, 0))
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    ehdr = struct.pack(
        "<16sHHIQQQIHHHHHH", ident, 4, 62, 1, 0, 64, 0, 0, 64, 56, LOADS + 1, 0, 0, 0
    )
    with path.open("wb") as file:
        file.write(ehdr + b"".join(phdrs) + blob)
        for maddr, page in host.pages.items():
            file.seek(data_offset + maddr)
            file.write(page)
        file.truncate(data_offset + TIB)


if __name__ == "__main__":
    main()
