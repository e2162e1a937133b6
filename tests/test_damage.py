"""A result or a typed error, whatever the bytes; damage costs only what it hits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import notes, variants
from tests.builders.xen_host import L2_WINDOW, XenHost
from tests.support import (
    ELF_SAMPLES,
    XEN_SAMPLES,
    inspect_bytes,
    is_safe,
    open_bytes,
    true_base,
    truth,
)
from vmcoretool import VmcoreError
from vmcoretool.addresses import Maddr
from vmcoretool.evidence.facts import Facts
from vmcoretool.inspection.as_json import inspection_json
from vmcoretool.render.text import inspection_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FEW = [path for path in ELF_SAMPLES if path.name in ("xen-4.8-dom0-panic", "linux-native")]
DAMAGE = (0x00, 0xFF, 0x01, 0x80)


def survives(data: bytes) -> None:
    try:
        inspection = inspect_bytes(data)
    except VmcoreError as error:
        assert "\n" not in str(error)
        return
    assert is_safe(inspection_text(inspection))
    assert is_safe(inspection_json(inspection))


def head_size(data: bytes) -> int:
    _, offset, size = variants.note_segment(data)
    return offset + size


@pytest.mark.parametrize("sample", ELF_SAMPLES, ids=lambda path: path.name)
def test_every_length_up_to_the_end_of_the_notes(sample: Path) -> None:
    data = (sample / "vmcore").read_bytes()
    end = head_size(data)
    step = 1 if sample in FEW else 53
    for length in range(0, end + 1, step):
        survives(data[:length])


@pytest.mark.parametrize("sample", ELF_SAMPLES, ids=lambda path: path.name)
@pytest.mark.parametrize("damage", DAMAGE)
def test_every_byte_of_headers_and_notes_damaged(sample: Path, damage: int) -> None:
    data = bytearray((sample / "vmcore").read_bytes())
    # on the few, the four kinds of damage together hit every byte
    step = 4 if sample in FEW else 97
    for at in range(DAMAGE.index(damage), head_size(bytes(data)), step):
        kept = data[at]
        data[at] = damage if damage in (0x00, 0xFF) else kept ^ damage
        if data[at] != kept:
            survives(bytes(data))
        data[at] = kept


@pytest.mark.parametrize("sample", XEN_SAMPLES, ids=lambda path: path.name)
def test_damage_outside_the_bytes_used_leaves_the_verdict(sample: Path) -> None:
    data = bytearray((sample / "vmcore").read_bytes())
    before = inspect_bytes(bytes(data)).verdict
    phdr, _, _ = variants.note_segment(bytes(data))
    # e_ident padding, e_version, e_entry, e_flags, e_ehsize, section header fields
    unused = [*range(6, 16), *range(20, 32), *range(40, 54), *range(58, 64)]
    # p_flags, p_vaddr, p_align of every program header
    for start in range(phdr, phdr + 56 * 4, 56):
        unused += [*range(start + 4, start + 8), *range(start + 16, start + 24)]
        unused += range(start + 48, start + 56)
    registers = [place for place in variants.places(bytes(data)) if place.owner == b"CORE"]
    for place in registers:
        unused += range(place.desc, place.desc + 112)
    for at in unused if sample in FEW else unused[::7]:
        kept = data[at]
        data[at] ^= 0xFF
        after = inspect_bytes(bytes(data)).verdict
        assert (after.status, after.xen_phys_start) == (before.status, before.xen_phys_start), at
        data[at] = kept


@pytest.mark.parametrize("sample", XEN_SAMPLES, ids=lambda path: path.name)
def test_no_single_damaged_note_byte_yields_a_wrong_address(sample: Path) -> None:
    data = bytearray((sample / "vmcore").read_bytes())
    base = true_base(sample) or None
    _, offset, size = variants.note_segment(bytes(data))
    for at in range(offset, offset + size, 11 if sample in FEW else 97):
        kept = data[at]
        data[at] ^= 0x41
        inspection = inspect_bytes(bytes(data))
        assert inspection.kind == "xen-host"
        assert inspection.verdict.xen_phys_start == base, hex(at)
        assert inspection.verdict.status in ("verified", "disputed", "not-relocatable")
        data[at] = kept


@pytest.mark.parametrize("sample", XEN_SAMPLES, ids=lambda path: path.name)
@pytest.mark.parametrize("field", [0, 4, 8])
@pytest.mark.parametrize("value", [0, 1, 0x41, 0x10000, 0xFFFFFFFF])
def test_damage_in_one_note_leaves_the_others(sample: Path, field: int, value: int) -> None:
    data = bytearray((sample / "vmcore").read_bytes())
    whole = inspect_bytes(bytes(data)).vmcore.notes
    for number, place in enumerate(variants.places(bytes(data))):
        damaged = bytearray(data)
        damaged[place.start + field : place.start + field + 4] = value.to_bytes(4, "little")
        left = inspect_bytes(bytes(damaged)).vmcore.notes
        others = [note for at, note in enumerate(whole) if at != number]
        assert [note for note in others if note not in left] == [], (number, field)


@pytest.mark.parametrize("sample", XEN_SAMPLES, ids=lambda path: path.name)
def test_memory_cut_off_at_any_page_is_a_result(sample: Path) -> None:
    data = (sample / "vmcore").read_bytes()
    base = true_base(sample) or None
    for length in range(head_size(data), len(data), 8192 + 1):
        inspection = inspect_bytes(data[:length])
        assert inspection.verdict.xen_phys_start in (base, None)
        assert not inspection.vmcore.container.complete


def window_entries(data: bytes) -> list[int]:
    """File offsets of the entries of the level 2 table that maps the hypervisor's image."""
    vmcore = open_bytes(data)
    (found, *_) = Facts(vmcore).walks.mapped
    table = found.image.steps[1].entry & 0xF_FFFF_FFFF_F000
    page = vmcore.memory.read(Maddr(table), 4096)
    at = data.index(page)
    return [at + 8 * slot for slot in range(8)]


