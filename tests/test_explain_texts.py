"""What crash and makedumpfile really print: each text is known, and its true cause named first.

The texts are in ``tests/data/error-texts.json``, as ``python3 -m tests.peers.error_texts`` saw
them; the dumps and symbol files are made here, of the same kind, so that no program is needed.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import lzma
import os
import tempfile
import textwrap
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.builders.symbol_file import symbol_file
from tests.peers.wrong_forms import (
    DUMPS,
    FOLDER,
    FORMS,
    MISSING,
    OF_THE_HOST,
    SAMPLES,
    UNREADABLE,
    Form,
)
from tests.support import ROOT, tool
from tests.test_namelist import NOWHERE, truth_of, xen_syms
from vmcoretool import inspect_vmcore, open_vmcore
from vmcoretool.debuggers import crash_program
from vmcoretool.debuggers.crash_program import CrashProgram
from vmcoretool.errors import VmcoreError
from vmcoretool.explain.causes import CAUSES, CRASH_RELEASE, judged
from vmcoretool.explain.texts import find_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmcoretool import Inspection

    Judged = tuple[Inspection | None, Exception | None]

DATA: Final[list[dict[str, Any]]] = json.loads((ROOT / "tests/data/error-texts.json").read_text())
SHORT: Final = 20
OPENED: Final = contextlib.ExitStack()
BY_NAME: Final = {(form.program, form.name): form for form in FORMS}
PRINTED: Final = [
    pytest.param(row, release, id=f"{row['program']}-{release}-{row['form']}")
    for row in DATA
    if row["ended"] != "opened" and row["lines"]
    for release in row["releases"]
]
OF_SYMBOL_FILES: Final = {
    *("no-dwarf", "dwarf-5", "other-namelist", "other-vmlinux", "no-namelist", "packed-namelist"),
    *("split-namelist", "two-symbol-files", "other-program", "file-missing", "file-unreadable"),
}
"""Causes that cannot be told from the dump alone."""


def _xen_syms(**other: Any) -> bytes:
    return xen_syms(truth_of(SAMPLES / OF_THE_HOST / "vmcore"), **{"dwarf": 5, **other})


def _vmlinux(**other: Any) -> bytes:
    given: dict[str, Any] = {"code_at": 0xFFFFFFFF81000000, "dwarf": 5}
    return symbol_file(**given | {"symbols": {"init_task": 0xFFFFFFFF82A00000}} | other)


def _hypervisor() -> bytes:
    return b"\x7fELF\x01\x01\x01".ljust(16, b"\0") + b"\x02\0\x03\0\x01\0\0\0" + bytes(28)


@cache
def content(name: str) -> bytes:
    """A small file of the kind that the program was given."""
    makers: dict[str, Callable[[], bytes]] = {
        "xen-syms": _xen_syms,
        "xen-syms-bare": lambda: _xen_syms(dwarf=None),
        "xen-syms-stripped": lambda: _xen_syms(dwarf=None, symbols={}),
        "xen-syms-other": lambda: _xen_syms(build_id=bytes(20)),
        "xen-syms-debug": lambda: _xen_syms(split=True),
        "xen-syms-cut": lambda: _xen_syms()[: len(_xen_syms()) * 6 // 10],
        "xen-syms-gz": lambda: gzip.compress(_xen_syms()),
        "xen-syms-xz": lambda: lzma.compress(_xen_syms()),
        "xen-gz": lambda: gzip.compress(_hypervisor()),
        "xen": _hypervisor,
        "map": lambda: b"ffff82d040200000 T start\nffff82d040476000 D idle_pg_table\n" * 20,
        "vmlinux": _vmlinux,
        "vmlinux-other": lambda: _vmlinux(dwarf=4, build_id=bytes(20)),
        "vmlinuz": lambda: b"MZ".ljust(0x202, b"\0") + b"HdrS" + bytes(4096),
        "vmcoreinfo": lambda: b"OSRELEASE=6.1.0-50-amd64\nPAGESIZE=4096\n",
    }
    return (makers.get(name) or DUMPS[name])()


@cache
def judge(program: str, name: str, *, symbol_files: bool) -> Judged:
    """The dump in the form it was given, or why it cannot be read."""
    form = BY_NAME[program, name]
    folder = OPENED.enter_context(tempfile.TemporaryDirectory())
    for file, kind in form.files.items():
        path = Path(folder, file)
        if kind == UNREADABLE and (symbol_files or file in form.dumps):
            # root may read all: the refusal is made here
            return None, PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        if kind == FOLDER:
            path.mkdir()
        elif kind not in (MISSING, UNREADABLE):
            path.write_bytes(content(kind))
    places = NOWHERE
    if symbol_files:
        files = [f"{folder}/{file}" for file in form.symbol_files]
        places = NOWHERE._replace(
            xen_syms=tuple(file for file in files if "/xen" in file),
            vmlinux=tuple(file for file in files if "/vmlinu" in file),
        )
    try:
        places.check()
        dumps = [OPENED.enter_context(open_vmcore(Path(folder, file))) for file in form.dumps]
        return inspect_vmcore(dumps[0], places=places), None
    except (VmcoreError, OSError) as error:
        return None, error


def named_first(text: str, form: Form, *, symbol_files: bool) -> str:
    """The cause that is named first, in the text that is explained first."""
    rows = find_texts(text)
    assert rows, f"not known: {text}"
    inspection, error = None, None
    if form.dumps:
        inspection, error = judge(form.program, form.name, symbol_files=symbol_files)
    return judged(rows[0], inspection, error)[0][0].name


@pytest.fixture(scope="module", autouse=True)
def _dumps_are_closed_at_last() -> Iterator[None]:
    yield
    OPENED.close()
    judge.cache_clear()


@pytest.fixture(autouse=True)
def _crash_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    # the release that printed the text is the one on the PATH
    release = request.getfixturevalue("release") if "release" in request.fixturenames else "8.0.2"
    major, minor, patch = (int(part) for part in release.split("."))
    program = CrashProgram("/usr/bin/crash", (major, minor, patch))
    monkeypatch.setattr(crash_program, "find_crash", lambda: program)


@pytest.mark.parametrize(("row", "release"), PRINTED)
def test_what_was_printed_is_explained_by_its_true_cause(row: dict[str, Any], release: str) -> None:
    form, lines = BY_NAME[row["program"], row["form"]], row["lines"]
    cause = form.cause_of(lines)
    whole = "\n".join(lines)
    assert named_first(whole, form, symbol_files=True) == cause
    if cause not in OF_SYMBOL_FILES:
        assert named_first(whole, form, symbol_files=False) == cause
    (first, *_) = find_texts(whole)
    assert cause in first.causes, "without the dump"
    last = find_texts(lines[-1])
    assert last, f"not known: {lines[-1]}"
    if last[0].weight == "error":
        assert named_first(lines[-1], form, symbol_files=True) == cause
    else:
        assert {cause, "line-above", "harmless"} & set(last[0].causes)


@pytest.mark.parametrize(("row", "release"), PRINTED)
def test_prefixes_case_quotes_and_line_breaks_do_not_matter(
    row: dict[str, Any], release: str
) -> None:
    lines = row["lines"]
    told = [one.texts for one in find_texts("\n".join(lines))]
    assert told
    for other in (
        "\n".join(line.upper() for line in lines),
        "\r\n".join(f"> {line}" for line in lines),
        "\n".join(line.replace('"', "").replace("'", "") for line in lines),
        "\n".join(f"\x1b[1m{line}\x1b[0m" for line in lines),
        "\n".join("\n  ".join(textwrap.wrap(line, 30)) for line in lines),
    ):
        assert find_texts(other)[0].texts == told[0], other
    last = lines[-1].replace("crash: ", "")
    at = len(last) // 2
    assert len(last) < SHORT or find_texts(f"{last[:at]}\n{last[at:]}"), last


def test_every_form_was_tried_and_declares_a_known_cause() -> None:
    assert {(row["program"], row["form"]) for row in DATA} == set(BY_NAME)
    assert {form.cause for form in FORMS} <= {*CAUSES, CRASH_RELEASE}
    releases = {release for row in DATA for release in row["releases"]}
    assert len(releases) >= 8
    for form in FORMS:
        own = [row for row in DATA if (row["program"], row["form"]) == (form.program, form.name)]
        assert len({release for row in own for release in row["releases"]}) >= 4


def test_a_transcript_is_read_from_standard_input(tmp_path: Path) -> None:
    row = next(row for row in DATA if row["form"] == "note-zeroed" and "8.0.2" in row["releases"])
    (tmp_path / "vmcore").write_bytes(DUMPS["host-zeroed"]())
    (tmp_path / "output").write_text("crash 8.0.2\nCopyright (C) 2002\n" + "\n".join(row["lines"]))
    with (tmp_path / "output").open("rb") as stdin:
        done = tool("explain", "--json", "-", tmp_path / "vmcore", stdin=stdin)
    first = json.loads(done.stdout)[0]
    assert first["causes"][0]["cause"] == "address-not-recorded"
    assert first["causes"][0]["applies"] is True
