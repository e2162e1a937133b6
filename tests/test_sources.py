"""Files under a dump: opened once, read once, closed whatever happens."""

from __future__ import annotations

import bz2
import gc
import gzip
import lzma
import os
import pickle
import struct
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.support import ROOT, BytesSource, open_bytes, tool
from vmcoretool import inspect_vmcore, open_vmcore
from vmcoretool.budget import Budget
from vmcoretool.errors import StoppedError, VmcoreError
from vmcoretool.formats.dump_files import group_parts
from vmcoretool.sources import compressed, flattened
from vmcoretool.sources.blocks import BlockSource
from vmcoretool.sources.file import open_source
from vmcoretool.sources.layers import unwrap
from vmcoretool.sources.spool import Spool
from vmcoretool.sources.streams import ZstdStream
from vmcoretool.vmcore import open_files

SAMPLE = ROOT / "samples/xen-4.8-dom0-panic/vmcore"
DUMP = SAMPLE.read_bytes()
PARTS = sorted((ROOT / "samples").glob("kdump-split/part-*"))


def count_open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def blocks(data: bytes, size: int = 1 << 16) -> bytes:
    return b"".join(lzma.compress(data[at : at + size]) for at in range(0, len(data), size))


def drop(held: list[Any]) -> None:
    held.clear()
    gc.collect()


# --- nothing twice


def test_each_file_is_decompressed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = compressed.open_compressed

    def counted(*arguments: Any) -> Any:
        opened.append(arguments[1])
        return real(*arguments)

    monkeypatch.setattr(compressed, "open_compressed", counted)
    paths = [str(tmp_path / name) for name in ("a.gz", "b.bz2")]
    (tmp_path / "a.gz").write_bytes(gzip.compress(DUMP, 1))
    (tmp_path / "b.bz2").write_bytes(bz2.compress(DUMP, 1))
    before = count_open()
    for files in group_parts(paths):
        with open_files(files) as vmcore:
            assert vmcore.crash_info is not None
    assert opened == ["gzip", "bzip2"]
    assert count_open() == before


def test_pipes_are_read_once(tmp_path: Path) -> None:
    names = [tmp_path / name for name in ("first", "second")]
    for name in names:
        os.mkfifo(name)
        threading.Thread(target=name.write_bytes, args=(DUMP,), daemon=True).start()
    done = tool("inspect", "-q", *map(str, names))
    assert (done.returncode, done.stdout.count(b"0x27a00000 verified")) == (0, 2), done.stderr


@pytest.mark.parametrize("pack", [bytes, gzip.compress, blocks], ids=["bare", "gzip", "xz"])
def test_parts_are_grouped_by_first_bytes(tmp_path: Path, pack: Any) -> None:
    paths = []
    for path in PARTS:
        paths.append(str(tmp_path / path.name))
        (tmp_path / path.name).write_bytes(pack(path.read_bytes()))
    paths.insert(1, str(SAMPLE))
    before = count_open()
    groups = []
    for files in group_parts(paths):
        groups.append(files.paths)
        with open_files(files) as vmcore:
            assert "split-part-missing" not in {found.code for found in vmcore.findings}
    assert groups == [(paths[0], *paths[2:]), (paths[1],)]
    assert count_open() == before


def test_groups_that_nobody_asked_for_are_closed(tmp_path: Path) -> None:
    before = count_open()
    groups = group_parts([*map(str, PARTS), str(SAMPLE), str(tmp_path / "missing")])
    next(groups).close()
    groups.close()  # type: ignore[attr-defined]
    assert count_open() == before


def test_file_that_cannot_be_opened_is_a_dump_of_its_own(tmp_path: Path) -> None:
    first, second = group_parts([str(tmp_path / "missing"), str(SAMPLE)])
    with pytest.raises(FileNotFoundError):
        open_files(first)
    second.close()


