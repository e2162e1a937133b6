"""Addresses by name, and names of addresses, by a symbol file that belongs to the dump."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support import run
from tests.test_namelist import SAMPLE, truth, xen_syms
from vmcoretool import open_vmcore
from vmcoretool.host.names import parse_named

if TYPE_CHECKING:
    from pathlib import Path

    from tests.test_namelist import Truth

__all__ = ["truth"]  # a fixture


def saved_rip() -> int:
    with open_vmcore(SAMPLE) as vmcore:
        return vmcore.cpus[1].registers["rip"]


@pytest.fixture
def syms(truth: Truth, tmp_path: Path) -> str:
    path = tmp_path / "xen-syms"
    # as if the CPU had stopped 0x42 bytes into kexec_crash
    symbols = {**truth.symbols, "kexec_crash": saved_rip() - 0x42, "\x1b[31mlast": saved_rip() + 64}
    path.write_bytes(xen_syms(truth, symbols=symbols))
    return str(path)


def test_name_is_an_address(truth: Truth, syms: str) -> None:
    table = truth.symbols["idle_pg_table"]
    done = run("vtop", "--xen-syms", syms, SAMPLE, "idle_pg_table")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{table:#x} (idle_pg_table+0x0) in hypervisor")
    done = run("vtop", "--json", "--xen-syms", syms, SAMPLE, "idle_pg_table+0x810")
    found = json.loads(done.stdout)
    assert (found["vaddr"], found["symbol"]) == (f"{table + 0x810:#x}", "idle_pg_table+0x810")
    done = run("read", "--xen-syms", syms, SAMPLE, "idle_pg_table+0x810", "8")
    assert done.stdout.startswith(f"{table + 0x810:016x}  63 e0 c6 27")


def test_name_of_the_notes_needs_no_file(truth: Truth) -> None:
    for name in ("idle_pg_table", "pgd_l4"):
        done = run("vtop", SAMPLE, name)
        assert done.stdout.startswith(f"{truth.symbols['idle_pg_table']:#x} in hypervisor")


def test_cpu_is_in_a_function(syms: str) -> None:
    done = run("cpus", "--xen-syms", syms, SAMPLE)
    assert "in kexec_crash+0x42" in done.stdout
    rows = json.loads(run("cpus", "--json", "--xen-syms", syms, SAMPLE).stdout)
    assert rows[1]["symbol"] == "kexec_crash+0x42"
    rows = json.loads(run("cpus", "--json", SAMPLE).stdout)
    assert [row["symbol"] for row in rows] == [None] * len(rows)


def test_map_file_has_names_but_places_nothing(truth: Truth, tmp_path: Path) -> None:
    # few of its symbols are kept, so the next one may be far away
    path = tmp_path / "xen-syms-4.17.map"
    rows = sorted((at, name) for name, at in truth.symbols.items())
    path.write_text("".join(f"{at:016x} D {name}\n" for at, name in rows))
    done = run("vtop", "--xen-syms", path, SAMPLE, "idle_pg_table")
    assert done.stdout.startswith(f"{truth.symbols['idle_pg_table']:#x} in hypervisor")
    done = run("cpus", "--json", "--xen-syms", path, SAMPLE)
    assert "is not used" not in done.stderr
    assert {row["symbol"] for row in json.loads(done.stdout)} == {None}


def test_name_that_is_not_known_says_what_helps(syms: str) -> None:
    done = run("vtop", SAMPLE, "no_such_name")
    assert done.returncode == 1
    assert "no symbol no_such_name is known; name a symbol file" in done.stderr
    done = run("vtop", "--xen-syms", syms, SAMPLE, "no_such_name")
    assert (done.returncode, "with --xen-syms" in done.stderr) == (1, False)
    done = run("vtop", "--space", "dom0", SAMPLE, "idle_pg_table")
    assert done.returncode == 1
    assert "the hypervisor's addresses only" in done.stderr


@pytest.mark.parametrize("text", ["ffff82d04046e000", "82D04046E000", "12", "a b"])
def test_number_without_its_mark_is_no_name(text: str) -> None:
    # Xen's console prints addresses so
    done = run("vtop", SAMPLE, text)
    assert done.returncode == 2
    assert "write it in hexadecimal" in done.stderr


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("idle_pg_table", ("idle_pg_table", 0)),
        ("kexec_crash+0x42", ("kexec_crash", 0x42)),
        ("kexec_crash+010", ("kexec_crash", 10)),
        ("common/kexec.c#one_cpu_only+16", ("common/kexec.c#one_cpu_only", 16)),
        (".Lx", (".Lx", 0)),
        ("kexec_crash-1", ("kexec_crash-1", 0)),
        ("12", None),
        ("a b", None),
        ("a+", None),
        ("a+0xg", None),
        ("", None),
        ("x\x1b[31m", None),
    ],
)
def test_what_is_a_name(text: str, found: tuple[str, int] | None) -> None:
    assert parse_named(text) == found
