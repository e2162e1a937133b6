from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from tests.builders import notes
from tests.builders.elf_core import ElfCore, Load
from tests.builders.xen_host import XenHost
from tests.support import ROOT, inspect_bytes, is_safe, open_bytes
from vmcoretool.render.notes import note_objects

if TYPE_CHECKING:
    from vmcoretool import Vmcore


def with_notes(*blobs: bytes, **header: object) -> Vmcore:
    core = ElfCore([Load(0, b"x" * 4096)], [b"".join(blobs)])
    for name, value in header.items():
        setattr(core, name, value)
    return open_bytes(core.build())


@pytest.mark.parametrize(
    ("count", "width", "start", "p2m"),
    [
        (8, 8, None, None),
        (9, 8, None, 0x109),
        (10, 8, 0x108, 0x109),
        (8, 4, None, None),
        (9, 4, None, 0x109),
        (10, 4, 0x108, 0x109),
    ],
)
def test_word_eight_changes_meaning_with_the_length(
    count: int, width: int, start: int | None, p2m: int | None
) -> None:
    words = [3, 2, 1, 2, 3, 4, 5, 0, 0x108, 0x109][:count]
    if count == 9:
        words[8] = 0x109
    info = with_notes(notes.crash_info(words, width)).crash_info
    assert info is not None
    assert (info.word_size, info.xen_phys_start, info.dom0_p2m_mfn) == (width, start, p2m)
    assert (info.major, info.minor) == (3, 2)


def test_word_size_comes_from_the_note_not_from_the_class() -> None:
    blob = notes.crash_info([4, 1, 0, 0, 0, 0, 0, 0, 0x27A00000, 5], 8)
    vmcore = with_notes(blob, bits=32, machine=3)  # a 32-bit dom0 on a 64-bit Xen
    assert vmcore.crash_info is not None
    assert vmcore.crash_info.xen_phys_start == 0x27A00000
    assert vmcore.architecture == "x86_64"
    command = inspect_bytes(ElfCore([], [blob], bits=32, machine=3).build()).commands[1]
    assert any("32-bit dom0" in caveat for caveat in command.caveats)


def test_ia64_word_eight_is_no_p2m() -> None:
    vmcore = with_notes(notes.crash_info([3, 2, 0, 0, 0, 0, 0, 0, 99]), machine=50)
    assert vmcore.crash_info is not None
    assert vmcore.crash_info.dom0_p2m_mfn is None


def test_ia64_word_eight_has_its_own_name() -> None:
    words = [3, 2, 0, 0, 0, 0, 0, 0, 0x4D4D]
    for machine, name in ((50, "dom0_mm_pgd_mfn"), (62, "dom0_pfn_to_mfn_frame_list_list")):
        (row,) = note_objects(with_notes(notes.crash_info(words), machine=machine))
        assert row["fields"][name] == "0x4d4d"


def test_all_ones_p2m_means_there_is_no_tree() -> None:
    vmcore = with_notes(notes.crash_info([4, 6, 0, 0, 0, 0, 0, 0, 0x200000, (1 << 64) - 1]))
    assert vmcore.crash_info is not None
    assert vmcore.crash_info.dom0_p2m_mfn is None


def test_big_endian_notes() -> None:
    blob = notes.crash_info([4, 1, 0, 0, 0, 0, 0, 0, 0x27A00000, 5], 8, ">")
    vmcore = with_notes(blob, order=">")
    assert vmcore.crash_info is not None
    assert vmcore.crash_info.xen_phys_start == 0x27A00000


def test_two_hundred_cpus_with_an_unsaved_one() -> None:
    blobs = []
    for cpu in range(200):
        blobs += [notes.prstatus(rip=cpu + 1), notes.crash_regs(0x1000 * (cpu + 1))]
    blobs[2 * 77] = notes.prstatus()
    blobs[2 * 77 + 1] = notes.note(b"Xen", 0x1000002, bytes(32))
    vmcore = with_notes(*blobs)
    assert len(vmcore.cpus) == 200
    assert [cpu.cpu for cpu in vmcore.cpus if not cpu.saved] == [77]
    assert vmcore.cpus[199].cr3 == 0x1000 * 200
    assert vmcore.cpus[199].registers["rip"] == 200


