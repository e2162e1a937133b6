"""The rooms of the house, by the card in docs/architecture.md; there is no second table."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = ROOT / "vmcoretool"
MODULES = sorted(PACKAGE.rglob("*.py"))
PAGE = ROOT / "docs/architecture.md"
SCREEN = 35
MOST_ROOMS = 22
MOST_LOOSE = 9
MOST_FLOORS = 14
MOST_LINES = 350
LONGEST_FUNCTION = 60


def floors() -> dict[str, int]:
    """Each room of the card with its floor; the ground is 0."""
    card = PAGE.read_text().split("```")[1]
    ranks = [
        [room.strip() for room in rank.split("|")] for rank in " ".join(card.split()).split(">")
    ]
    return {room: floor for floor, rank in enumerate(reversed(ranks)) for room in rank}


def ground() -> set[str]:
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith("| `ground`"))
    return set(re.findall("`([a-z_]+)`", row)) - {"ground"}


FLOORS = floors()
GROUND = ground()


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts)


def room_of(module: str) -> str:
    first = module.split(".", maxsplit=1)[0]
    return "ground" if first in GROUND else first


@cache
def imports(path: Path) -> tuple[tuple[str, bool], ...]:
    """(module, whether it is imported when the program runs) of each import from the package."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: list[tuple[str, bool]] = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            base = node.module or ""
            names = [
                f"{base}.{alias.name}" if is_module(f"{base}.{alias.name}") else base
                for alias in node.names
            ]
        for name in names:
            if name.split(".")[0] == "vmcoretool":
                inner = name.removeprefix("vmcoretool").removeprefix(".") or "__init__"
                found.append((inner, id(node) not in typing_only))
    return tuple(found)


def is_module(name: str) -> bool:
    place = ROOT / name.replace(".", "/")
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down_the_card(path: Path) -> None:
    own = room_of(name_of(path))
    if own == "__main__":
        assert {room_of(name) for name, _ in imports(path)} <= {"cli"}
        return
    for name, _ in imports(path):
        other = room_of(name)
        if own == "__init__":
            assert FLOORS[other] < FLOORS["cli"], f"the package's names do not need {name}"
        elif other != own:
            assert own in FLOORS, f"{name_of(path)} stands in no room of the card"
            assert other in FLOORS, f"{name_of(path)} imports {name}, which has no room"
            assert FLOORS[other] < FLOORS[own], f"{name_of(path)} imports {name}, upwards"


def test_every_room_is_on_the_card_and_the_other_way_round() -> None:
    rooms = {room_of(name_of(path)) for path in MODULES} - {"__init__", "__main__"}
    assert rooms == set(FLOORS)


def test_no_files_form_a_circle() -> None:
    graph = {
        name_of(path).removesuffix(".__init__"): {
            name for name, running in imports(path) if running
        }
        for path in MODULES
    }
    assert [circle for circle in circles(graph) if len(circle) > 1] == []


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components (Tarjan)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            at = stack.index(node)
            found.append(stack[at:])
            del stack[at:]

    for node in graph:
        if node not in order:
            visit(node)
    return found


def test_house_has_few_rooms_and_floors() -> None:
    folders = {path.parent for path in MODULES} - {PACKAGE}
    loose = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert len(folders) <= MOST_ROOMS
    assert len(loose) <= MOST_LOOSE
    assert max(FLOORS.values()) + 1 <= MOST_FLOORS
    assert len(PAGE.read_text().splitlines()) <= SCREEN


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MOST_LINES
    long = [
        f"{node.name} has {(node.end_lineno or 0) - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]
    assert not long


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_prints_but_the_command_line(path: Path) -> None:
    calls = [
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert "print" not in calls


VERSIONS = {"major", "minor", "version", "release", "xen", "since"}
ORDERING = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
# Where a version may be compared, and why: each of these is no question to the dump's memory.
COMPARED = {
    "debuggers.crash_caveats.dwarf_caveats": "what the crash program reads is its release's",
    "debuggers.crash_caveats.dump_caveats": "likewise",
    "debuggers.crash_caveats._backtrace_caveats": "likewise",
    "debuggers.crash_releases.requirement": "where no DWARF shows the member, Xen's version does",
    "debuggers.crash_releases.first_error": "which text an old crash ends with, for people to read",
    "debuggers.packages.hypervisor_package": "a package's name has the version in it",
    "debuggers.packages._packaged": "likewise, and what that package holds",
    "debuggers.packages._debian": "likewise",
    "debuggers.packages.hypervisor_brief": "likewise",
    "debuggers.packages._build_tree": "the name of a build option, for people to read",
    "explain.diagnoses.crash_release.ask": "which changes in Xen an old crash trips over",
    "formats.kdump.structs.kdump_sub_header": "the kdump header's version is its layout's name",
    "linux.uts._nodename": "the release in memory is held against the banner's",
    "sources.flattened.open_flattened": "the stream's own version, of which there is one",
}


def compared_versions(text: str, module: str) -> set[str]:
    """Functions that hold a comparison of something that is called a version."""
    found: set[str] = set()

    def visit(node: ast.AST, where: str) -> None:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            where = f"{where}.{node.name}"
        if isinstance(node, ast.Compare) and any(isinstance(op, ORDERING) for op in node.ops):
            names = {
                inner.id if isinstance(inner, ast.Name) else inner.attr
                for operand in (node.left, *node.comparators)
                for inner in ast.walk(operand)
                if isinstance(inner, (ast.Name, ast.Attribute))
            }
            if names & VERSIONS:
                found.add(where)
        for child in ast.iter_child_nodes(node):
            visit(child, where)

    visit(ast.parse(text), module)
    return found


def test_no_version_decides_anything() -> None:
    # evidence before version numbers
    found = {
        where for path in MODULES for where in compared_versions(path.read_text(), name_of(path))
    }
    assert found == set(COMPARED)


@pytest.mark.parametrize(
    "line",
    [
        "if (version.major, version.minor) >= (4, 9): pass",
        "if release < _OLD: pass",
        "if info.major == 4: pass",
        "old = [row for row in rows if row.xen <= mine]",
    ],
)
def test_a_compared_version_is_seen(line: str) -> None:
    assert compared_versions(f"def choose():\n    {line}\n", "module") == {"module.choose"}
