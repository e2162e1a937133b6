"""Run libkdumpfile's own container tests, its scripts unchanged, against vmcoretool.

    python3 -m tests.peers.libkdumpfile_suite /path/to/libkdumpfile

The scripts write dumps with that project's generators, which are compiled here, and read them with
programs called ``dumpdata``, ``checkattr`` and ``multiread``; here these are this module.  Only
what a script asks is answered, from vmcoretool's public names; an attribute that vmcoretool does
not have fails the check, as it would there.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import vmcoretool
from vmcoretool.addresses import Maddr
from vmcoretool.formats.kdump.structs import disk_dump_header, kdump_sub_header
from vmcoretool.notes.guest_context import context_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.vmcore import Vmcore

GENERATORS: Final = ("mkelf", "mkdiskdump", "mkbinary")
READERS: Final = ("dumpdata", "checkattr", "multiread")
SCRIPTS: Final = ("elf-*", "diskdump-*", "zero-size")
PAGE: Final = 4096
OK, FAILED, ERROR = 0, 1, 99

# why a script is not expected to pass; every other one is expected to
LEFT_OUT: Final = {
    "diskdump-v6-arm": "registers of machines on which Xen saves no vmcore are not read",
    "diskdump-split-mixed": "its last check is of file.description; the reads are right",
    "elf-dom0-no-phys_base": "Linux virtual addresses need a symbol file",
    "elf-xen_prstatus": "all attributes are right; guest virtual addresses are not read",
    "elf-empty-s390": "a machine of 31 bits",
    "elf-prstatus-aarch64": "as diskdump-v6-arm",
    "elf-prstatus-arm": "as diskdump-v6-arm",
    "elf-prstatus-ppc64": "as diskdump-v6-arm",
    "elf-prstatus-riscv64": "as diskdump-v6-arm",
    "elf-prstatus-s390x": "as diskdump-v6-arm",
    "elf-prstatus-x86_64": "its last step changes registers of an open dump",
    "elf-virt-phys-clash": "virtual addresses of PT_LOAD segments are not an address space here",
    "elf-vmcoreinfo": "page tables of native Linux",
}
# not run alone: others call them
PARTS: Final = ("elf-empty", "diskdump-empty", "diskdump-basic")


def build(source: Path, folder: Path) -> None:
    """Compile the generators of a libkdumpfile checkout into ``folder``."""
    headers = folder / "include" / "libkdumpfile"
    headers.mkdir(parents=True)
    for template in (source / "include" / "libkdumpfile").glob("*.h.in"):
        text = re.sub(r"@[A-Z_]*@", "1", template.read_text())
        (headers / template.stem).write_text(text)
    codecs = ("ZLIB", "LZO", "SNAPPY", "ZSTD")
    (folder / "config.h").write_text("".join(f"#define USE_{name} 1\n" for name in codecs))
    tests = source / "tests"
    shared = [str(tests / f"{name}.c") for name in ("data", "param", "rle", "slurp")]
    for data in tests.glob("*.data"):
        (folder / data.name).symlink_to(data)
    libraries = ("-lz", "-llzo2", "-lsnappy", "-lzstd")
    for name in GENERATORS:
        includes = (f"-I{folder}", f"-I{folder / 'include'}", f"-I{tests}", "-D_GNU_SOURCE", "-w")
        own = str(tests / f"{name}.c")
        command = ["cc", "-O1", *includes, "-o", str(folder / name), own, *shared, *libraries]
        subprocess.run(command, check=True)
    for name in READERS:
        program = folder / name
        root = Path(__file__).resolve().parents[2]
        line = f'PYTHONPATH={root} exec {sys.executable} -m {__spec__.name} {name} "$@"'
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)


def scripts(source: Path) -> list[Path]:
    """The test scripts that concern containers."""
    found = {path for pattern in SCRIPTS for path in (source / "tests").glob(pattern)}
    return sorted(path for path in found if not path.suffix and os.access(path, os.X_OK))


def run_script(script: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """One script, as ``make check`` runs it."""
    environment = {**os.environ, "srcdir": str(script.parent), "SIZEOF_OFF_T": "8"}
    return subprocess.run(
        ["sh", str(script)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def run_suite(source: Path) -> int:
    """Run all scripts and print a line for each; the exit status says whether all passed."""
    failed = passed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(source, folder)
        for script in scripts(source):
            if script.name in PARTS:
                continue
            done = run_script(script, folder)
            if done.returncode == 0:
                passed += 1
                print(f"pass  {script.name}")
            elif script.name in LEFT_OUT:
                print(f"left  {script.name}: {LEFT_OUT[script.name]}")
            else:
                failed += 1
                print(f"FAIL  {script.name}\n{(done.stdout + done.stderr)[-600:]}")
    print(f"{passed} passed, {failed} failed")
    return OK if not failed else FAILED


def dumpdata(arguments: list[str]) -> int:
    """``dumpdata [-n files] [-o ostype] [-s size] [-z] file... [space:]address length...``."""
    parser = argparse.ArgumentParser(prog="dumpdata")
    parser.add_argument("-n", type=int, default=1, dest="files")
    parser.add_argument("-o")
    parser.add_argument("-s", type=int, default=1, dest="unit")
    parser.add_argument("-z", action="store_true")
    parser.add_argument("words", nargs="+")
    options = parser.parse_intermixed_args(arguments)
    result = OK
    try:
        vmcore = vmcoretool.open_vmcore(*options.words[: options.files])
    except vmcoretool.VmcoreError as error:
        print(error, file=sys.stderr)
        return ERROR
    ranges = options.words[options.files :]
    with vmcore:
        for place, length in zip(ranges[::2], ranges[1::2], strict=True):
            space, _, address = place.rpartition(":")
            at, size = int(address, 0), int(length, 0) * options.unit
            if space in ("", "MACHPHYSADDR"):
                reading = machine(vmcore, at, size, zero=options.z)
            else:
                reading = virtual(vmcore, at, size)
            for data in reading:
                if isinstance(data, int):
                    print("\n".join([" ".join(["??"] * 16)] * (data // 16)))
                    result = FAILED
                    at += data
                else:
                    show(data, at, options.unit, vmcore)
                    at += len(data)
            print("\n" if at % 16 else "", end="")
    return result


def machine(vmcore: Vmcore, address: int, size: int, *, zero: bool) -> Iterator[bytes | int]:
    """Machine memory as that library reads it: absent parts of a page that is there are zeros.

    Yields bytes, or how many there are none of.
    """
    while size:
        step = min(size, PAGE - address % PAGE)
        try:
            yield vmcore.memory.read(Maddr(address), step)
        except vmcoretool.MemoryFault as error:
            page = address & -PAGE
            there = any(part.start < page + PAGE and page < part.end for part in extents(vmcore))
            excluded = vmcore.memory.pages.is_excluded(address)
            if not there or (excluded and not zero):
                print(f"{'Excluded page: ' if excluded else ''}{error}", file=sys.stderr)
                yield step
            else:
                single = range(address, address + step)
                yield b"".join(vmcore.memory.read_some(byte, 1) or b"\0" for byte in single)
        address += step
        size -= step


def virtual(vmcore: Vmcore, address: int, size: int) -> Iterator[bytes | int]:
    """Virtual memory, where vmcoretool has a way to it."""
    del vmcore
    print(f"no way to {size} bytes at virtual {address:#x}", file=sys.stderr)
    yield size


def show(data: bytes, address: int, unit: int, vmcore: Vmcore) -> None:
    """Print numbers of ``unit`` bytes; a line ends where an address divides by 16."""
    order = vmcore.container.machine.byte_order
    for at in range(0, len(data), unit):
        number = int.from_bytes(data[at : at + unit], order)
        print(f"{number:0{2 * unit}X}", end=" " if (address + at + unit) % 16 else "\n")


def extents(vmcore: Vmcore) -> list[vmcoretool.Extent]:
    """What the dump describes."""
    return list(vmcore.memory.pages.extents())


def checkattr(arguments: list[str]) -> int:
    """``checkattr file... < "key = type: value"``."""
    result = OK
    with vmcoretool.open_vmcore(*arguments) as vmcore:
        known = dict(attributes(vmcore))
        text = sys.stdin.read().replace("\\\n", "")
        for line in text.splitlines():
            key, _, wanted = (part.strip() for part in line.partition("="))
            if not key:
                continue
            kind, _, value = (part.strip() for part in wanted.partition(":"))
            if kind == "directory" or (kind == "number" and not value) or not ours(key):
                continue
            if key not in known or not same(kind, value, known[key]):
                print(f"{key}: wanted {wanted!r}, is {known.get(key)!r}", file=sys.stderr)
                result = FAILED
    return result


def ours(key: str) -> bool:
    """Whether an attribute says something of the dump, not of that library's own workings."""
    return not key.startswith(("cache.", "arch.page_", "arch.pteval"))


