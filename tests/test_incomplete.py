"""Dumps that are not whole: what is there is used, and nothing is said of what is not."""

from __future__ import annotations

import errno
import gzip
import lzma
import os
import random
from typing import TYPE_CHECKING

import pytest
import zstandard

from tests.builders import notes
from tests.builders.elf_core import ElfCore, Load
from tests.builders.xen_host import TEXT, XenHost
from tests.support import ROOT, BytesSource, run
from vmcoretool import Inspection, inspect_vmcore
from vmcoretool.errors import FormatError
from vmcoretool.render.owner import owner_words
from vmcoretool.vmcore import read_vmcore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SAMPLES = ROOT / "samples"
BASE = 0x27A00000  # of all samples of the 4.8 host
BLAMES = {"note-damaged", "page-map-damaged", "cpu-not-saved", "notes-missing", "headers-odd"}


class BadSector(BytesSource):
    """A file of which the pages that hold some bytes cannot be read."""

    def __init__(self, data: bytes, *bad: int, code: int = errno.EIO) -> None:
        super().__init__(data)
        self.bad = [at & -4096 for at in bad]
        self.code = code

    def pread(self, size: int, offset: int) -> bytes:
        for page in self.bad:
            if offset < page + 4096 and page < offset + size:
                raise OSError(self.code, os.strerror(self.code), self.path)
        return super().pread(size, offset)


def sample(name: str) -> bytes:
    return (SAMPLES / name / "vmcore").read_bytes()


def inspected(source: BytesSource) -> Inspection:
    with read_vmcore(source) as vmcore:
        return inspect_vmcore(vmcore)


def codes(inspection: Inspection) -> set[str]:
    return {found.code for found in inspection.findings}


# where the record with the notes, or the notes themselves, end in the file
NOTES_END = {
    "flattened-kdump-lzo": 4592 + 0x1388,
    "flattened-elf": 4192 + 0x1388,
    "kdump-zlib": 0x1068 + 0x1388,
    "kdump-raw": 0x1068 + 0x1388,
    "elf-makedumpfile": 0x5F0 + 0x1388,
}


@pytest.mark.parametrize("name", NOTES_END)
@pytest.mark.parametrize("share", [0, 1, 2, 5, 10, 25, 50, 75, 90, 99])
def test_address_is_reported_wherever_behind_the_notes_a_dump_was_cut(
    name: str, share: int
) -> None:
    data = sample(name)
    end = NOTES_END[name]
    found = inspected(BytesSource(data[: end + (len(data) - end) * share // 100]))
    assert found.kind == "xen-host"
    assert found.verdict.status == "reported"
    assert found.verdict.xen_phys_start == BASE
    assert found.xen
    assert "truncated" in codes(found)
    assert not codes(found) & BLAMES
    assert not found.vmcore.container.complete


@pytest.mark.parametrize("name", NOTES_END)
def test_notes_that_were_cut_off_are_not_damaged(name: str) -> None:
    data = sample(name)
    for left in range(0, 0x1388, 200):
        try:
            found = inspected(BytesSource(data[: NOTES_END[name] - left]))
        except FormatError:
            continue  # the headers themselves are cut off
        assert not codes(found) & BLAMES, left
        assert found.verdict.xen_phys_start in (None, BASE)


def test_cpu_that_never_answered_is_reported_of_notes_that_are_whole() -> None:
    data = bytearray(sample("xen-4.8-dom0-panic"))
    with read_vmcore(BytesSource(bytes(data))) as vmcore:
        for note in vmcore.cpus[1].notes:
            data[note.desc_offset : note.desc_offset + len(note.desc)] = bytes(len(note.desc))
        end = vmcore.cpus[1].notes[0].desc_offset + 100
    assert "cpu-not-saved" in codes(inspected(BytesSource(bytes(data))))
    assert "cpu-not-saved" not in codes(inspected(BytesSource(bytes(data[:end]))))


@pytest.mark.parametrize(
    ("name", "bad", "status"),
    [
        # all notes lie in one page of this file, its headers in the one before
        ("kdump-zlib", 0x2000, "verified"),
        ("kdump-zlib", 0x1000, "verified"),
        ("kdump-zlib", 0x3000, "verified"),
        ("kdump-zlib", 0x8000, "reported"),
        ("xen-4.17-dom0-panic", 0x1000, "verified"),
    ],
)
def test_bad_sector_costs_what_it_holds(name: str, bad: int, status: str) -> None:
    found = inspected(BadSector(sample(name), bad))
    assert found.kind == "xen-host"
    assert found.verdict.status == status
    assert "page-unreadable" in codes(found)
    assert not codes(found) & BLAMES
    assert any(os.strerror(errno.EIO) in row.message for row in found.findings)


@pytest.mark.parametrize("name", ["kdump-zlib", "flattened-kdump-lzo", "flattened-elf"])
def test_every_bad_sector_of_a_dump_leaves_an_answer(name: str) -> None:
    data = sample(name)
    # of a flattened file, the second one has the headers of the file that it describes
    for bad in range(4096 if name == "kdump-zlib" else 8192, len(data), 4096):
        found = inspected(BadSector(data, bad))
        assert found.verdict.xen_phys_start in (None, BASE), hex(bad)
        assert found.kind == "xen-host", hex(bad)
        assert not codes(found) & BLAMES, hex(bad)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstandard.compress])
def test_bad_sector_of_a_compressed_file_costs_what_follows(
    pack: Callable[[bytes], bytes],
) -> None:
    data = pack(sample("xen-4.17-dom0-panic"))
    found = inspected(BadSector(data, len(data) - 2 * 4096))
    assert (found.kind, found.verdict.status) == ("xen-host", "reported")
    assert found.verdict.xen_phys_start == 0x27800000
    said = [row.message for row in found.findings if row.code == "page-unreadable"]
    assert any("cannot be read at file offset" in message for message in said)
    assert not codes(found) & BLAMES
    # nothing came out before it: the system's own words, with the place
    with pytest.raises(OSError, match=r"cannot be read at file offset 0x0|Input/output error"):
        inspected(BadSector(data, 0))


def three_cpus() -> bytes:
    # the notes of each CPU fill a sector of their own, so that one can be lost by itself
    host = XenHost()
    blob = notes.note(b"FILLER", 1, bytes(4096))
    for number in range(3):
        part = notes.prstatus(host.virt_start + TEXT + 0x1111 * (number + 1), 0x5000)
        part += notes.crash_regs(host.root + number)
        blob += part + notes.note(b"FILLER", 1, bytes(4096 - len(part) - 20))
    return ElfCore(host.loads(), [blob + host.note_blob()]).build()


def test_cpus_behind_a_gap_have_no_number() -> None:
    data = three_cpus()
    with read_vmcore(BytesSource(data)) as vmcore:
        whole = vmcore.cpus
        at = [cpu.notes[0].offset for cpu in whole]
    assert len(whole) == 5
    for lost, left in ((0, 0), (1, 1), (2, 2)):
        with read_vmcore(BadSector(data, at[lost] + 2048)) as vmcore:
            assert vmcore.cpus[:left] == whole[:left]
            # its own notes may be there in part, but none of another CPU's with them
            for cpu in vmcore.cpus[left:]:
                assert cpu.cpu == left
                assert cpu.registers in ({}, whole[left].registers)
                assert cpu.cr3 in (None, whole[left].cr3)
            assert len(vmcore.cpus) <= left + 1
            assert not vmcore.notes_whole


def test_program_headers_that_cannot_be_read_leave_the_owner_open() -> None:
    moved = bytearray(sample("qemu-xen-4.17"))
    table = moved[64 : 64 + 56 * moved[0x38]]
    moved += bytes(-len(moved) % 4096)
    moved[0x20:0x28] = len(moved).to_bytes(8, "little")
    assert inspected(BytesSource(bytes(moved + table))).kind == "xen-host"
    # nothing else of it is known: no file of another kind, but one that cannot be read
    with pytest.raises(OSError, match="program headers"):
        inspected(BadSector(bytes(moved + table), len(moved)))


def test_notes_that_cannot_be_read_leave_the_owner_open() -> None:
    data = sample("kdump-zlib")
    with read_vmcore(BadSector(data, 0x1000, 0x2000)) as vmcore:
        found = inspect_vmcore(vmcore, scan="never")
    assert found.kind == "unknown"
    assert "does not tell" in owner_words(found.kind, found.vmcore)


def test_bad_sector_of_a_text_costs_what_follows() -> None:
    found = inspected(BadSector(sample("readelf-text"), 8192))
    assert (found.kind, found.verdict.status) == ("xen-host", "reported")
    assert "page-unreadable" in codes(found)


@pytest.mark.parametrize("bad", [0x1000, 0x2000, 0x3000, 0xD000])
def test_file_that_is_out_of_reach_is_an_error_of_the_system(bad: int) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ESTALE)):
        inspected(BadSector(sample("kdump-zlib"), bad, code=errno.ESTALE))


