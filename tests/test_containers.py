"""Every container against the ELF it was made from: real files, real makedumpfile, a real peer."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
import threading
from hashlib import sha256
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.dump_core import domain_core
from tests.builders.kdump import Kdump
from tests.builders.memory import PAGE
from tests.builders.xen_host import XenHost
from tests.support import (
    ROOT,
    BytesSource,
    cpu_seconds,
    grouped,
    inspect_bytes,
    is_safe,
    open_bytes,
)
from vmcoretool import (
    MemoryFault,
    TruncatedError,
    UnknownFormatError,
    UnsupportedFormatError,
    Vmcore,
    VmcoreError,
    inspect_vmcore,
    open_vmcore,
)
from vmcoretool.addresses import Maddr
from vmcoretool.budget import Budget
from vmcoretool.cli.exits import exit_code
from vmcoretool.formats.kdump.bitmap import PageBitmap
from vmcoretool.formats.raw import FORMAT as RAW
from vmcoretool.formats.recognised import RECOGNISED, Recognised
from vmcoretool.inspection.as_json import inspection_json, to_dict
from vmcoretool.render.text import inspection_text
from vmcoretool.sources.blocks import BlockSource
from vmcoretool.vmcore import read_vmcore

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLES = ROOT / "samples"
REFERENCE = SAMPLES / "xen-4.8-dom0-panic/vmcore"
WHOLE = ["kdump-zlib", "kdump-lzo", "kdump-snappy", "kdump-zstd", "kdump-raw"]
WHOLE += ["elf-makedumpfile", "flattened-elf", "flattened-kdump-lzo"]
PARTS = [SAMPLES / f"kdump-split/part-{number}" for number in (1, 2, 3)]
MAKEDUMPFILE = shutil.which("makedumpfile")
PEER = Path("/usr/bin/python3")


def same_pages(vmcore: Vmcore, reference: Vmcore) -> int:
    """How many pages the dump kept, each of which must equal the reference's."""
    count = 0
    for extent in vmcore.memory.pages.stored():
        for maddr in range(extent.start & -PAGE, extent.end, PAGE):
            page = vmcore.memory.read(Maddr(maddr), min(PAGE, extent.end - maddr))
            assert page == reference.memory.read(Maddr(maddr), len(page)), hex(maddr)
            count += 1
    return count


def check(*paths: Path, reference: Path = REFERENCE) -> int:
    with open_vmcore(reference) as expected, open_vmcore(*paths) as vmcore:
        count = same_pages(vmcore, expected)
        assert count == vmcore.memory.pages.present_pages
        ours, true = inspect_vmcore(vmcore), inspect_vmcore(expected)
        assert ours.verdict.status == true.verdict.status
        assert ours.verdict.xen_phys_start == true.verdict.xen_phys_start
        assert ours.xen == true.xen
        assert exit_code(ours) == exit_code(true)
        assert [(note.owner, note.desc) for note in vmcore.notes] == [
            (note.owner, note.desc) for note in expected.notes
        ]
        return count


@pytest.mark.parametrize("name", WHOLE)
def test_every_page_equals_the_elf(name: str) -> None:
    assert check(SAMPLES / name / "vmcore") >= 66


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_split_set_in_any_order(order: tuple[int, ...]) -> None:
    paths = [PARTS[at] for at in order]
    assert check(*paths) == 66
    with open_vmcore(*paths) as vmcore:
        assert vmcore.paths == tuple(map(str, PARTS))
        assert vmcore.size == sum(path.stat().st_size for path in PARTS)


def test_missing_part_is_named() -> None:
    with open_vmcore(PARTS[1], PARTS[2]) as vmcore:
        assert "split-part-missing" in [found.code for found in vmcore.findings]
        assert vmcore.memory.pages.present_pages == 0
        assert vmcore.memory.pages.excluded_pages >= 66


def test_files_of_different_dumps_are_no_set() -> None:
    with pytest.raises(VmcoreError, match="not parts of one split set"):
        open_vmcore(PARTS[0], SAMPLES / "kdump-zlib/vmcore")


def test_command_line_tells_a_split_set_from_several_dumps() -> None:
    paths = [str(PARTS[2]), str(REFERENCE), str(PARTS[0]), str(PARTS[1]), "/missing"]
    assert grouped(paths) == [[paths[0], paths[2], paths[3]], [paths[1]], [paths[4]]]


# --- the real makedumpfile, where it is installed ---------------------------------------------

MADE = {
    "-c": ["-c"],
    "-l": ["-l"],
    "-E": ["-E"],
    "-d 0": ["-c", "-d", "0"],
    "-d 1": ["-c", "-d", "1"],
    "-X -c": ["-X", "-c"],
    "-X -E": ["-X", "-E"],
    "-X -d 1": ["-X", "-l", "-d", "1"],
    "uncompressed": [],
}
# slices that hold the structures makedumpfile follows, and whole dumps where VMCORETOOL_DUMPS says
BASES = [SAMPLES / "xen-4.8-dom0-panic/vmcore", SAMPLES / "xen-4.4-dom0-panic/vmcore"]
OUTSIDE = sorted(Path(os.environ.get("VMCORETOOL_DUMPS", "/nonexistent")).rglob("vmcore"))
BASES += OUTSIDE


