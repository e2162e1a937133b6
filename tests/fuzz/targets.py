"""What is fuzzed: a row for each reader; a later reader is one more row.

Whatever a row's ``run`` raises is a fault; :class:`tests.fuzz.oracles.Fault` says which.
"""

from __future__ import annotations

import gzip
import struct
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.builders.memory import kernel_tables, table
from tests.builders.symbol_file import symbol_file
from tests.builders.xen_host import XenHost
from tests.fuzz import hooks, mutators, runs, seeds
from tests.fuzz.seeds import Seed, words
from tests.support import ROOT
from tests.test_containers import CODECS, in_blocks, squeezed
from tests.test_fuzz_memory import RING_KEYS
from tests.test_namelist import truth_of, xen_syms
from vmcoretool.explain.texts import ERROR_TEXTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

DATA: Final = ROOT / "tests/data"
_CODE: Final = 0xFFFF82D040200000


class Target(NamedTuple):
    """One reader.

    Attributes:
        name: as on the command line.
        reads: which readers, for people.
        seeds: what mutation begins with.
        mutate: makes an input of one and pieces of another.
        run: asks the reader and checks the answer, whose kind it returns.
    """

    name: str
    reads: str
    seeds: Callable[[], list[Seed]]
    mutate: Callable[[Random, bytes, bytes], bytes]
    run: Callable[[bytes, Seed], str]


# --- mutation of what is inside ------------------------------------------------------------------


def _in_stream(rng: Random, data: bytes, other: bytes) -> bytes:
    # bytes of a compressed stream rarely get past its checksum: what is inside changes, too
    inner = seeds.unpacked(data) if rng.random() < 0.5 else None
    if inner is None:
        return mutators.structured(rng, data, other)
    inner = mutators.structured(rng, inner, other)
    codec = rng.choice(CODECS)
    return in_blocks(codec, inner, 16_384) if rng.random() < 0.5 else squeezed(codec, inner)


def _in_records(rng: Random, data: bytes, other: bytes) -> bytes:
    inner = seeds.replayed(data) if rng.random() < 0.5 else b""
    if not inner:
        return mutators.structured(rng, data, other)
    inner = mutators.structured(rng, inner, other) or b"x"
    return seeds.flat(inner, rng.choice((512, 4096, 70_000)), end=rng.random() < 0.7)


def _text_or_memory(rng: Random, data: bytes, other: bytes) -> bytes:
    text, mark, memory = data.partition(runs.MARK)
    if rng.random() < 0.4:
        return mutators.text(rng, text, other.partition(runs.MARK)[0]) + mark + memory
    return text + mark + mutators.structured(rng, memory, memory)


# --- seeds that only one row has -----------------------------------------------------------------


