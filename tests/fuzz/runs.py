"""How each reader is asked, and how its answer is checked: what a row of TARGETS runs.

Each takes an input and the seed that it was made of, returns the kind of its answer in words, and
raises :class:`tests.fuzz.oracles.Fault` where a promise is broken; any other exception is one, too.
"""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import sys
import tempfile
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.builders.machine import machine
from tests.fuzz.faulty import ERRORS, FAULTS, FaultyObject
from tests.fuzz.mutators import SEPARATOR, split
from tests.fuzz.oracles import (
    Fault,
    check_command,
    check_inspection,
    check_object,
    check_text,
    is_one_line,
    outcome,
)
from tests.fuzz.seeds import Seed, as_raw, host_with_variables, sample, with_notes
from tests.test_namelist import NOWHERE
from vmcoretool import MemoryFault, VmcoreError, inspect_vmcore
from vmcoretool.addresses import Maddr, Vaddr
from vmcoretool.budget import Budget
from vmcoretool.cli import main
from vmcoretool.explain.texts import ERROR_TEXTS, find_texts, similar_texts
from vmcoretool.host.signature import normalised
from vmcoretool.inspection.open_host import CrashedHost, open_host
from vmcoretool.linux.log_text import Record
from vmcoretool.linux.panic import read_hardware, read_panic
from vmcoretool.linux.printk import log_lines
from vmcoretool.linux.vmcoreinfo import search_vmcoreinfo
from vmcoretool.memory import pae, x86_64
from vmcoretool.memory.virtual import VirtualMemory
from vmcoretool.notes.elf_note import Note, walk_notes
from vmcoretool.notes.vmcoreinfo import parse_vmcoreinfo
from vmcoretool.printable import log_line
from vmcoretool.sources.file import MemorySource
from vmcoretool.symbols.dwarf import members_of
from vmcoretool.symbols.file import open_namelist
from vmcoretool.vmcore import open_vmcore, read_vmcore
from vmcoretool.xen.panic import read_crash_text
from vmcoretool.xen.trace_text import read_stamp, read_trace

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE: Final = 4096
TEXT: Final = "TEXT"
VMCORE: Final = "VMCORE"
"""Stands for the dump in the words of a command."""


@cache
def _folder_of(process: int) -> Path:
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix=f"vmcoretool-fuzz-{process}-", dir=place))


def scratch() -> Path:
    """A folder for this process's files, in memory where there is such a place."""
    return _folder_of(os.getpid())


def written(data: bytes, name: str = "vmcore") -> Path:
    path = scratch() / name
    path.write_bytes(data)
    return path


# --- the library ---------------------------------------------------------------------------------


def inspected(parts: Sequence[bytes], base: int | None, **options: Any) -> str:
    """A dump opened and inspected; the answer in all its forms."""
    sources = [MemorySource(f"part-{number}", part) for number, part in enumerate(parts)]
    asked = {name: options.pop(name) for name in ("scan", "places") if name in options}
    try:
        with read_vmcore(*sources, **options) as vmcore:
            found = inspect_vmcore(vmcore, **{"places": NOWHERE, **asked})
            return check_inspection(found, base)
    except VmcoreError as error:
        return outcome(error)


def dump(data: bytes, seed: Seed) -> str:
    scan = ("auto", "auto", "never", "always")[_pick(data, 4)]
    return inspected([data], seed.base, scan=scan, budget=_budget(data))


def _budget(data: bytes) -> Budget | None:
    # now and then the caller has enough after some steps, or little time
    chosen = Random(zlib.crc32(data))
    left = chosen.choice((None, None, None, None, None, 0, 1, 3, 20))
    if left is None:
        return None if chosen.random() < 0.9 else Budget(seconds=0.003)
    calls = iter(range(left))
    return Budget(watch=lambda *_: next(calls, None) is not None)


