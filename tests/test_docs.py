from __future__ import annotations

import re
import runpy
from typing import TYPE_CHECKING, get_args

import pytest

import vmcoretool
from tests.support import ROOT, run
from vmcoretool.cli.exits import Exit
from vmcoretool.cli.main import COMMANDS
from vmcoretool.evidence.api import Strength
from vmcoretool.evidence.gather import SOURCES
from vmcoretool.evidence.weigh import Status
from vmcoretool.findings import CODES
from vmcoretool.formats.find import built_in_formats
from vmcoretool.xen.image.layouts import LAYOUTS

if TYPE_CHECKING:
    from pathlib import Path

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


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = set(re.findall(r"docs/[a-z.-]+\.md", (ROOT / "README.md").read_text()))
    there = {f"docs/{path.name}" for path in (ROOT / "docs").iterdir()}
    assert linked == {name for name in there if not name.endswith((".py", "__pycache__"))}


def test_readme_has_every_command_and_exit_code() -> None:
    readme = (ROOT / "README.md").read_text()
    for command in COMMANDS:
        assert re.search(rf"^vmcoretool {command} ", readme, re.MULTILINE), command
    codes = readme.split("The exit code answers scripts:")[1].split("[all of it]")[0]
    for code in Exit:
        assert re.search(rf"(?<!\d){int(code)} [a-z]", codes), code


def worked_example() -> str:
    page = (ROOT / "docs/how-the-address-is-found.md").read_text()
    return page.split("## A worked example")[1].split("\n## ")[0]


def test_worked_example_is_what_the_tool_prints() -> None:
    example = worked_example()
    done = run("inspect", "-v", ROOT / "samples/xen-4.17-dom0-panic/vmcore")
    printed = [line.strip() for line in done.stdout.splitlines()]
    blocks = re.findall(r"```text\n(.*?)```", example, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:  # each of them as it stands, one line after another
        lines = block.splitlines()
        assert lines[0] in printed
        at = printed.index(lines[0])
        assert printed[at : at + len(lines)] == lines


def test_slots_of_the_worked_example() -> None:
    example = worked_example()
    shown = re.findall(r"(0x[0-9a-f]+) >> (\d+) & 511 = (\d+)", example)
    assert [int(vaddr, 16) >> int(shift) & 511 for vaddr, shift, _ in shown] == [
        int(slot) for *_, slot in shown
    ]
    walked = re.findall(r"^L\d 0x[0-9a-f]+\[(\d+)\]", example, re.MULTILINE)
    assert walked[:4] == [slot for *_, slot in shown]
    command = re.search(r"`vmcoretool (read .*?)`", example)
    assert command is not None
    done = run(*command[1].replace("samples/", f"{ROOT}/samples/").split())
    assert "63 e0 c6 27 00 00 00 80" in done.stdout


def test_glossary_has_the_words_of_the_answer() -> None:
    glossary = (ROOT / "docs/glossary.md").read_text()
    for word in (*get_args(Status), *get_args(Strength)):
        assert f"`{word}`" in glossary
    words = re.findall(r"^\| ([^|`]+?) \|", glossary, re.MULTILINE)
    assert len(set(words) - {"word"}) == len([word for word in words if word != "word"])


def test_public_names_are_the_documented_ones() -> None:
    public = {name for name in dir(vmcoretool) if not name.startswith("_")}
    modules = {path.stem for path in (ROOT / "vmcoretool").iterdir()} | {"sys"}
    assert public - modules == set(vmcoretool.__all__) - {"__version__"}
    for name in vmcoretool.__all__:
        assert getattr(vmcoretool, name) is not None