def test_incomplete_files_of_makedumpfile_have_their_names_in_the_answer(tmp_path: Path) -> None:
    path = tmp_path / "dump-incomplete"
    path.write_bytes(sample("flattened-kdump-lzo")[:60000])
    done = run("inspect", path)
    assert done.returncode == 1
    words = " ".join(done.stdout.split())
    assert "CUT SHORT" in words
    assert "xen_phys_start 0x27a00000 REPORTED" in words


# --- pages that are not in the dump ------------------------------------------------------------

SAYS_NOTHING_OF_THEM = {
    "address-unknown",
    "address-unproven",
    "domain-list-incomplete",
    "idle-page-table-missing",
}


def pages_of(source: BytesSource) -> tuple[list[tuple[int, bytes]], bytes]:
    # of a sample, and its notes
    with read_vmcore(source) as vmcore:
        starts = [
            at
            for extent in vmcore.memory.pages.stored()
            for at in range(extent.start & -4096, extent.end, 4096)
        ]
        pages = [(at, vmcore.memory.read_some(at, 4096)) for at in starts]
        return pages, b"".join(blob.data for blob in vmcore.container.note_blobs)


@pytest.mark.parametrize("name", ["xen-3.4-debug-key", "xen-4.8-dom0-panic", "xen-4.17-two-domus"])
def test_pages_that_are_not_there_are_called_neither_damaged_nor_refuted(name: str) -> None:
    pages, notes = pages_of(BytesSource(sample(name)))
    whole = inspected(BytesSource(sample(name)))
    seeded = random.Random(name)
    for share in (0.03, 0.1, 0.3, 0.6, 0.9) * 4:
        loads: list[Load] = []
        for at, data in pages:
            if seeded.random() < share:
                continue
            if loads and loads[-1].paddr + len(loads[-1].data) == at:
                loads[-1].data += data
            else:
                loads.append(Load(at, data))
        found = inspected(BytesSource(ElfCore(loads, [notes]).build()))
        assert codes(found) - codes(whole) <= SAYS_NOTHING_OF_THEM
        assert found.verdict.xen_phys_start in (None, whole.verdict.xen_phys_start)
        idle = found.idle_page_table
        assert idle is None or idle.state != "refuted"
        types = {domain.id: domain.type for domain in whole.domains}
        for domain in found.domains:
            assert domain.type == types[domain.id] or not domain.whole
