"""Every command on a file that goes wrong while it is read: bad sectors, gone, short, changing.

Whatever happens, a command ends with a documented code, and where it says that all is well (0) its
answer is that of the sound file.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.fuzz import seeds
from tests.fuzz.faulty import FAULTS, FaultyObject
from tests.fuzz.oracles import check_command, check_object
from tests.fuzz.runs import COMMANDS, VMCORE, Ran, call
from tests.support import ROOT
from tests.test_namelist import NOWHERE
from vmcoretool import VmcoreError, inspect_vmcore, open_vmcore
from vmcoretool.sources import file as sources_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SAMPLE = "xen-4.17-two-domus"
PACKED = "kdump-zlib"
TRIES = 3
HARMLESS = ("short", "slow")
"""What costs time alone."""


class Broken:
    """Makes this process's ``pread`` of dumps worse."""

    def __init__(self) -> None:
        self.fault: str | None = None
        self._read: Callable[[int, int], bytes] | None = None
        self._at = -1

    def use(self, fault: str | None, seed: int) -> None:
        self.fault, self._rng = fault, random.Random(seed)
        self._read = None

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        if self.fault is None:
            return os.pread(fd, size, offset)
        if self._read is None or self._at != fd:
            plain = lambda size, offset: os.pread(fd, size, offset)  # noqa: E731
            self._read, self._at = FAULTS[self.fault](plain, self._rng), fd
        return self._read(size, offset)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broken]:
    made = Broken()
    monkeypatch.setattr(sources_file, "os", made)
    yield made
    made.use(None, 0)


def ask(row: tuple[str, ...], path: Path) -> Ran:
    return call([str(path) if word == VMCORE else word for word in row])


def answer(row: tuple[str, ...], ran: Ran) -> bytes:
    """What must stay; where the first table of a space is lost, the next one says the same."""
    return ran.out.splitlines()[-1] if row[0] == "vtop" and ran.out else ran.out


@pytest.mark.parametrize("sample", [SAMPLE, PACKED])
@pytest.mark.parametrize("row", COMMANDS, ids=" ".join)
def test_command_on_a_file_that_goes_wrong(
    row: tuple[str, ...], sample: str, broken: Broken
) -> None:
    path = ROOT / "samples" / sample / "vmcore"
    sound = ask(row, path)
    as_json, raw = "--json" in row, "--raw" in row
    for fault in FAULTS:
        for seed in range(TRIES):
            broken.use(fault, seed)
            done = ask(row, path)
            broken.use(None, 0)
            out = b"" if raw else done.out
            values = check_command(done.code, out, done.err, as_json=as_json)
            for value in values if row[0] == "inspect" else ():
                check_object(value, seeds.sample(sample).base)
            if fault in HARMLESS:
                assert done[:2] == sound[:2], (fault, seed)
            elif done.code == 0 and fault != "changing":
                assert answer(row, done) == answer(row, sound), (fault, seed)
            if fault == "gone" and done.code == 5:
                assert b"file offset 0x" in done.err + done.out
            assert b"Traceback" not in done.err


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("sample", [SAMPLE, PACKED, "flattened-kdump-lzo"])
def test_object_that_goes_wrong(fault: str, sample: str) -> None:
    _, data, base = seeds.sample(sample)
    for seed in range(10):
        faulty = FaultyObject(data, fault, random.Random(seed))
        try:
            with open_vmcore(faulty) as vmcore:
                verdict = inspect_vmcore(vmcore, places=NOWHERE).verdict
        except (VmcoreError, OSError) as error:
            assert fault not in HARMLESS or fault == "short", error
            continue
        assert verdict.status != "verified" or verdict.xen_phys_start == base