def faulty(data: bytes, seed: Seed) -> str:
    """A dump in a file that goes wrong while it is read."""
    rng = Random(zlib.crc32(data))
    fault = rng.choice(list(FAULTS))
    try:
        with open_vmcore(FaultyObject(data, fault, rng)) as vmcore:
            kind = check_inspection(inspect_vmcore(vmcore, places=NOWHERE), seed.base)
            return f"{fault} {kind}"
    except VmcoreError as error:
        return f"{fault} {outcome(error)}"
    except OSError as error:
        if error.errno not in ERRORS or not is_one_line(str(error)):
            raise
        return f"{fault} {errno.errorcode[error.errno]}"


def dump_set(data: bytes, seed: Seed) -> str:
    return inspected(split(data), seed.base)


def raw_dump(data: bytes, seed: Seed) -> str:
    return inspected([as_raw(data)], seed.base, format_name="raw")


def notes(data: bytes, seed: Seed) -> str:
    return inspected([with_notes(seed.name, data)], seed.base)


def _pick(data: bytes, count: int) -> int:
    return zlib.crc32(data) % count


def host(data: bytes, seed: Seed) -> str:
    """What a script may ask of a host, all of it."""
    try:
        with open_host(str(written(data)), places=NOWHERE) as crashed:
            kind = check_inspection(crashed.inspection, seed.base)
            return f"{kind} {' '.join(_answers(crashed))}"
    except VmcoreError as error:
        return outcome(error)


def _answers(crashed: CrashedHost) -> list[str]:
    numbers = [domain.id for domain in crashed.domains[:3]]
    spaces = ["hypervisor", "machine", "cpu0", "cpu1", *(f"dom{number}" for number in numbers)]
    idle = crashed.inspection.idle_page_table
    at = int(idle.vaddr) if idle else 0xFFFF82D040000000
    asked: list[Any] = [crashed.console, *(lambda n=n: crashed.dmesg(n) for n in numbers)]
    asked += [lambda s=s: crashed.translate(at, s) for s in spaces if s != "machine"]
    asked += [lambda s=s: crashed.read(at, 256, s) for s in spaces]
    asked += [lambda s=s: crashed.read(0xFFFFFFFF81000000, 64, s) for s in spaces[4:]]
    return [_asked(question) for question in asked]


def _asked(question: Any) -> str:
    try:
        answer = question()
    except VmcoreError as error:
        return outcome(error)
    if isinstance(answer, tuple) and answer and isinstance(answer[0], str):
        check_text("\n".join(answer), "lines")
    return type(answer).__name__


# --- parts of the library ------------------------------------------------------------------------


def console(data: bytes, seed: Seed) -> str:
    """What is read out of the lines of Xen's console."""
    rows = data.split(b"\n")
    crash, trace, stamp = read_crash_text(rows), read_trace(rows), read_stamp(rows)
    said = [crash.panic, crash.cpu_basis, crash.command_line, stamp.date, trace.vcpu, *trace.frames]
    for text in filter(None, said):
        check_text(str(text), "what the console says")
    named = normalised(crash.panic) if crash.panic else ""
    known = [bool(text) for text in said[:5]]
    return f"{known} {len(trace.frames)} {named[:20]} {crash.dom0_died} {crash.dom0_not_built}"


def linux_text(data: bytes, seed: Seed) -> str:
    """What is read out of the lines of Linux's log."""
    records = [Record(number * 1000, line) for number, line in enumerate(data.split(b"\n"))]
    answers = []
    for enough in (False, True):
        found = read_panic(records, oops_is_enough=enough)
        hardware = read_hardware(records)
        for text in (*(found or ()), *(hardware or ())):
            if isinstance(text, str):
                check_text(text, "what Linux's log says")
        answers.append([bool(text) for text in found or ()] + [bool(hardware)])
    check_text("\n".join(log_line(record.text).replace("\t", " ") for record in records), "log")
    return str(answers)


MARK: Final = b"\n--behind--\n"
"""Between the text of an input and the bytes behind it."""


