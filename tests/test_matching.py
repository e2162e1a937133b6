"""Which rule decides that a symbol file belongs to a program, and in what words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.builders.symbol_file import symbol_file
from vmcoretool.addresses import Vaddr
from vmcoretool.symbols.candidates import look_at
from vmcoretool.symbols.matching import Facts, Match, choose, match

if TYPE_CHECKING:
    from pathlib import Path

XEN, LINUX = 0xFFFF_82D0_4020_0000, 0xFFFF_FFFF_8100_0000
TEXTS = XEN + 0x20_0000
BANNER_AT = LINUX + 0x100_0000
BANNER = "Linux version 6.1.0-9 (builder@host) (gcc 12.2) #1 SMP 2023"
STRINGS = {TEXTS: b"4.17.1\0", TEXTS + 16: b"4.17\0", TEXTS + 32: b"gcc 12\0"}
SYMBOLS = {"idle_pg_table": XEN + 0x8000, "dom_xen": XEN + 0x9000, "_start": XEN}


def facts_of(**known: Any) -> Facts:
    return Facts("hypervisor", "hypervisor", **known)


def texts_of(texts: dict[int, bytes]) -> tuple[tuple[str, Vaddr], ...]:
    return tuple((text.rstrip(b"\0").decode(), Vaddr(at)) for at, text in texts.items())


def compared(path: Path, data: bytes, facts: Facts) -> Match:
    path.write_bytes(data)
    return match(look_at(str(path), "a test"), facts)


def kernel(tmp_path: Path, **known: Any) -> Match:
    texts = {BANNER_AT: BANNER.encode() + b"\n\0"}
    data = symbol_file(code_at=LINUX, symbols={"linux_banner": BANNER_AT}, texts=texts)
    return compared(tmp_path / "vmlinux", data, Facts("dom0", "linux", **known))


def test_symbols_of_the_note_agree_under_their_other_names(tmp_path: Path) -> None:
    data = symbol_file(code_at=XEN, symbols=SYMBOLS)
    noted = {"pgd_l4": Vaddr(XEN + 0x8000), "dom_xen": Vaddr(XEN + 0x9000)}
    found = compared(tmp_path / "xen-syms", data, facts_of(symbols=noted))
    assert found.match == "matches"
    assert found.reasons == ("all 2 symbols of VMCOREINFO_XEN agree: idle_pg_table, dom_xen",)


def test_one_symbol_decides_nothing(tmp_path: Path) -> None:
    data = symbol_file(code_at=XEN, symbols=SYMBOLS)
    noted = {"pgd_l4": Vaddr(XEN + 0x8000), "of_no_file": Vaddr(XEN)}
    found = compared(tmp_path / "xen-syms", data, facts_of(symbols=noted))
    assert found.match == "undecided"
    assert found.reasons == ("the file has no build-id, and nothing else in the dump tells",)


def test_symbols_that_moved_are_another_build(tmp_path: Path) -> None:
    data = symbol_file(code_at=XEN, symbols=SYMBOLS)
    noted = {"pgd_l4": Vaddr(XEN), "dom_xen": Vaddr(XEN + 8)}
    found = compared(tmp_path / "xen-syms", data, facts_of(symbols=noted))
    assert found.match == "differs"
    assert found.reasons == (
        f"another build: idle_pg_table is at {XEN + 0x8000:#x}, the dump has {XEN:#x} and 1 more",
    )


def test_strings_at_the_same_addresses_match(tmp_path: Path) -> None:
    data = symbol_file(code_at=XEN, symbols=SYMBOLS, texts=STRINGS)
    found = compared(tmp_path / "xen-syms", data, facts_of(strings=texts_of(STRINGS)))
    assert found.match == "matches"
    assert found.reasons == ("3 strings of CRASH_INFO stand at the same addresses in the file",)


def test_too_few_strings_or_none_decide_nothing(tmp_path: Path) -> None:
    data = symbol_file(code_at=XEN, symbols=SYMBOLS, texts=STRINGS)
    few = texts_of(STRINGS)[:2]
    outside = (("4.17", Vaddr(XEN + 0x700_0000)),) * 3
    for strings in (few, outside, few + outside):
        found = compared(tmp_path / "xen-syms", data, facts_of(strings=strings))
        assert found.match == "undecided"


def test_other_string_at_its_address_is_another_build(tmp_path: Path) -> None:
    other = STRINGS | {TEXTS + 16: b"4\x1b16\0"}
    data = symbol_file(code_at=XEN, symbols=SYMBOLS, texts=other)
    found = compared(tmp_path / "xen-syms", data, facts_of(strings=texts_of(STRINGS)))
    assert found.match == "differs"
    assert f"at {TEXTS + 16:#x} it has" in found.reasons[0]
    assert "\x1b" not in found.reasons[0]


def test_build_id_decides_before_symbols(tmp_path: Path) -> None:
    data = symbol_file(code_at=XEN, symbols=SYMBOLS, build_id=bytes(20))
    noted = {"pgd_l4": Vaddr(XEN), "dom_xen": Vaddr(XEN + 8)}
    found = compared(tmp_path / "xen-syms", data, facts_of(build_id="00" * 20, symbols=noted))
    assert found.match == "matches"
    other = compared(tmp_path / "xen-syms", data, facts_of(build_id="11" * 20))
    assert other.reasons[0].startswith("another build: its build-id is 0000")


@pytest.mark.parametrize("efi_booted", [True, False])
def test_file_of_the_other_way_to_boot(tmp_path: Path, *, efi_booted: bool) -> None:
    of_gz = symbol_file(code_at=XEN, symbols=SYMBOLS, build_id=bytes(20))
    of_efi = symbol_file(code_at=XEN, symbols=SYMBOLS, codeview=bytes(16))
    data, mine = (of_gz, "11" * 16) if efi_booted else (of_efi, "11" * 20)
    booted, other = ("xen.efi", "xen.gz") if efi_booted else ("xen.gz", "xen.efi")
    found = compared(tmp_path / "xen-syms", data, facts_of(build_id=mine))
    assert found.match == "differs"
    assert found.reasons == (f"this host booted {booted}; the file belongs to {other}",)


def test_kernel_with_the_dumps_banner_matches(tmp_path: Path) -> None:
    same = kernel(tmp_path, banner=BANNER)
    assert same.match == "matches"
    assert same.reasons == (f"its banner is the dump's: {BANNER}",)
    assert kernel(tmp_path, banner=BANNER.replace("#1", "#2")).match == "differs"
    assert kernel(tmp_path).match == "undecided"


def test_release_alone_only_refuses(tmp_path: Path) -> None:
    """A release alone can only refuse: kernels are built again under the same one."""
    assert kernel(tmp_path, release="6.1.0-9").match == "undecided"
    found = kernel(tmp_path, release="6.1.0-90")
    assert found.match == "differs"
    assert found.reasons[0].endswith("the dump's is 6.1.0-90")


def test_kernel_is_not_compared_with_a_hypervisor(tmp_path: Path) -> None:
    data = symbol_file(code_at=LINUX, symbols={"linux_banner": BANNER_AT})
    found = compared(tmp_path / "vmlinux", data, facts_of())
    assert found.match == "differs"
    assert found.reasons == ("it is a Linux kernel, not a hypervisor",)


def test_file_that_went_away_is_undecided(tmp_path: Path) -> None:
    path = tmp_path / "xen-syms"
    path.write_bytes(symbol_file(code_at=XEN, symbols=SYMBOLS))
    candidate = look_at(str(path), "a test")
    path.unlink()
    found = match(candidate, facts_of(symbols={"dom_xen": Vaddr(XEN)}))
    assert (found.match, found.reasons) == ("undecided", ("No such file or directory",))
    path.write_bytes(b"\x7fELF")
    assert match(candidate, facts_of()).match == "undecided"


def test_stripped_file_matches_but_is_not_chosen(tmp_path: Path) -> None:
    data = symbol_file(code_at=XEN, symbols={}, build_id=bytes(20))
    stripped = compared(tmp_path / "xen-a", data, facts_of(build_id="00" * 20))
    assert stripped.reasons[-1] == "it is stripped: it has no symbol table"
    data = symbol_file(code_at=XEN, symbols=SYMBOLS, build_id=bytes(20))
    plain = compared(tmp_path / "xen-b", data, facts_of(build_id="00" * 20))
    data = symbol_file(code_at=XEN, symbols=SYMBOLS, build_id=bytes(20), dwarf=5)
    full = compared(tmp_path / "xen-c", data, facts_of(build_id="00" * 20))
    assert choose([stripped], "hypervisor") is None
    assert choose([stripped, full, plain], "hypervisor") is full
    assert choose([stripped, full, plain], "dom0") is None
