"""Machine memory over pages: joins, edges, refusals of the system, and what is remembered."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest

from tests.builders import notes as build
from tests.builders.elf_core import ElfCore, Load
from tests.builders.kdump import Kdump
from tests.builders.memory import Pages
from tests.builders.xen_host import XenHost
from tests.support import ROOT, BytesSource, open_bytes
from vmcoretool import Maddr, MemoryFault, Mfn, inspect_vmcore
from vmcoretool.cli.exits import exit_code
from vmcoretool.memory import physical
from vmcoretool.memory.pages import ABSENT, EXCLUDED, FilePlace, Missing, PartialPage
from vmcoretool.memory.physical import PhysicalMemory
from vmcoretool.sources.file import open_source
from vmcoretool.vmcore import read_vmcore

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 4096
SAMPLES = ROOT / "samples"


class BadSectors(BytesSource):
    """A file some of whose bytes cannot be read."""

    def __init__(self, data: bytes, bad: range, number: int = errno.EIO) -> None:
        super().__init__(data)
        self.bad = bad
        self.number = number

    def pread(self, size: int, offset: int) -> bytes:
        if offset < self.bad.stop and self.bad.start < offset + size:
            raise OSError(self.number, os.strerror(self.number))
        return super().pread(size, offset)


def built() -> tuple[XenHost, bytes]:
    host = XenHost()
    return host, host.build()


def test_bad_sector_costs_its_page_and_no_more() -> None:
    host, data = built()
    with open_bytes(data) as vmcore:
        place = vmcore.memory.where_is(host.root)
        assert place is not None
    bad = BadSectors(data, range(place.offset + 512, place.offset + 1024))
    with read_vmcore(bad) as vmcore:
        inspection = inspect_vmcore(vmcore)
        assert inspection.kind == "xen-host"
        found = [row.message for row in inspection.findings if row.code == "page-unreadable"]
        where = f"(vmcore, file offset {place.offset:#x})"
        page = f"{host.root:#x}; the page at {host.root:#x}"
        message = f"1 of the pages asked for: {page} cannot be read: Input/output error {where}"
        assert found == [message]
        assert exit_code(inspection) == 1
        with pytest.raises(MemoryFault, match="Input/output error"):
            vmcore.memory.read(Maddr(host.root), 8)
        around = vmcore.memory.read_some(host.root - PAGE, 4 * PAGE)
        assert len(around) in (0, PAGE)


def test_file_out_of_reach_is_the_systems_refusal_with_file_and_offset() -> None:
    host, data = built()
    with open_bytes(data) as vmcore:
        place = vmcore.memory.where_is(host.root)
        assert place is not None
    gone = BadSectors(data, range(place.offset, place.offset + 1), errno.ESTALE)
    with read_vmcore(gone) as vmcore, pytest.raises(OSError, match="Stale") as refused:
        vmcore.memory.read(Maddr(host.root), 8)
    assert refused.value.errno == errno.ESTALE
    assert refused.value.filename == "vmcore"
    assert f"file offset {place.offset:#x}" in str(refused.value)


def test_unreadable_header_names_file_and_offset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "vmcore"
    path.write_bytes(bytes(PAGE))

    def refuse(fd: int, size: int, offset: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    source = open_source(str(path))
    monkeypatch.setattr(os, "pread", refuse)
    with pytest.raises(OSError, match=r"Input/output error \(file offset 0x10\)") as refused:
        source.pread(8, 0x10)
    source.close()
    assert refused.value.filename == str(path)


def test_remembered_damage_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Damaged(Pages):
        def page(self, mfn: Mfn) -> Missing:
            return Missing(damage="is damaged")

    monkeypatch.setattr(physical, "MAX_UNREADABLE", 5)
    memory = PhysicalMemory(Damaged({}))
    for frame in range(9):
        assert memory.read_some(frame * PAGE, 8) == b""
    assert len(memory.unreadable) == 5


def test_read_some_goes_over_the_edges_of_segments() -> None:
    loads = [
        Load(0x1000, b"a" * 0x1C00),
        Load(0x2C00, b"b" * 0x400),
        Load(0x3000, b"c" * 0x1800, 0x1900),
    ]
    memory = open_bytes(ElfCore(loads, [build.note(b"CORE", 1, b"x")]).build()).memory
    expected = b"a" * 0x1C00 + b"b" * 0x400 + b"c" * 0x1800
    assert memory.read_some(0x1000, 1 << 20) == expected
    assert memory.read_some(0x2BFF, 3) == b"abb"
    page = memory.pages.page(Mfn(4))
    assert page == PartialPage(((0, b"c" * 0x800),), ((0x800, 0x900),))
    assert [page.read(at, 1) for at in (0x7FF, 0x800, 0x900)] == [b"c", EXCLUDED, ABSENT]
    with pytest.raises(MemoryFault) as fault:
        memory.read(Maddr(0x1000), len(expected) + 1)
    assert (fault.value.maddr, fault.value.excluded) == (0x4800, True)


@pytest.mark.parametrize(
    "name", ["kdump-zlib", "kdump-raw", "xen-4.8-dom0-panic", "elf-makedumpfile"]
)
def test_where_is_leads_to_the_data(name: str) -> None:
    data = (SAMPLES / name / "vmcore").read_bytes()
    with read_vmcore(BytesSource(data)) as vmcore:
        for extent in vmcore.memory.pages.stored():
            maddr = extent.start + 24
            place = vmcore.memory.where_is(maddr)
            assert isinstance(place, FilePlace)
            if place.size == PAGE - 24 or name.startswith("xen"):
                assert data[place.offset : place.offset + 8] == vmcore.memory.read(Maddr(maddr), 8)
            else:
                assert name == "kdump-zlib"
        assert vmcore.memory.where_is(1 << 50) is None


def test_the_container_is_asked_by_one_thread_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(Pages):
        inside = 0
        most = 0

        def page(self, mfn: Mfn) -> bytes | Missing:
            type(self).inside += 1
            self.most = max(self.most, self.inside)
            threading.Event().wait(0.001)
            type(self).inside -= 1
            return super().page(mfn)

    monkeypatch.setattr(physical, "CACHE_PAGES", 1)
    reader = Watched({frame: bytes(PAGE) for frame in range(32)})
    memory = PhysicalMemory(reader)
    threads = [
        threading.Thread(target=lambda: [memory.read(Maddr(at * PAGE), 8) for at in range(32)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reader.most == 1


def test_reader_of_two_methods_has_all_answers() -> None:
    memory = PhysicalMemory(Pages({1: b"x" * PAGE, 2: b"y" * PAGE}, excluded=[3]))
    pages = memory.pages
    assert (pages.is_present(0x1FFF), pages.is_present(0x3000)) == (True, False)
    assert (pages.is_excluded(0x3000), pages.is_excluded(0x4000)) == (True, False)
    assert (pages.present_pages, pages.end) == (3, 0x4000)
    assert memory.where_is(0x1000) is None
    assert memory.read(Maddr(0x1FFE), 4) == b"xxyy"
    assert memory.read_some(0x1000, 1 << 20) == b"x" * PAGE + b"y" * PAGE


@pytest.mark.parametrize(
    ("machine", "bits", "architecture"),
    [
        (b"armv7l", 32, "arm"),
        (b"armv5tel", 32, "arm"),
        (b"sparc64", 64, "sparc64"),
        (b"m68k", 32, "m68k"),
        (b"i686", 32, "i386"),
        (b"", 32, "i386"),
        (b"", 64, "x86_64"),
        (b"\xff\x1b[31m", 64, "x86_64"),
    ],
)
def test_machine_of_a_kdump_header_is_given_as_it_is(
    machine: bytes, bits: int, architecture: str
) -> None:
    data = Kdump({1: bytes(PAGE)}, machine=machine, bits=bits).build()
    with open_bytes(data) as vmcore:
        assert vmcore.architecture == architecture
