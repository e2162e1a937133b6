#!/usr/bin/env python3
"""What reading the other containers costs, against libkdumpfile and makedumpfile in one run.

    python3 benchmarks/bench_containers.py VMCORE

VMCORE is a whole ELF vmcore of a Xen host; makedumpfile writes the forms that are measured, the
tests' builder those that Debian's makedumpfile was built without.  Reads are of 1 MiB on both
sides, each in a process of its own; a first answer is a whole process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.builders.kdump import Kdump  # noqa: E402 - the tree's own builders
from vmcoretool import inspect_vmcore, open_vmcore  # noqa: E402 - likewise
from vmcoretool.evidence.facts import Facts  # noqa: E402 - likewise
from vmcoretool.evidence.known import Place  # noqa: E402 - likewise

PEER = "/usr/bin/python3"
LIMIT = 128 << 20
MADE = {"zlib": ["-c"], "LZO": ["-l"], "uncompressed": []}
BUILT = {"snappy": 4, "zstd": 0x20}
OURS = """
import sys, time
from vmcoretool import open_vmcore, inspect_vmcore
vmcore = open_vmcore(sys.argv[1])
inspect_vmcore(vmcore)
size, start = 0, time.perf_counter()
for line in sys.stdin:
    at, count = map(int, line.split())
    size += len(vmcore.memory.read(at, count))
print(size / (time.perf_counter() - start) / 1e6)
"""
THEIRS = """
import sys, time
import kdumpfile
dump = kdumpfile.kdumpfile(sys.argv[1])
dump.read(kdumpfile.KDUMP_MACHPHYSADDR, int(sys.argv[2]), 4096)
size, start = 0, time.perf_counter()
for line in sys.stdin:
    at, count = map(int, line.split())
    size += len(dump.read(kdumpfile.KDUMP_MACHPHYSADDR, at, count))
print(size / (time.perf_counter() - start) / 1e6)
"""
HUGE = """
import re, sys
from vmcoretool.cli.main import run
run(["inspect", sys.argv[1]])
sys.stderr.write(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def main() -> None:
    source = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {}
        for codec, options in MADE.items():
            files[codec] = folder / codec
            subprocess.run(
                ["makedumpfile", *options, source, files[codec]], capture_output=True, check=True
            )
        for codec, flags in BUILT.items():
            files[codec] = folder / codec
            files[codec].write_bytes(rebuilt(source, flags))
        files["ELF"] = source
        for codec, path in files.items():
            compare(codec, path)
        flattened(source, folder)
        huge(folder)


def rebuilt(source: Path, flags: int) -> bytes:
    """A part of the dump as a kdump file with another codec."""
    with open_vmcore(source) as vmcore:
        pages: dict[int, bytes] = {}
        hypervisor = [(int(image.base), 16 << 20) for image in Place(Facts(vmcore)).images]
        roots = [(root.maddr, 4096) for root in Facts(vmcore).roots]
        for at, count in (*wanted(source), *hypervisor, *roots):
            for maddr in range(at, at + count, 4096):
                page = vmcore.memory.read_some(maddr, 4096)
                if len(page) == 4096:
                    pages[maddr >> 12] = page
        blob = b"".join(one.data for one in vmcore.container.note_blobs)
    return Kdump(pages, notes=blob, codec=flags).build()


def wanted(path: Path) -> list[tuple[int, int]]:
    """(maddr, size) of pieces to read: whole pages, at most LIMIT in all."""
    left = LIMIT
    pieces = []
    with open_vmcore(path) as vmcore:
        for start, end in vmcore.memory.pages.extents():
            at = max(start + 4095 & -4096, 1 << 20)
            while at + 4096 <= end and left > 0:
                count = min((end & -4096) - at, 1 << 20)
                pieces.append((int(at), count))
                at, left = at + count, left - count
    return pieces


def measure(
    program: str, python: str, *arguments: object, stdin: str
) -> tuple[float, float] | None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(ROOT) if python == sys.executable else ""
    firsts: list[float] = []
    speeds: list[float] = []
    for _ in range(7):
        start = time.perf_counter()
        for text, results in (("", firsts), (stdin, speeds)):
            start = time.perf_counter()
            done = subprocess.run(
                [python, "-c", program, *map(str, arguments)],
                input=text,
                capture_output=True,
                text=True,
                env=environment,
                check=False,
            )
            if done.returncode:
                return None
            results.append(float(done.stdout) if text else time.perf_counter() - start)
    return min(firsts), max(speeds)


def compare(codec: str, path: Path) -> None:
    pieces = wanted(path)
    stdin = "".join(f"{at} {count}\n" for at, count in pieces)
    ours = measure(OURS, sys.executable, path, stdin=stdin)
    theirs = measure(THEIRS, PEER, path, pieces[0][0], stdin=stdin)
    assert ours
    print(f"{codec:<13} ours: first answer {ours[0] * 1e3:6.1f} ms, {ours[1]:6.0f} MB/s", end="")
    if theirs:
        print(
            f"   libkdumpfile: {theirs[0] * 1e3:6.1f} ms, {theirs[1]:6.0f} MB/s   "
            f"first answer {ours[0] / theirs[0]:.1f}x (aim 3), "
            f"speed {ours[1] / theirs[1]:.2f} (aim 0.7)"
        )
    else:
        print("   libkdumpfile does not read it")


def flattened(source: Path, folder: Path) -> None:
    flat, plain = folder / "flat", folder / "plain"
    with flat.open("wb") as file:
        subprocess.run(
            ["makedumpfile", "-F", "-c", source], stdout=file, stderr=subprocess.DEVNULL, check=True
        )
    start = time.perf_counter()
    with open_vmcore(flat) as vmcore:
        inspect_vmcore(vmcore)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    with flat.open("rb") as file:
        subprocess.run(["makedumpfile", "-R", plain], stdin=file, capture_output=True, check=True)
    with open_vmcore(plain) as vmcore:
        inspect_vmcore(vmcore)
    theirs = time.perf_counter() - start
    print(
        f"flattened     first answer {ours * 1e3:.1f} ms, makedumpfile -R and a read "
        f"{theirs * 1e3:.0f} ms: {theirs / ours:.0f}x faster (aim 10)"
    )


def huge(folder: Path) -> None:
    """A kdump of a machine of 1 TiB: bitmaps of 64 MiB, sparse, with a few pages."""
    path = folder / "huge"
    frames = 1 << 28
    small = Kdump({3: b"\x11" * 4096, 5: b"\x22" * 4096}, frames=frames)
    path.write_bytes(small.build())
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", HUGE, path], capture_output=True, env=environment, check=True
    )
    seconds = time.perf_counter() - start
    peak = int(done.stderr) / 1024
    print(f"1 TiB machine {peak:.0f} MiB at the peak (limit 128), {seconds:.2f} s")


if __name__ == "__main__":
    main()
