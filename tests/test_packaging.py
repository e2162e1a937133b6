"""What is shipped: the wheel holds what the package reads, the sdist is the repository."""

from __future__ import annotations

import ast
import re
import sys
from fnmatch import fnmatch
from importlib.metadata import packages_distributions

import pytest

from tests.support import ROOT

PROJECT = (ROOT / "pyproject.toml").read_text()
PACKAGE = ROOT / "vmcoretool"
NOT_SHIPPED = {"build", "dist"}


def listed(name: str) -> list[str]:
    """The strings of a list in pyproject.toml (Python 3.10 has no reader of it)."""
    match = re.search(rf"^{re.escape(name)} = \[(.*?)\]", PROJECT, re.DOTALL | re.MULTILINE)
    assert match is not None
    return re.findall(r'"([^"]+)"', match[1])


def test_every_file_of_the_package_is_in_the_wheel() -> None:
    patterns = listed("package-data.vmcoretool")
    for path in PACKAGE.rglob("*"):
        name = str(path.relative_to(PACKAGE))
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            assert any(fnmatch(name, pattern) for pattern in patterns), name
    for pattern in patterns:
        assert list(PACKAGE.glob(pattern)), pattern


def test_every_folder_is_in_the_source_distribution() -> None:
    grafted = set(re.findall(r"^graft (.+)$", (ROOT / "MANIFEST.in").read_text(), re.MULTILINE))
    folders = {
        path.name
        for path in ROOT.iterdir()
        if path.is_dir() and not path.name.startswith(".") and not path.name.endswith(".egg-info")
    }
    assert folders - NOT_SHIPPED - {"vmcoretool"} == grafted


def imported() -> set[str]:
    """Top-level modules that the package imports, beside itself and Python's own."""
    names: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module or "")
    return {name.split(".")[0] for name in names} - {"vmcoretool", *sys.stdlib_module_names}


def test_what_is_imported_is_required_and_nothing_else() -> None:
    # `pip install vmcoretool` alone reads every codec
    required = {re.split("[<>=]", line)[0] for line in listed("dependencies")}
    provided = packages_distributions()
    used = {provided[name][0].lower() for name in imported() if name in provided}
    assert used == required


@pytest.mark.parametrize("line", listed("dependencies"))
def test_a_requirement_has_a_lower_bound_only(line: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+>=[0-9.]+", line)
