"""Symbol files: what they make exact, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import ROOT, tool
from vmcoretool import MissingSymbolError, NamelistError
from vmcoretool.inspection import find_host
from vmcoretool.namelist import read_namelist
from vmcoretool.vmcore import open_vmcore

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = ROOT / "samples/xen-4.17-dom0-panic/vmcore"


def own_map(folder: Path, **other: int) -> Path:
    """A map file with the addresses that the sample's own VMCOREINFO_XEN has."""
    with open_vmcore(SAMPLE) as vmcore:
        info = vmcore.vmcoreinfo_xen
        _, _host = find_host(vmcore)
    assert info is not None
    symbols: dict[str, int | None] = {"idle_pg_table": info.symbol("pgd_l4")}
    symbols |= {name: info.symbol(name) for name in ("domain_list", "max_page", "dom_xen")}
    symbols |= other
    path = folder / "xen-syms.map"
    path.write_text("".join(f"{at or 0:016x} D {name}\n" for name, at in symbols.items()))
    return path


def console(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vmcoretool", "console", *map(str, words), str(SAMPLE)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_namelist_of_another_build_is_not_used(tmp_path: Path) -> None:
    plain = console()
    done = console("--xen-syms", own_map(tmp_path, idle_pg_table=0xFFFF82D040000000))
    assert done.stdout == plain.stdout
    assert "another build: idle_pg_table lie elsewhere" in done.stderr
    assert done.returncode == 0


def test_symbols_whose_pages_are_gone_change_nothing(tmp_path: Path) -> None:
    far = 0xFFFF82D050000000
    done = console("--xen-syms", own_map(tmp_path, conring=far, conringp=far + 8))
    assert done.stdout == console().stdout
    assert "not used" not in done.stderr


def test_symbols_tell_the_ring(tmp_path: Path) -> None:
    # the text itself stands for the counter: 16384 bytes at the ring, as up to 3.3
    with open_vmcore(SAMPLE) as vmcore:
        _, host = find_host(vmcore)
        found = host.case.image_and_ring
        assert found is not None
        assert host.space is not None
        ring = host.space.directmap_start + found[1].maddr
        assert host.console is not None
        expected = host.console.text
        path = own_map(tmp_path, conring=ring, conringp=ring)
        _, exact = find_host(vmcore, xen_syms=str(path))
        assert exact.console is not None
        # "(XEN" read as a number of bytes: more than the ring holds
        assert exact.console.wrapped
        assert set(exact.console.text.split(b"\n")) & set(expected.split(b"\n"))
        assert exact.added == ["console from conring and conringp"]


@pytest.mark.parametrize(
    "content", [b"", b"one two\n", b"zz D x\n", b"\x7fELF", b"\x7fELF\x02\x01\x01" + bytes(57)]
)
def test_file_that_is_no_namelist(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "xen-syms"
    path.write_bytes(content)
    with pytest.raises(NamelistError):
        read_namelist(str(path))
    done = tool("console", "--xen-syms", str(path), str(SAMPLE))
    assert done.returncode == 3
    assert str(path).encode() in done.stderr


def test_elf_symbols_and_build_id() -> None:
    # any program has what is read of one
    namelist = read_namelist(sys.executable)
    assert isinstance(namelist.symbols, dict)
    with pytest.raises(MissingSymbolError, match="no symbol nothing_like_it"):
        namelist.address("nothing_like_it")
