"""Memory made to cost time and room: every answer within 5 s of CPU and 256 MiB, and said so."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.builders.elf_core import ElfCore, Load
from tests.builders.machine import Machine, with_keys, with_memory
from tests.support import ROOT, cpu_seconds, environment_to_measure
from vmcoretool.addresses import MIB, PAGE_SIZE, Maddr, Mfn, Vaddr
from vmcoretool.budget import Budget
from vmcoretool.linux import printk
from vmcoretool.linux.printk import log_lines
from vmcoretool.linux.vmcoreinfo import MAX_LINES, search_vmcoreinfo
from vmcoretool.memory.paging import Run
from vmcoretool.memory.physical import PhysicalMemory
from vmcoretool.notes.elf_note import Note
from vmcoretool.notes.vmcoreinfo import VmcoreInfo, parse_vmcoreinfo
from vmcoretool.xen.image.image import Image
from vmcoretool.xen.image.layouts import LAYOUTS
from vmcoretool.xen.ring import find_ring

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = ROOT / "samples/xen-4.17-dom0-panic/vmcore"
SECONDS = 5
ADDRESS_SPACE = 256 * MIB
CHILD = f"""
import resource, sys
seconds = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
resource.setrlimit(resource.RLIMIT_AS, ({ADDRESS_SPACE}, {ADDRESS_SPACE}))
from vmcoretool.cli.entry import main
main()
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str


