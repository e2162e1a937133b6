"""Threads on one dump, many dumps, many frames: equal answers, and nothing that is left behind.

Each in a process of its own: what goes wrong in a native decompressor ends it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from tests.fuzz.cuts import containers
from tests.fuzz.seeds import built_host
from tests.support import environment_to_measure
from tests.test_containers import in_blocks, squeezed

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = "xen-4.20-dom0-panic"
NAMES = [one.name for one in containers(SAMPLE)]
MIB = 1 << 20

_COMMON = """
import gc, json, os, random, resource, sys, threading
import vmcoretool
from vmcoretool.symbols.places import Places

NOWHERE = Places(standard=(), build_ids=())

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def files():
    return len(os.listdir("/proc/self/fd"))

def facts(dump):
    found = vmcoretool.to_dict(vmcoretool.inspect_vmcore(dump, places=NOWHERE))
    found["dump"].pop("paths")
    return json.dumps(found)
"""

_THREADS = (
    _COMMON
    + """
from vmcoretool.memory import physical

with vmcoretool.open_vmcore(*sys.argv[1:]) as sound:
    pages = [at for one in sound.memory.pages.stored() for at in range(one.start, one.end, 4096)]
    sizes = {at: 4096 * (1 + at // 4096 % 5) for at in pages}
    want = {at: sound.memory.read_some(at, sizes[at]) for at in pages}
    answer = facts(sound)
physical.CACHE_PAGES = 1  # each thread is to ask the container
dump = vmcoretool.open_vmcore(*sys.argv[1:])
wrong = []
together = threading.Barrier(8)

def work(number):
    choose = random.Random(number)
    together.wait()
    try:
        if facts(dump) != answer:
            wrong.append("another answer")
        for at in choose.choices(pages, k=400):
            if dump.memory.read_some(at, sizes[at]) != want[at]:
                wrong.append(hex(at))
            dump.memory.where_is(at)
    except BaseException as error:
        wrong.append(repr(error))

threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps({"wrong": wrong}))
"""
)

_OPENS = (
    _COMMON
    + """
def once():
    with vmcoretool.open_vmcore(*sys.argv[1:]) as dump:
        facts(dump)
    try:
        vmcoretool.open_vmcore(os.devnull)
    except vmcoretool.VmcoreError:
        pass

for number in range(200):
    once()
    if number == 60:
        gc.collect()
        before = resident(), files()
gc.collect()
print(json.dumps({"memory": resident() - before[0], "files": files() - before[1]}))
"""
)

_FRAMES = (
    _COMMON
    + """
with vmcoretool.open_vmcore(sys.argv[1]) as dump:
    source = dump.sources[0]
    for at in range(0, source.size, 1 << 16):
        source.pread(1, at)
    first = resident()
    for at in range(0, source.size, 512):
        source.pread(1, at)
print(json.dumps({"memory": resident() - first, "most": resource.getrusage(
    resource.RUSAGE_SELF).ru_maxrss * 1024, "files": files()}))
"""
)


def run(script: str, *paths: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, paths)],
        env=environment_to_measure(),
        capture_output=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, (done.returncode, done.stderr.decode()[-2000:])
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def written(folder: Path, name: str) -> list[Path]:
    container = next(one for one in containers(SAMPLE) if one.name == name)
    paths = []
    for number, data in enumerate(container.files):
        path = folder / f"part-{number}"
        path.write_bytes(data)
        paths.append(path)
    return paths


@pytest.mark.parametrize("name", NAMES)
def test_eight_threads_on_one_dump(name: str, tmp_path: Path) -> None:
    assert run(_THREADS, *written(tmp_path, name)) == {"wrong": []}


@pytest.mark.parametrize("name", ["kdump-zstd", "flattened-kdump", "xz-blocks", "split"])
def test_two_hundred_opens_leave_nothing_behind(name: str, tmp_path: Path) -> None:
    left = run(_OPENS, *written(tmp_path, name))
    assert left["files"] == 0
    assert left["memory"] < 6 * MIB


@pytest.mark.parametrize("codec", ["gzip", "bzip2", "xz", "zstd", "lz4"])
def test_five_thousand_frames_leave_nothing_behind(codec: str, tmp_path: Path) -> None:
    size = 512
    data = built_host().data.ljust(5000 * size, b"\0")[: 5000 * size]
    pack = zstandard.ZstdCompressor(level=1).compress
    if codec == "zstd":
        packed = b"".join(pack(data[at : at + size]) for at in range(0, len(data), size))
    else:
        packed = in_blocks(codec, data, size)
    path = tmp_path / "vmcore"
    path.write_bytes(packed)
    used = run(_FRAMES, path)
    one = tmp_path / "one"
    one.write_bytes(squeezed(codec, data))
    assert used["memory"] < 6 * MIB
    assert used["most"] < run(_FRAMES, one)["most"] + 24 * MIB
    assert used["files"] < 12
