"""Header versions, widths, byte orders and packings that no real file at hand has."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import notes
from tests.builders.kdump import BLOCK, Kdump
from tests.builders.xen_host import XenHost
from tests.support import ROOT, BytesSource, grouped, inspect_bytes, open_bytes
from vmcoretool import (
    FormatError,
    Maddr,
    MemoryFault,
    UnsupportedFormatError,
    VmcoreError,
    inspect_vmcore,
    open_vmcore,
)
from vmcoretool.vmcore import read_vmcore

if TYPE_CHECKING:
    from random import Random

    from vmcoretool.memory.physical import PhysicalMemory

RANDOM = random.Random(7)
PAGES = {
    3: b"\x11" * BLOCK,
    4: bytes(BLOCK),
    9: RANDOM.randbytes(BLOCK),
    700: b"abc" * 1365 + b"z",
    40_000: b"\x22" * BLOCK,
}
LAYOUTS = [
    (bits, order, packed)
    for bits in (32, 64)
    for order in "<>"
    for packed in ((True, False) if bits == 32 else (True,))
]


@pytest.mark.parametrize("version", range(7))
@pytest.mark.parametrize(("bits", "order", "packed"), LAYOUTS)
def test_every_version_width_order_and_packing(
    version: int, bits: int, order: str, *, packed: bool
) -> None:
    blob = notes.note(b"ACME", 5, b"payload!", order)
    kdump = Kdump(PAGES, {5, 6}, blob, bits=bits, order=order, packed=packed, version=version)
    vmcore = open_bytes(kdump.build())
    for frame, page in PAGES.items():
        assert vmcore.memory.read(Maddr(frame * BLOCK), BLOCK) == page
    assert vmcore.memory.pages.present_pages == len(PAGES)
    assert vmcore.memory.pages.excluded_pages == 2
    with pytest.raises(MemoryFault) as fault:
        vmcore.memory.read(Maddr(5 * BLOCK), 1)
    assert fault.value.excluded
    with pytest.raises(MemoryFault) as fault:
        vmcore.memory.read(Maddr(8 * BLOCK), 1)
    assert not fault.value.excluded
    owners = [note.owner for note in vmcore.notes]
    assert owners == (["ACME"] if version >= 4 else [])
    assert vmcore.container.machine.byte_order == ("little" if order == "<" else "big")
    assert vmcore.container.complete


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("frames", [1 << bits for bits in range(12, 19)])
def test_number_of_frames_that_looks_like_a_block_size(
    frames: int, order: str, *, packed: bool
) -> None:
    # max_mapnr of 32 bits stands where block_size of 64 bits does
    data = Kdump(MANY, bits=32, order=order, packed=packed, frames=frames).build()
    vmcore = open_bytes(data)
    assert vmcore.architecture == "i386"
    assert vmcore.memory.read(Maddr(60 * BLOCK), BLOCK) == MANY[60]


@pytest.mark.parametrize("codec", [0, 1, 2, 4, 0x20])
def test_every_codec(codec: int) -> None:
    vmcore = open_bytes(Kdump(PAGES, codec=codec).build())
    for frame, page in PAGES.items():
        assert vmcore.memory.read(Maddr(frame * BLOCK), BLOCK) == page
    assert vmcore.memory.read(Maddr(3 * BLOCK), 2 * BLOCK) == PAGES[3] + PAGES[4]


def test_version_three_has_the_text_of_vmcoreinfo_without_a_note() -> None:
    vmcore = open_bytes(Kdump(PAGES, version=3, vmcoreinfo=b"OSRELEASE=2.6.32\n").build())
    assert vmcore.vmcoreinfo_linux is not None
    assert vmcore.vmcoreinfo_linux.entries == {"OSRELEASE": "2.6.32"}


def test_diskdump_signature() -> None:
    vmcore = open_bytes(Kdump(PAGES, signature=b"DISKDUMP", version=1).build())
    assert vmcore.memory.read(Maddr(9 * BLOCK), BLOCK) == PAGES[9]


def test_newer_header_version_is_understood_but_not_read() -> None:
    kdump = bytearray(Kdump(PAGES).build())
    kdump[8] = 9
    with pytest.raises(UnsupportedFormatError, match="version 9"):
        open_bytes(bytes(kdump))


def test_machine_is_named_where_the_header_names_it() -> None:
    assert open_bytes(Kdump(PAGES, machine=b"ppc64").build()).architecture == "ppc64"
    assert open_bytes(Kdump(PAGES).build()).architecture == "x86_64"


@pytest.mark.parametrize("version", [2, 5, 6])
def test_split_set_of_any_version(version: int) -> None:
    ranges = [(0, 9), (9, 9), (9, 701), (701, 40_001)]
    parts = [Kdump(PAGES, split=one, version=version).build() for one in ranges]
    order = [2, 0, 3, 1]
    vmcore = read_vmcore(*(BytesSource(parts[at], f"part{at}") for at in order))
    assert vmcore.paths == ("part0", "part1", "part2", "part3")
    for frame, page in PAGES.items():
        assert vmcore.memory.read(Maddr(frame * BLOCK), BLOCK) == page
    missing = read_vmcore(BytesSource(parts[0], "a"), BytesSource(parts[3], "b"))
    assert "split-part-missing" in [found.code for found in missing.findings]
    with pytest.raises(MemoryFault):
        missing.memory.read(Maddr(700 * BLOCK), 1)
    assert missing.memory.read(Maddr(40_000 * BLOCK), 4) == b"\x22" * 4


def test_part_given_twice_is_refused_by_name(tmp_path: Path) -> None:
    parts = [Kdump(PAGES, split=one).build() for one in ((0, 9), (9, 40_001), (40_001, 40_001))]
    paths = [tmp_path / f"part{at}" for at in range(3)]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(part)
    with pytest.raises(FormatError, match="part1 holds frame 0x9 too; give each part"):
        open_vmcore(paths[0], paths[1], paths[1])
    # an empty part is nothing twice
    with open_vmcore(*paths, paths[2]) as vmcore:
        assert vmcore.memory.read(Maddr(40_000 * BLOCK), 4) == PAGES[40_000][:4]


def test_parts_of_two_crashes_of_one_host_are_two_sets(tmp_path: Path) -> None:
    ranges = ((0, 9), (9, 40_001))
    paths = []
    for crash in (b"first", b"later"):
        blob = notes.note(b"ACME", 5, crash)
        for at, one in enumerate(ranges):
            paths.append(str(tmp_path / f"{crash.decode()}{at}"))
            Path(paths[-1]).write_bytes(Kdump(PAGES, notes=blob, split=one).build())
    assert grouped(paths) == [paths[:2], paths[2:]]
    with pytest.raises(FormatError, match="not parts of one split set"):
        open_vmcore(paths[0], paths[3])


@pytest.mark.parametrize("signature", [b"KDUMP   ", b"DISKDUMP"])
def test_dump_that_its_writer_marked_as_incomplete(signature: bytes) -> None:
    kdump = Kdump(PAGES, signature=signature, version=1)
    for status in (0x1, 0x8):
        kdump.status = status
        vmcore = open_bytes(kdump.build())
        marked = (status == 0x8) == (signature == b"KDUMP   ")
        assert vmcore.container.complete != marked
        assert [one.code for one in vmcore.findings] == ["truncated"] * marked
        assert vmcore.memory.read(Maddr(9 * BLOCK), BLOCK) == PAGES[9]


def test_parts_of_a_set_have_pages_at_equal_offsets() -> None:
    # found by libkdumpfile's diskdump-split: a page remembered by its offset was another part's
    pages = {frame: bytes([16 * frame]) * BLOCK for frame in (1, 2, 3)}
    parts = [Kdump(pages, codec=0, split=(frame, frame + 1)).build() for frame in pages]
    assert len({part.index(pages[at + 1]) for at, part in enumerate(parts)}) == 1
    vmcore = read_vmcore(*(BytesSource(part, f"{at}") for at, part in enumerate(parts)))
    for frame, page in pages.items():
        assert vmcore.memory.read(Maddr(frame * BLOCK), BLOCK) == page


# 50 is the first frame dumped, 9 is RAM that was left out, 3 is no RAM, 299 the last frame
MANY = {frame: bytes([frame % 251]) * 512 + bytes(BLOCK - 512) for frame in range(50, 300)}


def flip(data: bytes, frame: int, bitmap: int = 2) -> bytes:
    """The file with one bit of a bitmap flipped; a bitmap of so few frames is one block."""
    damaged = bytearray(data)
    damaged[BLOCK * (1 + bitmap) + (frame >> 3)] ^= 1 << (frame & 7)
    return bytes(damaged)


@pytest.mark.parametrize("codec", [0, 1, 2])
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("frame", [3, 9, 50, 51, 100, 299])
def test_bitmap_that_lost_or_gained_a_bit_gives_no_wrong_page(
    codec: int, bits: int, order: str, frame: int
) -> None:
    data = Kdump(MANY, {9}, codec=codec, bits=bits, order=order).build()
    assert open_bytes(data).findings == ()
    vmcore = open_bytes(flip(data, frame))
    assert ("page-map-damaged", "error") in [(one.code, one.level) for one in vmcore.findings]
    assert vmcore.memory.pages.present_pages == 0
    assert not list(vmcore.memory.pages.stored())
    for one in set(MANY) - {frame}:
        assert not vmcore.memory.pages.is_present(one * BLOCK)
        with pytest.raises(MemoryFault, match="bitmap is damaged"):
            vmcore.memory.read(Maddr(one * BLOCK), BLOCK)


@pytest.mark.parametrize("zero_first", [False, True])
def test_shared_page_of_zeros_before_the_data_is_no_damage(*, zero_first: bool) -> None:
    # makedumpfile -d 1 and QEMU write it first, whether frame 0 is zeros or not
    data = bytearray(Kdump(MANY, codec=0).build())
    table = 4 * BLOCK
    base = table + 24 * len(MANY)
    first = struct.unpack_from("<QIIQ", data, table)
    assert first[0] == base
    data[base:base] = bytes(BLOCK)
    for row in range(len(MANY)):
        offset = struct.unpack_from("<Q", data, table + 24 * row)[0] + BLOCK
        zeros = row in (1, 7) or (row == 0 and zero_first)
        struct.pack_into("<Q", data, table + 24 * row, base if zeros else offset)
    vmcore = open_bytes(bytes(data))
    assert vmcore.findings == ()
    assert vmcore.memory.read(Maddr(51 * BLOCK), BLOCK) == bytes(BLOCK)
    assert vmcore.memory.read(Maddr(60 * BLOCK), BLOCK) == MANY[60]
    assert [one.code for one in open_bytes(flip(bytes(data), 100)).findings] == ["page-map-damaged"]


@pytest.mark.parametrize("row", [0, 1, 200])
@pytest.mark.parametrize("field", [0, 8])
def test_damaged_descriptor_costs_its_own_page(row: int, field: int) -> None:
    data = bytearray(Kdump(MANY).build())
    data[4 * BLOCK + 24 * row + field] ^= 8
    vmcore = open_bytes(bytes(data))
    assert vmcore.findings == ()
    for frame in set(MANY) - {50 + row}:
        assert vmcore.memory.read(Maddr(frame * BLOCK), BLOCK) == MANY[frame]


def test_bitmap_whose_end_was_never_written_is_a_cut_dump() -> None:
    # makedumpfile writes bitmap 2, descriptors and data of a stretch of frames at a time
    data = bytearray(Kdump(MANY).build())
    bits = 3 * BLOCK
    data[bits + 200 // 8 : bits + 38] = bytes(38 - 200 // 8)
    table = 4 * BLOCK
    data[table + 24 * 150 : table + 24 * len(MANY)] = bytes(24 * 100)
    vmcore = open_bytes(bytes(data))
    assert [one.code for one in vmcore.findings] == ["truncated"]
    for frame in range(50, 200):
        assert vmcore.memory.read(Maddr(frame * BLOCK), BLOCK) == MANY[frame]


@pytest.mark.parametrize("frame", [3, 60, 120, 250])
def test_bitmap_damage_in_a_split_set_costs_the_part_it_hits(frame: int) -> None:
    ranges = [(0, 100), (100, 200), (200, 300)]
    parts = [Kdump(MANY, split=one).build() for one in ranges]
    sound = read_vmcore(*(BytesSource(part, f"{at}") for at, part in enumerate(parts)))
    assert sound.findings == ()
    parts[0] = flip(parts[0], frame)
    vmcore = read_vmcore(*(BytesSource(part, f"{at}") for at, part in enumerate(parts)))
    assert {one.code for one in vmcore.findings} == {"page-map-damaged"}
    hit = range(*ranges[frame // 100])
    for one in set(MANY) - {frame}:
        page = vmcore.memory.read_some(one * BLOCK, BLOCK)
        assert page == (b"" if one in hit else MANY[one])


def test_frames_dumped_are_ram() -> None:
    vmcore = open_bytes(flip(Kdump(MANY).build(), 77, bitmap=1))
    assert [one.code for one in vmcore.findings] == ["page-map-damaged"]
    assert vmcore.memory.read(Maddr(90 * BLOCK), BLOCK) == MANY[90]


def test_diskdump_has_no_known_place_of_its_data() -> None:
    data = flip(Kdump(MANY, signature=b"DISKDUMP", version=0).build(), 299)
    assert open_bytes(data).memory.read(Maddr(90 * BLOCK), BLOCK) == MANY[90]


def test_file_without_sub_header_and_pages() -> None:
    # what libkdumpfile's diskdump-empty tests have: a header and nothing more
    bare = bytearray(Kdump(PAGES).build())
    layout = struct.unpack_from("<iiIII", bare, 428)
    struct.pack_into("<iiIII", bare, 428, layout[0], 0, 0, 0, 0)
    vmcore = open_bytes(bytes(bare[: layout[0]]))
    assert vmcore.memory.pages.present_pages == 0
    assert not list(vmcore.memory.pages.extents())


def test_whole_xen_host_in_kdump() -> None:
    host = XenHost()
    pages = {maddr // BLOCK: bytes(page) for maddr, page in host.pages.items()}
    inspection = inspect_bytes(Kdump(pages, notes=host.note_blob()).build())
    assert (inspection.verdict.status, inspection.verdict.xen_phys_start) == ("verified", host.base)
    bare = inspect_bytes(Kdump(pages).build())
    assert (bare.verdict.status, bare.verdict.xen_phys_start) == ("verified", host.base)


def test_lost_descriptor_is_an_unreadable_page_and_an_incomplete_dump() -> None:
    data = bytearray(Kdump(PAGES).build())
    at = data.index(compress_of(40_000))
    vmcore = open_bytes(bytes(data[:at]))
    assert not vmcore.container.complete
    with pytest.raises(MemoryFault, match="was lost"):
        vmcore.memory.read(Maddr(40_000 * BLOCK), 1)
    assert vmcore.memory.read(Maddr(3 * BLOCK), BLOCK) == PAGES[3]


def test_pages_that_were_lost_are_counted_as_lost() -> None:
    pages = {frame: PAGES[3] if frame % 2 else RANDOM.randbytes(BLOCK) for frame in range(600)}
    data = Kdump(pages, codec=0).build()
    with open_bytes(data[: -100 * BLOCK + 1]) as vmcore:
        reader = vmcore.memory.pages
        assert not vmcore.container.complete
        lost = 0
        for frame in pages:
            try:
                vmcore.memory.read(Maddr(frame * BLOCK), 1)
            except MemoryFault:
                lost += 1
        assert lost >= 100
        assert (reader.present_pages, reader.excluded_pages) == (600 - lost, lost)


@pytest.mark.parametrize("bitmaps", [5, 9, 10])
def test_flattened_dump_that_was_cut_off_has_its_notes(bitmaps: int) -> None:
    """makedumpfile writes the header alone, then notes and sub-header, the descriptors last."""
    data = (ROOT / "samples/kdump-zlib/vmcore").read_bytes()
    places = ((0, 464), (BLOCK + 104, 5000), (BLOCK, 104), (3 * BLOCK, bitmaps * BLOCK))
    records = b"".join(
        struct.pack(">qq", at, size) + data[at:][:size] for at, size in places if size
    )
    head = b"makedumpfile".ljust(16, b"\0") + struct.pack(">qq", 1, 1)
    with open_bytes(head.ljust(4096, b"\0") + records) as vmcore:
        inspection = inspect_vmcore(vmcore)
        pages = vmcore.memory.pages
        assert (pages.present_pages, pages.excluded_pages) == (0, 66)
        assert not vmcore.container.complete
    assert (inspection.verdict.status, inspection.verdict.xen_phys_start) == (
        "reported",
        0x27A00000,
    )
    assert inspection.idle_page_table is not None
    assert inspection.idle_page_table.state == "not-checked"
    assert not {"pgd-l4-wrong", "note-damaged"} & {row.code for row in inspection.findings}


def compress_of(frame: int) -> bytes:
    from tests.builders.kdump import compress

    return compress(1, PAGES[frame])


@pytest.mark.parametrize("codec", [1, 2, 4, 0x20])
def test_page_that_expands_beyond_its_size_is_refused(codec: int) -> None:
    from tests.builders.kdump import compress

    bomb = compress(codec, bytes(1 << 20))
    data = bytearray(Kdump({3: PAGES[3]}, codec=codec).build())
    packed = compress(codec, PAGES[3])
    at = data.index(packed)
    data[at:] = bomb
    table = at - 24
    data[table + 8 : table + 12] = min(len(bomb), BLOCK).to_bytes(4, "little")
    vmcore = open_bytes(bytes(data))
    with pytest.raises(MemoryFault, match="damaged"):
        vmcore.memory.read(Maddr(3 * BLOCK), 1)


def test_missing_codec_module_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    data = Kdump(PAGES, codec=2).build()
    monkeypatch.setitem(sys.modules, "lzallright", None)
    vmcore = open_bytes(data)
    with pytest.raises(UnsupportedFormatError, match="pip install lzallright"):
        vmcore.memory.read(Maddr(3 * BLOCK), 1)


@pytest.mark.parametrize("field", range(8, 104, 4))
def test_hostile_sub_header(field: int) -> None:
    data = bytearray(Kdump(PAGES, notes=notes.prstatus()).build())
    for value in (0xFFFFFFFF, 0x7FFFFFFF, 1):
        damaged = bytearray(data)
        damaged[BLOCK + field : BLOCK + field + 4] = value.to_bytes(4, "little")
        try:
            inspect_bytes(bytes(damaged))
        except VmcoreError as error:
            assert "\n" not in str(error)


RUN = {
    frame: bytes([frame]) * BLOCK if frame % 3 else RANDOM.randbytes(BLOCK) for frame in range(16)
}
DAMAGED = st.tuples(
    st.integers(0, 15),  # whose descriptor
    st.one_of(st.just(0), st.integers(0, 15), st.integers(-4096, 1 << 20), st.just(1 << 63)),
    st.sampled_from([0, 1, 77, BLOCK - 1, BLOCK, BLOCK + 1, 1 << 31]),
    st.sampled_from([0, 1, 2, 4, 0x20, 0x40, 0x100]),
)


class TestRuns:
    """Excluded, absent and unreadable pages told apart, whatever was read before."""

    @given(st.lists(DAMAGED, max_size=4), st.sampled_from([0, 1]), st.randoms())
    def test_a_run_is_its_pages(
        self, damage: list[tuple[int, int, int, int]], codec: int, random: Random
    ) -> None:
        data = bytearray(Kdump(RUN, codec=codec).build())
        table = data.index(struct.pack("<QII", *first_descriptor(data, codec)))
        places = [struct.unpack_from("<Q", data, table + 24 * at)[0] for at in range(16)]
        for frame, offset, size, flags in damage:
            at = places[offset] if 0 < offset < 16 else offset & (1 << 64) - 1
            struct.pack_into("<QII", data, table + 24 * frame, at, size, flags)

        def read(memory: PhysicalMemory, frame: int) -> bytes | str:
            try:
                return memory.read(Maddr(frame * BLOCK), BLOCK)
            except MemoryFault as error:
                return error.reason

        def fresh() -> PhysicalMemory:
            return open_bytes(bytes(data)).memory

        alone = [read(fresh(), frame) for frame in range(16)]
        used = fresh()
        order = list(range(16))
        random.shuffle(order)
        assert {frame: read(used, frame) for frame in order} == dict(enumerate(alone))
        first = random.randrange(16)
        expected = b""
        for page in alone[first:]:
            if isinstance(page, str):
                break
            expected += page
        assert used.read_some(first * BLOCK, 256 * BLOCK) == expected
        assert fresh().read_some(first * BLOCK, 256 * BLOCK) == expected


def first_descriptor(data: bytes | bytearray, codec: int) -> tuple[int, int, int]:
    """Offset, size and flags of frame 0's page, which the builder puts behind the table."""
    at = BLOCK * 4 + 24 * 16
    size, flags = struct.unpack_from("<II", data, BLOCK * 4 + 8)
    assert flags in (0, codec)
    return at, size, flags
