from __future__ import annotations

import re
import runpy

import pytest

import vmcoretool
from tests.support import ROOT
from vmcoretool.evidence.gather import SOURCES
from vmcoretool.findings import CODES
from vmcoretool.formats.find import built_in_formats
from vmcoretool.xen.image.layouts import LAYOUTS

GENERATED = runpy.run_path(str(ROOT / "docs/generate.py"))["PAGES"]


@pytest.mark.parametrize("name", GENERATED)
def test_generated_page_is_current(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == GENERATED[name](), "run python3 docs/generate.py"


def test_names_are_unique() -> None:
    for names in (
        [code.code for code in CODES],
        [row.name for row in built_in_formats()],
        [source.name for source in SOURCES],
        [layout.name for layout in LAYOUTS],
        [layout.virt_start for layout in LAYOUTS],
    ):
        assert len(set(names)) == len(names)


def test_every_code_used_is_in_the_table() -> None:
    used: set[str] = set()
    for path in (ROOT / "vmcoretool").rglob("*.py"):
        text = path.read_text()
        used |= set(re.findall(r'(?:finding|observed\.odd)\(\s*"([a-z0-9-]+)"', text))
        used |= set(re.findall(r'\bcode(?:: str )?= ?"([a-z0-9-]+)"', text))
    assert used == {code.code for code in CODES}


def test_links_of_the_readme_lead_somewhere() -> None:
    for link in re.findall(r"\]\((docs/[^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / link).exists(), link


def test_public_names_are_the_documented_ones() -> None:
    public = {name for name in dir(vmcoretool) if not name.startswith("_")}
    modules = {path.stem for path in (ROOT / "vmcoretool").iterdir()} | {"sys"}
    assert public - modules == set(vmcoretool.__all__) - {"__version__"}
    for name in vmcoretool.__all__:
        assert getattr(vmcoretool, name) is not None
