"""A format of another package, installed beside this one, read by the real command line."""

from __future__ import annotations

import ast
import json
import shutil
import struct
from typing import TYPE_CHECKING

import pytest

from tests.builders.xen_host import XenHost
from tests.support import ROOT, tool
from vmcoretool import plugins

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = ROOT / "tests/data/backwards.py"
PAGE = 4096


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder of packages with the format in it, as pip leaves them."""
    shutil.copy(EXAMPLE, tmp_path / "backwards.py")
    facts = tmp_path / "backwards-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: backwards\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[vmcoretool.formats]\nbackwards = backwards:FORMAT\n")
    return tmp_path


def dump(folder: Path) -> tuple[XenHost, Path]:
    host = XenHost(base=0x400000)
    top = max(host.pages) // PAGE + 1
    if top > 1 << 16:
        raise AssertionError("the built host lies too high")
    pages = [bytes(host.pages.get(frame * PAGE, bytes(PAGE))) for frame in range(top)]
    notes = host.note_blob()
    head = struct.pack("<9s7xQQ", b"SDRAWKCAB", len(notes), top)
    path = folder / "vmcore"
    path.write_bytes(head + notes + b"".join(reversed(pages)))
    return host, path


def test_format_of_another_package_is_read(installed: Path, tmp_path: Path) -> None:
    host, path = dump(tmp_path)
    environment = {"PYTHONPATH": f"{ROOT}:{installed}"}
    done = tool("inspect", "--json", path, env=environment)
    answer = json.loads(done.stdout)
    assert answer["dump"]["format"] == "backwards"
    assert answer["dump"]["complete"] is True
    assert answer["relocation"]["status"] == "verified"
    assert answer["relocation"]["xen_phys_start"] == f"{host.base:#x}"
    assert "backwards" in tool("formats", env=environment).stdout.decode()


def test_example_needs_no_other_name_of_the_package() -> None:
    modules = {
        node.module
        for node in ast.walk(ast.parse(EXAMPLE.read_text()))
        if isinstance(node, ast.ImportFrom)
    }
    assert {name for name in modules if name and name.startswith("vmcoretool")} == {
        "vmcoretool.plugins"
    }


def test_all_names_are_there_and_sorted() -> None:
    assert all(hasattr(plugins, name) for name in plugins.__all__)
    assert len(set(plugins.__all__)) == len(plugins.__all__)