def same(kind: str, value: str, have: object) -> bool:
    """Whether an attribute has the wanted value."""
    if kind == "string":
        return have == value
    if kind in ("number", "address"):
        return have == int(value, 0)
    if kind == "blob":
        return have == bytes.fromhex(value)
    if kind == "bitmap":
        wanted = bytes(int(word, 16) for word in value.split())
        return isinstance(have, int) and have == int.from_bytes(wanted, "little")
    return False


def attributes(vmcore: Vmcore) -> Iterator[tuple[str, object]]:
    """The attributes by libkdumpfile's names."""
    machine_facts = vmcore.container.machine
    wide = machine_facts.word_size
    yield (
        "file.format",
        {"kdump": "diskdump", "xen-core": "xc_core_elf"}.get(
            vmcore.container.format, vmcore.container.format
        ),
    )
    yield "file.set.number", len(vmcore.paths)
    architecture = machine_facts.architecture
    yield "arch.name", {"i386": "ia32"}.get(architecture, architecture)
    yield "arch.byte_order", 1 if machine_facts.byte_order == "little" else 0
    yield "arch.ptr_size", wide
    yield from uts(vmcore)
    info = vmcore.vmcoreinfo_linux
    if info:
        for key, value in info.entries.items():
            yield f"linux.vmcoreinfo.lines.{key}", value
    pages = vmcore.memory.pages
    yield "file.pagemap", bits(vmcore, pages.is_present)
    yield "memory.pagemap", bits(vmcore, lambda at: pages.is_present(at) or pages.is_excluded(at))
    for note in vmcore.notes:
        if note.owner == "ERASEINFO":
            yield "file.eraseinfo.raw", note.desc
        if (note.owner, note.type) == ("CORE", 4):
            yield "linux.task_struct", note.desc
    yield "cpu.number", len(vmcore.cpus)
    for state in vmcore.cpus:
        block = state.notes[0].desc if state.notes else section(vmcore)
        pid = 32 if len(block) >= 328 else 24
        yield f"cpu.{state.cpu}.PRSTATUS", block
        yield f"cpu.{state.cpu}.XEN_PRSTATUS", block
        yield f"cpu.{state.cpu}.pid", int.from_bytes(block[pid : pid + 4], machine_facts.byte_order)
        control = {"cr0": state.cr0, "cr2": state.cr2, "cr3": state.cr3, "cr4": state.cr4}
        for register, word in {**control, **state.registers}.items():
            yield f"cpu.{state.cpu}.reg.{register}", word