def limited(*arguments: str | Path) -> Done:
    """Run the command line in a child that is killed when it costs too much."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(cpu_seconds(SECONDS)), *map(str, arguments)],
            stdout=out,
            stderr=err,
            env=environment_to_measure(),
        )
        child.wait()
        out.seek(0)
        err.seek(0)
        said = out.read().decode(), err.read().decode()
    assert child.returncode >= 0, f"killed by signal {-child.returncode}: {said[1][-500:]}"
    return Done(child.returncode, *said)


def codes(done: Done) -> list[str]:
    return [row["code"] for row in json.loads(done.out)["findings"]]


# --- domains ----------------------------------------------------------------------------------


def dense_domains(count: int, size: int, stride: int) -> bytes:
    """A host whose domains overlap, so that each word of each struct is a pointer."""
    base, directmap = 0x2_0000_0000, 0xFFFF_8300_0000_0000
    memory = bytearray(count * stride + size + PAGE_SIZE)
    for number in range(count):
        following = directmap + base + (number + 1) * stride if number + 1 < count else 0
        struct.pack_into("<HxxxxxxQ", memory, number * stride, number, following)
    head = len(memory) - 8
    struct.pack_into("<Q", memory, head, directmap + base)
    keys = {
        "SYMBOL(domain_list)": f"{directmap + base + head:x}",
        "OFFSET(domain.domain_id)": "0",
        "OFFSET(domain.next_in_list)": "8",
        "SIZE(domain)": str(size),
    }
    return with_keys(with_memory(SAMPLE.read_bytes(), (base, bytes(memory))), keys)


def test_domain_list_of_overlapping_structs(tmp_path: Path) -> None:
    path = tmp_path / "vmcore"
    path.write_bytes(dense_domains(3000, 16_384, 16))
    done = limited("inspect", "--json", path)
    assert {"domain-list-damaged", "work-limited"} <= set(codes(done))
    assert "the search was cut off" in done.out
    assert json.loads(done.out)["domains"]
    done = limited("domains", path)
    assert done.code == 1
    assert "the search was cut off" in done.err


def test_long_domain_list_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "vmcore"
    path.write_bytes(dense_domains(1500, 4096, 4096))
    done = limited("inspect", "--json", path)
    assert len(json.loads(done.out)["domains"]) == 1500
    assert not {"domain-list-damaged", "work-limited"} & set(codes(done))


# --- searches ---------------------------------------------------------------------------------


SHORT = "OSRELEASE=1\nPAGESIZE=1\n"


def fake_notes(descsz: int, text: str, size: int) -> bytes:
    one = struct.pack("<III", 11, descsz, 0) + b"VMCOREINFO\0\0" + text.encode()
    return (one * (size // len(one) + 1))[:size]


@pytest.mark.parametrize(
    ("descsz", "text"),
    [(65_536, SHORT), (23, SHORT), (4000, SHORT + "\n".join(f"{at:x}=" for at in range(990)))],
)
def test_notes_that_a_guest_wrote_into_its_memory(descsz: int, text: str, tmp_path: Path) -> None:
    path = tmp_path / "vmcore"
    memory = fake_notes(descsz, text, 4 * MIB)
    path.write_bytes(with_memory(SAMPLE.read_bytes(), (PAGE_SIZE, memory)))
    done = limited("vmcoreinfo", "--source", "linux", path)
    assert ("no VMCOREINFO of Linux" in done.err) == (descsz <= 4096)


def test_fake_notes_are_counted_and_said() -> None:
    data = fake_notes(23, SHORT, 2 * MIB)
    pages = {at // PAGE_SIZE: data[at : at + PAGE_SIZE] for at in range(0, len(data), PAGE_SIZE)}
    budget = Budget()
    found = list(search_vmcoreinfo(PhysicalMemory(Machine(pages)), budget))
    assert len(found) == MAX_LINES // 8
    assert all(len(one.info.raw) < 32 for one in found)
    assert budget.cut_off == ("searching VMCOREINFO",)


def test_headers_that_show_the_same_bytes_a_thousand_times(tmp_path: Path) -> None:
    size, count = 2 * MIB, 16_000
    first = ElfCore([Load(size, random.Random(1).randbytes(size))], [b""]).build()
    table_at = struct.unpack_from("<Q", first, 32)[0]
    headers = [
        first[table_at + 56 * at :][:56] for at in range(struct.unpack_from("<H", first, 56)[0])
    ]
    load = next(header for header in headers if header[:4] == b"\1\0\0\0")
    others = [header for header in headers if header != load]
    table = b"".join(others)
    table += b"".join(
        load[:24] + struct.pack("<Q", at * size) + load[32:] for at in range(1, count + 1)
    )
    data = bytearray(first)
    struct.pack_into("<Q", data, 32, len(data))
    struct.pack_into("<H", data, 56, count + len(others))
    path = tmp_path / "vmcore"
    path.write_bytes(data + table)
    done = limited("inspect", "--json", path)
    assert done.code == 6  # the bytes that all headers show are searched once
    assert json.loads(done.out)["dump"]["pages"]["present"] == count * size // PAGE_SIZE


class Endless(Machine):
    """An image full of pointers beside the largest size, and zeros wherever they point."""

    def __init__(self, block: bytes, image_at: int) -> None:
        super().__init__({})
        self.block = block
        self.image_at = image_at

    def page(self, mfn: Mfn) -> bytes:
        return self.run(mfn, 1)

    def run(self, mfn: Mfn, count: int) -> bytes:
        at = mfn * PAGE_SIZE - self.image_at
        if 0 <= at < len(self.block):
            return self.block[at : at + count * PAGE_SIZE]
        size = min(count * PAGE_SIZE, MIB)
        self.asked += size
        return bytes(size)


def test_pointers_that_all_may_lead_to_a_ring() -> None:
    directmap, largest = 0xFFFF_8300_0000_0000, 1 << 26
    block = b"".join(
        struct.pack("<QQ", directmap + (at + 1 << 28), largest) for at in range(PAGE_SIZE)
    )
    start = LAYOUTS[0].virt_start
    base = Maddr(2 * MIB)
    run = Run(Vaddr(start), base, len(block))
    image = Image(LAYOUTS[0], Maddr(1 << 40), base, (run,), 1, 1, (), ())
    pages = Endless(block, base)
    budget = Budget()
    assert find_ring(PhysicalMemory(pages), image, start, budget) is None
    assert pages.asked <= 5 * largest
    assert budget.cut_off == ("reading what may be the console ring",)


# --- Linux's log ------------------------------------------------------------------------------


def info_of(keys: dict[str, int]) -> VmcoreInfo:
    text = "".join(
        f"{key}={value:x}\n" if key.startswith("SYMBOL") else f"{key}={value}\n"
        for key, value in keys.items()
    )
    note = Note(owner="VMCOREINFO", type=0, desc=text.encode(), offset=0, desc_offset=0)  # type: ignore[arg-type]
    return parse_vmcoreinfo(note)


RING_KEYS = {
    "SYMBOL(prb)": 0x1000,
    "SIZE(prb_desc)": 24,
    "SIZE(printk_info)": 88,
    "OFFSET(printk_ringbuffer.desc_ring)": 0,
    "OFFSET(printk_ringbuffer.text_data_ring)": 64,
    "OFFSET(prb_desc_ring.count_bits)": 0,
    "OFFSET(prb_desc_ring.descs)": 8,
    "OFFSET(prb_desc_ring.infos)": 16,
    "OFFSET(prb_desc_ring.head_id)": 24,
    "OFFSET(prb_desc_ring.tail_id)": 32,
    "OFFSET(prb_data_ring.size_bits)": 0,
    "OFFSET(prb_data_ring.data)": 8,
    "OFFSET(atomic_long_t.counter)": 0,
    "OFFSET(prb_desc.state_var)": 0,
    "OFFSET(prb_desc.text_blk_lpos)": 8,
    "OFFSET(prb_data_blk_lpos.begin)": 0,
    "OFFSET(prb_data_blk_lpos.next)": 8,
    "OFFSET(printk_info.ts_nsec)": 0,
    "OFFSET(printk_info.text_len)": 8,
}


def ring_reader(bits: int, desc: Any) -> Any:
    """A ring of 2^bits records, each of which has all of a text of 64 KiB of line ends."""
    ring = bytearray(128)
    struct.pack_into("<IxxxxQQQQ", ring, 0, bits, 1 << 40, 1 << 41, (1 << bits) - 1, 0)
    struct.pack_into("<IxxxxQ", ring, 64, 16, 1 << 42)

    def read(vaddr: int, size: int) -> bytes:
        if vaddr == 0x1000:
            return struct.pack("<Q", 0x2000)[:size]
        if 0x2000 <= vaddr < 0x2080:
            return bytes(ring[vaddr - 0x2000 :][:size])
        if vaddr >= 1 << 42:
            return b"\n" * size
        if vaddr >= 1 << 41:
            return struct.pack("<QH", 1, 65_535).ljust(88, b"\0") * (size // 88)
        first = (vaddr - (1 << 40)) // 24
        return b"".join(map(desc, range(first, first + size // 24)))

    return read


def test_records_that_all_have_the_whole_text() -> None:
    def desc(number: int) -> bytes:
        return struct.pack("<QQQ", 1 << 62 | number, 0, 65_535)

    lines = list(log_lines(info_of(RING_KEYS), ring_reader(19, desc)))
    assert len(lines) < 3 << 16


def test_ring_of_sixteen_million_records_without_text() -> None:
    budget = Budget()
    lines = log_lines(info_of(RING_KEYS), ring_reader(24, lambda _: bytes(24)), budget=budget)
    assert list(lines) == []
    assert budget.cut_off == ("Linux's log",)


def test_records_of_size_zero_end() -> None:
    keys = {"SYMBOL(log_first_idx)": 0x1000, "SYMBOL(log_next_idx)": 0x1004}
    keys |= {"SYMBOL(log_buf)": 0x1008, "SYMBOL(log_buf_len)": 0x1010, "SIZE(printk_log)": 0}
    keys |= {"OFFSET(printk_log.ts_nsec)": 0, "OFFSET(printk_log.len)": 8}
    keys |= {"OFFSET(printk_log.text_len)": 10}
    memory = bytearray(0x3000)
    struct.pack_into("<IIQI", memory, 0x1000, 0, 64, 0x2000, 4096)
    with pytest.raises(Exception, match=r"size of printk_log is 0, which no kernel has"):
        list(log_lines(info_of(keys), lambda at, size: bytes(memory[at : at + size])))


def test_log_of_line_ends_alone() -> None:
    size = printk.MAX_LINES + 10
    keys = {"SYMBOL(log_end)": 0x100, "SYMBOL(log_buf)": 0x108, "SYMBOL(log_buf_len)": 0x110}
    head = struct.pack("<IxxxxQI", size, 0x1000, size)

    def read(vaddr: int, length: int) -> bytes:
        return head[vaddr - 0x100 :][:length] if vaddr < 0x1000 else b"\n" * length

    budget = Budget()
    assert len(list(log_lines(info_of(keys), read, budget=budget))) == printk.MAX_LINES
    assert budget.cut_off == ("Linux's log",)
