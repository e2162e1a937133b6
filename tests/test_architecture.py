from __future__ import annotations

import ast
import re
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = ROOT / "vmcoretool"
# A module imports only from levels below its own; the same level only in its own sub-package.
LEVELS = {
    "addresses": 0,
    "printable": 0,
    "release": 0,
    "errors": 1,
    "extents": 1,
    "findings": 1,
    "source": 2,
    "memory": 3,
    "notes": 3,
    "unwrap": 3,
    "containers": 4,
    "namelists": 4,
    "paging": 4,
    "vmcore": 5,
    "xen": 5,
    "linux": 5,
    "evidence": 6,
    "crash_program": 7,
    "crash_versions": 6,
    "error_texts": 7,
    "host": 7,
    "identity": 7,
    "selection": 8,
    "signature": 8,
    "namelist_advice": 9,
    "diagnosis": 9,
    "situation": 9,
    "crash_caveats": 10,
    "crash_command": 11,
    "makedumpfile_command": 12,
    "inspection": 13,
    "error_diagnoses": 14,
    "error_causes": 15,
    "hooks": 14,
    "render": 14,
    "report_files": 15,
    "crash_directory": 16,
    "cli": 17,
    "__init__": 17,
    "__main__": 18,
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(parts: tuple[str, ...]) -> str:
    return parts[0] if parts else "__init__"


def unit(path_parts: tuple[str, ...]) -> str:
    return name_of(tuple(part.removesuffix(".py") for part in path_parts))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    own = unit(relative.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative}: relative import"
            names = [node.module or ""]
            if node.module == "vmcoretool" and own not in ("__init__", "cli"):
                names = [f"vmcoretool.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] != "vmcoretool":
                continue
            other = name_of(tuple(parts[1:]))
            assert other in LEVELS, f"{relative} imports {name}, which has no level"
            if other != own:
                assert LEVELS[other] < LEVELS[own] or (own, other) == ("cli", "__init__"), (
                    f"{relative} (level {LEVELS[own]}) imports {name} (level {LEVELS[other]})"
                )


def test_every_module_has_a_level() -> None:
    assert {unit(path.relative_to(PACKAGE).parts) for path in MODULES} == set(LEVELS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_prints_but_the_command_line(path: Path) -> None:
    calls = [
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert "print" not in calls


def test_no_version_decides_anything() -> None:
    # Evidence before version numbers: no comparison of Xen's version anywhere.
    compared = re.compile(r"\b(?:major|minor|version)\b\s*(?:[<>]=?|==)\s*[\d(]")
    assert [str(path) for path in MODULES if compared.search(path.read_text())] == []


def test_levels_are_dense() -> None:
    used = sorted(set(LEVELS.values()))
    assert all(after - before == 1 for before, after in pairwise(used))