@cache
def _logs() -> list[Seed]:
    def keys(given: dict[str, int]) -> bytes:
        rows = (
            f"{key}={value:x}" if key.startswith("SYMBOL") else f"{key}={value}"
            for key, value in given.items()
        )
        return "\n".join(rows).encode() + b"\n" + runs.MARK

    ring = bytearray(0x6000)
    struct.pack_into("<Q", ring, 0, 0x2000)
    struct.pack_into("<IxxxxQQQQ", ring, 0x1000, 4, 0x3000, 0x4000, 11, 2)
    struct.pack_into("<IxxxxQ", ring, 0x1040, 9, 0x5000)
    for number in range(12):
        begin = 32 * number
        struct.pack_into("<3Q", ring, 0x2000 + 24 * number, 2 << 62 | number, begin, begin + 32)
        struct.pack_into("<QH", ring, 0x3000 + 88 * number, 1000 * number, 20)
        struct.pack_into("<Q20s", ring, 0x4000 + begin, number, b"line %d\n of two" % number)
    records = bytearray(0x3000)
    struct.pack_into("<IIQI", records, 0, 0, 240, 0x2000, 4096)
    for number in range(6):
        struct.pack_into("<QHH", records, 0x1000 + 40 * number, 1000 * number, 40, 20)
        records[0x1010 + 40 * number :][:20] = b""
        struct.pack_into("<20s", records, 0x1010 + 40 * number, b"record %d" % number)
    of_records = {"SYMBOL(log_first_idx)": 0x1000, "SYMBOL(log_next_idx)": 0x1004}
    of_records |= {"SYMBOL(log_buf)": 0x1008, "SYMBOL(log_buf_len)": 0x1010}
    of_records |= {"SIZE(printk_log)": 16, "OFFSET(printk_log.ts_nsec)": 0}
    of_records |= {"OFFSET(printk_log.len)": 8, "OFFSET(printk_log.text_len)": 10}
    old = bytearray(0x2000)
    struct.pack_into("<IIQII", old, 0, 60, 60, 0x2000, 64, 50)
    old[0x1000:0x1040] = b"<6>first line\n<4>second line\n<1>third line, and more\n".ljust(64)
    of_bytes = {"SYMBOL(log_end)": 0x1000, "SYMBOL(log_buf)": 0x1008, "SYMBOL(log_buf_len)": 0x1010}
    return [
        Seed("ring", keys(RING_KEYS) + bytes(ring)),
        Seed("ring-32", b"OSRELEASE=5.10-i686\n" + keys(RING_KEYS) + bytes(ring)),
        Seed("records", keys(of_records) + bytes(records)),
        Seed("bytes", keys(of_bytes) + bytes(old)),
        Seed("bytes-counted", keys({**of_bytes, "SYMBOL(logged_chars)": 0x1014}) + bytes(old)),
    ]


@cache
def _tables() -> list[Seed]:
    _, kernel = kernel_tables(1, b"Linux version 6.1" * 40)
    pages = {0: kernel.pop(1), **kernel}
    pages[0] = table({511: 2 << 12 | 1, 261: 6 << 12 | 1, 262: 1})
    pages[6] = table({1: 7 << 12 | 1, 2: 0x80 | 1, 321: 7 << 12 | 0x83})
    pages[7] = table({0: 0x200083, 1: 3 << 12 | 1, 2: 0x400083})
    whole = b"".join(bytes(pages.get(at, bytes(4096))) for at in range(9))
    pae = table({0: 1 << 12 | 1, 3: 2 << 12 | 1}) + table({0: 0x83}) + table({504: 3 << 12 | 1})
    return [Seed("four-levels", whole), Seed("pae", pae + table({291: 1, 0: 0x1001}))]


@cache
def _vmcoreinfo() -> list[Seed]:
    found = []
    for name in ("linux-native", "xen-4.20-dom0-panic", "xen-4.8-dom0-panic"):
        data = seeds.sample(name).data
        at = data.find(b"VMCOREINFO") - 12
        found.append(Seed(name, data[at : at + 4096] * 2))
    return found


@cache
def _symbol_files() -> list[Seed]:
    truth = truth_of(ROOT / "samples/xen-4.8-dom0-panic/vmcore")
    base = seeds.sample("xen-4.8-dom0-panic").base
    whole, plain = xen_syms(truth), xen_syms(truth, dwarf=None, build_id=None)
    rows = [f"{at:016x} D {name}" for name, at in sorted(truth.symbols.items())]
    found = [
        Seed("elf", whole, base),
        Seed("plain", plain, base),
        Seed("efi", xen_syms(truth, codeview=bytes(range(16))), base),
        Seed("split", xen_syms(truth, split=True), base),
        Seed("map", seeds.lines(*rows, "ffff82d040463600 d setup.c#xen_phys_start", ""), base),
        Seed("linux", xen_syms(truth, code_at=0xFFFFFFFF81000000), base),
    ]
    found += [
        Seed(f"elf-{codec}", squeezed(codec, whole), base) for codec in ("gzip", "bzip2", "xz")
    ]
    of_built, symbols, texts = seeds.host_with_variables()
    made: dict[str, Any] = {"code_at": _CODE, "symbols": symbols, "texts": texts}
    for build_id in (None, bytes(range(1, 21))):
        file = symbol_file(**made, build_id=build_id, dwarf=4)
        found.append(Seed(f"{runs.OF_BUILT}{bool(build_id)}", file, of_built.base))
    for version in (4, 5):
        packed = (DATA / f"unit-dwarf{version}.elf.gz").read_bytes()
        found.append(Seed(f"dwarf-{version}", gzip.decompress(packed)))
    return found