MOVED = [path for path in XEN_SAMPLES if truth(path).get("relocated", True)]
NOTES = [bytes, variants.word_zeroed, variants.removed, variants.nine_words]
BITS = [0, 7, *range(12, 30), 63]


@pytest.mark.parametrize("sample", MOVED, ids=lambda path: path.name)
@given(
    kind=st.sampled_from(["flip", "swap", "copy"]),
    first=st.integers(0, 7),
    second=st.integers(0, 7),
    bit=st.sampled_from(BITS),
    notes=st.sampled_from(NOTES),
)
@settings(max_examples=30)
def test_damaged_tables_prove_no_wrong_address(  # noqa: PLR0917 - the damage
    sample: Path, kind: str, first: int, second: int, bit: int, notes: Callable[[bytes], bytes]
) -> None:
    # one flipped bit can show the same pages at two addresses, two entries in each other's place
    # the image at another one; what the note and VMCOREINFO_XEN say then must count
    data = bytearray((sample / "vmcore").read_bytes())
    places = window_entries(bytes(data))
    one, other = (slice(places[at], places[at] + 8) for at in (first, second))
    if kind == "flip":
        data[one.start + bit // 8] ^= 1 << bit % 8
    elif kind == "copy":
        data[one] = data[other]
    else:
        data[one], data[other] = data[other], data[one]
    verdict = inspect_bytes(notes(bytes(data))).verdict
    if verdict.xen_phys_start is not None:
        assert f"{verdict.xen_phys_start:#x}" == truth(sample)["xen_phys_start"]


def test_cpus_in_a_livepatch_are_no_damage() -> None:
    # livepatches and stubs lie in the image's window, behind the image, anywhere in memory
    host = XenHost()
    patch = host.virt_start + 0xC00000
    host.entry(host.base + L2_WINDOW, 6, 0x3000063)
    host.entry(0x3000000, 0, 0x3123063)
    blob = notes.prstatus(patch + 0x10, host.directmap + 0x5000000) + notes.crash_regs(host.root)
    verdict = inspect_bytes(host.build(blob)).verdict
    assert (verdict.status, verdict.xen_phys_start) == ("verified", host.base)
    away = notes.prstatus(host.virt_start + 0x3FF00010) + notes.crash_regs(host.root)
    assert inspect_bytes(host.build(away)).verdict.status == "unknown"
