"""Two thousand mutated inputs, seeded: a small campaign over every reader.

Each row runs in a process of its own, with the limits of time and memory that answers have.
"""

from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.campaign import Entry, run_case
from tests.fuzz.fields import fields_of
from tests.fuzz.oracles import Fault, check_command, check_json, check_text, check_verdict
from tests.fuzz.seeds import Seed, kdumps, replayed, sample
from tests.fuzz.targets import TARGETS, Target
from tests.support import ROOT, environment_to_measure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CASES = 2000
EACH = -(-CASES // len(TARGETS))
SHARES = 6
SEED = "2026"


@pytest.mark.parametrize("share", range(SHARES))
def test_two_thousand_inputs_break_no_promise(share: int, tmp_path: Path) -> None:
    chosen = [word for target in TARGETS[share::SHARES] for word in ("--target", target.name)]
    words = ["--each", str(EACH), "--seed", SEED, "--folder", str(tmp_path / "failures"), *chosen]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *words],
        cwd=ROOT,
        env=environment_to_measure(),
        capture_output=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    assert b" 0 failures" in done.stdout


def test_every_target_has_seeds_that_break_no_promise() -> None:
    for target in TARGETS:
        assert len({seed.name for seed in target.seeds()}) == len(target.seeds()), target.name


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_mutation_is_repeated_by_its_seed(target: Target) -> None:
    made = []
    for _ in range(2):
        rng = random.Random(1)
        one, other = target.seeds()[0].data, target.seeds()[-1].data
        made.append([target.mutate(rng, one, other) for _ in range(5)])
    assert made[0] == made[1]
    assert any(data != one for data in made[0])


# --- oracles see what they are for ---------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        lambda: check_text("a\x1b[31m"),
        lambda: check_text("a\u202eb"),
        lambda: check_json('{"a": NaN}'),
        lambda: check_json("{'a': 1}"),
        lambda: check_json('{"a": "\u00e4"}'),
        lambda: check_verdict("verified", 0x200000, 0x400000),
        lambda: check_verdict("verified", None, 0x400000),
        lambda: check_command(70, b"", b"", as_json=False),
        lambda: check_command(0, b"", b"Traceback (most recent call last):", as_json=False),
        lambda: check_command(0, b"\x9b2J", b"", as_json=False),
        lambda: check_command(0, b"", b"", as_json=True),
    ],
)
def test_broken_promise_is_a_fault(broken: Callable[[], object]) -> None:
    with pytest.raises(Fault):
        broken()


def test_what_holds_is_no_fault() -> None:
    check_verdict("disputed", 0x200000, 0x400000)
    check_verdict("verified", 0x400000, 0x400000)
    assert check_command(1, b'{"a": 1}\n', b"vmcoretool: x\n", as_json=True) == [{"a": 1}]


def test_any_other_exception_is_a_failure() -> None:
    def run(data: bytes, seed: Seed) -> str:
        return str(data[1 << 20])

    target = TARGETS[0]._replace(run=run)
    _, failure = run_case(target, Entry(b"", 0), [Seed("x", b"")])
    assert failure is not None
    assert failure.what.startswith("IndexError in test_fuzz_suite.py")


# --- layouts are known without the readers -------------------------------------------------------


def test_fields_are_where_the_numbers_are() -> None:
    elf = sample("xen-4.8-dom0-panic").data
    found = {field.at: field.get(elf) for field in fields_of(elf) if field.size > 1}
    assert found[18] == 62
    assert found[32] == 64
    assert 0x1000001 in found.values()
    assert 0x27A00000 in found.values()
    kdump = next(seed.data for seed in kdumps() if seed.name == "kdump-zlib")
    sizes = {field.at: field.get(kdump) for field in fields_of(kdump) if field.size == 4}
    assert sizes[8] == 6
    assert 4096 in sizes.values()


def test_flattened_stream_is_replayed() -> None:
    assert replayed(sample("flattened-elf").data) == sample("elf-makedumpfile").data