def printk(data: bytes, seed: Seed) -> str:
    """Linux's log by a VMCOREINFO, in front of the memory from address 0x1000 on."""
    text, _, memory = data.partition(MARK)
    note = Note(owner="VMCOREINFO", type=0, desc=text, offset=0, desc_offset=0)  # type: ignore[arg-type]
    info = parse_vmcoreinfo(note)

    def read(vaddr: int, size: int) -> bytes:
        at = vaddr - PAGE
        if at < 0 or at + size > len(memory):
            raise MemoryFault(Maddr(vaddr))
        return memory[at : at + size]

    budget = Budget()
    try:
        rows = list(log_lines(info, read, 4 if b"i686" in text else 8, budget))
    except VmcoreError as error:
        return outcome(error)
    check_text("\n".join(log_line(row).replace("\t", " ") for row in rows), "log")
    return f"{min(len(rows), 9)} {budget.cut_off}"


def tables(data: bytes, seed: Seed) -> str:
    """Walks through tables, and all that they map."""
    memory = machine(data)
    kinds = []
    for paging in (x86_64, pae):
        space = VirtualMemory(memory, Maddr(0), paging)
        for vaddr in (0, 0xFFFF82D040000000, 0xFFFF830000001000, 0xFF123000, (1 << 64) - 8):
            try:
                found = space.translate(vaddr)
                kinds.append(f"{found.page_size}")
                space.read(vaddr, 5000)
            except VmcoreError as error:
                kinds.append(outcome(error)[:24])
    budget = Budget()
    work = budget.work("runs", steps=2000)
    space = VirtualMemory(memory, Maddr(0), x86_64)
    runs = sum(1 for _ in space.runs(0xFFFF800000000000, 1 << 64, work))
    below = x86_64.leaves(memory, Maddr(0), 3, Vaddr(0xFFFF82D040000000))
    return f"{kinds} {min(runs, 9)} {min(len(below.runs), 9)}"


def vmcoreinfo(data: bytes, seed: Seed) -> str:
    """VMCOREINFO notes in memory, and in headers."""
    found = list(search_vmcoreinfo(machine(data), Budget()))
    back = list(search_vmcoreinfo(machine(data), Budget(), backwards=True))
    if {one.maddr for one in found} != {one.maddr for one in back}:
        raise Fault("backwards a search finds other notes")
    rows, odd = walk_notes(data, 0, "little")  # type: ignore[arg-type]
    for row in rows:
        info = parse_vmcoreinfo(row)
        info.symbols()
        for key in list(info.entries)[:20]:
            info.symbol(key), info.size(key), info.offset(key)
    for one in odd:
        check_text(one.message, "finding")
    return f"{min(len(found), 5)} {min(len(rows), 9)} {sorted({one.code for one in odd})}"


def symbol_file(data: bytes, seed: Seed) -> str:
    """A symbol file by itself, and beside a dump that it may belong to."""
    path = str(written(data, "xen-syms"))
    kinds = []
    try:
        with open_namelist(path) as found:
            kinds += [found.purpose, str(found.efi), str(found.dwarf), str(found.debug_only)]
            kinds += [str(found.dwarf_version), str(bool(found.build_id)), str(found.has_symbols)]
            kinds += [str(min(len(list(found.find_text("gcc (built) 1.0"))), 3))]
            kinds += [str(min(len(found.table().names), 9))]
    except VmcoreError as error:
        kinds.append(outcome(error))
    members = members_of(path, "unit.c", "sample")
    kinds.append(str(None if members is None else min(len(members), 3)))
    if seed.name.startswith(OF_BUILT):
        dump_of = host_with_variables()[0]
    else:
        dump_of = sample("xen-4.20-dom0-panic" if seed.base is None else "xen-4.8-dom0-panic")
    where = _PLACES[_pick(data, 4)]
    given: dict[str, Any] = {where: (_folder(data) if where == "search" else path,)}
    places = NOWHERE._replace(**given)
    return f"{kinds} {inspected([dump_of.data], dump_of.base, places=places)}"


OF_BUILT: Final = "of-built-"
_PLACES: Final = ("xen_syms", "vmlinux", "search", "xen_syms")
_NAMES: Final = (
    "xen-syms-4.8",
    "vmlinux",
    "a/b/xen-syms",
    "x.debug",
    "a/x.gz",
    "System.map",
    "n\n",
)