@cache
def _servers() -> list[Seed]:
    said = b"Progress 1 / 100\rProgress 50 / 100\nserver: query failed: not found\n"
    files = [seed for seed in _symbol_files() if seed.name in ("elf", "split", "elf-gzip")]
    return [seed._replace(data=said + runs.MARK + seed.data) for seed in files]


def _said_or_file(rng: Random, data: bytes, other: bytes) -> bytes:
    said, mark, file = data.partition(runs.MARK)
    if rng.random() < 0.5:
        return mutators.text(rng, said, other.partition(runs.MARK)[0]) + mark + file
    return said + mark + mutators.structured(rng, file, other)


@cache
def _consoles() -> list[Seed]:
    made = seeds.lines(
        "(XEN) [2026-11-25 03:00:00.123] ----[ Xen-4.17.7  x86_64  debug=n  Not tainted ]----",
        "(XEN) CPU:    1",
        "(XEN) RIP:    e008:[<ffff82d040200123>] foo.c#crash+0x42/0x60",
        "(XEN) RFLAGS: 0000000000010246   CONTEXT: hypervisor (d0v1)",
        "(XEN) Xen call trace:",
        "(XEN)    [<ffff82d040200123>] R foo.c#crash+0x42/0x60",
        "(XEN)    [<ffff82d040200223>] F bar+0x1/0x2",
        "(XEN) ",
        "(XEN) ****************************************",
        "(XEN) Panic on CPU 1:",
        "(XEN) FATAL PAGE FAULT",
        "(XEN) [error_code=0002]",
        "(XEN) Command line: loglvl=all crashkernel=256M",
        "(XEN) Hardware Dom0 crashed: Executing kexec image on cpu1",
        "",
    )
    return [*seeds.console_texts(), Seed("built", made)]


@cache
def _linux_texts() -> list[Seed]:
    made = seeds.lines(
        "DMI: Dell Inc. PowerEdge R640/0H28RR, BIOS 2.10.2 02/24/2021",
        "BUG: unable to handle page fault for address: ffffffffc0000000",
        "Oops: 0002 [#1] PREEMPT SMP NOPTI",
        "CPU: 1 PID: 1234 Comm: test task Not tainted 6.1.0-56-amd64 #1  Debian 6.1.1",
        "Hardware name: Dell Inc. PowerEdge R640/0H28RR, BIOS 2.10.2 02/24/2021",
        "RIP: e030:sysrq_handle_crash+0x16/0x20",
        "Call Trace:",
        " <TASK>",
        " ? __die+0x1/0x2",
        " __handle_sysrq.cold+0x7a/0xeb",
        " [<ffffffff81000000>] write_sysrq_trigger+0x24/0x40",
        " </TASK>",
        "Kernel panic - not syncing: Fatal exception",
        "---[ end Kernel panic - not syncing: Fatal exception ]---",
    )
    old = seeds.lines(
        "sysrq: Trigger a crash",
        "Pid: 77, comm: bash Tainted: G        W    2.6.32-5-xen-amd64 #1 PowerEdge",
        "EIP: 0061:[<c0123456>] EFLAGS: 00010246 CPU: 0",
        "Kernel panic - not syncing: sysrq triggered crash",
    )
    return [Seed("oops", made), Seed("old", old)]


@cache
def _texts() -> list[Seed]:
    rows = [piece for row in ERROR_TEXTS for piece in row.texts]
    whole = "crash 8.0.2\nGNU gdb (GDB) 10.2\n" + "\n".join(rows[:6])
    return [*(Seed(text, text.encode()) for text in rows), Seed("output", whole.encode())]


