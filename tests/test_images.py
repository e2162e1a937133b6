"""Built hosts: every layout, several images, missing pages."""

from __future__ import annotations

import pytest

from tests.builders import notes
from tests.builders.elf_core import ElfCore, Load
from tests.builders.memory import PAGE
from tests.builders.xen_host import IDLE, XenHost
from tests.support import BytesSource, inspect_bytes
from vmcoretool import Inspection, Maddr, Vaddr, inspect_vmcore
from vmcoretool.memory.x86_64 import leaves
from vmcoretool.vmcore import read_vmcore
from vmcoretool.xen.image.layouts import LAYOUTS

STARTS = [layout.virt_start for layout in LAYOUTS]


def outcome(inspection: Inspection) -> tuple[str, int | None]:
    return inspection.verdict.status, inspection.verdict.xen_phys_start


@pytest.mark.parametrize("start", STARTS, ids=hex)
@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("words", [8, 9, 10])
def test_every_layout_is_found_by_walking(start: int, words: int, *, small: bool) -> None:
    host = XenHost(virt_start=start, small_pages=small)
    inspection = inspect_bytes(host.build(host.note_blob(words=words)))
    assert outcome(inspection) == ("verified", host.base)
    assert inspection.xen is not None
    assert inspection.xen.virt_start == start
    assert inspection.idle_page_table is not None
    assert inspection.idle_page_table.maddr == host.idle


@pytest.mark.parametrize("start", STARTS, ids=hex)
def test_without_vmcoreinfo_the_idle_table_is_searched_in_the_image(start: int) -> None:
    host = XenHost(virt_start=start)
    blob = notes.prstatus() + notes.crash_regs(host.root)
    inspection = inspect_bytes(host.build(blob))
    assert outcome(inspection) == ("verified", host.base)
    assert inspection.idle_page_table is not None
    assert inspection.idle_page_table.vaddr == host.pgd_l4


def test_pcid_in_cr3_and_nx_in_entries_are_masked() -> None:
    host = XenHost(small_pages=True)
    for table in list(host.pages):
        page = host.pages[table]
        for at in range(7, PAGE, 8):
            if page[at - 7] & 1 and page[at - 7] & 0x40:
                page[at] |= 0x80
    blob = notes.prstatus() + notes.crash_regs(host.root | 0xABC)
    assert outcome(inspect_bytes(host.build(blob))) == ("verified", host.base)


def test_idle_page_left_out_is_still_verified_by_the_tables() -> None:
    host = XenHost()
    del host.pages[host.idle]
    inspection = inspect_bytes(host.build())
    assert outcome(inspection) == ("verified", host.base)
    assert "idle-page-table-missing" in [found.code for found in inspection.findings]
    assert inspection.idle_page_table is not None
    assert not inspection.idle_page_table.proven


def test_cr3_pages_left_out_are_replaced_by_the_idle_page() -> None:
    host = XenHost()
    del host.pages[host.root]
    assert outcome(inspect_bytes(host.build())) == ("verified", host.base)


def test_idle_page_and_cr3_pages_left_out_is_only_reported() -> None:
    host = XenHost()
    del host.pages[host.root]
    del host.pages[host.idle]
    assert outcome(inspect_bytes(host.build())) == ("reported", host.base)


def test_stale_image_that_no_cr3_uses_changes_nothing() -> None:
    host = XenHost()
    host.write_image(0x4000000, self_reference=True)
    inspection = inspect_bytes(host.build(host.note_blob(words=9)))
    assert outcome(inspection) == ("verified", host.base)


def test_two_images_equally_used_are_an_honest_dispute() -> None:
    host = XenHost()
    other = XenHost(base=0x4000000, root=0x2000000)
    host.pages |= other.pages
    blob = host.note_blob(words=9) + notes.prstatus() + notes.crash_regs(other.root)
    inspection = inspect_bytes(host.build(blob))
    assert outcome(inspection) == ("disputed", None)
    values = {one.xen_phys_start for one in inspection.verdict.evidence}
    assert values == {host.base, other.base}
    assert not any(command.ready for command in inspection.commands)
    assert all("--xen_phys_start" not in command.argv for command in inspection.commands)


def test_linear_area_without_anchor_is_no_image() -> None:
    # a window full of linear mappings, but tables elsewhere and no idle table: some other area
    host = XenHost()
    for table in (host.idle, host.root):
        host.entry(table, 261, 0x9000000 | 0x63)
    host.entry(0x9000000, host.virt_start >> 30 & 511, 0x9001000 | 0x63)
    for index in range(3):
        host.entry(0x9001000, index, host.base + (index << 21) | 0x1E3)
    blob = notes.prstatus() + notes.crash_regs(host.root)
    host.entry(host.idle, 258, 0)
    assert outcome(inspect_bytes(host.build(blob)))[0] == "unknown"