def test_two_threads_decompress_a_block_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    real = Spool.write

    def counted(self: Spool, chunk: bytes, offset: int | None = None) -> None:
        written.append(len(chunk))
        real(self, chunk, offset)

    data = DUMP + os.urandom(1 << 20)
    source, _ = unwrap(BytesSource(blocks(data, 1 << 18)), lambda _: True)
    assert isinstance(source, BlockSource)
    monkeypatch.setattr(Spool, "write", counted)
    begun = written.copy()
    threads = [threading.Thread(target=source.pread, args=(len(data), 0)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source.pread(len(data), 0) == data
    source.close()
    assert not begun
    assert sum(written) <= len(data)


@pytest.mark.parametrize("codec", ["xz", "zstd"])
def test_first_bytes_decide_before_a_block_is_whole(
    codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    monkeypatch.setattr(Spool, "write", lambda _, chunk, __=None: written.append(len(chunk)))
    pack = lzma.compress if codec == "xz" else zstandard.ZstdCompressor().compress
    packed = 2 * pack(b"no dump " * (4 << 20))
    with pytest.raises(VmcoreError, match="not a dump"):
        open_bytes(packed)
    assert sum(written) <= 1 << 20


# --- everything is closed


def test_failing_layers_leave_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "nested"
    for data in (
        gzip.compress(bz2.compress(b"no dump at all" * 100)),
        blocks(bz2.compress(b"no dump" * 99), 64),
        gzip.compress(blocks(b"no dump" * 9_999)),
        gzip.compress(DUMP[:4096])[:-9],
    ):
        path.write_bytes(data)
        before = count_open()
        with pytest.raises(VmcoreError):
            open_vmcore(path, PARTS[0])
        assert count_open() == before


def test_dropped_dump_is_closed_with_a_warning() -> None:
    before = count_open()
    held = [open_vmcore(SAMPLE)]
    assert count_open() == before + 1
    with pytest.warns(ResourceWarning, match="xen-4.8-dom0-panic"):
        drop(held)
    assert count_open() == before


def test_reading_after_close_says_so() -> None:
    with open_vmcore(SAMPLE) as vmcore:
        pass
    with pytest.raises(ValueError, match="closed"):
        vmcore.sources[0].pread(1, 0)
    with pytest.raises(ValueError, match="closed"):
        list(vmcore.sources[0].data_ranges(0, 1))


def test_open_dump_is_not_pickled() -> None:
    with open_vmcore(SAMPLE) as vmcore, pytest.raises(TypeError, match="open the dump again"):
        pickle.dumps(vmcore.sources[0])
    with (
        open_bytes(blocks(DUMP)) as vmcore,
        pytest.raises(TypeError, match="open the dump again"),
    ):
        pickle.dumps(vmcore.sources[0])


def test_zstd_reader_is_no_circle() -> None:
    gc.disable()
    try:
        stream = ZstdStream(BytesSource(zstandard.compress(DUMP)), Budget())
        assert b"".join(stream) == DUMP
        gone = weakref.ref(stream._feed)
        del stream
        assert gone() is None
    finally:
        gc.enable()


# --- what was ended is not cut short


@pytest.mark.parametrize(("pack", "pieces"), [(gzip.compress, 8), (blocks, 2)], ids=["gzip", "xz"])
def test_ended_decompression_is_not_called_truncated(pack: Any, pieces: int) -> None:
    steps = iter([True] * pieces)
    data = DUMP + os.urandom(4 << 20)
    budget = Budget(watch=lambda *_: next(steps, False))
    inspection = inspect_vmcore(open_bytes(pack(data), budget))
    found = {found.code: found for found in inspection.findings}
    assert not {"truncated", "page-unreadable"} & set(found)
    message = found["decompression-stopped"]
    assert "%: you stopped it" in message.message
    assert message.level == "error"
    assert "decompress the file first" in message.advice
    assert len([row for row in inspection.findings if row.code == "decompression-stopped"]) == 1


def test_ended_before_the_headers_is_no_damage() -> None:
    packed = gzip.compress(os.urandom(1) + bytes(10), 1)
    with pytest.raises(VmcoreError):
        open_bytes(packed)
    big = gzip.compress(DUMP[:65_536] + os.urandom(8 << 20), 1)
    forced = Budget(watch=lambda *_: False)
    try:
        open_bytes(big, forced)
    except StoppedError as error:
        assert "you stopped it" in str(error)
    assert forced.unfinished


def test_long_flattened_stream_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flattened, "MAX_RECORDS", 4)
    head = (flattened.SIGNATURE + struct.pack(">qq", 1, 1)).ljust(flattened.HEADER_SIZE, b"\0")
    records = b"".join(
        struct.pack(">qq", at, 4096) + DUMP[at : at + 4096].ljust(4096, b"\0")
        for at in range(0, len(DUMP), 4096)
    )
    vmcore = open_bytes(head + records + struct.pack(">qq", -1, -1))
    assert vmcore.layers == ("flattened",)
    assert vmcore.container.complete
    tiny = b"".join(struct.pack(">qq", at, 1) + b"x" for at in range(900))
    with pytest.raises(VmcoreError, match="more flattened records"):
        open_bytes(head + tiny + struct.pack(">qq", -1, -1))


def test_dropped_source_warns(tmp_path: Path) -> None:
    (tmp_path / "vmcore").write_bytes(b"x")
    held = [open_source(str(tmp_path / "vmcore"))]
    with pytest.warns(ResourceWarning, match="vmcore"):
        drop(held)