def test_qemu_notes_follow_all_prstatus_notes_and_pair_by_order() -> None:
    vmcore = with_notes(
        notes.prstatus(1), notes.prstatus(2), notes.qemu_cpu(0x5000), notes.qemu_cpu(0x6000)
    )
    assert [(cpu.registers["rip"], cpu.cr3) for cpu in vmcore.cpus] == [(1, 0x5000), (2, 0x6000)]


def test_obsolete_cr3_note_gives_a_root() -> None:
    host = XenHost()
    blob = notes.note(b"Xen", 0x10000001, struct.pack("<Q", host.root))
    blob += notes.crash_info(host.crash_info_words())
    inspection = inspect_bytes(host.build(blob))
    assert inspection.verdict.status == "verified"
    assert "NT_XEN_KDUMP_CR3" in inspection.verdict.evidence[1].basis


def test_type_alone_identifies_nothing() -> None:
    vmcore = with_notes(
        notes.note(b"XenX", 0x1000001, bytes(80)), notes.note(b"CORE", 0x1000002, bytes(32))
    )
    assert vmcore.crash_info is None
    assert vmcore.cpus == ()


def test_vmcoreinfo_is_not_taken_for_its_longer_namesake() -> None:
    text = b"OSRELEASE=6.1.0\nSYMBOL(foo_pgd_l4)=1\n"
    vmcore = with_notes(
        notes.note(b"VMCOREINFO", 0, text), notes.vmcoreinfo_xen(0xFFFF82D04046E000)
    )
    assert vmcore.vmcoreinfo_linux is not None
    assert vmcore.vmcoreinfo_linux.entries["OSRELEASE"] == "6.1.0"
    assert vmcore.vmcoreinfo_linux.symbol("pgd_l4") is None
    assert vmcore.vmcoreinfo_xen is not None
    assert vmcore.vmcoreinfo_xen.symbol("pgd_l4") == 0xFFFF82D04046E000


def test_unknown_notes_are_kept_and_listed() -> None:
    vmcore = with_notes(notes.note(b"ACME", 77, b"\x01\x02"), notes.note(b"Xen", 0x1000003, b"??"))
    listed = note_objects(vmcore)
    assert [(note["owner"], note["name"]) for note in listed] == [
        ("ACME", "0x4d"),
        ("Xen", "XEN_ELFNOTE_CRASH_INFO2"),
    ]
    assert listed[0]["fields"] == {"desc": "0102"}


def test_zero_headers_of_cpus_that_wrote_nothing_are_skipped() -> None:
    vmcore = with_notes(notes.prstatus(1), bytes(404), notes.prstatus(2))
    assert [cpu.registers["rip"] for cpu in vmcore.cpus] == [1, 2]
    assert vmcore.findings == ()


def test_hostile_owner_reaches_nobody_unescaped() -> None:
    vmcore = with_notes(notes.note(b"\x1b[2J", 1, b"x"), notes.prstatus(1))
    shown = [note.owner for note in vmcore.notes] + [found.message for found in vmcore.findings]
    assert [note.owner for note in vmcore.notes] == ["CORE"]
    assert [found.code for found in vmcore.findings] == ["note-damaged"]
    assert all(map(is_safe, shown))


def test_few_zeros_between_notes_are_padding() -> None:
    vmcore = with_notes(notes.prstatus(1), bytes(8), notes.prstatus(2))
    assert [cpu.registers["rip"] for cpu in vmcore.cpus] == [1, 2]
    assert vmcore.findings == ()


def test_decimal_with_a_leading_zero_in_readelfs_text() -> None:
    text = (ROOT / "samples/readelf-text/vmcore").read_bytes()
    changed = text.replace(b"0x00000150", b"0000000336")
    assert changed != text
    assert open_bytes(changed).notes == open_bytes(text).notes
    assert open_bytes(text).notes
