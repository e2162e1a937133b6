from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support import ROOT, SAMPLES, XEN_SAMPLES, inspect_bytes, tool, truth

if TYPE_CHECKING:
    from pathlib import Path


def ids(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("sample", SAMPLES, ids=ids)
def test_json_is_as_expected(sample: Path) -> None:
    done = tool("inspect", "--json", "vmcore", cwd=sample)
    expected = json.loads((sample / "expected.json").read_text())
    assert json.loads(done.stdout) == expected["inspect"]
    assert done.returncode == expected["exit"]
    assert done.stderr == b""


@pytest.mark.parametrize("sample", XEN_SAMPLES, ids=ids)
def test_agrees_with_the_truth_that_came_from_outside(sample: Path) -> None:
    inspection = inspect_bytes((sample / "vmcore").read_bytes())
    true = truth(sample)
    assert inspection.idle_page_table is not None
    assert f"{inspection.idle_page_table.vaddr:#x}" == true["idle_pg_table_va"]
    assert inspection.idle_page_table.proven
    if true.get("relocated", True):
        assert inspection.verdict.status == "verified"
        assert f"{inspection.verdict.xen_phys_start:#x}" == true["xen_phys_start"]
    else:
        assert inspection.verdict.status == "not-relocatable"
        assert inspection.verdict.xen_phys_start is None
    assert inspection.xen is not None
    version = inspection.xen.version
    assert version is not None
    assert true["xen_version"].startswith(version.text)
    assert version.compile_date is not None
    assert true["xen_version"].endswith(version.compile_date)
    assert version.compiler is not None
    assert version.compiler in true["xen_version"]
    assert inspection.xen.build_id == true["build_id"]


@pytest.mark.parametrize("sample", SAMPLES, ids=ids)
def test_every_sample_says_where_it_comes_from(sample: Path) -> None:
    assert len((sample / "PROVENANCE.md").read_text()) > 100
    assert (sample / "vmcore").stat().st_size < 1 << 20


def test_samples_stay_small() -> None:
    total = sum(path.stat().st_size for path in (ROOT / "samples").rglob("*") if path.is_file())
    assert total < 8 << 20