def uts(vmcore: Vmcore) -> Iterator[tuple[str, object]]:
    """What a kdump header carries, through the declaration the reader uses."""
    if vmcore.container.format != "kdump":
        return
    source, facts = vmcore.sources[0], vmcore.container.machine
    bits = 8 * (facts.word_size or 8)
    main = disk_dump_header(bits, facts.byte_order).parse(source.pread(512, 0))
    names = ("sysname", "nodename", "release", "version", "machine", "domainname")
    for at, field in enumerate(names):
        yield f"linux.uts.{field}", main.utsname[65 * at :][:65].split(b"\0")[0].decode()
    version = [int(part) for part in re.findall(r"\d+", main.utsname[130:195].decode())]
    yield "linux.version_code", version[0] << 16 | version[1] << 8 | version[2]
    yield "max_pfn", main.max_mapnr
    sub = kdump_sub_header(bits, facts.byte_order, main.header_version, packed=True)
    fields = sub.parse(source.pread(512, main.block_size))
    yield "linux.phys_base", fields.phys_base
    if getattr(fields, "size_eraseinfo", 0):
        yield "file.eraseinfo.raw", source.pread(fields.size_eraseinfo, fields.offset_eraseinfo)


def section(vmcore: Vmcore) -> bytes:
    """A dump-core file of one virtual CPU: its vcpu_guest_context, by the text's only non-zeros."""
    source = vmcore.sources[0]
    return source.pread(context_size(8), 0x1000)


def bits(vmcore: Vmcore, there: object) -> int:
    """A number with a bit for each page that is there."""
    result = 0
    assert callable(there)
    for extent in extents(vmcore):
        for page in range(extent.start // PAGE, -(-extent.end // PAGE)):
            start = max(page * PAGE, extent.start)
            result |= bool(there(start)) << page
    return result


def multiread(arguments: list[str]) -> int:
    """``multiread -t seconds -n threads file first last``: pages read by many threads at once."""
    seconds, threads = float(arguments[1]), int(arguments[3])
    path, first, last = arguments[4], int(arguments[5], 0), int(arguments[6], 0)
    failures: list[str] = []
    seen: dict[int, bytes] = {}
    with vmcoretool.open_vmcore(path) as vmcore:
        end = time.monotonic() + min(seconds, 1)

        def work(seed: int) -> None:
            page = seed
            while time.monotonic() < end and not failures:
                page = (page * 1103515245 + 12345) % (last - first)
                try:
                    data = vmcore.memory.read(Maddr((first + page) * PAGE), PAGE)
                except vmcoretool.VmcoreError as error:
                    failures.append(str(error))
                else:
                    if data != seen.setdefault(page, data):
                        failures.append(f"page {page} has other bytes")

        workers = [threading.Thread(target=work, args=(seed,)) for seed in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    for failure in failures:
        print(failure, file=sys.stderr)
    return FAILED if failures else OK


def main(arguments: list[str]) -> int:
    """The suite, or one of its readers by name."""
    if arguments and arguments[0] in READERS:
        reader = {"dumpdata": dumpdata, "checkattr": checkattr, "multiread": multiread}
        return reader[arguments[0]](arguments[1:])
    if len(arguments) != 1 or not shutil.which("cc"):
        print(__doc__, file=sys.stderr)
        return ERROR
    return run_suite(Path(arguments[0]).resolve())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