def make(*arguments: object, stdout: Path | None = None) -> None:
    assert MAKEDUMPFILE
    if stdout is None:
        done = subprocess.run(
            [MAKEDUMPFILE, *map(str, arguments)], capture_output=True, check=False
        )
    else:
        with stdout.open("wb") as file:
            done = subprocess.run(
                [MAKEDUMPFILE, *map(str, arguments)],
                stdout=file,
                stderr=subprocess.PIPE,
                check=False,
            )
    if done.returncode:
        pytest.skip(f"makedumpfile refuses: {done.stderr[-200:]!r}")


needs_makedumpfile = pytest.mark.skipif(not MAKEDUMPFILE, reason="makedumpfile is not installed")


@needs_makedumpfile
@pytest.mark.parametrize("base", BASES, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("options", MADE)
def test_what_makedumpfile_writes_now(tmp_path: Path, base: Path, options: str) -> None:
    make(*MADE[options], base, tmp_path / "out")
    check(tmp_path / "out", reference=base)


@needs_makedumpfile
@pytest.mark.parametrize("base", BASES, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("options", [["-c"], ["-E"], ["-l"]], ids=" ".join)
def test_what_makedumpfile_flattens_now(tmp_path: Path, base: Path, options: list[str]) -> None:
    make("-F", *options, base, stdout=tmp_path / "out")
    check(tmp_path / "out", reference=base)


@needs_makedumpfile
@pytest.mark.parametrize("base", BASES, ids=lambda path: path.parent.name)
def test_what_makedumpfile_splits_now(tmp_path: Path, base: Path) -> None:
    parts = [tmp_path / name for name in ("a", "b", "c")]
    make("--split", "-c", base, *parts)
    check(*reversed(parts), reference=base)


COMPRESSORS = {
    "gzip": ["gzip", "-1"],
    "bzip2": ["bzip2", "-1"],
    "xz": ["xz", "-0"],
    "xz -T": ["xz", "-0", "-T2"],
    "zstd": ["zstd", "-1", "-q"],
    "lz4": ["lz4", "-q"],
}


@pytest.mark.parametrize("base", OUTSIDE, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("name", COMPRESSORS)
def test_real_compressor_around_a_whole_dump(tmp_path: Path, base: Path, name: str) -> None:
    command = COMPRESSORS[name]
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([*command, "-c", str(base)], stdout=out, check=True)
    with open_vmcore(base) as expected, open_vmcore(tmp_path / "out") as vmcore:
        # every page of the dump but its holes
        assert same_pages(expected, vmcore) > 50
        assert vmcore.memory.pages.present_pages == expected.memory.pages.present_pages
        assert inspect_vmcore(vmcore).verdict == inspect_vmcore(expected).verdict


@needs_makedumpfile
def test_native_linux_filtered(tmp_path: Path) -> None:
    reference = SAMPLES / "linux-native/vmcore"
    make("-c", "-d", "31", reference, tmp_path / "out")
    with open_vmcore(reference) as expected, open_vmcore(tmp_path / "out") as vmcore:
        same_pages(vmcore, expected)
        assert inspect_vmcore(vmcore).kind == "linux"


# --- an independent reader --------------------------------------------------------------------

PEER_SCRIPT = """
import sys, hashlib, kdumpfile
dump = kdumpfile.kdumpfile(sys.argv[1])
for line in sys.stdin:
    maddr = int(line, 16)
    try:
        page = dump.read(kdumpfile.KDUMP_MACHPHYSADDR, maddr, 4096)
        print(hashlib.sha256(page).hexdigest())
    except Exception as error:
        print("-")
"""


def peer_is_there() -> bool:
    if not PEER.exists():
        return False
    done = subprocess.run([PEER, "-c", "import kdumpfile"], capture_output=True, check=False)
    return done.returncode == 0


def check_against_peer(path: Path) -> None:
    with open_vmcore(path) as vmcore:
        pages = vmcore.memory.pages
        frames = [
            at
            for extent in pages.stored()
            for at in range(-(-extent.start // PAGE) * PAGE, extent.end & -PAGE, PAGE)
        ]
        ours = [sha256(vmcore.memory.read(Maddr(at), PAGE)).hexdigest() for at in frames]
    done = subprocess.run(
        [PEER, "-c", PEER_SCRIPT, path],
        input="".join(f"{at:x}\n" for at in frames),
        capture_output=True,
        text=True,
        check=False,
    )
    theirs = done.stdout.split()
    if not theirs or set(theirs) == {"-"}:
        pytest.skip("this build of libkdumpfile does not read the format")
    assert theirs == ours


needs_peer = pytest.mark.skipif(not peer_is_there(), reason="python3-libkdumpfile is not installed")


@needs_peer
@pytest.mark.parametrize("name", ["kdump-zlib", "kdump-lzo", "kdump-raw", "elf-makedumpfile"])
def test_libkdumpfile_reads_the_same_pages(name: str) -> None:
    check_against_peer(SAMPLES / name / "vmcore")


@needs_peer
@needs_makedumpfile
@pytest.mark.parametrize("base", OUTSIDE, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("options", [None, ["-c"], ["-l"], ["-d", "1"]], ids=str)
def test_libkdumpfile_reads_the_same_pages_of_whole_dumps(
    tmp_path: Path, base: Path, options: list[str] | None
) -> None:
    if options is None:
        check_against_peer(base)
        return
    make(*options, base, tmp_path / "out")
    check_against_peer(tmp_path / "out")


# --- damage -----------------------------------------------------------------------------------

DATA = {name: (SAMPLES / name / "vmcore").read_bytes() for name in WHOLE}


def survey(data: bytes) -> tuple[int, int]:
    """(good pages, unreadable pages); wrong bytes fail the test unless nothing could tell."""
    vmcore = read_vmcore(BytesSource(data))
    good = bad = 0
    for extent in vmcore.memory.pages.stored():
        for maddr in range(extent.start & -PAGE, extent.end, PAGE)[:4000]:
            try:
                vmcore.memory.read(Maddr(maddr), PAGE)
                good += 1
            except MemoryFault:
                bad += 1
    return good, bad


@pytest.mark.parametrize("name", WHOLE)
@given(where=st.floats(0, 1), bit=st.integers(0, 7))
def test_flipped_bit_is_a_result_or_a_typed_error(name: str, where: float, bit: int) -> None:
    data = bytearray(DATA[name])
    data[int(where * (len(data) - 1))] ^= 1 << bit
    try:
        survey(bytes(data))
        inspect_bytes(bytes(data))
    except VmcoreError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("name", WHOLE)
@given(where=st.floats(0, 1))
def test_cut_file_is_a_result_or_a_typed_error(name: str, where: float) -> None:
    data = DATA[name][: int(where * len(DATA[name]))]
    try:
        good, bad = survey(data)
        inspection = inspect_bytes(data)
    except VmcoreError as error:
        assert "\n" not in str(error)
        return
    assert good + bad <= 67
    if bad:
        assert not inspection.vmcore.container.complete


@given(frame=st.integers(0, 65), byte=st.integers(0, 1 << 30))
def test_damaged_zlib_page_is_unreadable_and_only_that(frame: int, byte: int) -> None:
    # zlib carries a checksum: damage to one page's data costs that page and no other, and what is
    # read all the same is right (some bits of a stream do not change what comes out)
    data = bytearray(DATA["kdump-zlib"])
    vmcore = read_vmcore(BytesSource(bytes(data)))
    frames = [
        at // PAGE
        for extent in vmcore.memory.pages.stored()
        for at in range(extent.start, extent.end, PAGE)
    ]
    place = vmcore.memory.where_is(frames[frame] * PAGE)
    assert place is not None
    if place.size == PAGE:  # not packed
        return
    data[place.offset + byte % place.size] ^= 0x55
    good, bad = survey(bytes(data))
    assert (good, bad) in ((65, 1), (66, 0))
    damaged = read_vmcore(BytesSource(bytes(data)))
    for at in frames:
        damaged.memory.read_some(at * PAGE, PAGE)
    assert len(damaged.memory.unreadable) == bad
    for at in frames:
        page = damaged.memory.read_some(at * PAGE, PAGE)
        assert page in (b"", vmcore.memory.read(Maddr(at * PAGE), PAGE))


def test_damaged_pages_that_were_needed_are_counted() -> None:
    host = XenHost()
    pages = {maddr // PAGE: bytes(page) for maddr, page in host.pages.items()}
    data = bytearray(Kdump(pages, notes=host.note_blob()).build())
    with read_vmcore(BytesSource(bytes(data))) as vmcore:
        place = vmcore.memory.where_is(host.root)
    assert place is not None
    data[place.offset + 3] ^= 0x55
    inspection = inspect_bytes(bytes(data))
    told = [found for found in inspection.findings if found.code == "page-unreadable"]
    assert [found.level for found in told] == ["error"]
    where = f"{host.root:#x}; the page at {host.root:#x} has damaged data: zlib:"
    assert told[0].message.startswith(f"1 of the pages asked for: {where}")
    assert told[0].message.endswith(f"(vmcore, file offset {place.offset:#x})")
    assert exit_code(inspection) == 1


class TestBitmap:
    """pfn n is byte n>>3, bit n&7, independent of the byte order."""

    @given(st.binary(max_size=700), st.integers(0, 5700))
    def test_membership_rank_and_runs(self, bits: bytes, frames: int) -> None:
        bitmap = PageBitmap(BytesSource(bits), 0, len(bits), frames)
        limit = min(frames, 8 * len(bits))
        model = [n for n in range(limit) if bits[n >> 3] >> (n & 7) & 1]
        assert [n for n in range(limit + 9) if n in bitmap] == model
        assert bitmap.count == len(model)
        assert [n for first, end in bitmap.runs() for n in range(first, end)] == model
        there = set(model)
        for at in (0, limit // 3, limit // 2, limit):
            assert bitmap.rank(at) == sum(n < at for n in model)
            run = next(n for n in range(at, at + 300) if n not in there or n == at + 256) - at
            assert bitmap.run_length(at, 256) == run


# --- compression around all of it -------------------------------------------------------------


def squeezed(name: str, data: bytes) -> bytes:
    import bz2
    import gzip
    import lzma

    import lz4.frame
    import zstandard

    makers = {
        "gzip": gzip.compress,
        "bzip2": bz2.compress,
        "xz": lzma.compress,
        "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
        "lz4": lz4.frame.compress,
    }
    packed: bytes = makers[name](data)
    return packed


CODECS = ["gzip", "bzip2", "xz", "zstd", "lz4"]


# --- and where the file says where its blocks are


def in_blocks(codec: str, data: bytes, size: int = 65_536) -> bytes:
    """As joined files are: a whole stream for each piece."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    skippable = b"\x50\x2a\x4d\x18\4\0\0\0abcd" if codec == "zstd" else b""
    return b"".join(skippable + squeezed(codec, piece) for piece in pieces)


@pytest.mark.parametrize("codec", ["xz", "zstd"])
@pytest.mark.parametrize("name", ["kdump-lzo", "flattened-elf", "flattened-kdump-lzo"])
def test_blocks_are_read_by_position(codec: str, name: str) -> None:
    packed = BytesSource(in_blocks(codec, DATA[name] + random.Random(1).randbytes(1 << 20)))
    expected = read_vmcore(BytesSource(DATA[name]))
    with read_vmcore(packed) as vmcore:
        assert vmcore.layers[0] == codec
        if name == "kdump-lzo":  # the records of a flattened file lie all over it
            assert packed.bytes_read < packed.size // 2
        same_pages(vmcore, expected)
        once = packed.bytes_read
        same_pages(vmcore, expected)
        assert packed.bytes_read == once  # no block is decompressed twice
        assert vmcore.container.complete


@pytest.mark.skipif(not shutil.which("xz"), reason="xz is not installed")
@pytest.mark.parametrize(
    "options", [["--block-size=40KiB"], ["-T2", "--block-size=9KiB", "-Cnone"]], ids=" ".join
)
def test_blocks_of_the_real_xz(options: list[str]) -> None:
    packed = subprocess.run(
        ["xz", "-c", *options],
        input=DATA["kdump-lzo"],
        capture_output=True,
        check=True,
    ).stdout
    with read_vmcore(BytesSource(packed + bytes(8))) as vmcore:  # stream padding
        assert isinstance(vmcore.sources[0], BlockSource)
        same_pages(vmcore, read_vmcore(BytesSource(DATA["kdump-lzo"])))


_THREADS = """
import random, sys, threading
import vmcoretool
from vmcoretool.memory import physical

physical.CACHE_PAGES = 1  # each thread is to ask the container
dump = vmcoretool.open_vmcore(sys.argv[1])
pages = [at for some in dump.memory.pages.stored() for at in range(some.start, some.end, 4096)]
want = {at: dump.memory.read(at, 4096) for at in pages}
wrong = []

def work(seed):
    choose = random.Random(seed)
    for at in choose.choices(pages, k=4000):
        try:
            if dump.memory.read(at, 4096) != want[at]:
                wrong.append(at)
        except vmcoretool.VmcoreError as error:
            wrong.append(error)

threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(wrong))
"""


@pytest.mark.parametrize("name", WHOLE)
def test_one_dump_is_read_by_eight_threads(name: str) -> None:
    # in a process of its own: one decompressor for all threads is a segmentation fault
    done = subprocess.run(
        [sys.executable, "-c", _THREADS, str(SAMPLES / name / "vmcore")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, b"0\n"), done.stderr


@pytest.mark.skipif(not shutil.which("pzstd"), reason="pzstd is not installed")
def test_real_pzstd(tmp_path: Path) -> None:
    plain = tmp_path / "vmcore"
    plain.write_bytes(DATA["kdump-lzo"])
    subprocess.run(["pzstd", "-q", "-p", "2", str(plain)], capture_output=True, check=True)
    with open_vmcore(tmp_path / "vmcore.zst") as vmcore:
        assert vmcore.layers == ("zstd",)
        same_pages(vmcore, read_vmcore(BytesSource(DATA["kdump-lzo"])))


@pytest.mark.parametrize("codec", ["xz", "zstd"])
@given(where=st.floats(0, 1), bit=st.integers(0, 7))
def test_damaged_block_costs_its_pages_only(codec: str, where: float, bit: int) -> None:
    data = bytearray(in_blocks(codec, DATA["kdump-lzo"]))
    data[int(where * (len(data) - 1))] ^= 1 << bit
    try:
        vmcore = read_vmcore(BytesSource(bytes(data)))
    except VmcoreError as error:
        assert "\n" not in str(error)
        return
    expected = read_vmcore(BytesSource(DATA["kdump-lzo"]))
    with vmcore:
        # a frame lost in a skippable one, or to padding, makes another file
        if vmcore.sources[0].size != expected.sources[0].size:
            return
        for extent in expected.memory.pages.stored():
            for maddr in range(extent.start, extent.end, PAGE):
                page = vmcore.memory.read_some(maddr, PAGE)
                assert page in (b"", expected.memory.read(Maddr(maddr), PAGE))


@pytest.mark.parametrize("codec", ["xz", "zstd"])
def test_interrupted_decompression_is_a_typed_fault(codec: str) -> None:
    steps = iter([True] * 16)
    packed = BytesSource(in_blocks(codec, DATA["kdump-lzo"], 4096))
    with (
        read_vmcore(packed, budget=Budget(watch=lambda *_: next(steps, False))) as vmcore,
        pytest.raises(MemoryFault, match=r"interrupted|stream ends"),
    ):
        same_pages(vmcore, read_vmcore(BytesSource(DATA["kdump-lzo"])))


@pytest.mark.parametrize("codec", ["xz", "zstd"])
def test_blocks_of_no_dump_are_left_alone(codec: str) -> None:
    with pytest.raises(VmcoreError, match="not a dump"):
        read_vmcore(BytesSource(in_blocks(codec, b"text" * 50_000)))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", ["kdump-lzo", "flattened-elf", "flattened-kdump-lzo"])
def test_compressed_dump_is_the_dump(tmp_path: Path, codec: str, name: str) -> None:
    path = tmp_path / "dump"
    path.write_bytes(squeezed(codec, DATA[name]))
    check(path)
    with open_vmcore(path) as vmcore:
        assert vmcore.layers[0] == codec
        assert vmcore.size == path.stat().st_size


@pytest.mark.parametrize("codec", CODECS)
def test_several_streams_in_one_file_are_one(tmp_path: Path, codec: str) -> None:
    data = REFERENCE.read_bytes()
    path = tmp_path / "dump"
    path.write_bytes(squeezed(codec, data[:100_000]) + squeezed(codec, data[100_000:]))
    check(path)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("keep", [0.2, 0.6, 0.95])
def test_cut_compressed_stream_is_readable_up_to_there(codec: str, keep: float) -> None:
    packed = squeezed(codec, REFERENCE.read_bytes())
    try:
        inspection = inspect_bytes(packed[: int(keep * len(packed))])
    except VmcoreError as error:
        assert "\n" not in str(error)
        return
    assert not inspection.vmcore.container.complete
    assert exit_code(inspection) == 1


@pytest.mark.parametrize("codec", CODECS)
@given(where=st.floats(0, 1), bit=st.integers(0, 7))
@settings(max_examples=30)
def test_damaged_compressed_stream(codec: str, where: float, bit: int) -> None:
    packed = bytearray(squeezed(codec, DATA["kdump-zlib"]))
    packed[int(where * (len(packed) - 1))] ^= 1 << bit
    try:
        inspect_bytes(bytes(packed))
    except VmcoreError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_no_dump_inside_is_not_decompressed(codec: str) -> None:
    # 64 MiB of zeros in a few KiB: the first bytes are enough to refuse it
    source = BytesSource(squeezed(codec, bytes(64 << 20)))
    with pytest.raises(VmcoreError, match="not a dump"):
        read_vmcore(source)


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("codec", CODECS)
def test_archive_inside_is_named_before_it_is_decompressed(codec: str, *, blocks: bool) -> None:
    data = bytearray(os.urandom(8 << 20))
    data[257:262] = b"ustar"
    packed = in_blocks(codec, bytes(data), 1 << 20) if blocks else squeezed(codec, bytes(data))
    source = BytesSource(packed, "dump")
    with pytest.raises(UnsupportedFormatError, match="dump: this is a tar archive"):
        read_vmcore(source)
    # bzip2 alone may need another MiB before its first block comes out
    assert source.bytes_read < 3 << 20


def long_window(data: bytes) -> bytes:
    import zstandard

    parameters = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packer.compress(data) + packer.flush()


def large_dictionary(data: bytes) -> bytes:
    # 300 MiB, as "xz --lzma2=dict=300MiB" has it; packing so takes gigabytes, so the header of a
    # usual block is changed: its size, and then its checksum
    import lzma
    import zlib

    packed = bytearray(lzma.compress(data, preset=0))
    size = 4 * (packed[12] + 1)
    at = packed.index(b"\x21\x01", 12) + 2
    packed[at] = 33  # 384 MiB
    struct.pack_into("<I", packed, 12 + size - 4, zlib.crc32(packed[12 : 12 + size - 4]))
    return bytes(packed)


@pytest.mark.parametrize(
    ("pack", "cure"),
    [(long_window, "zstd -d --long=31"), (large_dictionary, "xz -d")],
    ids=["zstd", "xz"],
)
def test_stream_that_needs_too_much_memory_is_not_called_damaged(
    pack: Callable[[bytes], bytes], cure: str
) -> None:
    packed = pack(REFERENCE.read_bytes())
    with pytest.raises(UnsupportedFormatError, match="more memory than the limit") as error:
        read_vmcore(BytesSource(packed))
    assert cure in str(error.value)


@pytest.mark.parametrize("kind", range(16))
def test_zstd_file_may_begin_with_any_skippable_frame(tmp_path: Path, kind: int) -> None:
    skippable = bytes([0x50 + kind]) + b"\x2a\x4d\x18\4\0\0\0abcd"
    data = skippable + squeezed("zstd", DATA["kdump-lzo"])
    with read_vmcore(BytesSource(data)) as vmcore:
        assert vmcore.layers == ("zstd",)
        assert vmcore.container.complete


@pytest.mark.parametrize("codec", CODECS)
def test_nothing_inside_compression(codec: str) -> None:
    with pytest.raises(UnknownFormatError, match="what is inside is empty"):
        read_vmcore(BytesSource(squeezed(codec, b"")))


def test_zstd_frame_without_data_ends_early() -> None:
    with pytest.raises(TruncatedError, match="before its first byte"):
        read_vmcore(BytesSource(b"\x28\xb5\x2f\xfd" + bytes(16380)))


def test_bomb_that_begins_like_a_dump_meets_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    from vmcoretool.sources import spool

    monkeypatch.setattr(spool, "SPOOL_LIMIT", 8 << 20)
    packed = squeezed("gzip", REFERENCE.read_bytes() + bytes(64 << 20))
    with pytest.raises(VmcoreError, match="larger than the limit"):
        inspect_bytes(packed)


def test_caller_can_stop_decompression() -> None:
    packed = squeezed("gzip", REFERENCE.read_bytes() + os.urandom(8 << 20))
    vmcore = open_bytes(packed, Budget(watch=lambda *_: False))
    assert not vmcore.sources[0].complete


# --- text about a dump ------------------------------------------------------------------------

TEXT = SAMPLES / "readelf-text/vmcore"


def test_text_of_readelf_is_reported_at_most() -> None:
    inspection = inspect_bytes(TEXT.read_bytes())
    assert inspection.kind == "xen-host"
    assert (inspection.verdict.status, inspection.verdict.xen_phys_start) == (
        "reported",
        0x27A00000,
    )
    shown = to_dict(inspection)
    assert shown["dump"]["format"] == "readelf-text"
    assert shown["dump"]["extents"] == []
    assert shown["dump"]["pages"] is None
    assert not shown["dump"]["complete"]
    assert all(command["argv"][-1] == "VMCORE" for command in shown["commands"])
    assert not any(command["ready"] for command in shown["commands"])
    assert exit_code(inspection) == 1


def test_notes_in_the_text_are_those_of_the_dump() -> None:
    with open_vmcore(TEXT) as text, open_vmcore(REFERENCE) as dump:
        for said, true in zip(text.notes, dump.notes, strict=True):
            assert (said.owner, said.type) == (true.owner, true.type)
            assert said.desc in (true.desc, b"")  # binutils decodes NT_PRSTATUS, without its bytes


@pytest.mark.parametrize("tool", [["readelf", "-Wn"], ["readelf", "-n"], ["eu-readelf", "-n"]])
@pytest.mark.parametrize("sample", ["xen-4.17-dom0-panic", "xen-3.2-hypervisor-panic"])
def test_what_the_tools_print_now(sample: str, tool: list[str]) -> None:
    if not shutil.which(tool[0]):
        pytest.skip(f"{tool[0]} is not installed")
    done = subprocess.run([*tool, SAMPLES / sample / "vmcore"], capture_output=True, check=False)
    inspection = inspect_bytes(done.stdout)
    assert inspection.kind == "xen-host"
    assert inspection.vmcore.container.format == "readelf-text"
    assert inspection.verdict.status == (
        "reported" if tool[0] == "readelf" and sample != "xen-3.2-hypervisor-panic" else "unknown"
    )


@given(where=st.floats(0, 1), byte=st.integers(0, 255))
def test_damaged_text(where: float, byte: int) -> None:
    data = bytearray(TEXT.read_bytes())
    data[int(where * (len(data) - 1))] = byte
    for case in (bytes(data), bytes(data[: int(where * len(data))])):
        try:
            inspect_bytes(case)
        except VmcoreError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "line",
    [
        b"  x" + b" " * 4_000_000,
        b"  x 0x00000001" + b" " * 4_000_000,
        (b"  x" + b" " * 62) * 60_000,
        (b"  x" + b" " * 62 + b"\n") * 60_000,
    ],
    ids=["owner", "size", "long", "lines"],
)
def test_text_of_spaces_takes_no_long_time(line: bytes) -> None:
    import time

    began = time.process_time()
    with pytest.raises(TruncatedError):
        read_vmcore(BytesSource(b"Displaying notes found\n" + line + b"\n"))
    assert time.process_time() - began < cpu_seconds(1)  # it was 4 seconds for the first


@pytest.mark.skipif(not shutil.which("eu-readelf"), reason="eu-readelf is not installed")
def test_text_of_elfutils_gives_owners_types_and_sizes() -> None:
    dump = SAMPLES / "linux-native/vmcore"
    done = subprocess.run(["eu-readelf", "-n", dump], capture_output=True, check=True)
    assert b"OSRELEASE=" in done.stdout
    assert b"rip:" in done.stdout
    with read_vmcore(BytesSource(done.stdout)) as text, open_vmcore(dump) as vmcore:
        assert [(note.owner, note.type, note.desc) for note in text.notes] == [
            (note.owner, note.type, b"") for note in vmcore.notes
        ]
        assert not any(note.complete for note in text.notes)


# --- guests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pv", [False, True])
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("frames", [[1, 2, 5, 200], [9, 4, 7], list(range(3, 9000))], ids=len)
def test_dump_core_of_one_guest(frames: list[int], bits: int, *, pv: bool) -> None:
    frames = frames[:300] if bits == 32 else frames
    vmcore = read_vmcore(BytesSource(domain_core(frames, pv=pv, bits=bits, tail=2)))
    assert vmcore.container.format == "xen-core"
    assert vmcore.memory.pages.present_pages == len(frames)
    for frame in frames[:50] + frames[-50:]:
        assert vmcore.memory.read(Maddr(frame * PAGE + 5), 3) == bytes([frame & 0xFF]) * 3
    with pytest.raises(MemoryFault):
        vmcore.memory.read(Maddr(10_000 * PAGE), 1)
    inspection = inspect_vmcore(vmcore)
    assert inspection.kind == "xen-domain"
    assert exit_code(inspection) == 6
    assert inspection.commands == ()
    assert "crash VMLINUX" in inspection_text(inspection)
    assert [cpu.cr3 for cpu in vmcore.cpus] == [0xA000, 0xB000]
    registers = vmcore.cpus[1].registers
    assert (registers["cr1"], registers["dr7"]) == (0x111, 0xD7)
    stack, flags = ("rsp", "rflags") if bits == 64 else ("esp", "eflags")
    assert (registers[stack], registers[flags]) == (0x7FF8, 0x246)
    assert registers["ss"] == (7 if bits == 64 else 0x69)


def test_xc_core_of_before_elf() -> None:
    frames = [0x100, 0x102, 0x101]
    index = struct.pack("<3Q", *frames)
    header = b"\xed\xeb\x0f\xf0" + struct.pack("<5I", 1, 3, 24, 24, PAGE)
    data = (header + index).ljust(PAGE, b"\0")
    data += b"".join(bytes([frame & 0xFF]) * PAGE for frame in frames)
    vmcore = read_vmcore(BytesSource(data))
    assert vmcore.memory.read(Maddr(0x102 * PAGE), 4) == b"\x02" * 4
    assert inspect_vmcore(vmcore).kind == "xen-domain"


@pytest.mark.parametrize(("context", "width"), [(2800, 4), (5168, 8)])
def test_xc_core_of_few_pages_is_as_wide_as_its_contexts(context: int, width: int) -> None:
    # the pages begin at a page: the room before them would do for either width
    index_at = 24 + 2 * context
    pages_at = -(-(index_at + 3 * width) // PAGE) * PAGE
    header = b"\xed\xeb\x0f\xf0" + struct.pack("<5I", 2, 3, 24, index_at, pages_at)
    index = struct.pack(f"<3{'I' if width == 4 else 'Q'}", 0x100, 0x101, 0x102)
    data = (header + bytes(2 * context) + index).ljust(pages_at, b"\0")
    data += b"".join(bytes([frame]) * PAGE for frame in range(3))
    vmcore = read_vmcore(BytesSource(data))
    assert vmcore.container.machine.word_size == width
    assert vmcore.memory.read(Maddr(0x102 * PAGE), 4) == b"\x02" * 4


@pytest.mark.parametrize(
    "head",
    [b"", b"MZ", b"\x7fELF", b"\x7fELF\x09" + bytes(100), b"\x7fELF\2\2" + bytes(100)],
    ids=["empty", "other", "cut", "class", "order"],
)
@pytest.mark.parametrize("name", ["elf", "xen-core", "kdump", "readelf-text"])
def test_format_forced_on_what_it_is_not(head: bytes, name: str) -> None:
    with pytest.raises(VmcoreError) as error:
        read_vmcore(BytesSource(head), format_name=name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_dump_core_in_a_cut_stream_says_so(keep: float) -> None:
    data = domain_core(list(range(3, 300)))
    for packed, said in ((squeezed("gzip", data), "stream was cut off"), (data, "file ends")):
        with pytest.raises(TruncatedError, match=said) as error:
            read_vmcore(BytesSource(packed[: int(keep * len(packed))]))
        assert "section names" in str(error.value)


class HoledSource(BytesSource):
    """A flattened stream that lost a piece: reading there raises."""

    def __init__(self, data: bytes, hole: range) -> None:
        super().__init__(data)
        self.complete = False
        self.hole = hole

    def pread(self, size: int, offset: int) -> bytes:
        if offset < self.hole.stop and offset + size > self.hole.start:
            raise TruncatedError("never arrived")
        return super().pread(size, offset)


@pytest.mark.parametrize("name", ["xen-core", "raw"])
def test_pages_that_never_arrived_are_faults(name: str) -> None:
    data = domain_core(list(range(300))) if name == "xen-core" else bytes(300 * PAGE)
    vmcore = read_vmcore(HoledSource(data, range(100 * PAGE, 104 * PAGE)), format_name=name)
    assert not vmcore.container.complete
    assert [found.code for found in vmcore.findings] == ["truncated"]
    vmcore.memory.read(Maddr(50 * PAGE), PAGE)
    with pytest.raises(MemoryFault, match="never arrived"):
        vmcore.memory.read(Maddr(100 * PAGE), PAGE)


@pytest.mark.parametrize("name", ["elf", "xen-core", "readelf-text", "raw"])
def test_format_without_parts_takes_one_file(name: str) -> None:
    source = BytesSource(REFERENCE.read_bytes())
    with pytest.raises(UnsupportedFormatError, match="2 files given as one dump"):
        read_vmcore(source, source, format_name=name)


@given(where=st.floats(0, 1), byte=st.integers(0, 255))
def test_damaged_dump_core(where: float, byte: int) -> None:
    data = bytearray(domain_core([1, 2, 5, 200]))
    data[int(where * (len(data) - 1))] = byte
    for case in (bytes(data), bytes(data[: int(where * len(data))])):
        try:
            inspection = inspect_bytes(case)
        except VmcoreError as error:
            assert "\n" not in str(error)
        else:
            assert is_safe(inspection_json(inspection))


# --- named, not read --------------------------------------------------------------------------


@pytest.mark.parametrize("row", RECOGNISED, ids=lambda row: row.name)
def test_recognised_formats_are_named_with_a_cure(row: Recognised) -> None:
    data = bytearray(8192)
    offset = row.offset % len(data)
    data[offset : offset + len(row.magic)] = row.magic
    with pytest.raises(UnsupportedFormatError) as error:
        read_vmcore(BytesSource(bytes(data), f"file{row.suffix}"))
    if row.suffix:
        with pytest.raises(UnknownFormatError):
            read_vmcore(BytesSource(bytes(data), "file"))
    assert row.name in str(error.value)
    assert row.cure in str(error.value)


@pytest.mark.parametrize("head", [bytes(1024), b"\x53\xff\x00\xf0" * 256], ids=["zeros", "BIOS"])
def test_file_that_begins_like_raw_memory_is_told_how_to_be_read(head: bytes) -> None:
    with pytest.raises(UnknownFormatError, match="--format raw"):
        read_vmcore(BytesSource(head + bytes(9000)))
    with pytest.raises(UnknownFormatError, match="vmcoretool formats"):
        read_vmcore(BytesSource(b"text" * 9000))


@pytest.mark.parametrize(
    ("magic", "offset"), [("a8190173618f23cd", 0), ("efbeaddebebaedfe", -8)], ids=["LKCD", "KVM"]
)
def test_rarer_marks_are_known(magic: str, offset: int) -> None:
    data = bytearray(8192)
    at = offset % len(data)
    data[at : at + 8] = bytes.fromhex(magic)
    with pytest.raises(UnsupportedFormatError, match="not read here"):
        read_vmcore(BytesSource(bytes(data)))


def test_raw_memory_is_read_only_when_asked_for(tmp_path: Path) -> None:
    host = XenHost(base=0x1000000, root=0x800000)
    image = bytearray(32 << 20)
    for maddr, page in host.pages.items():
        image[maddr : maddr + PAGE] = page
    path = tmp_path / "raw"
    path.write_bytes(image)
    with pytest.raises(UnknownFormatError):
        open_vmcore(path)
    with open_vmcore(path, format_name="raw") as vmcore:
        inspection = inspect_vmcore(vmcore)
        assert inspection.verdict.xen_phys_start == host.base
        assert inspection.verdict.status == "verified"


def test_formats_of_other_packages_are_asked_last(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    from vmcoretool.formats.find import built_in_formats

    asked: list[str] = []
    rows = tuple(built_in_formats())
    mine = rows[1]._replace(
        name="mine", probe=lambda source: source.pread(4, 0) == b"MINE", open=rows[-1].open
    )

    class Point:
        def load(self) -> object:
            asked.append("load")
            return mine

    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [Point()])
    read_vmcore(BytesSource(REFERENCE.read_bytes()))
    assert asked == []
    assert read_vmcore(BytesSource(b"MINE" + bytes(4096))).container.format == "raw"
    assert asked == ["load"]


class Registered:
    """An entry point of another package."""

    name = "mine"
    value = "mine.formats:FORMAT"

    def __init__(self, row: object) -> None:
        self.row = row

    def load(self) -> object:
        if isinstance(self.row, Exception):
            raise self.row
        return self.row


def register(monkeypatch: pytest.MonkeyPatch, *rows: object) -> None:
    import importlib.metadata

    points = [Registered(row) for row in rows]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)


@pytest.mark.parametrize("row", [ImportError("no module\nfoo"), RuntimeError("x"), object()])
def test_format_of_another_package_that_does_not_load(
    monkeypatch: pytest.MonkeyPatch, row: object
) -> None:
    from vmcoretool.formats.find import find_formats

    usable = RAW._replace(name="other", probe=lambda source: source.pread(4, 0) == b"MINE")
    register(monkeypatch, row, usable)
    with pytest.raises(UnknownFormatError, match="vmcoretool formats"):
        read_vmcore(BytesSource(b"rubbish" * 999))
    assert read_vmcore(BytesSource(b"MINE" + bytes(4096))).container.format == "raw"
    told = {one.name: one.title for one in find_formats()}
    assert "cannot be used" in told["mine"]
    assert "\n" not in told["mine"]
    with pytest.raises(UnsupportedFormatError, match="cannot be used"):
        read_vmcore(BytesSource(b"rubbish" * 999), format_name="mine")


def test_format_of_another_package_in_a_pipe_and_in_compression(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    register(
        monkeypatch, RAW._replace(name="mine", probe=lambda source: source.pread(4, 0) == b"MINE")
    )
    data = b"MINE" + os.urandom(3 << 20)
    assert open_bytes(squeezed("gzip", data)).sources[0].size == len(data)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(data,), daemon=True)
    writer.start()
    with open_vmcore(fifo) as vmcore:
        assert vmcore.sources[0].size == len(data)
    writer.join()


@pytest.mark.parametrize("codec", CODECS)
def test_format_that_is_named_is_looked_for_inside_compression(codec: str) -> None:
    data = bytes(8192) + os.urandom(8192)
    with read_vmcore(BytesSource(squeezed(codec, data)), format_name="raw") as vmcore:
        assert vmcore.layers == (codec,)
        assert vmcore.memory.read(Maddr(0), len(data)) == data
