"""Symbol files and their tables: what is named must be there, and hostile ones cost little."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from tests.builders.symbol_file import symbol_file
from tests.support import ROOT, open_bytes, tool
from tests.test_fuzz_streams import limited, raw_block, zeros_block
from vmcoretool import inspect_vmcore, open_vmcore
from vmcoretool.addresses import Vaddr
from vmcoretool.budget import Budget
from vmcoretool.errors import MissingSymbolError, NamelistError
from vmcoretool.symbols import debuginfod, folders
from vmcoretool.symbols.candidates import Candidate, find_candidates, look_at
from vmcoretool.symbols.file import open_namelist
from vmcoretool.symbols.folders import Folders, unreal_devices
from vmcoretool.symbols.places import Places
from vmcoretool.symbols.table import make_symbols

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLE = ROOT / "samples/xen-4.8-dom0-panic/vmcore"
NOWHERE = Places(standard=(), build_ids=())
XEN = 0xFFFF_82D0_4000_0000
SYMBOLS = {"_start": XEN, "idle_pg_table": XEN + 0x5000, "kexec_crash": XEN + 0x9000}
LOOK = (
    "import sys; from vmcoretool.symbols.candidates import look_at\n"
    "print(look_at(sys.argv[1], '--search').error)"
)
MEMBERS = (
    "import sys; from vmcoretool.symbols.dwarf import members_of\n"
    "print(members_of(sys.argv[1], 'common/domain.c', 'domain'))"
)


# --- a named file must be there


@pytest.mark.parametrize("option", ["--xen-syms", "--vmlinux"])
def test_named_file_that_is_missing_is_refused(option: str) -> None:
    for command in ("inspect", "console"):
        done = tool(command, option, "/nope", SAMPLE)
        assert done.returncode == 5
        assert b"/nope: No such file or directory" in done.stderr
        assert not done.stdout


def test_missing_file_is_an_error_of_the_system() -> None:
    with open_vmcore(SAMPLE) as vmcore:
        with pytest.raises(FileNotFoundError):
            inspect_vmcore(vmcore, places=NOWHERE._replace(xen_syms=("/nope",)))
        inspection = inspect_vmcore(vmcore, places=NOWHERE._replace(search=("/nope",)))
    codes = [found.code for found in inspection.findings]
    assert "namelist-search-incomplete" in codes


# --- folders


def test_made_up_file_systems_are_not_searched(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/vmlinux").write_bytes(b"")
    (tmp_path / "link").symlink_to("/proc/self")
    if Path("/proc/self").stat().st_dev not in unreal_devices():
        pytest.skip("/proc is not mounted as such")
    assert list(Folders().files(str(tmp_path))) == [str(tmp_path / "real/vmlinux")]


def test_no_table_of_mounts_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MOUNTS", "/nope")
    assert unreal_devices() == set()


def test_folders_refused_alike_are_one_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
    real = os.scandir

    def refused(path: str) -> Any:
        if Path(path) != tmp_path:
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refused)
    found = find_candidates(NOWHERE._replace(search=(str(tmp_path),)), Budget())
    assert found.reasons == (f"{tmp_path / 'a'} and 2 more folders: Permission denied",)


# --- hostile files


def test_section_names_in_one_text_without_an_end(tmp_path: Path) -> None:
    count = 60_000
    head = bytearray(64)
    head[:7] = b"\x7fELF\x02\x01\x01"
    struct.pack_into("<H", head, 16, 2)
    struct.pack_into("<Q", head, 40, 64)
    struct.pack_into("<3H", head, 58, 64, count, 0)
    row = struct.pack("<IIQQQQIIQQ", 1, 3, 0, 0, 64 + 64 * count, 1 << 20, 0, 0, 0, 0)
    path = tmp_path / "vmlinux-names"
    path.write_bytes(bytes(head) + row * count + b"A" * (1 << 20))
    assert limited("-c", LOOK, str(path)).status == 0


def test_symbol_tables_by_the_thousand(tmp_path: Path) -> None:
    count = 60_000
    data = bytearray(64)
    data[:7] = b"\x7fELF\x02\x01\x01"
    struct.pack_into("<H", data, 16, 2)
    struct.pack_into("<Q", data, 40, 64)
    struct.pack_into("<3H", data, 58, 64, count, 0)
    at, size = 64 + 64 * count, 16 << 20
    row = struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, at, size, 1, 0, 0, 24)
    path = tmp_path / "vmlinux-tables"
    path.write_bytes(bytes(data) + row * count)
    os.truncate(path, at + size)
    script = (
        "import sys; from vmcoretool.symbols.file import open_namelist\n"
        "from vmcoretool.errors import NamelistError\n"
        "with open_namelist(sys.argv[1]) as file:\n"
        "    try: file.symbols()\n"
        "    except NamelistError as error: print(error.what)"
    )
    done = limited("-c", script, str(path))
    assert (done.status, done.stdout) == (0, b"the symbol tables are absurdly large\n")


def test_packed_candidate_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    block = zeros_block(1 << 17)
    frame = b"\x28\xb5\x2f\xfd\x00\x58" + raw_block(b"\x7fELF" + bytes(60)) + block * (1 << 16)
    path = tmp_path / "vmlinux.zst"
    path.write_bytes(frame + raw_block(b"", last=True))
    done = limited("-c", LOOK, str(path))
    assert done.stdout == b"zstd: more than 80 MiB inside\n", done.stderr


def test_packed_candidate_ends_with_the_search(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux.zst"
    path.write_bytes(zstandard.compress(b"\x7fELF" + os.urandom(4 << 20)))
    budget = Budget(watch=lambda *_: False)
    assert "ended" in look_at(str(path), "--search", budget).error


def test_debugging_data_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    data = bytearray(symbol_file(code_at=XEN, symbols=SYMBOLS, dwarf=4))
    table = struct.unpack_from("<Q", data, 40)[0]
    count = struct.unpack_from("<H", data, 60)[0]
    sizes = [struct.unpack_from("<Q", data, table + 64 * at + 32)[0] for at in range(count)]
    debug = sizes.index(64, 2)  # .debug_info, behind .text
    start = (len(data) + 4095) & -4096
    struct.pack_into("<QQ", data, table + 64 * debug + 24, start, 1 << 30)
    path = tmp_path / "xen-syms"
    path.write_bytes(data)
    os.truncate(path, start + (1 << 30))
    done = limited("-c", MEMBERS, str(path))
    assert (done.status, done.stdout) == (0, b"None\n"), done.stderr


def test_debuginfod_gives_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEBUGINFOD_URLS", raising=False)
    (row,) = debuginfod.fetch("ab" * 20, Budget())
    assert row == Candidate(
        path=f"build-id {'ab' * 20}",
        origin="debuginfod",
        error="DEBUGINFOD_URLS names no server",
    )


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo nothing", "no file"),
        ("echo Server query failed: Connection refused >&2; exit 1", "(Connection refused)"),
        ("exit 1", "(it failed without a word)"),
        ("exit 0", "(it failed without a word)"),
        ("echo 'Progress 1 / 2' >&2; exec sleep 60", "no progress for 1 s"),
    ],
    ids=str,
)
def test_debuginfod_that_finds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    program = tmp_path / "debuginfod-find"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("DEBUGINFOD_URLS", "http://127.0.0.1:9/")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(debuginfod, "PATIENCE", 1)
    rows = debuginfod.fetch("ab" * 20, Budget())
    assert {row.origin for row in rows} == {"debuginfod"}
    assert all(row.error for row in rows)
    if reason != "no file":
        assert reason in rows[0].error


def test_debuginfod_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEBUGINFOD_URLS", "http://127.0.0.1:9/")
    monkeypatch.setenv("PATH", str(tmp_path))
    (row,) = debuginfod.fetch("ab" * 20, Budget())
    assert "debuginfod-find is not installed" in row.error
    program = tmp_path / "debuginfod-find"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    (row,) = debuginfod.fetch("ab" * 20, Budget())
    assert row.error == f"{program}: No such file or directory"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", ".")  # of the current folder nothing is run
    (row,) = debuginfod.fetch("ab" * 20, Budget())
    assert "debuginfod-find is not installed" in row.error


def test_debuginfod_shows_its_progress_and_ends_with_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "debuginfod-find"
    program.write_text(
        "#!/bin/sh\nprintf 'Progress 0 / 0\\rProgress 3 / 9\\r' >&2\nexec sleep 60\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("DEBUGINFOD_URLS", "http://127.0.0.1:9/")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    shown: list[tuple[str, int, int]] = []

    def watch(name: str, done: int, total: int) -> bool:
        shown.append((name, done, total))
        return done < 3

    (row,) = debuginfod.fetch("ab" * 20, Budget(watch=watch))
    assert row.error == "the download was interrupted"
    assert shown[-1] == ("debuginfod", 3, 9)


def test_debuginfod_gives_both_halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "xen-syms"
    path.write_bytes(symbol_file(code_at=XEN, symbols=SYMBOLS))
    program = tmp_path / "debuginfod-find"
    program.write_text(f"#!/bin/sh\necho {path}\n")
    program.chmod(0o755)
    monkeypatch.setenv("DEBUGINFOD_URLS", "http://127.0.0.1:9/")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    rows = debuginfod.fetch("ab" * 20, Budget())
    assert [row.path for row in rows] == [str(path)] * 2  # without DWARF, the other is asked for
    path.write_bytes(symbol_file(code_at=XEN, symbols=SYMBOLS, dwarf=4))
    assert len(debuginfod.fetch("ab" * 20, Budget())) == 1


# --- tables


def test_table_of_a_symbol_file(tmp_path: Path) -> None:
    path = tmp_path / "xen-syms"
    path.write_bytes(symbol_file(code_at=XEN, symbols=SYMBOLS))
    with open_namelist(str(path)) as namelist:
        table = namelist.table()
    assert dict(table.by_name) == SYMBOLS
    assert table.basis == f"the symbol table of {path}"
    assert table.address("kexec_crash") == XEN + 0x9000
    assert str(table.place(XEN + 0x9042)) == "kexec_crash+0x42"
    assert str(table.place(XEN)) == "_start"
    assert table.place(XEN - 1) is None
    with pytest.raises(MissingSymbolError, match="no symbol nothing in the symbol table"):
        table.address("nothing")


def test_first_of_equal_names_and_addresses_wins() -> None:
    def rows() -> Iterator[tuple[str, Vaddr]]:
        yield "b", Vaddr(16)
        yield "a", Vaddr(8)
        yield "b", Vaddr(24)
        yield "alias", Vaddr(8)

    table = make_symbols(rows(), basis="a test")
    assert table.address("b") == 16
    assert [str(table.place(at)) for at in (8, 15, 16, 25)] == ["a", "a+0x7", "b", "b+0x1"]


def test_more_symbols_than_a_kernel_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vmcoretool.symbols import elf

    monkeypatch.setattr(elf, "MAX_SYMBOLS", 3)
    path = tmp_path / "xen-syms"
    path.write_bytes(symbol_file(code_at=XEN, symbols=SYMBOLS))
    with open_namelist(str(path)) as namelist, pytest.raises(NamelistError, match="more than 3"):
        namelist.table()


def test_more_places_to_search_never_tell_less(tmp_path: Path) -> None:
    """Without a note that leads to the hypervisor, a folder of no use changes nothing."""
    path = ROOT / "samples/xen-4.8-dom0-panic/vmcore"
    data = bytearray(path.read_bytes())
    with open_vmcore(path) as vmcore:
        for note in vmcore.notes:
            if note.owner == "VMCOREINFO_XEN":
                data[note.offset + 12 : note.offset + 15] = b"XXX"
            elif (note.owner, note.type) == ("Xen", 0x1000002):
                data[note.desc_offset : note.desc_offset + 32] = bytes(32)
            elif note.owner == "CORE":
                data[note.desc_offset + 112 : note.desc_offset + 328] = bytes(216)
    (tmp_path / "xen-syms-other").write_bytes(b"")
    answers = []
    places: tuple[tuple[str, ...], ...] = ((), (str(tmp_path),))
    for search in places:
        with open_bytes(bytes(data)) as vmcore:
            inspection = inspect_vmcore(vmcore, places=NOWHERE._replace(search=search))
            assert inspection.verdict.status == "verified"
            answers.append((inspection.verdict.xen_phys_start, inspection.domains))
    assert answers[0] == answers[1]
    assert answers[0][1]
