"""Each input that users met gives its right answer: exit code and what is said."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support import ROOT, run, tool
from tests.test_fuzz_memory import limited
from vmcoretool import NotAXenHostError, open_host, open_vmcore
from vmcoretool.notes.elf_note import Note
from vmcoretool.notes.process import find_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FIELD = ROOT / "samples" / "field"
SAMPLE = ROOT / "samples" / "kdump-zlib" / "vmcore"


def header_of(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    block = bytearray(name.ljust(100, b"\0") + b"0000644\0" + bytes(16) + size.ljust(12, b"\0"))
    block = block.ljust(148, b"\0") + b" " * 8 + kind + bytes(100) + b"ustar\00000"
    block = block.ljust(512, b"\0")
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


class Row(NamedTuple):
    """What ``inspect`` ends with and says, on one screen and with -v, and what it must not say."""

    name: str
    exit: int
    says: tuple[str, ...]
    never: tuple[str, ...] = ()
    screen: tuple[str, ...] = ()
    verbose: tuple[str, ...] = ()


REPORTED = "xen_phys_start 0x27a00000 REPORTED"
VERIFIED = "xen_phys_start 0x27a00000 VERIFIED"
ROWS = (
    Row(
        "flattened-kdump-cut.flat",
        1,
        ("CUT SHORT", "Xen 4.8", "idle_pg_table vaddr 0xffff82d0802de000"),
        ("note-damaged", "page-map-damaged"),
        (REPORTED,),
    ),
    Row(
        "vmcore-incomplete.kdump",
        1,
        ("CUT SHORT",),
        ("refuted",),
        (REPORTED, "57 pages not in it"),
        ("57 pages left out or lost", "not checked, its page was lost"),
    ),
    Row(
        "nested-xen-vcpu.xl-dump-core.xz",
        6,
        ("4.8.5", "Hardware Dom0 crashed", "a single Xen guest", "its CPUs ran it"),
        ("crash VMLINUX", "cpu-not-saved"),
        (VERIFIED,),
    ),
    Row(
        "nested-xen.xl-dump-core.xz",
        6,
        ("4.8.5", "none of its saved CPUs ran it", "answer from this dump"),
        ("take a dump of the guest", "crash VMLINUX", "hung"),
        (VERIFIED,),
    ),
    Row(
        "process.core.xz",
        6,
        ("core of the process xenstored, not of a machine", "gdb xenstored"),
        ("without any trace of Xen", "checksum"),
    ),
    Row("kdump-armv7l", 6, ("kdump-armv7l",), ("i386",)),
    Row(
        "panic-watchdog.elf.xz",
        0,
        ("Watchdog timer detects that CPU3 is stuck!", "nmi", "on CPU 3", "_spin_lock"),
    ),
    Row("xcp-ng-crash-folder", 5, ("xcp-ng-crash-folder/readelf-Wn.out",)),
    Row(
        "xcp-ng-crash-folder/xen.log",
        4,
        ("text of Xen's console", "Hardware Dom0 crashed: Executing kexec image on cpu1"),
    ),
    Row("xcp-ng-crash-folder/readelf-Wn.out", 1, ("4.8", "dump of a Xen host"), (), (REPORTED,)),
    Row("xcp-ng-crash-folder/readelf-Wl.out", 3, ("not a dump",)),
    Row("xcp-ng-crash-folder/xen-crashdump-analyser.log", 3, ("the file is empty",)),
    Row(
        "readelf-without-payload.txt",
        1,
        ("crash dump of a Xen host", "2 CPUs", "newer readelf"),
        ("note-damaged", "hung", "notes-missing", "cpu-not-saved"),
        (),
        ("XEN_ELFNOTE_CRASH_INFO of 10 words", "VMCOREINFO_XEN", "xen.log"),
    ),
    Row("lfs-pointer", 4, ("Git LFS", "git lfs pull")),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("verbose", [False, True])
def test_right_answer(row: Row, *, verbose: bool) -> None:
    done = run("inspect", *["-v"] * verbose, FIELD / row.name)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == row.exit
    for words in (*row.says, *(row.verbose if verbose else row.screen)):
        assert words in said
    for words in row.never:
        assert words not in said


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_json_agrees_with_the_exit_code(row: Row) -> None:
    done = run("inspect", "--json", FIELD / row.name)
    found = json.loads(done.stdout)
    assert done.returncode == row.exit
    assert found["dump"]["paths"] == [str(FIELD / row.name)]
    if row.exit in (3, 4, 5):
        assert found["kind"] is None
        assert found["error"]["exit"] == row.exit
        assert found["error"]["message"]


def test_machine_is_called_as_its_headers_call_it() -> None:
    found = json.loads(run("inspect", "--json", FIELD / "kdump-armv7l").stdout)
    assert found["dump"]["architecture"] == "arm"


@pytest.mark.parametrize("name", [b"vm\xffcore", b"vm core\x1b]0;x\x07", "vmcöre".encode()])
def test_any_name_in_an_archive_is_shown_for_the_shell(tmp_path: Path, name: bytes) -> None:
    data = SAMPLE.read_bytes()
    path = tmp_path / "report.tar"
    path.write_bytes(header_of(name, b"%011o" % len(data)) + data)
    said = run("inspect", path).stderr
    assert all(line.isprintable() for line in said.splitlines())
    words = said.rpartition(" -- ")[2].strip()
    done = subprocess.run(["bash", "-c", f"printf %s {words}"], capture_output=True, check=True)
    assert done.stdout == name


def test_facts_of_a_nested_xen() -> None:
    done = run("inspect", "--json", FIELD / "nested-xen-vcpu.xl-dump-core.xz")
    found: dict[str, Any] = json.loads(done.stdout)
    assert (found["kind"], found["xen"], found["relocation"]) == ("xen-domain", None, None)
    assert found["commands"] == []
    nested = found["nested"]
    assert nested["xen"]["version"] == "4.8.5"
    assert nested["xen"]["panic"].startswith("Hardware Dom0 crashed")
    assert nested["relocation"]["status"] == "verified"
    assert nested["relocation"]["xen_phys_start"] == "0x27a00000"
    sources = {row["source"] for row in nested["relocation"]["evidence"]}
    assert "page-tables" in sources
    assert nested["idle_page_table"]["maddr"] == "0x27cde000"


@pytest.mark.parametrize("name", ["nested-xen-vcpu", "nested-xen"])
def test_commands_answer_from_a_nested_xen(name: str) -> None:
    path = FIELD / f"{name}.xl-dump-core.xz"
    done = run("console", path)
    assert done.returncode == 0
    assert "Hardware Dom0 crashed: Executing kexec image on cpu0" in done.stdout
    done = run("domains", "--json", path)
    assert [row["id"] for row in json.loads(done.stdout)] == [0]
    assert run("cpus", path).returncode == 0
    done = run("vtop", path, "0xffff82d080115670")
    assert done.returncode == 0
    with open_host(str(path)) as host:
        assert host.verdict.xen_phys_start == 0x27A00000
        assert "Hardware Dom0 crashed" in host.console()[-2]


def test_guest_that_ran_something_else_is_no_host(tmp_path: Path) -> None:
    # its cr3 leads to a table that maps nothing of Xen: what a scan finds may be of an earlier boot
    whole = bytearray(lzma.decompress((FIELD / "nested-xen-vcpu.xl-dump-core.xz").read_bytes()))
    at = whole.index((0x27CDE000).to_bytes(8, "little"))
    with open_vmcore(FIELD / "nested-xen-vcpu.xl-dump-core.xz") as vmcore:
        tables = [
            extent.start
            for extent in vmcore.memory.pages.extents()
            if not any(vmcore.memory.read(extent.start + 8 * 256, 8 * 16))
        ]
    whole[at : at + 8] = tables[0].to_bytes(8, "little")
    path = tmp_path / "guest"
    path.write_bytes(whole)
    for option in ("--no-scan", "--scan"):
        done = run("inspect", "--json", option, path)
        found = json.loads(done.stdout)
        assert (done.returncode, found["kind"], found["nested"]) == (6, "xen-domain", None)


def test_dump_of_a_guest_without_a_xen_is_no_host(tmp_path: Path) -> None:
    # the same guest with its image of Xen taken out
    whole = bytearray(lzma.decompress((FIELD / "nested-xen.xl-dump-core.xz").read_bytes()))
    whole[0x2000:] = bytes(len(whole) - 0x2000)
    path = tmp_path / "guest"
    path.write_bytes(whole)
    done = run("inspect", path)
    assert "Xen host itself" not in done.stdout
    with pytest.raises((NotAXenHostError, ValueError)):
        open_host(str(path))


@pytest.mark.parametrize("below", ["", "127.0.0.1-x", "sosreport-h/var/crash/2026-11-23"])
def test_folder_names_the_dump_in_it(tmp_path: Path, below: str) -> None:
    folder = tmp_path / below
    folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "vmcore.conf").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    done = run("inspect", tmp_path)
    assert (done.returncode, "it: " in done.stderr) == (5, False)
    (folder / "vmcore").touch()
    done = run("inspect", tmp_path)
    assert done.returncode == 5
    assert f"name the dump file in it: {folder / 'vmcore'}" in done.stderr


# --- archives, and other files in a dump's place ------------------------------------------------


def plain(data: bytes) -> bytes:
    return data


HOSTILE_ARCHIVES = {
    "long names": header_of(b"././@LongLink", b"00000000001", b"L") * 3000,
    "pax headers": (header_of(b"x", b"00000000001", b"x") + b"1".ljust(512, b"\0")) * 3000,
    "pax lengths": header_of(b"x", b"00003600000", b"x") + b"1" * (1 << 20),
    "negative": header_of(b"a", b"\xff" * 12) + bytes(1024),
    "minus": header_of(b"a", b"-0000002000") + bytes(1024),
    "backwards": header_of(b"a", b"00000000000") * 2 + header_of(b"b", b"-0000002000"),
    "underscore": header_of(b"a", b"1_000") + bytes(1024),
    "sparse": header_of(b"a", b"00000001000", b"S") + b"\xff" * 512,
    "huge": header_of(b"a", b"\x80" + b"\xff" * 11) + bytes(1024),
    "words": header_of(b"a", b"12345678xyz") + bytes(1024),
    "pax size": header_of(b"x", b"00000000031", b"x")
    + b"25 size=9999999999999999\n".ljust(512, b"\0"),
}


@pytest.mark.parametrize("kind", HOSTILE_ARCHIVES)
@pytest.mark.parametrize("pack", [plain, gzip.compress])
def test_hostile_archive_is_named_and_no_more(
    tmp_path: Path, kind: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "report"
    path.write_bytes(pack(HOSTILE_ARCHIVES[kind]))
    done = limited("inspect", path)
    assert done.code == 4
    assert "this is a tar archive" in done.err


def test_no_name_in_a_file_is_an_option_of_a_command(tmp_path: Path) -> None:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        row = tarfile.TarInfo("--to-command=sh")
        row.size = SAMPLE.stat().st_size
        archive.addfile(row, io.BytesIO(SAMPLE.read_bytes()))
    path = tmp_path / "report.tar"
    path.write_bytes(held.getvalue())
    assert f"tar -xf {path} -- --to-command=sh" in run("inspect", path).stderr
    core = bytearray(lzma.decompress((FIELD / "process.core.xz").read_bytes()))
    at = core.index(b"xenstored\0")
    core[at : at + 16] = b"-ex=!id>x".ljust(16, b"\0")
    path.write_bytes(core)
    said = run("inspect", path).stdout
    assert f"gdb PROGRAM {path}" in " ".join(said.replace("\\\n", "").split())
    dashed = tmp_path / "-kz"
    dashed.write_bytes(SAMPLE.read_bytes())
    done = tool("inspect", "--", "-kz", cwd=tmp_path)
    assert b"vmcoretool console ./-kz" in done.stdout
    assert b" -kz " not in done.stdout


@pytest.mark.parametrize("pack", [plain, gzip.compress, bz2.compress, lzma.compress])
def test_archive_names_the_dump_in_it(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    member = "sosreport-a b/var/crash/127.0.0.1-2026-11-23/vmcore"
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, data in (("sosreport-a b/log", b"x" * 5000), (member, SAMPLE.read_bytes())):
            row = tarfile.TarInfo(name)
            row.size = len(data)
            archive.addfile(row, io.BytesIO(data))
    path = tmp_path / "report"
    path.write_bytes(pack(held.getvalue()))
    done = run("inspect", path)
    assert done.returncode == 4
    assert f"it holds {member}" in done.stderr
    assert f"tar -xf {path} -- '{member}'" in done.stderr


def test_archive_that_is_damaged_or_without_a_dump_is_named_all_the_same(tmp_path: Path) -> None:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        row = tarfile.TarInfo("log\x1b[31m")
        row.size = 600
        archive.addfile(row, io.BytesIO(b"x" * 600))
    whole = held.getvalue()
    for data in (whole, whole[:700], whole[:512] + b"\xff" * 2048):
        path = tmp_path / "report.tar"
        path.write_bytes(data)
        done = run("inspect", path)
        assert done.returncode == 4
        assert "this is a tar archive" in done.stderr
        assert "it holds" not in done.stderr


@pytest.mark.parametrize("size", [1, 300, 4096, 5 << 20])
def test_file_of_zeros_is_called_so(tmp_path: Path, size: int) -> None:
    path = tmp_path / "vmcore"
    path.write_bytes(bytes(size))
    done = run("inspect", path)
    assert done.returncode == 3
    assert "nothing but zeros" in done.stderr


def test_log_of_linux_is_called_so_with_its_panic(tmp_path: Path) -> None:
    path = tmp_path / "vmcore-dmesg.txt"
    lines = [f"[    {number}.000000] line\x1b[31m" for number in range(9)]
    lines.append("[   24.800000] Kernel panic - not syncing: sysrq triggered crash")
    path.write_text("\n".join(lines))
    done = run("inspect", path)
    assert done.returncode == 4
    assert "the log of a Linux kernel" in done.stderr
    assert "Kernel panic - not syncing: sysrq triggered crash" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ProblemType: KernelCrash\nVmCore: base64\n", "apport-unpack"),
        ("/annex/objects/SHA256E-s12--aa\n", "git annex get"),
    ],
)
def test_file_in_a_dumps_place_says_how_to_get_the_dump(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "vmcore"
    path.write_text(text)
    done = run("inspect", path)
    assert done.returncode == 4
    assert said in done.stderr


# --- the core of a process ----------------------------------------------------------------------


def note(kind: int, desc: bytes, owner: str = "CORE") -> Note:
    return Note(owner, kind, desc, 0, 0)  # type: ignore[arg-type]


def test_process_of_a_core() -> None:
    named = bytes(40) + b"xen\x1b[31m".ljust(16, b"\0") + bytes(80)
    assert find_process([note(3, named), note(6, bytes(16))]) == ("xen\\x1b[31m",)
    assert find_process([note(3, bytes(28) + b"qemu".ljust(96, b"\0")), note(6, b"")]) == ("qemu",)
    assert find_process([note(3, b"short"), note(0x46494C45, b"")]) == ("",)
    # /proc/kcore has NT_PRPSINFO, too
    assert find_process([note(3, named), note(4, b"")]) is None
    assert find_process([note(6, b"", "LINUX")]) is None
