"""Inputs made to cost much: each ends within 5 s of CPU and 256 MiB with its right answer."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from tests.support import ROOT
from tests.test_fuzz_memory import limited

FUZZ = ROOT / "samples" / "field" / "fuzz"


class Row(NamedTuple):
    """What a command ends with; codes of findings, of ``inspect``; or words of the message."""

    name: str
    exit: int
    kind: str | None
    codes: tuple[str, ...] = ()
    says: str = ""


ROWS = (
    # 2 MiB of notes that a guest can fill its memory with
    Row("fake-vmcoreinfo.xz", 0, "xen-host"),
    # both page bitmaps 0x55: 67 million extents
    Row("kdump-55.kdump.zst", 6, "unknown", ("work-limited",)),
    # 2^47 entries in the index of a guest's pages
    Row("guest-index.flat", 3, None, (), "an index of 140737488355328 frames for 1 pages"),
    # 32,000 overlapping structs in the list of domains
    Row("domain-list-dense.xz", 0, "xen-host", ("domain-list-damaged", "work-limited")),
    # 4,000 PT_LOADs show the same 16 MiB
    Row("loads-alias.xz", 6, "unknown"),
    # 4 million lines of notes
    Row("readelf-lines.txt.xz", 6, "unknown", ("note-damaged", "notes-only")),
    # 64 GiB in 500 bytes
    Row("bomb-64gib.zst.xz", 6, "unknown", ("decompression-stopped", "work-limited")),
    # 8 MiB of empty streams, and of blocks of three bytes
    Row("empties.bz2.xz", 0, "xen-host"),
    Row("empties.lz4.xz", 0, "xen-host"),
    Row("tiny.zst.xz", 3, None, (), "what is inside is empty"),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_inspect_ends_with_the_right_answer(row: Row) -> None:
    done = limited("inspect", "--json", FUZZ / row.name)
    found = json.loads(done.out)
    assert (done.code, found["kind"]) == (row.exit, row.kind)
    assert set(row.codes) <= {finding["code"] for finding in found["findings"] or ()}
    assert row.says in (found["error"]["message"] if row.says else "")
    assert len(done.out) < 16 << 20


@pytest.mark.parametrize(
    ("command", "name", "code", "said"),
    [
        (("vmcoreinfo", "--source", "linux"), "fake-vmcoreinfo.xz", 1, "no VMCOREINFO of Linux"),
        (("dmesg",), "fake-vmcoreinfo.xz", 1, ""),
        (("domains",), "domain-list-dense.xz", 1, "the search was cut off"),
        (("notes",), "readelf-lines.txt.xz", 0, ""),
        (("console",), "loads-alias.xz", 6, ""),
    ],
)
def test_command_ends_with_the_right_answer(
    command: tuple[str, ...], name: str, code: int, said: str
) -> None:
    done = limited(*command, FUZZ / name)
    assert done.code == code
    assert said in done.err
