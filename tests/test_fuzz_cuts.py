"""Sound dumps cut short in every container: nothing but what the lost bytes explain is reported."""

from __future__ import annotations

import random
from functools import cache

import pytest

from tests.fuzz.cuts import (
    SAMPLES,
    Whole,
    borders,
    check,
    containers,
    facts_of,
    kept_inside,
    lost_by,
    whole_of,
)
from tests.fuzz.layout import Kept, layout_of, unpacked_size
from tests.fuzz.seeds import sample
from tests.support import ROOT, open_bytes, true_base
from vmcoretool.evidence.facts import Facts

CUTS = 500
SAMPLE = "xen-4.8-dom0-panic"
NAMES = tuple(container.name for container in containers(SAMPLE))


@cache
def whole(name: str, container: str) -> Whole:
    return whole_of(name, next(one for one in containers(name) if one.name == container))


@pytest.mark.parametrize("name", SAMPLES)
def test_seeded_cuts(name: str) -> None:
    rng = random.Random(f"cuts of {name}")
    made = {one.name: one for one in containers(name)}
    for container in rng.sample(NAMES, 4):
        it = whole_of(name, made[container])
        for _ in range(-(-CUTS // len(SAMPLES) // 4)):
            number = rng.randrange(len(it.container.files))
            end = rng.randrange(len(it.container.files[number]))
            assert check(it, number, end) == [], (container, number, end)


@pytest.mark.parametrize("container", NAMES)
def test_cut_at_every_border(container: str) -> None:
    it = whole(SAMPLE, container)
    for number, file in enumerate(it.container.files):
        for end in borders(it, number):
            if end < len(file):
                assert check(it, number, end) == [], (number, end)


def test_first_part_of_a_set_that_ends_in_its_bitmap_leaves_the_others() -> None:
    it = whole(SAMPLE, "split")
    start, end = it.layouts[0].pages[min(it.layouts[0].pages)][0]
    for at in range(start, end, 1000):
        assert check(it, 0, at) == []


# --- what is computed shares nothing with the readers, and agrees with them ----------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_tables_are_those_that_prove_the_address(name: str) -> None:
    facts = facts_of(name)
    (found, *_) = Facts(open_bytes(sample(name).data)).walks.mapped
    steps = {step.table >> 12 for step in found.image.steps}
    assert steps <= facts.tables
    assert facts.idle in facts.tables
    assert true_base(ROOT / "samples" / name) % 4096 == 0


@pytest.mark.parametrize("container", NAMES)
def test_whole_file_has_lost_nothing(container: str) -> None:
    it = whole(SAMPLE, container)
    for number, file in enumerate(it.container.files):
        lost = lost_by(it, number, len(file))
        assert (lost.result, lost.pages, lost.notes, lost.tables) == (
            True,
            frozenset(),
            False,
            False,
        )
        assert kept_inside(it.container, number, len(file)).has(0, len(it.container.inside[number]))


def test_layouts_of_elf_and_kdump_have_the_same_pages() -> None:
    elf, kdump = (whole(SAMPLE, name).layouts[0] for name in ("elf", "kdump-zlib"))
    assert elf.pages.keys() == kdump.pages.keys()
    assert [note.desc for note in elf.notes] == [note.desc for note in kdump.notes]
    assert layout_of(sample(SAMPLE).data).pages.keys() == elf.pages.keys()


def test_what_is_kept() -> None:
    kept = Kept([(0, 10), (10, 20), (30, 40)])
    assert kept.ranges == [(0, 20), (30, 40)]
    assert kept.has(5, 20)
    assert not kept.has(15, 31)
    assert kept.has_all([(0, 1), (39, 40)])
    gzip = whole(SAMPLE, "gzip").container
    sizes = [unpacked_size(gzip.files[0][:end]) for end in (0, 5, 9000, len(gzip.files[0]))]
    assert sizes[:2] == [0, 0]
    assert 0 < sizes[2] < sizes[3] == len(gzip.inside[0])
