"""Linux's log found by the shape of its ring: static, dynamic, wrapped, damaged, hostile."""

from __future__ import annotations

import random
import struct
import time
from typing import TYPE_CHECKING

import pytest

from vmcoretool.addresses import Extent, Maddr, Mfn
from vmcoretool.budget import Budget
from vmcoretool.errors import MemoryFault
from vmcoretool.linux.image import START_KERNEL_MAP, Block
from vmcoretool.linux.kernel import Kernel
from vmcoretool.linux.log_text import Record, find_ring, read_records
from vmcoretool.linux.uts import find_hostname
from vmcoretool.memory.pages import ABSENT, Missing, PageReader
from vmcoretool.memory.physical import PhysicalMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZE = 2 << 20
BLOCK = Block(START_KERNEL_MAP, 0x83, code=False, writable=True)  # a leaf of 2 MiB at address 0
STATIC = 0x10400
DYNAMIC = 0x100000
MASK = (1 << 62) - 1


class Pages(PageReader):
    """A piece of memory that the test goes on writing to."""

    def __init__(self, data: bytearray) -> None:
        self.data = data

    def extents(self) -> list[Extent]:
        return [Extent(Maddr(0), Maddr(SIZE))]

    def page(self, mfn: Mfn) -> bytes | Missing:
        return bytes(self.data[mfn * 4096 : mfn * 4096 + 4096]) or ABSENT


