"""Memory stays bounded whatever a dump says of itself: each file here is the worst of its kind."""

from __future__ import annotations

import struct
import subprocess
import sys
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.builders.memory import PAGE
from tests.support import environment_to_measure
from vmcoretool.formats.api import EM_X86_64
from vmcoretool.formats.elf_core import MAX_PHDRS
from vmcoretool.formats.elf_headers import PN_XNUM
from vmcoretool.formats.guest_pages import MAX_UNSORTED
from vmcoretool.formats.xen_dump_core import XC_CORE_MAGIC
from vmcoretool.sources.flattened import HEADER_SIZE, MAX_OVERLAPPING, MAX_RUNS, SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMIT_KIB = 256 * 1024


def shuffled(count: int) -> list[int]:
    order = list(range(count))
    Random(7).shuffle(order)
    return order


def segments_in_no_order(count: int) -> bytes:
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    words = (4, EM_X86_64, 1, 0, 128, 64, 0, 64, 56, PN_XNUM, 64, 1, 0)
    section = struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, count, 0, 0)
    base = 128 + 56 * count
    rows = b"".join(  # a third of them overlaps the next one, two thirds have pages without data
        struct.pack("<IIQQQQQQ", 1, 7, base, 0, at << 13, PAGE + at % 3 * PAGE, 2 * PAGE, 0)
        for at in shuffled(count)
    )
    return ident + struct.pack("<HHIQQQIHHHHHH", *words) + section + rows + bytes(4 * PAGE)


def records(count: int, step: int, sizes: tuple[int, ...]) -> bytes:
    head = (SIGNATURE + struct.pack(">qq", 1, 1)).ljust(HEADER_SIZE, b"\0")
    body = b"".join(
        struct.pack(">qq", at * step, size) + b"x" * size
        for at in shuffled(count)
        for size in (sizes[at % len(sizes)],)
    )
    return head + body + struct.pack(">qq", -1, -1)


def frames_in_no_order(count: int) -> bytes:
    head = XC_CORE_MAGIC + struct.pack("<5I", 0, count, 24, 24, 24 + 8 * count)
    return head + struct.pack(f"<{count}Q", *shuffled(count)) + bytes(PAGE)


def run_limited(path: Path, data: bytes) -> subprocess.CompletedProcess[bytes]:
    path.write_bytes(data)
    script = f'ulimit -d {LIMIT_KIB} && exec "$@"'
    words = ["sh", "-c", script, "sh", sys.executable, "-m", "vmcoretool", "inspect", str(path)]
    environment = environment_to_measure()
    return subprocess.run(words, capture_output=True, check=False, timeout=240, env=environment)


@pytest.mark.parametrize(
    ("build", "status"),
    [
        pytest.param(lambda: segments_in_no_order(MAX_PHDRS), 6, id="segments"),
        pytest.param(lambda: segments_in_no_order(MAX_PHDRS + 1), 3, id="too-many-segments"),
        pytest.param(lambda: records(MAX_RUNS, 4, (1, 2, 3)), 3, id="records"),
        pytest.param(lambda: records(MAX_RUNS + 1, 4, (1, 2, 3)), 3, id="too-many-records"),
        pytest.param(lambda: records(MAX_OVERLAPPING, 2, (3,)), 3, id="overlapping-records"),
        pytest.param(lambda: records(MAX_OVERLAPPING + 1, 2, (3,)), 3, id="too-much-overlap"),
        pytest.param(lambda: frames_in_no_order(MAX_UNSORTED), 6, id="frames"),
        pytest.param(lambda: frames_in_no_order(MAX_UNSORTED + 1), 4, id="too-many-frames"),
    ],
)
def test_the_worst_of_a_kind_needs_no_256_mib(
    tmp_path: Path, build: Callable[[], bytes], status: int
) -> None:
    done = run_limited(tmp_path / "vmcore", build())
    assert done.returncode == status, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stderr.count(b"\n") == (status in (3, 4))
