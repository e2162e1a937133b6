"""Tables that show an image which CPUs or VMCOREINFO_XEN deny."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.builders.xen_host import L2_WINDOW, TEXT, XenHost
from tests.support import open_bytes
from vmcoretool.addresses import MIB, PAGE_SIZE, Vaddr
from vmcoretool.inspection.inspect import locate
from vmcoretool.xen.image.contradiction import contradiction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool import Vmcore
    from vmcoretool.xen.image.image import Image

HOST = XenHost(small_pages=True)
RIP = HOST.virt_start + TEXT + 0x123
OUTSIDE = HOST.virt_start + 0x2000_0000
IN_WINDOW = f"the CPUs ran at {OUTSIDE:#x}, which is not in it"


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[Vmcore, Image]]:
    with open_bytes(HOST.build()) as vmcore:
        image = locate(vmcore).host().image
        assert image
        yield vmcore, image


@pytest.mark.parametrize(
    ("rips", "pgd_l4", "said"),
    [
        ((RIP,), HOST.pgd_l4, ""),
        ((RIP,), None, ""),
        ((), None, ""),
        ((OUTSIDE,), None, IN_WINDOW),
        ((OUTSIDE, RIP), None, ""),
        ((0xFFFF_FFFF_8100_0000,), None, ""),
        ((RIP,), HOST.pgd_l4 + 2 * MIB, f"VMCOREINFO_XEN has that at {HOST.pgd_l4 + 2 * MIB:#x}"),
        ((RIP,), HOST.pgd_l4 - 4 * MIB, "with the idle page table at 0xffff82d04046e000"),
        # not by what one level 2 entry maps: the note, not the tables, would be wrong
        ((RIP,), HOST.pgd_l4 + PAGE_SIZE, ""),
    ],
)
def test_what_denies_an_image(
    opened: tuple[Vmcore, Image], rips: tuple[int, ...], pgd_l4: int | None, said: str
) -> None:
    vmcore, image = opened
    at = None if pgd_l4 is None else Vaddr(pgd_l4)
    found = contradiction(vmcore.memory, image, rips, at, ())
    assert bool(found) == bool(said)
    assert said in found


def test_table_that_is_not_in_the_dump_denies_nothing() -> None:
    host = XenHost()
    host.entry(host.base + L2_WINDOW, (OUTSIDE - host.virt_start) >> 21, 0x7_0000_0063)
    with open_bytes(host.build()) as vmcore:
        image = locate(vmcore).host().image
        assert image
        assert contradiction(vmcore.memory, image, (OUTSIDE,), None, ()) == ""


def test_code_elsewhere_denies_nothing() -> None:
    """In the image; or elsewhere, as livepatches and stubs are."""
    host = XenHost()
    slot = (OUTSIDE - host.virt_start) >> 21
    host.entry(host.base + L2_WINDOW, slot, 0x700_0063)
    host.entry(0x700_0000, 0, 0x701_1161)
    with open_bytes(host.build()) as vmcore:
        image = locate(vmcore).host().image
        assert image
        assert contradiction(vmcore.memory, image, (OUTSIDE,), None, ()) == ""


def test_entries_that_changed_places_are_never_proof() -> None:
    """The image is as good as any, but at another address by what one entry maps."""
    host = XenHost()
    for index in range(3):
        host.entry(host.base + L2_WINDOW, index, host.base + ((index + 1) << 21) | 0x1E3)
    with open_bytes(host.build(host.note_blob(words=9))) as vmcore:
        verdict = locate(vmcore).verdict
    assert verdict.status == "unknown"
    assert verdict.xen_phys_start is None


def rotated(host: XenHost, by: int) -> XenHost:
    table = host.page(host.base + L2_WINDOW)
    table[:] = table[-8 * by :] + table[: -8 * by]
    del host.pages[host.idle]
    return host


@pytest.mark.parametrize("small_pages", [False, True])
@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize("present", [False, True])
def test_table_whose_entries_moved_is_no_proof_without_the_idle_table(
    by: int, *, present: bool, small_pages: bool
) -> None:
    host = rotated(XenHost(small_pages=small_pages), by)
    if present:
        host.page(host.idle - by * 2 * MIB)
    with open_bytes(host.build(host.note_blob(words=9))) as vmcore:
        assert locate(vmcore).verdict.status == "unknown"
    with open_bytes(host.build()) as vmcore:
        verdict = locate(vmcore).verdict
    assert (verdict.status, verdict.xen_phys_start) == ("reported", host.base)


def test_lost_idle_table_takes_no_proof_where_a_variable_is_in_its_place() -> None:
    host = XenHost()
    lines = b"PAGESIZE=4096\nSYMBOL(max_page)"
    named = b"SYMBOL(domain_list)".rjust(len(lines), b"\n")
    blob = host.note_blob(start=host.base + 2 * MIB).replace(lines, named)
    del host.pages[host.idle]
    for pointer, status in ((0, "reported"), (host.directmap + 0x1000, "disputed")):
        host.page(host.idle + 0x2000)[:8] = pointer.to_bytes(8, "little")
        with open_bytes(host.build(blob)) as vmcore:
            assert locate(vmcore).verdict.status == status
