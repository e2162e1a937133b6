"""The names that scripts may use: all there, typed, documented, and honest in other processes."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import json
import pickle
import re
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

import vmcoretool
from tests import triage
from tests.support import ROOT, XEN_SAMPLES, tool
from vmcoretool import NotAXenHostError, inspect_vmcore, open_host, open_vmcore, to_dict

SAMPLE = ROOT / "samples/xen-4.17-dom0-panic/vmcore"
LINUX = ROOT / "samples/linux-native/vmcore"


# --- a script that uses them --------------------------------------------------------------------


def test_triage_script_uses_every_public_name_and_no_other() -> None:
    tree = ast.parse((ROOT / "tests/triage.py").read_text())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "vmcoretool"
        for alias in node.names
    }
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {name for node in ast.walk(tree) for name in annotated(node)}
    assert imported == set(vmcoretool.__all__) - {"__version__"}
    assert imported <= used
    modules = {
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vmcoretool")
    }
    assert modules == {"vmcoretool"}


def annotated(node: ast.AST) -> set[str]:
    note = getattr(node, "annotation", None) or getattr(node, "returns", None)
    return {inner.id for inner in ast.walk(note) if isinstance(inner, ast.Name)} if note else set()


@pytest.mark.parametrize("sample", XEN_SAMPLES, ids=lambda path: path.name)
def test_triage_of_a_host(sample: Any) -> None:
    out = io.StringIO()
    with redirect_stdout(out):
        assert triage.triage(str(sample / "vmcore")) == 0
    shown = out.getvalue()
    facts = json.loads((sample / "expected.json").read_text())["inspect"]
    assert f"{facts['kind']} {facts['relocation']['status']}" in shown
    assert '{"schema": "vmcoretool/inspect/1"' in shown
    for domain in facts["domains"]:
        assert f"domain {domain['id']} {domain['type']} {domain['max_pfn']}" in shown
    if facts["idle_page_table"] and facts["idle_page_table"]["levels"] == 4:
        place = facts["idle_page_table"]
        assert f"{place['vaddr']} is at {place['maddr']}" in shown


def test_triage_of_others(tmp_path: Any) -> None:
    out = io.StringIO()
    with redirect_stdout(out):
        assert triage.triage(str(LINUX)) == 6
        (tmp_path / "text").write_text("hello\n")
        assert triage.triage(str(tmp_path / "text")) == 3
    assert "a native Linux kernel, not of a Xen host" in out.getvalue()
    assert "<Inspection of" in out.getvalue()
    assert "verified, vmcoretool" in triage.report(str(SAMPLE), str(tmp_path))


# beside this Python, whether or not its environment is activated
PYRIGHT = shutil.which("pyright", path=str(Path(sys.executable).parent)) or shutil.which("pyright")


@pytest.mark.skipif(not PYRIGHT, reason="pyright is not installed")
def test_pyright_is_content_with_it() -> None:
    done = subprocess.run(
        [str(PYRIGHT), "--outputjson", "--pythonpath", sys.executable, "tests/triage.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.stdout.startswith("{"):
        pytest.skip(f"pyright cannot start here: {done.stderr[-200:]}")
    found = json.loads(done.stdout)
    assert found["generalDiagnostics"] == []


# --- completeness -------------------------------------------------------------------------------


def test_every_type_that_can_be_reached_is_public() -> None:
    seen: set[type] = set()
    for name in vmcoretool.__all__:
        reach(getattr(vmcoretool, name), seen)
    assert {kind.__name__ for kind in seen} <= set(vmcoretool.__all__)
    assert all(kind.__doc__ for kind in seen)


def reach(found: Any, seen: set[type]) -> None:
    if inspect.isclass(found) and found.__module__.startswith("vmcoretool") and found not in seen:
        seen.add(found)
        for base in found.__mro__[:-1]:
            fields = getattr(base, "__annotations__", {}).items()
            notes = [note for name, note in fields if not name.startswith("_")]
            notes += [returned(value) for name, value in vars(base).items() if name[0] != "_"]
            for note in notes:
                follow(note, base.__module__, seen)
    elif inspect.isfunction(found):
        for note in found.__annotations__.values():
            follow(note, found.__module__, seen)


def returned(value: Any) -> str:
    value = getattr(value, "fget", None) or getattr(value, "func", None) or value
    return str(getattr(value, "__annotations__", {}).get("return", ""))


def follow(note: Any, module: str, seen: set[type]) -> None:
    if not module.startswith("vmcoretool"):
        return
    source = inspect.getsource(importlib.import_module(module))
    for word in set(re.findall(r"[A-Za-z]\w*", str(note))):
        home = re.search(rf"from (vmcoretool[\w.]*) import (?:\([^)]*|[^\n]*)\b{word}\b", source)
        place = importlib.import_module(home[1] if home else module)
        reach(getattr(place, word, None), seen)


# --- other processes ----------------------------------------------------------------------------


def fail(kind: str) -> None:
    if kind == "missing":
        open_vmcore("/nonexistent")
    with open_vmcore(SAMPLE) as vmcore:
        vmcore.memory.read(1 << 50, 1)


def test_values_pickle_or_refuse_with_a_sentence() -> None:
    with open_vmcore(SAMPLE) as vmcore:
        inspection = inspect_vmcore(vmcore)
    for value in (
        inspection.verdict,
        inspection.xen,
        inspection.idle_page_table,
        inspection.crash,
        inspection.account,
        inspection.signature,
        inspection.cpus,
        inspection.domains,
        inspection.commands,
        inspection.findings,
        to_dict(inspection),
    ):
        assert pickle.loads(pickle.dumps(value)) == value
    for holder in (inspection, vmcore):
        with pytest.raises(TypeError, match="open"):
            pickle.dumps(holder)
        assert len(repr(holder)) < 200


def test_errors_survive_a_process_pool() -> None:
    with ProcessPoolExecutor(1) as pool:
        with pytest.raises(vmcoretool.MemoryFault, match="0x4000000000000"):
            pool.submit(fail, "page").result()
        with pytest.raises(FileNotFoundError):
            pool.submit(fail, "missing").result()
        # the pool is not broken
        assert pool.submit(len, "abc").result() == 3


# --- nonsense -----------------------------------------------------------------------------------


def test_nonsense_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="elf, xen-core"):
        open_vmcore(SAMPLE, format_name="bogus")
    with pytest.raises(TypeError, match="needs a path"):
        open_vmcore()
    with pytest.raises(TypeError, match="int is neither a path"):
        open_vmcore(3)  # type: ignore[arg-type] # what a script may try
    with open_host(SAMPLE) as host:
        for size, address in ((-1, 0x1000), (1, -4096)):
            with pytest.raises(ValueError, match="bytes at machine address"):
                host.vmcore.memory.read(address, size)
        with pytest.raises(ValueError, match="a size of -1"):
            host.read(0x1000, -1)
        with pytest.raises(ValueError, match="none of: hypervisor"):
            host.translate(0x1000, "domain 0")
        sizes = {
            extent.start: extent.end - extent.start for extent in host.vmcore.memory.pages.stored()
        }
        largest = max(sizes, key=lambda start: sizes[start])
    with pytest.raises(ValueError, match="closed"):  # in parts it was read before, and is kept
        host.vmcore.memory.read(largest, sizes[largest])


def test_host_is_what_the_command_line_shows() -> None:
    with open_host(SAMPLE) as host:
        lines = tool("console", SAMPLE).stdout.decode().splitlines()
        assert list(host.console()) == [line.replace("\t", "\\t") for line in lines]
        domains = json.loads(tool("domains", "--json", SAMPLE).stdout)
        assert [domain.id for domain in host.domains] == [row["id"] for row in domains]
        assert to_dict(host.inspection) == json.loads(tool("inspect", "--json", SAMPLE).stdout)
        assert "verified" in repr(host)
    with pytest.raises(NotAXenHostError, match="native Linux"):
        open_host(LINUX)


def test_answers_of_a_wrong_length_are_errors_of_input() -> None:
    class Lying(triage.InMemory):
        def pread(self, size: int, offset: int) -> bytes:
            return super().pread(size + 1, offset)

    with pytest.raises(OSError, match="bytes came for"):
        open_vmcore(Lying(SAMPLE.read_bytes()))
