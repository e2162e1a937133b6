from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests import recovery
from tests.builders import variants
from tests.support import XEN_SAMPLES, truth

if TYPE_CHECKING:
    from pathlib import Path

COMMITTED: dict[str, dict[str, list[Any]]] = json.loads(recovery.TABLE.read_text())


@pytest.fixture(scope="module")
def now() -> dict[str, dict[str, list[Any]]]:
    return recovery.rows()


def test_committed_table_is_what_the_tool_says(now: dict[str, dict[str, list[Any]]]) -> None:
    assert now == COMMITTED, "run python3 -m tests.recovery and read the difference"


def test_page_in_the_docs_is_that_table() -> None:
    assert recovery.PAGE.read_text() == recovery.page(COMMITTED)


@pytest.mark.parametrize("sample", XEN_SAMPLES, ids=lambda path: path.name)
def test_table_follows_the_rule(sample: Path) -> None:
    """Everything is `verified` (or `disputed` where the word lies) unless the idle page and every
    cr3 path are gone; then `reported` where word 8 exists, else `unknown`."""
    data = (sample / "vmcore").read_bytes()
    idle = recovery.idle_maddr(sample)
    every_cr3_is_idle = variants.saved_cr3s(data) == {idle}
    idle_is_a_cr3 = idle in variants.saved_cr3s(data)
    has_word = variants.crash_info(data).descsz == 80
    base = truth(sample)["xen_phys_start"] if recovery.relocated(sample) else None
    proven = ["verified", base, 0] if base else ["not-relocatable", None, 0]
    gone = ["reported", base, 1] if has_word else ["unknown", None, 1]
    for name, said in COMMITTED[sample.name].items():
        if name == "both excluded":
            assert said == gone
        elif name == "idle page excluded":
            assert said == (gone if every_cr3_is_idle else proven)
        elif name == "cr3 pages excluded":
            assert said == (gone if idle_is_a_cr3 else proven)
        elif name.startswith(("word 8 +", "word 8 -")):
            assert said == ["disputed", base, 1]
        else:
            assert said == proven, name


def test_every_variant_stands_in_the_table() -> None:
    for sample in XEN_SAMPLES:
        data = (sample / "vmcore").read_bytes()
        assert list(COMMITTED[sample.name]) == list(recovery.variants_of(sample, data))