@cache
def _arguments() -> list[Seed]:
    rows = [" ".join(row) for row in runs.COMMANDS]
    rows += [
        "--version",
        "help inspect",
        "help hook install",
        "formats --json",
        "explain --list --json",
        "inspect --format elf --no-scan --xen-phys-start 0x27a00000 -vv VMCORE",
        "inspect --search /tmp --xen-syms VMCORE --vmlinux /nowhere VMCORE",
        "inspect --debuginfod --scan --json VMCORE VMCORE /nowhere",
        "inspect -- --json",
        "hook status --root /nowhere --system rhel",
        "hook --help",
        "inpsect VMCORE",
        "crash --target dom7 VMCORE",
        "vmcoreinfo --get OSRELEASE VMCORE",
        "read VMCORE 12 0x1000000000",
        "explain no such text at all",
    ]
    return [words(*row.split(" ")) for row in rows]


def _damaged_memory() -> list[Seed]:
    names = ("elf-", "pae", "big", "linux", "ia64", "xnum")
    return [seed for seed in seeds.dumps() if not seed.name.startswith(names)]


def _several() -> list[Seed]:
    host = XenHost()
    loads = [Seed("built-notes", host.build(host.note_blob(cr3=False)), host.base)]
    return [*_small(), *loads]


def _small() -> list[Seed]:
    return [*seeds.dumps(), *seeds.kdumps()[:5], *seeds.flattened(), *seeds.guests()[:2]]


def _file(rng: Random, data: bytes, other: bytes) -> bytes:
    change = mutators.structured if rng.random() < 0.6 else mutators.in_memory
    return change(rng, data, other)


def _map_or_file(rng: Random, data: bytes, other: bytes) -> bytes:
    is_text = data[:4].isalnum()
    return (mutators.text if is_text else mutators.structured)(rng, data, other)


def rows() -> Iterator[Target]:
    """All of them, those that cost most first."""
    yield Target("dumps", "ELF headers, notes, memory", seeds.dumps, mutators.structured, runs.dump)
    yield Target(
        "memory",
        "page tables, image, ring, domains, p2m, frame table, Linux's memory",
        _damaged_memory,
        mutators.in_memory,
        runs.host,
    )
    yield Target("notes", "ELF notes of all owners", seeds.blobs, mutators.notes, runs.notes)
    yield Target(
        "kdump",
        "kdump headers, bitmaps, descriptors, page codecs",
        seeds.kdumps,
        mutators.structured,
        runs.dump,
    )
    split_sets = mutators.parts(mutators.structured)
    yield Target("sets", "split sets", seeds.sets, split_sets, runs.dump_set)
    yield Target("flattened", "flattened records", seeds.flattened, _in_records, runs.dump)
    yield Target(
        "streams", "gzip, bzip2, xz, zstd, lz4 around dumps", seeds.streams, _in_stream, runs.dump
    )
    yield Target("readelf", "readelf's text", seeds.readelf_texts, mutators.text, runs.dump)
    yield Target("guests", "xl dump-core, xc_core", seeds.guests, mutators.structured, runs.dump)
    yield Target("raw", "raw memory", seeds.raw_memory, mutators.structured, runs.raw_dump)
    yield Target("console", "Xen's console", _consoles, mutators.text, runs.console)
    yield Target("linux-text", "Linux's panic", _linux_texts, mutators.text, runs.linux_text)
    yield Target("printk", "Linux's log by VMCOREINFO", _logs, _text_or_memory, runs.printk)
    yield Target("tables", "page tables alone", _tables, mutators.in_memory, runs.tables)
    yield Target("vmcoreinfo", "VMCOREINFO in memory", _vmcoreinfo, mutators.text, runs.vmcoreinfo)
    yield Target("symbols", "symbol files", _symbol_files, _map_or_file, runs.symbol_file)
    yield Target("servers", "debuginfod's answers", _servers, _said_or_file, runs.servers)
    yield Target("faulty", "files that go wrong", _several, mutators.structured, runs.faulty)
    yield Target("pipes", "dumps through pipes", _several, mutators.structured, runs.piped)
    yield Target("explain", "texts to explain", _texts, mutators.text, runs.explain)
    yield Target("commands", "every command on a dump", _several, _file, runs.command)
    yield Target("arguments", "command lines", _arguments, mutators.arguments, runs.arguments)
    yield Target("hooks", "configuration files, reports", hooks.seeds, hooks.mutate, hooks.run)


TARGETS: Final = tuple(rows())