def _folder(data: bytes) -> str:
    # the file by several names, links in a circle, a FIFO, a link that leads nowhere
    folder = scratch() / "search"
    shutil.rmtree(folder, ignore_errors=True)
    chosen = Random(zlib.crc32(data))
    for name in chosen.sample(_NAMES, 4):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "xen-syms-link").symlink_to(chosen.choice(("nowhere", ".", "xen-syms-4.8")))
    (folder / "circle").symlink_to(folder)
    os.mkfifo(folder / "vmlinux-fifo")
    return str(folder)


def piped(data: bytes, seed: Seed) -> str:
    """A dump that comes through a pipe."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe, suppress(BrokenPipeError):
            pipe.write(data)

    thread = Thread(target=write)
    thread.start()
    try:
        ran = call(["inspect", "--json", f"/dev/fd/{reading}"])
    finally:
        os.close(reading)
        thread.join()
    values = check_command(ran.code, ran.out, ran.err, as_json=True, codes=(0, 1, 3, 4, 6))
    check_object(values[0], seed.base)
    return f"{ran.code} {values[0]['kind']}"


def servers(data: bytes, seed: Seed) -> str:
    """What a debuginfod server gives: what the program that asks it says, and the file."""
    said, _, file = data.partition(MARK)
    place = scratch() / "bin"
    place.mkdir(exist_ok=True)
    program = place / "debuginfod-find"
    written(file, "fetched")
    written(said, "said")
    answer = "exit 1" if _pick(data, 3) == 0 else f"echo {scratch()}/fetched"
    program.write_text(f"#!/bin/sh\n/bin/cat {scratch()}/said >&2\n{answer}\n")
    program.chmod(0o755)
    kept = dict(os.environ)
    os.environ.update({"PATH": str(place), "DEBUGINFOD_URLS": "http://127.0.0.1:1"})
    dump_of = sample("xen-4.8-dom0-panic")
    try:
        return inspected([dump_of.data], dump_of.base, places=NOWHERE._replace(debuginfod=True))
    finally:
        os.environ.clear()
        os.environ.update(kept)


def explain(data: bytes, seed: Seed) -> str:
    """Any text, as the message of a program."""
    text = data.decode("utf-8", "replace")
    rows = find_texts(text)
    for similar in similar_texts(text):
        check_text(similar, "similar text")
    words = [
        "explain",
        text.replace("\0", ""),
        *[str(path) for path in _a_dump()[_pick(data, 2) :]],
    ]
    as_json = _pick(data, 3) == 0
    ran = call([*words, *["--json"] * as_json])
    check_command(ran.code, ran.out, ran.err, as_json=as_json)
    return f"{ran.code} {[row.texts[0][:20] for row in rows[:3]]}"


@cache
def _a_dump_of(process: int) -> tuple[Path, ...]:
    return (written(sample("xen-4.8-dom0-panic").data, "dump-of-4.8"),)


def _a_dump() -> tuple[Path, ...]:
    return _a_dump_of(os.getpid())


# --- the command line ----------------------------------------------------------------------------


class Ran(NamedTuple):
    """What a command did: its exit code and what it wrote."""

    code: int
    out: bytes
    err: bytes


class _Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def call(words: Sequence[str], *, terminal: bool = False) -> Ran:
    """Run a command line in this process; no other program takes its place."""
    out, err = io.BytesIO(), io.BytesIO()
    kept = sys.stdout, sys.stderr, os.execv, os.execvp
    stream = _Terminal if terminal else io.TextIOWrapper
    sys.stdout = stream(out, "utf-8", "backslashreplace", write_through=True)
    sys.stderr = stream(err, "utf-8", "backslashreplace", write_through=True)
    os.execv = os.execvp = _refuse  # type: ignore[assignment]
    try:
        code = main.run(words)
        said = err.getvalue()
        if terminal:  # the line that says how far the work is, and what takes it away
            said = said.replace(b"\r", b"").replace(b"\x1b[K", b"")
        return Ran(int(code), out.getvalue(), said)
    finally:
        sys.stdout, sys.stderr, os.execv, os.execvp = kept


def _refuse(*given: object) -> None:
    raise FileNotFoundError(2, "no program is started here", str(given[0]))


COMMANDS: Final = tuple(
    tuple(row.split())
    for row in (
        "inspect VMCORE",
        "inspect -v VMCORE",
        "inspect --json VMCORE",
        "inspect -q VMCORE",
        "inspect --color always VMCORE",
        "crash VMCORE",
        "crash --json VMCORE",
        "crash --target dom0 VMCORE",
        "crash --run VMCORE",
        "notes VMCORE",
        "notes --json VMCORE",
        "vmcoreinfo VMCORE",
        "vmcoreinfo --source linux --json VMCORE",
        "vmcoreinfo --source xen --get CONFIG_X VMCORE",
        "vmcoreinfo --get PAGESIZE VMCORE",
        "vmcoreinfo --source linux -q VMCORE",
        "console VMCORE",
        "console --json VMCORE",
        "console -vv VMCORE",
        "inspect -vv --scan VMCORE",
        "inspect --json VMCORE VMCORE",
        "inspect -q VMCORE VMCORE",
        "cpus VMCORE",
        "cpus --json VMCORE",
        "domains VMCORE",
        "domains --json VMCORE",
        "dmesg VMCORE",
        "dmesg --json VMCORE",
        "dmesg --domain 1 VMCORE",
        "vtop VMCORE 0xffff82d04046e000",
        "vtop --json VMCORE 0xffff82d08046e000",
        "vtop --space dom0 VMCORE 0xffffffff81000000",
        "read VMCORE 0xffff82d04046e000 600",
        "read --json --space machine VMCORE 0x27a00000 64",
        "read --raw --space cpu0 VMCORE 0xffff830000000000 64",
        "read --physical VMCORE 0x1000 0x4000",
        "explain --json TEXT VMCORE",
        "explain TEXT VMCORE",
        "explain TEXT VMCORE VMCORE",
    )
)


def command(data: bytes, seed: Seed) -> str:
    """One of all commands, chosen by the input, on a damaged dump."""
    row = COMMANDS[_pick(data, len(COMMANDS))]
    text = ERROR_TEXTS[_pick(data, len(ERROR_TEXTS))].texts[0]
    path = str(written(data))
    as_json, raw = "--json" in row, "--raw" in row
    terminal = _pick(data, 5) == 0 and not raw
    words = [{VMCORE: path, TEXT: text}.get(word, word) for word in row]
    ran = call(words, terminal=terminal)
    codes = (0, 1, 3, 4, 5, 6) if "--run" in row else (0, 1, 3, 4, 6)
    out = b"" if raw else ran.out
    values = check_command(ran.code, out, ran.err, as_json=as_json, codes=codes)
    for value in values if row[0] == "inspect" else ():
        check_object(value, seed.base)
    return f"{' '.join(row)} {ran.code}"


_QUOTED: Final = re.compile(r"\S*['\"/\\\d]\S*")
_NEVER: Final = frozenset(("install", "uninstall", "run", "selftest", "report"))


def arguments(data: bytes, seed: Seed) -> str:
    """Any words; not those that change this system, which target "hooks" has."""
    words = [os.fsdecode(word) for word in data.split(SEPARATOR)]
    words = [word for word in words if word not in _NEVER][:40]
    dump_at = str(_a_dump()[0])
    words = [word.replace(VMCORE, dump_at).replace("\0", "") for word in words]
    if any(word.startswith(("/dev", "/proc", "/sys")) for word in words):
        return "a system's file"
    ran = call(words, terminal=_pick(data, 3) == 0)
    raw = "--raw" in words
    check_command(ran.code, b"" if raw else ran.out, ran.err, as_json=False)
    said = "".join(ran.err.decode().splitlines()[-1:]) if ran.code else ""
    return (
        f"{ran.code} {[word for word in words[:1] if word.isalpha()]} {_QUOTED.sub('', said)[:40]}"
    )
