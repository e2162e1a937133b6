"""One more place to look, symbol file, note or byte never takes an answer away."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import variants
from tests.support import SAMPLES, open_bytes
from tests.test_namelist import NOWHERE, truth_of, xen_syms
from vmcoretool import Inspection, inspect_vmcore

if TYPE_CHECKING:
    from pathlib import Path

HOSTS = [
    path for path in SAMPLES if path.name.startswith("xen-4.") and path.name != "xen-4.17-xen-efi"
]
LOSSES = ("CORE", "CRASH_REGS", "CRASH_INFO", "VMCOREINFO_XEN")
PROVEN = ("verified", "not-relocatable")


@cache
def sample_bytes(sample: Path) -> bytes:
    return (sample / "vmcore").read_bytes()


def without(data: bytes, lost: frozenset[str]) -> bytes:
    """The dump with notes of these kinds made unrecognisable: their owners are renamed."""
    kinds = {variants.CRASH_INFO: "CRASH_INFO", variants.CRASH_REGS: "CRASH_REGS"}
    out = bytearray(data)
    for note in variants.places(data):
        owner = note.owner.decode()
        if kinds.get(note.kind, owner) in lost:
            out[note.start + 12 : note.start + 12 + len(owner)] = b"x" * len(owner)
    return bytes(out)


def answers(data: bytes, **asked: Any) -> dict[str, Any]:
    """What an inspection knows, each fact by a name of its own."""
    asked.setdefault("places", NOWHERE)
    return facts(inspect_vmcore(open_bytes(data), **asked))


def facts(inspection: Inspection) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": inspection.kind if inspection.kind == "xen-host" else None}
    verdict, xen = inspection.verdict, inspection.xen
    if verdict.status in PROVEN:
        found["proven"] = verdict.xen_phys_start, verdict.status
    if inspection.idle_page_table and inspection.idle_page_table.proven:
        found["idle"] = inspection.idle_page_table.maddr
    if xen:
        found |= xen.version._asdict() if xen.version else {}
        found |= {"build_id": xen.build_id, "directmap": xen.directmap}
    found |= {f"domain {domain.id}": domain.type for domain in inspection.domains}
    found |= {
        f"vcpu {domain.id} {vcpu.vcpu}": vcpu.vaddr
        for domain in inspection.domains
        for vcpu in domain.vcpus
    }
    found |= {"dom0": inspection.dom0_kernel, "panic": inspection.crash.panic}
    for use in inspection.cpus:
        found[f"rip {use.state.cpu}"] = use.state.registers.get("rip")
        found[f"space {use.state.cpu}"] = use.address_space
    return {name: value for name, value in found.items() if value is not None}


def lost(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {
        name: (value, after.get(name)) for name, value in before.items() if after.get(name) != value
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Per sample, a folder with its hypervisor's symbol file and files that are none."""
    made = {}
    for sample in HOSTS:
        folder = tmp_path_factory.mktemp(sample.name)
        (folder / "xen-syms").write_bytes(xen_syms(truth_of(sample / "vmcore")))
        (folder / "xen-syms-other").write_bytes(b"")
        (folder / "vmlinux").write_bytes(b"\x7fELF" + bytes(60))
        made[sample.name] = folder
    return made


@settings(max_examples=60)
@given(data=st.data())
def test_a_place_or_a_symbol_file_more(data: st.DataObject, folders: dict[str, Path]) -> None:
    sample = data.draw(st.sampled_from(HOSTS))
    dump = without(sample_bytes(sample), data.draw(st.frozensets(st.sampled_from(LOSSES))))
    folder = folders[sample.name]
    more = data.draw(
        st.sampled_from(
            [
                NOWHERE._replace(search=(str(folder),)),
                NOWHERE._replace(search=(str(folder / "missing"),)),
                NOWHERE._replace(xen_syms=(str(folder / "xen-syms"),)),
                NOWHERE._replace(xen_syms=(str(folder / "xen-syms-other"),)),
                NOWHERE._replace(vmlinux=(str(folder / "vmlinux"),)),
                NOWHERE._replace(standard=(str(folder),)),
            ]
        )
    )
    assert lost(answers(dump), answers(dump, places=more)) == {}


@settings(max_examples=60)
@given(data=st.data())
def test_a_note_more(data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from(HOSTS))
    missing = data.draw(st.frozensets(st.sampled_from(LOSSES), min_size=1))
    back = data.draw(st.sampled_from(sorted(missing)))
    whole = sample_bytes(sample)
    before, after = without(whole, missing), without(whole, missing - {back})
    assert lost(answers(before), answers(after)) == {}


@settings(max_examples=60)
@given(data=st.data())
def test_a_true_claim_more(data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from(HOSTS))
    dump = without(sample_bytes(sample), data.draw(st.frozensets(st.sampled_from(LOSSES))))
    before = answers(dump)
    start = before.get("proven", (None,))[0]
    assert lost(before, answers(dump, xen_phys_start=start)) == {}
    assert lost(answers(dump, scan="never"), before) == {}
    assert lost(before, answers(dump, scan="always")) == {}


@settings(max_examples=60)
@given(data=st.data())
def test_more_of_a_file_that_was_cut_short(data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from(HOSTS))
    whole = sample_bytes(sample)
    _, offset, size = variants.note_segment(whole)
    cuts = st.integers(offset + size, len(whole))
    shorter, longer = sorted((data.draw(cuts), data.draw(cuts)))
    missing = data.draw(st.frozensets(st.sampled_from(LOSSES)))
    before, after = (without(whole, missing)[:end] for end in (shorter, longer))
    assert lost(answers(before), answers(after)) == {}


@pytest.mark.parametrize("name", ["xen-4.4-dom0-panic", "xen-4.8-dom0-panic"])
def test_fruitless_search_before_an_image_is_known(name: str, tmp_path: Path) -> None:
    # VMCOREINFO_XEN is in the image alone, which no saved cr3 leads to: it was read too early once
    (tmp_path / "xen-syms-other").write_bytes(b"")
    whole = sample_bytes(next(sample for sample in HOSTS if sample.name == name))
    dump = without(whole, frozenset({"VMCOREINFO_XEN", "CORE", "CRASH_REGS"}))
    found = answers(dump, places=NOWHERE._replace(search=(str(tmp_path),)))
    assert found["domain 0"] == "pv"
    assert lost(answers(dump), found) == {}
