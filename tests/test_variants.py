"""What the issue of every era asks: the address is proved whatever became of the note."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.builders import variants
from tests.support import RELOCATED, inspect_bytes, true_base
from vmcoretool.cli.exits import exit_code

if TYPE_CHECKING:
    from pathlib import Path

    from vmcoretool import Inspection

TEN_WORDS = [path for path in RELOCATED if path.name != "xen-3.2-hypervisor-panic"]
WHOLE = {
    "word_zeroed": variants.word_zeroed,
    "nine_words": variants.nine_words,
    "removed": variants.removed,
    "desc_zeroed": variants.desc_zeroed,
}


def hypervisor(inspection: Inspection) -> tuple[tuple[str, ...], bool]:
    command = inspection.commands[0]
    assert command.target == "hypervisor"
    return command.argv, command.requires_option


@pytest.mark.parametrize("variant", WHOLE)
@pytest.mark.parametrize("sample", TEN_WORDS, ids=lambda path: path.name)
def test_unrecorded_address_is_proved_all_the_same(sample: Path, variant: str) -> None:
    inspection = inspect_bytes(WHOLE[variant]((sample / "vmcore").read_bytes()))
    base = true_base(sample)
    assert (inspection.verdict.status, inspection.verdict.xen_phys_start) == ("verified", base)
    assert exit_code(inspection) == 0
    assert hypervisor(inspection) == (
        ("crash", "--xen_phys_start", f"{base:#x}", "xen-syms", "vmcore"),
        True,
    )


@pytest.mark.parametrize("sample", TEN_WORDS, ids=lambda path: path.name)
@pytest.mark.parametrize("by", [0x200000, -0x200000, 1 << 30])
def test_wrong_word_is_disputed_and_the_truth_is_in_the_command(sample: Path, by: int) -> None:
    inspection = inspect_bytes(variants.shifted((sample / "vmcore").read_bytes(), by))
    base = true_base(sample)
    assert (inspection.verdict.status, inspection.verdict.xen_phys_start) == ("disputed", base)
    assert exit_code(inspection) == 1
    argv, required = hypervisor(inspection)
    assert argv[2] == f"{base:#x}"
    assert required
    assert "xen-phys-start-wrong" in [found.code for found in inspection.findings]


@pytest.mark.parametrize("sample", TEN_WORDS, ids=lambda path: path.name)
def test_good_note_makes_the_option_redundant_but_it_is_given(sample: Path) -> None:
    inspection = inspect_bytes((sample / "vmcore").read_bytes())
    argv, required = hypervisor(inspection)
    assert argv[1] == "--xen_phys_start"
    assert not required


def test_zeroed_note_leaves_the_version_to_the_console() -> None:
    data = (TEN_WORDS[0] / "vmcore").read_bytes()
    inspection = inspect_bytes(variants.desc_zeroed(data))
    assert inspection.xen is not None
    assert inspection.xen.version is not None
    assert inspection.xen.version.text == "3.4.0-rc3"
    assert inspection.xen.version.compiler is None
    assert inspection.commands[1].requires_option  # dom0's p2m frame went with the note


def test_nine_words_keep_the_p2m_frame() -> None:
    data = (TEN_WORDS[-1] / "vmcore").read_bytes()
    before = inspect_bytes(data).vmcore.crash_info
    after = inspect_bytes(variants.nine_words(data)).vmcore.crash_info
    assert before is not None
    assert after is not None
    assert after.dom0_p2m_mfn == before.dom0_p2m_mfn
    assert after.xen_phys_start is None


def test_true_claim_agrees_and_false_claim_is_refuted() -> None:
    sample = TEN_WORDS[0]
    data = variants.removed((sample / "vmcore").read_bytes())
    base = true_base(sample)
    assert inspect_bytes(data, xen_phys_start=base).verdict.status == "verified"
    refuted = inspect_bytes(data, xen_phys_start=base + 0x200000)
    assert (refuted.verdict.status, refuted.verdict.xen_phys_start) == ("disputed", base)
    assert re.search("user says", refuted.findings[-1].message)


def test_notes_without_memory_are_only_reported() -> None:
    # the headers and notes of a real dump, the memory cut off
    data = (TEN_WORDS[-1] / "vmcore").read_bytes()
    _, offset, size = variants.note_segment(data)
    inspection = inspect_bytes(data[: offset + size])
    assert inspection.verdict.status == "reported"
    assert inspection.verdict.xen_phys_start == true_base(TEN_WORDS[-1])
    assert exit_code(inspection) == 1
    assert "truncated" in [found.code for found in inspection.findings]


def test_nothing_recorded_and_no_memory_is_unknown() -> None:
    data = variants.word_zeroed((TEN_WORDS[-1] / "vmcore").read_bytes())
    _, offset, size = variants.note_segment(data)
    inspection = inspect_bytes(data[: offset + size])
    assert (inspection.verdict.status, inspection.verdict.xen_phys_start) == ("unknown", None)
    argv, _ = hypervisor(inspection)
    assert "--xen_phys_start" not in argv
    assert not any(command.ready for command in inspection.commands)