def test_one_odd_page_in_the_window_is_tolerated_and_many_are_not() -> None:
    host = XenHost(small_pages=True)
    table = host.base + 0x469000
    host.entry(table, 5, 0x7777000 | 0x63)
    assert outcome(inspect_bytes(host.build())) == ("verified", host.base)
    for slot in range(0, 512, 2):
        host.entry(table, slot, 0x7777000 | 0x63)
    host.entry(host.idle, 258, 0)
    assert outcome(inspect_bytes(host.build()))[0] == "reported"


def test_wrong_pgd_l4_is_told_and_does_not_mislead() -> None:
    host = XenHost()
    blob = host.note_blob().replace(
        f"pgd_l4)={host.pgd_l4:x}".encode(), f"pgd_l4)={host.pgd_l4 + 0x1000:x}".encode()
    )
    inspection = inspect_bytes(host.build(blob))
    assert outcome(inspection) == ("verified", host.base)
    assert inspection.idle_page_table is not None
    assert inspection.idle_page_table.maddr == host.idle
    assert "pgd-l4-wrong" in [found.code for found in inspection.findings]


def test_a_thousand_cpus_cost_few_reads() -> None:
    host = XenHost()
    blob = b""
    for cpu in range(1000):
        root = 0x10000000 + cpu * PAGE
        host.pages[root] = host.pages[host.root]
        blob += notes.prstatus() + notes.crash_regs(root)
    source = BytesSource(host.build(blob + notes.vmcoreinfo_xen(host.pgd_l4)))
    inspection = inspect_vmcore(read_vmcore(source))
    assert outcome(inspection) == ("verified", host.base)
    assert source.reads <= 100


def test_inspection_reads_little() -> None:
    host = XenHost(small_pages=True)
    source = BytesSource(host.build())
    inspect_vmcore(read_vmcore(source))
    assert source.reads <= 100
    assert source.bytes_read <= 4 << 20


def test_idle_constant_is_where_the_builder_says() -> None:
    assert XenHost().idle == 0x27800000 + IDLE


def test_hostile_tables_cost_bounded_work() -> None:
    # 40 tables whose every entry leads to another of them: enumeration must end early
    count = 40
    blob = notes.prstatus()
    loads = []
    for number in range(count):
        table = bytearray(PAGE)
        for slot in range(512):
            entry = 0x1000 + 0x1000 * ((number + slot) % count) | 0x63
            table[slot * 8 : slot * 8 + 8] = entry.to_bytes(8, "little")
        loads.append(Load(0x1000 + 0x1000 * number, bytes(table)))
        blob += notes.crash_regs(0x1000 + 0x1000 * number)
    source = BytesSource(ElfCore(loads, [blob]).build())
    inspection = inspect_vmcore(read_vmcore(source))
    assert inspection.verdict.status == "unknown"
    assert source.reads < 1000
    mapped = leaves(inspection.vmcore.memory, Maddr(0x1000), 2, Vaddr(0))
    assert not mapped.complete


def test_of_two_crash_info_notes_the_first_counts_as_for_crash() -> None:
    host = XenHost()
    good = notes.crash_info(host.crash_info_words())
    bad = notes.crash_info(host.crash_info_words(start=host.base + 0x200000))
    rest = notes.prstatus() + notes.crash_regs(host.root) + notes.vmcoreinfo_xen(host.pgd_l4)
    first_good = inspect_bytes(host.build(good + bad + rest))
    assert outcome(first_good) == ("verified", host.base)
    assert not first_good.commands[0].requires_option
    first_bad = inspect_bytes(host.build(bad + good + rest))
    assert outcome(first_bad) == ("disputed", host.base)
    assert first_bad.commands[0].requires_option


@pytest.mark.parametrize("paddr", [(1 << 64) - 1, (1 << 64) - PAGE, (1 << 52) - PAGE])
def test_segments_at_the_end_of_all_addresses_disturb_nothing(paddr: int) -> None:
    host = XenHost()
    loads = [*host.loads(), Load(paddr, b"z" * 2 * PAGE)]
    inspection = inspect_bytes(ElfCore(loads, [host.note_blob()]).build())
    assert outcome(inspection) == ("verified", host.base)
