"""What is read, and what is refused: measured, as the table of docs/limits.md.

    python -m tests.fuzz.limits

Each row is a file of that size, inspected by a process of its own; time is its CPU time - the least
of three runs where it is long, as machines are shared - and memory the most that was resident.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
from functools import partial
from operator import attrgetter
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import zstandard

from tests.builders import notes as build
from tests.builders.elf_core import ElfCore, Load
from tests.builders.kdump import Kdump
from tests.fuzz.seeds import flat
from tests.support import cpu_seconds, environment_to_measure
from tests.test_fuzz_inputs import core_of_notes, guest_header, kdump_header, lines_of_notes
from tests.test_fuzz_memory import dense_domains
from tests.test_fuzz_streams import ZSTD, raw_block, zeros_block
from tests.test_limits import frames_in_no_order, records, segments_in_no_order
from vmcoretool.addresses import MIB
from vmcoretool.formats.elf_core import MAX_PHDRS
from vmcoretool.formats.guest_pages import MAX_FRAMES, MAX_UNSORTED
from vmcoretool.formats.kdump.pages import MAX_BITMAP_BYTES
from vmcoretool.formats.note_segments import MAX_NOTE_BYTES
from vmcoretool.formats.readelf_text import MAX_SIZE
from vmcoretool.sources.flattened import MAX_OVERLAPPING, MAX_RUNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE: Final = 4096
TIB: Final = 1 << 40


class Row(NamedTuple):
    """What is measured: a name, how many, and what writes the files into a folder."""

    what: str
    size: str
    write: Callable[[Path], object]


def _bytes(make: Callable[[], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / "vmcore").write_bytes(make())


def _loads(count: int) -> bytes:
    table = b"".join(
        struct.pack("<IIQQQQQQ", 1, 7, 64 + 56 * count, 0, at << 20, PAGE, PAGE, 0)
        for at in range(count)
    )
    ident = b"\x7fELF\2\1\1".ljust(16, b"\0")
    words = (4, 62, 1, 0, 64, 0, 0, 64, 56, count, 64, 0, 0)
    return ident + struct.pack("<HHIQQQIHHHHHH", *words) + table + bytes(PAGE)


def _cpus(count: int) -> bytes:
    one = build.prstatus(0xFFFF82D040200000) + build.crash_regs(0x1000)
    return ElfCore([Load(0x1000, bytes(PAGE))], [one * count]).build()


def _notes(size: int) -> bytes:
    one = build.note(b"Xen", 0x1000002, bytes(500))
    return core_of_notes(one * (size // len(one)))


def _parts(count: int) -> Callable[[Path], object]:
    pages = {at: at.to_bytes(8, "little") * 512 for at in range(count)}

    def write(folder: Path) -> None:
        for at in range(count):
            part = Kdump(pages, split=(at, at + 1), notes=build.prstatus()).build()
            (folder / f"vmcore{at:04}").write_bytes(part)

    return write


def _bitmaps(each: int) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        with (folder / "vmcore").open("wb") as file:
            file.write(kdump_header(each))
            file.truncate(2 * PAGE + 2 * each + PAGE)

    return write


def _sparse_guest(frames: int) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        with (folder / "vmcore").open("wb") as file:
            file.write(guest_header(8 * frames, PAGE * frames))
            file.seek(2 * PAGE)
            file.write(struct.pack("<QQ", 0, 1))
            file.truncate(PAGE * frames + 8 * frames + 2 * PAGE)

    return write


def _sparse_elf(size: int) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        load = struct.pack("<IIQQQQQQ", 1, 7, PAGE, 0, 0, size, size, 0)
        ident = b"\x7fELF\2\1\1".ljust(16, b"\0")
        head = ident + struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 1, 64, 0, 0)
        with (folder / "vmcore").open("wb") as file:
            file.write(head + load)
            file.truncate(PAGE + size)

    return write


def _bomb() -> bytes:
    core = ElfCore([Load(0, Random(1).randbytes(1 << 16))], [build.prstatus()]).build()
    blocks = raw_block(core[: 1 << 16]) + zeros_block(1 << 17) * (1 << 19)
    return ZSTD + blocks + raw_block(b"", last=True)


def _layers(count: int) -> bytes:
    data = _loads(1)
    for number in range(count):
        data = flat(data) if number % 2 else zstandard.compress(data, 1)
    return data


def rows() -> Iterator[Row]:
    """All of them, what is read in front of what is not."""
    yield Row("PT_LOADs in order", "60,000", _bytes(lambda: _loads(60_000)))
    for count in (MAX_PHDRS, MAX_PHDRS + 1):
        make = _bytes(partial(segments_in_no_order, count))
        yield Row("PT_LOADs in no order, overlapping", f"{count:,}", make)
    for count in (4096, 16_384):
        yield Row("CPUs", f"{count:,}", _bytes(partial(_cpus, count)))
    for size in (MAX_NOTE_BYTES, 4 * MAX_NOTE_BYTES):
        yield Row("bytes of notes", f"{size // MIB} MiB", _bytes(partial(_notes, size)))
    yield Row("readelf's text", f"{MAX_SIZE // MIB} MiB", lambda at: lines_of_notes(at / "vmcore"))
    for count in (1000, 10_000):
        make = _bytes(partial(dense_domains, count, 4096, 4096))
        yield Row("domains", f"{count:,}", make)
    make = _bytes(lambda: dense_domains(3000, 16_384, 16))
    yield Row("domains whose structures overlap", "3,000", make)
    for count in (100, 600):
        yield Row("parts of a split set", f"{count}", _parts(count))
    yield from _containers()


def _containers() -> Iterator[Row]:
    for half, room in ((MAX_BITMAP_BYTES // 2, "8 TiB"), (MAX_BITMAP_BYTES // 2 + PAGE, "more")):
        yield Row("kdump: machine memory that its bitmaps have room for", room, _bitmaps(half))
    for count in (MAX_RUNS, MAX_RUNS + 1):
        make = _bytes(partial(records, count, 4, (1, 2, 3)))
        yield Row("flattened records in no order", f"{count:,}", make)
    for count in (MAX_OVERLAPPING, MAX_OVERLAPPING + 1):
        make = _bytes(partial(records, count, 2, (3,)))
        yield Row("flattened records that overwrite one another", f"{count:,}", make)
    for count in (MAX_UNSORTED, MAX_UNSORTED + 1):
        make = _bytes(partial(frames_in_no_order, count))
        yield Row("frames of one guest, in no order", f"{count:,}", make)
    yield Row("frames of one guest", f"{MAX_FRAMES + 1:,}", _sparse_guest(MAX_FRAMES + 1))
    for size in (1, 7):
        yield Row("ELF: machine memory, a sparse file", f"{size} TiB", _sparse_elf(size * TIB))
    for count in (4, 5):
        yield Row("layers around a dump", str(count), _bytes(partial(_layers, count)))
    yield Row("a zstd stream of 64 GiB of zeros", f"{len(_bomb()) // MIB} MiB", _bytes(_bomb))


# a small process in between: what a child inherits from this one would be counted as its own
_MEASURE: Final = """
import json, os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stderr=subprocess.DEVNULL)
_, status, used = os.wait4(child.pid, 0)
cpu = used.ru_utime + used.ru_stime
print(json.dumps([os.waitstatus_to_exitcode(status), cpu, used.ru_maxrss]))
"""


class Measured(NamedTuple):
    """What came of it."""

    code: int
    cpu: float
    memory: int
    said: str


def measure(row: Row) -> Measured:
    """Write the files and inspect them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        row.write(folder)
        words = [sys.executable, "-m", "vmcoretool", "inspect", "--json"]
        words += sorted(str(path) for path in folder.iterdir())
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE, *words],
            capture_output=True,
            check=True,
            env=environment_to_measure(),
        )
    said, _, measured = done.stdout.rstrip(b"\n").rpartition(b"\n")
    code, cpu, memory = json.loads(measured)
    return Measured(code, cpu, memory * 1024, _said(row, json.loads(said)))


def _said(row: Row, answer: dict[str, Any]) -> str:
    if "error" in answer:
        if row.what.startswith("flattened") and "not a dump" in answer["error"]["message"]:
            return "read; what is inside is no dump"
        return f"refused: {answer['error']['message'].rpartition('vmcore: ')[2]}"
    codes = [row["code"] for row in answer["findings"] if row["code"] in _TOLD]
    return f"read{'; ' if codes else ''}{', '.join(f'`{code}`' for code in dict.fromkeys(codes))}"


_LONG: Final = 2.5
_TOLD: Final = ("truncated", "work-limited", "decompression-stopped", "note-damaged")


def main() -> None:
    print("| what | how much | answer | exit | CPU | memory |")
    print("|---|---|---|---|---|---|")
    for row in rows():
        found = measure(row)
        if found.cpu > _LONG:
            found = min((found, measure(row), measure(row)), key=attrgetter("cpu"))
        print(
            f"| {row.what} | {row.size} | {found.said} | {found.code} | "
            f"{found.cpu:.1f} s | {found.memory // MIB} MiB |",
            flush=True,
        )
    print(f"\nA second of CPU of an idle machine is {cpu_seconds(100) / 100:.1f} s here.")


if __name__ == "__main__":
    main()
