"""Streams made to cost time or memory: each ends soon, in little memory, with its answer."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import lz4.frame
import pytest
import zstandard

from tests.support import ROOT, cpu_seconds, environment_to_measure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECONDS = 5
MEMORY_KIB = 256 << 10
SIZE = 4 << 20
DUMP = (ROOT / "samples/xen-4.8-dom0-panic/vmcore").read_bytes()
ZSTD = b"\x28\xb5\x2f\xfd\x00\x58"  # a frame that says neither its size nor a checksum


class Done(NamedTuple):
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def codes(self) -> set[str]:
        return {found["code"] for found in json.loads(self.stdout)["findings"]}


def limited(*words: str) -> Done:
    """Run this Python, killed where it takes more time or memory than allowed."""
    script = f'ulimit -t {cpu_seconds(SECONDS)} && ulimit -v {MEMORY_KIB} && exec "$@"'
    environment = environment_to_measure()
    done = subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, *words],
        capture_output=True,
        check=False,
        timeout=240,
        env=environment,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def inspect(path: Path, data: bytes) -> Done:
    path.write_bytes(data)
    return limited("-m", "vmcoretool", "inspect", "--json", str(path))


def padded(stream: bytes, empty: bytes) -> bytes:
    return stream + empty * (SIZE // len(empty))


def raw_block(data: bytes, *, last: bool = False) -> bytes:
    return struct.pack("<I", len(data) << 3 | last)[:3] + data


def zeros_block(size: int) -> bytes:
    return struct.pack("<I", size << 3 | 2)[:3] + b"\0"


def small_records(count: int, step: int) -> bytes:
    head = b"makedumpfile".ljust(16, b"\0") + struct.pack(">qq", 1, 1)
    rows = b"".join(
        struct.pack(">qq", len(DUMP) + at * step, 1) + b"x"
        for at in (range(count) if step > 0 else range(count, 0, -1))
    )
    whole = struct.pack(">qq", 0, len(DUMP)) + DUMP
    return head.ljust(4096, b"\0") + whole + rows + struct.pack(">qq", -1, -1)


SOUND: dict[str, Callable[[], bytes]] = {
    "gzip": lambda: padded(gzip.compress(DUMP, 1), gzip.compress(b"", 1)),
    "bzip2": lambda: padded(bz2.compress(DUMP, 1), bz2.compress(b"")),
    "lz4": lambda: padded(lz4.frame.compress(DUMP), lz4.frame.compress(b"")),
    "xz": lambda: padded(lzma.compress(DUMP, preset=0), lzma.compress(b"")),
    "zstd": lambda: padded(zstandard.compress(DUMP, 1), zstandard.compress(b"", 1)),
    "zstd-skippable": lambda: padded(zstandard.compress(DUMP, 1), b"\x50\x2a\x4d\x18" + bytes(4)),
    "bzip2-in-xz": lambda: lzma.compress(padded(bz2.compress(DUMP, 1), bz2.compress(b""))),
    "records": lambda: small_records(SIZE // 17, 1),
}


@pytest.mark.parametrize("name", SOUND)
def test_much_of_nothing_behind_a_dump_costs_little(tmp_path: Path, name: str) -> None:
    done = inspect(tmp_path / "vmcore", SOUND[name]())
    assert done.status == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["relocation"]["xen_phys_start"] == "0x27a00000"
    assert answer["relocation"]["status"] == "verified"
    assert answer["dump"]["complete"]


@pytest.mark.parametrize("codec", ["gzip", "bzip2", "lz4", "xz", "zstd"])
def test_nothing_but_empty_streams_is_empty(tmp_path: Path, codec: str) -> None:
    makers: dict[str, bytes] = {
        "gzip": gzip.compress(b"", 1),
        "bzip2": bz2.compress(b""),
        "lz4": lz4.frame.compress(b""),
        "xz": lzma.compress(b""),
        "zstd": zstandard.compress(b"", 1),
    }
    done = inspect(tmp_path / "vmcore", padded(b"", makers[codec]))
    assert done.status == 3
    assert b"what is inside is empty" in done.stderr


def test_blocks_of_nothing_are_followed_fast(tmp_path: Path) -> None:
    frame = ZSTD + raw_block(b"") * (SIZE // 3) + raw_block(b"", last=True)
    done = inspect(tmp_path / "vmcore", frame)
    assert done.status == 3
    assert b"what is inside is empty" in done.stderr


@pytest.mark.parametrize("wrap", [bytes, lzma.compress], ids=["zstd", "zstd-in-xz"])
def test_bomb_is_cut_off_and_the_answer_so_far_stands(
    tmp_path: Path, wrap: Callable[[bytes], bytes]
) -> None:
    pieces = [DUMP[at : at + (1 << 16)] for at in range(0, len(DUMP), 1 << 16)]
    blocks = b"".join(map(raw_block, pieces)) + zeros_block(1 << 17) * (1 << 19)  # 64 GiB
    done = inspect(tmp_path / "vmcore", wrap(ZSTD + blocks + raw_block(b"", last=True)))
    assert done.status == 1, done.stderr
    assert json.loads(done.stdout)["relocation"]["status"] == "verified"
    assert {"decompression-stopped", "work-limited"} <= done.codes
    assert "truncated" not in done.codes


def test_bomb_that_is_no_dump_is_refused_by_its_first_bytes(tmp_path: Path) -> None:
    frames = [zeros_block(1 << 17) * (1 << 14) for _ in range(2)]
    data = b"".join(ZSTD + frame + raw_block(b"", last=True) for frame in frames)
    done = inspect(tmp_path / "vmcore", data)
    assert done.status == 3
    assert b"what is inside is not a dump" in done.stderr


@pytest.mark.parametrize("tail", [2 << 30, (2 << 30) + 2])
def test_zeros_behind_an_xz_file_cost_little(tmp_path: Path, tail: int) -> None:
    path = tmp_path / "vmcore"
    packed = lzma.compress(DUMP[: 1 << 16], preset=0) + lzma.compress(DUMP[1 << 16 :], preset=0)
    path.write_bytes(packed)
    os.truncate(path, len(packed) + tail)
    done = limited("-m", "vmcoretool", "inspect", "-q", str(path))
    assert (done.status, done.stdout) == (0, b"0x27a00000 verified\n"), done.stderr


def test_many_frames_of_a_size_leave_no_memory_behind(tmp_path: Path) -> None:
    pack = zstandard.ZstdCompressor(level=1)
    whole = DUMP + bytes(48 << 20)
    frames = [pack.compress(whole[at : at + 8192]) for at in range(0, len(whole), 8192)]
    path = tmp_path / "vmcore"
    path.write_bytes(b"".join(frames))
    script = (
        "import sys; from vmcoretool import open_vmcore\n"
        "with open_vmcore(sys.argv[1]) as dump:\n"
        "    source = dump.sources[0]\n"
        "    assert all(source.pread(1, at) for at in range(0, source.size, 8192))"
    )
    done = limited("-c", script, str(path))
    assert done.status == 0, done.stderr