class Image:
    """2 MiB of a kernel's data with rings of 2048 descriptors and 64 KiB of text."""

    BITS = 11

    def __init__(self) -> None:
        self.data = bytearray(SIZE)

    def read(self, vaddr: int, size: int) -> bytes:
        at = vaddr - START_KERNEL_MAP
        if not 0 <= at <= SIZE - size:
            raise MemoryFault(Maddr(0), excluded=False)
        return bytes(self.data[at : at + size])

    def ring(
        self, at: int, messages: Sequence[bytes], *, info: int = 88, text_at: int = 48
    ) -> None:
        slots, size = 1 << self.BITS, 32 << self.BITS
        descs, infos, text = at + 0x1000, at + 0x20000, at + 0x90000
        position, tail = 0, 0
        places: list[tuple[int, int]] = []
        for number, message in enumerate(messages):
            length = 8 + -(-len(message) // 8) * 8
            begin = position
            if begin % size + length > size:  # does not fit: it starts at 0, the rest is unused
                behind = (begin // size + 1) * size + length
                start = 0
            else:
                behind, start = begin + length, begin % size
            position = behind
            places.append((begin, behind))
            self.data[text + start : text + start + 8] = struct.pack("<Q", number)
            self.data[text + start + 8 : text + start + 8 + len(message)] = message
            slot = number % slots
            struct.pack_into("<3Q", self.data, descs + 24 * slot, number | 2 << 62, begin, behind)
            struct.pack_into(
                "<QQH", self.data, infos + info * slot, number, 1000 * number, len(message)
            )
        while position - places[tail][0] > size or len(messages) - tail > slots:
            tail += 1
        base = START_KERNEL_MAP
        head = len(messages) - 1
        struct.pack_into("<5Q", self.data, at, self.BITS, base + descs, base + infos, head, tail)
        struct.pack_into(
            "<4Q", self.data, at + text_at, self.BITS + 5, base + text, position, places[tail][0]
        )

    def point(self, at: int, ring: int) -> None:
        struct.pack_into("<Q", self.data, at, START_KERNEL_MAP + ring)

    def records(self) -> tuple[Record, ...] | None:
        budget = Budget()
        memory = PhysicalMemory(Pages(self.data))
        ring = find_ring(memory, [BLOCK], self.read, budget)
        return read_records(ring, self.read, budget) if ring else None


def texts(count: int, width: int = 20) -> list[bytes]:
    return [f"message {number}".ljust(width, ".").encode() for number in range(count)]


@pytest.mark.parametrize("text_at", [40, 48])
@pytest.mark.parametrize("info", [88, 112])
def test_ring_by_its_shape(info: int, text_at: int) -> None:
    image = Image()
    image.ring(STATIC, texts(50), info=info, text_at=text_at)
    image.point(STATIC - 0x20, STATIC)
    assert image.records() == tuple(Record(1000 * n, text) for n, text in enumerate(texts(50)))


def test_the_ring_in_use_beats_the_static_one() -> None:
    image = Image()
    image.ring(STATIC, texts(5))
    image.ring(DYNAMIC, [*texts(5), b"Kernel panic - not syncing: late"])
    image.point(STATIC - 0x20, DYNAMIC)
    found = image.records()
    assert found is not None
    assert found[-1].text == b"Kernel panic - not syncing: late"


@pytest.mark.parametrize("width", [20, 61, 100])
def test_wrapped_ring_holds_the_newest(width: int) -> None:
    image = Image()
    image.ring(STATIC, texts(3000, width))
    found = image.records()
    assert found is not None
    assert (
        found
        == tuple(Record(1000 * n, text) for n, text in enumerate(texts(3000, width)))[-len(found) :]
    )
    assert len(found) > 20


class LargeImage(Image):
    """As a distribution's: more records than are read, and more text than is read at once."""

    BITS = 12


def test_of_a_long_log_both_ends_are_read() -> None:
    image = LargeImage()
    image.ring(STATIC, texts(4000))
    found = image.records()
    assert found is not None
    assert len(found) == 2048 + 512
    assert found[0].text.startswith(b"message 0.")
    assert found[511].text.startswith(b"message 511.")
    assert found[512].text.startswith(b"message 1952.")
    assert found[-1].text.startswith(b"message 3999.")


def test_pointers_beside_a_ring_that_lead_nowhere() -> None:
    image = Image()
    image.ring(STATIC, texts(50))
    for step, place in enumerate((SIZE - 8, SIZE + 0x1000, 0x8000, STATIC + 4)):
        image.point(STATIC - 0x40 + 8 * step, place)
    found = image.records()
    assert found is not None
    assert len(found) == 50


def test_ring_at_the_start_of_what_can_be_read() -> None:
    image = Image()
    image.ring(0x100, texts(50))
    found = image.records()
    assert found is not None
    assert len(found) == 50


def test_search_for_a_ring_ends_with_the_budget() -> None:
    image = Image()
    image.ring(STATIC, texts(50))
    budget = Budget()
    budget.stopped = True
    memory = PhysicalMemory(Pages(image.data))
    assert find_ring(memory, [BLOCK], image.read, budget) is None


@pytest.mark.parametrize(
    ("at", "word"),
    [
        (0, 21),  # more descriptors than any kernel has
        (8, 0x1000),  # addresses of user space
        (8, START_KERNEL_MAP + SIZE),  # descriptors that are not in the dump
        (24, 1 << 63),  # an id with its state
        (32, 1 << 40),  # a tail far away from the head
        (48, 3),  # a size that does not go with the count
    ],
)
def test_what_no_ring_can_hold(at: int, word: int) -> None:
    image = Image()
    image.ring(STATIC, texts(50))
    struct.pack_into("<Q", image.data, STATIC + at, word)
    assert image.records() is None


def test_format_strings_are_no_log() -> None:
    image = Image()
    image.data[0x8000:0x8020] = b"Kernel panic - not syncing: %s\n\0"
    assert image.records() is None


def test_hostile_rings_cost_little() -> None:
    noise = random.Random(7)
    image = Image()
    image.ring(STATIC, texts(120))
    ring = bytes(image.data[STATIC : STATIC + 88])
    started = time.process_time()
    for step in range(200):
        image.data[STATIC : STATIC + 88] = ring
        at = STATIC + 8 * noise.randrange(11)
        word = noise.choice([noise.getrandbits(64), MASK, 1 << 61, START_KERNEL_MAP, 0, 20, step])
        struct.pack_into("<Q", image.data, at, word)
        try:
            found = image.records()
        except MemoryFault:
            continue
        assert found is None or len(found) <= 2048
    for at in range(0, 0x10000, 8):  # a field of candidates that lead nowhere
        struct.pack_into("<3Q", image.data, at, 12, START_KERNEL_MAP + at, START_KERNEL_MAP + at)
    image.records()
    assert time.process_time() - started < 20


def test_hostname_is_not_that_of_the_weak_copy() -> None:
    image = Image()
    for at, name, version in ((0x200, b"(none)", b"# SMP x"), (0x4000, b"db01\x1b", b"#1 SMP x")):
        fields = (b"Linux", name, b"6.1.0-1", version, b"x86_64", b"(none)")
        image.data[at : at + 390] = b"".join(field.ljust(65, b"\0") for field in fields)
    kernel = Kernel("Linux version 6.1.0-1 (x) # SMP x", "6.1.0-1", None, (0, None))
    memory = PhysicalMemory(Pages(image.data))
    assert find_hostname(memory, [BLOCK], kernel, Budget()) == "db01\\x1b"
    other = kernel._replace(release="5.10.0")
    assert find_hostname(memory, [BLOCK], other, Budget()) is None
