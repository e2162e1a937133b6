"""Small files that ask for much: each ends within 5 s of CPU time and 256 MiB, rightly answered.

A row of CASES is a file and what is to come out of it; each runs in a process with these limits.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import zstandard

from tests.builders import notes as build
from tests.builders.elf_core import ElfCore, Load
from tests.support import cpu_seconds, environment_to_measure
from vmcoretool.formats.elf_headers import PN_XNUM
from vmcoretool.sources.flattened import HEADER_SIZE, SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAGE = 4096
MIB = 1 << 20
SECONDS = 5
MEMORY_KIB = 256 * 1024


class Case(NamedTuple):
    """An input and its right answer.

    Attributes:
        name: of the case.
        write: makes the file.
        arguments: the command; the file's name is put behind.
        code: its exit code.
        said: what must be in its output or its errors.
        check: what else must hold of its JSON.
    """

    name: str
    write: Callable[[Path], object]
    arguments: tuple[str, ...]
    code: int
    said: str
    check: Callable[[dict[str, Any]], bool] | None = None


def kdump_header(bitmap_bytes: int) -> bytes:
    """Both headers of a kdump file with that many bytes in each of its bitmaps."""
    blocks = 2 * -(-bitmap_bytes // PAGE)
    words = (0, 0, 1, PAGE, 1, blocks, 8 * bitmap_bytes, 0, 0, 0, 0, 1)
    main = b"KDUMP   " + struct.pack("<i396x", 6) + struct.pack("<QQIiiIIIIIIi", *words)
    sub = struct.pack("<Qii11Q", 0, 0, 0, *(0,) * 10, 8 * bitmap_bytes)
    return main.ljust(PAGE, b"\0") + sub.ljust(PAGE, b"\0")


def every_second_frame_is_ram(path: Path) -> None:
    """A kdump file of 67 million extents in a KiB."""
    size = 16 * MIB
    plain = kdump_header(size) + b"\x55" * size + bytes(size)
    path.write_bytes(zstandard.ZstdCompressor(level=3).compress(plain))


def bitmaps_of_8_tib(path: Path) -> None:
    size = 256 * MIB
    with path.open("wb") as file:
        file.write(kdump_header(size))
        file.truncate(2 * PAGE + 2 * size + PAGE)


def guest_header(index_size: int, pages_size: int) -> bytes:
    """The first two pages of an ``xl dump-core`` file, and its one page."""
    names = b"\0.shstrtab\0.xen_pages\0.xen_pfn\0"
    rows = (
        (b"", 0, 0, 0),
        (b".shstrtab", 3, PAGE - len(names), len(names)),
        (b".xen_pages", 1, PAGE, pages_size),
        (b".xen_pfn", 1, 2 * PAGE, index_size),
    )
    sections = b"".join(
        struct.pack("<IIQQQQIIQQ", names.index(name), kind, 0, 0, at, size, 0, 0, 1, 0)
        for name, kind, at, size in rows
    )
    ident = b"\x7fELF\2\1\1".ljust(16, b"\0")
    words = (4, 62, 1, 0, 0, 64, 0, 64, 0, 0, 64, len(rows), 1)
    head = ident + struct.pack("<HHIQQQIHHHHHH", *words) + sections
    return head.ljust(PAGE - len(names), b"\0") + names


def flattened(*records: tuple[int, bytes]) -> bytes:
    head = (SIGNATURE + struct.pack(">qq", 1, 1)).ljust(HEADER_SIZE, b"\0")
    body = b"".join(struct.pack(">qq", at, len(data)) + data for at, data in records)
    return head + body + struct.pack(">qq", -1, -1)


def index_without_end(path: Path) -> None:
    size = 1 << 50
    data = flattened((0, guest_header(size, PAGE)), (2 * PAGE + size - 8, b"\xff" * 8))
    path.write_bytes(data)


def index_with_as_many_pages(path: Path) -> None:
    """Its section headers agree; what they say is more than any guest has."""
    size = 1 << 50
    data = flattened((0, guest_header(size, size * 512)), (2 * PAGE + size - 8, b"\xff" * 8))
    path.write_bytes(data)


def sparse_index(path: Path) -> None:
    size = 1 << 31  # 1 TiB of guest memory, and frame 0 for each page of it
    with path.open("wb") as file:
        file.write(guest_header(size, size * 512))
        file.truncate(1 << 40)


def lines_of_notes(path: Path) -> None:
    line = b"  X 0x00000001 T (0x1)\n"
    head = b"\nDisplaying notes found at file offset 0x0 with length 0x0:\n"
    path.write_bytes((head + line * (32 * MIB // len(line)))[: 32 * MIB])


def lines_of_no_type(path: Path) -> None:
    line = b"  a 0 b\n"
    head = b"\nDisplaying notes found at file offset 0x0 with length 0x0:\n"
    first = b"  CORE                 0x00000150\tNT_PRSTATUS (prstatus structure)\n"
    path.write_bytes((head + first + line * (32 * MIB // len(line)))[: 32 * MIB])


def segments_of_one_range(path: Path) -> None:
    """4,000 PT_LOADs that all show the same 16 MiB."""
    count, size = 4000, 16 * MIB
    ident = b"\x7fELF\2\1\1".ljust(16, b"\0")
    words = (4, 62, 1, 0, 64, 0, 0, 64, 56, count, 64, 0, 0)
    rows = b"".join(
        struct.pack("<IIQQQQQQ", 1, 7, PAGE * 64, 0, at * size, size, size, 0)
        for at in range(1, count + 1)
    )
    assert count < PN_XNUM
    with path.open("wb") as file:
        file.write((ident + struct.pack("<HHIQQQIHHHHHH", *words) + rows).ljust(PAGE * 64, b"\0"))
        file.write(os.urandom(size))


def core_of_notes(blob: bytes) -> bytes:
    return ElfCore([Load(0x100000, bytes(PAGE))], [blob]).build()


def damaged_notes(path: Path) -> None:
    """8 MiB of headers that are none, each beside a note that is known."""
    one = struct.pack("<III", 1 << 30, 0, 0) + build.note(b"Xen", 0x1000002, b"x")
    path.write_bytes(core_of_notes(one * (8 * MIB // len(one) - 1)))


def notes_far_apart(path: Path) -> None:
    """Many small notes in front of one that is known, 7 MiB behind."""
    small = build.note(b"ACME", 1, b"x" * 4) * 20_000
    path.write_bytes(core_of_notes(small + bytes(7 * MIB) + build.prstatus()))


def few_extents(answer: dict[str, Any]) -> bool:
    dump = answer["dump"]
    codes = [row["code"] for row in answer["findings"]]
    return (
        len(dump["extents"]) == 65_536
        and dump["extents_complete"] is False
        and dump["extents"][1] == {"start": "0x2000", "end": "0x3000"}
        and "work-limited" in codes
    )


INSPECT = ("inspect", "-v")
JSON = ("inspect", "--json")
CASES = (
    Case("kdump-55", every_second_frame_is_ram, JSON, 6, "memory extents", few_extents),
    Case("kdump-55-text", every_second_frame_is_ram, INSPECT, 6, "0 pages"),
    Case("kdump-bitmaps", bitmaps_of_8_tib, INSPECT, 6, "0 pages"),
    Case("kdump-bitmaps-json", bitmaps_of_8_tib, JSON, 6, '"extents": []'),
    Case("guest-index", index_without_end, INSPECT, 3, "an index of 140737488355328 frames for 1"),
    Case("guest-index-agreed", index_with_as_many_pages, INSPECT, 4, "an index of 1407"),
    Case("guest-index-sparse", sparse_index, INSPECT, 4, "268435456 frames in no order"),
    Case("readelf-lines", lines_of_notes, INSPECT, 6, "more than 65536 notes"),
    Case("readelf-lines-of-no-type", lines_of_no_type, INSPECT, 6, "lines of notes: rest ignored"),
    Case("readelf-lines-notes", lines_of_notes, ("notes",), 0, ""),
    Case("loads-alias", segments_of_one_range, INSPECT, 6, "16384000 pages"),
    Case("damaged-notes", damaged_notes, INSPECT, 1, "more like these"),
    Case("notes-far-apart", notes_far_apart, INSPECT, 6, ""),
)


def run_limited(path: Path, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[bytes]:
    script = f'ulimit -v {MEMORY_KIB} && ulimit -t {cpu_seconds(SECONDS)} && exec "$@"'
    words = ["sh", "-c", script, "sh", sys.executable, "-m", "vmcoretool", *arguments, str(path)]
    environment = environment_to_measure() | {"OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(words, capture_output=True, check=False, timeout=120, env=environment)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_small_input_ends_within_its_limits(tmp_path: Path, case: Case) -> None:
    path = tmp_path / "vmcore"
    case.write(path)
    done = run_limited(path, case.arguments)
    assert done.returncode == case.code, (done.stdout[-500:], done.stderr[-2000:])
    assert b"Traceback" not in done.stderr
    assert case.said in (done.stdout + done.stderr).decode()
    if case.check:
        assert case.check(json.loads(done.stdout))
