"""What keeps a crash session from opening, and where its symbol files come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.builders import notes, variants
from tests.builders.elf_core import ElfCore
from tests.builders.kdump import Kdump
from tests.builders.memory import PAGE
from tests.builders.xen_host import RODATA, STRINGS, TEXT, XenHost
from tests.support import ROOT, inspect_bytes
from vmcoretool import inspect_vmcore, open_vmcore
from vmcoretool.debuggers.crash_program import CrashProgram, find_crash
from vmcoretool.debuggers.packages import hypervisor_package, kernel_package
from vmcoretool.host.identity import XenIdentity
from vmcoretool.linux.kernel import Kernel
from vmcoretool.xen.version import XenVersion

if TYPE_CHECKING:
    from pathlib import Path

DOM0_PANIC = (ROOT / "samples/xen-4.17-dom0-panic/vmcore").read_bytes()
DEBIAN = "x86_64-linux-gnu-gcc (Debian 12.2.0-14+deb12u1) 12.2.0"


def hypervisor(
    major: int, minor: int, compiler: str | None, build_id: str = "00" * 20
) -> XenIdentity:
    version = XenVersion(major, minor, "", "", compiler, "")
    return XenIdentity(version=version, virt_start=None, build_id=build_id, directmap=None)


@pytest.mark.parametrize(
    ("xen", "place"),
    [
        (
            hypervisor(4, 17, DEBIAN),
            "s xen-hypervisor-4.17-amd64-dbg has no DWARF",
        ),
        (hypervisor(4, 8, DEBIAN), "the build tree, made with debug=y: the distribution's"),
        (hypervisor(4, 20, DEBIAN), "package xen-hypervisor-4.20-amd64-dbg where"),
        (hypervisor(4, 12, "gcc (SUSE Linux) 7.5.0"), "package xen-debuginfo"),
        (hypervisor(4, 13, "gcc (GCC) 4.8.5 (Red Hat 4.8.5-44)"), "(XCP-ng)"),
        (hypervisor(4, 17, "clang"), "the build tree, made with CONFIG_DEBUG_INFO=y"),
        (hypervisor(4, 11, "clang"), "the build tree, made with debug=y"),
        (hypervisor(4, 17, None), "the debug package of whoever built it"),
        (hypervisor(4, 17, DEBIAN, "00" * 16), "xen-VERSION.efi.elf"),
        (XenIdentity(version=None, virt_start=None, build_id=None, directmap=None), "whoever"),
    ],
)
def test_where_a_hypervisors_symbol_file_comes_from(xen: XenIdentity, place: str) -> None:
    assert place in hypervisor_package(xen)


@pytest.mark.parametrize(
    ("builder", "package"),
    [
        ("(debian-kernel@lists.debian.org) (gcc (Debian 12)", "linux-image-6.1-x-dbg"),
        ("(buildd@lcy02) (gcc (Ubuntu 11.4.0))", "linux-image-unsigned-6.1-x-dbgsym"),
        ("(geeko@buildhost) (gcc (SUSE Linux) 7.5.0)", "kernel-x-debuginfo for 6.1-x"),
        ("(mockbuild@x) (gcc (GCC) 11 (Red Hat 11))", "kernel-debuginfo for 6.1-x"),
        ("(mockbuild@fedoraproject.org) (gcc)", "kernel-debuginfo for 6.1-x"),
    ],
)
def test_where_a_kernels_debug_image_comes_from(builder: str, package: str) -> None:
    banner = f"Linux version 6.1-x {builder} #1 SMP"
    found = kernel_package(Kernel(banner, "6.1-x", None, (0, None)))
    assert found == f"; it comes from package {package}"


def test_kernel_of_an_unknown_builder_has_no_package() -> None:
    assert kernel_package(Kernel("Linux version 6.1 (me@home) #1", "6.1", None, (0, None))) == ""
    assert kernel_package(None) == ""


def caveats(data: bytes, target: int = 0) -> str:
    command = inspect_bytes(data).commands[target]
    assert not command.ready
    return "\n".join(command.caveats)


def test_address_without_proof() -> None:
    tables_gone = variants.without_pages(DOM0_PANIC, variants.saved_cr3s(DOM0_PANIC))
    host = XenHost()
    text = caveats(ElfCore([], [host.note_blob(cr3=False)]).build())
    assert "the address is only recorded; nothing in this dump proves it" in text
    assert "the address is only recorded" not in caveats(tables_gone)
    text = caveats(ElfCore([], [host.note_blob(cr3=False, info=False)]).build())
    assert "the hypervisor's address is unknown" in text


def test_32_bit_elf_of_a_64_bit_machine() -> None:
    blob = XenHost().note_blob()
    assert "crash refuses it" in caveats(ElfCore([], [blob], bits=32, machine=62).build())
    assert "crash refuses it" not in caveats(ElfCore([], [blob]).build())


def test_32_bit_hypervisor() -> None:
    from tests.builders import pae_host

    assert "a crash built for 32-bit x86" in caveats(pae_host.build())


def test_p2m_tree_that_nothing_names() -> None:
    blob = notes.crash_info([4, 17, 0, 0, 0, 0, 0, 0, 0x200000, 0])
    assert "neither notes nor memory name dom0's p2m tree" in caveats(
        ElfCore([], [blob + notes.crash_regs(0x1000)]).build(), 1
    )


def fake_crash(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script = folder / "crash"
    script.write_text(text)
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_release_of_the_crash_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = str(tmp_path / "crash")
    fake_crash(tmp_path, "#!/bin/sh\necho crash 8.0.6++\n", monkeypatch)
    assert find_crash() == CrashProgram(where, (8, 0, 6))
    fake_crash(tmp_path, "#!/bin/sh\necho something else\n", monkeypatch)
    assert find_crash() == CrashProgram(where, None)
    fake_crash(tmp_path, "#!/no/such/interpreter\n", monkeypatch)
    assert find_crash() == CrashProgram(where, None)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert find_crash() is None


def test_crash_of_the_current_folder_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_crash(tmp_path, "#!/bin/sh\necho crash 8.0.6\n", monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", ".")
    assert find_crash() is None


def test_old_crash_does_not_read_compressed_dumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.builders.symbol_file import symbol_file
    from vmcoretool import inspect_vmcore, open_vmcore
    from vmcoretool.symbols.places import Places

    host = XenHost()
    pages = {maddr // PAGE: bytes(page) for maddr, page in host.pages.items()}
    dump = tmp_path / "vmcore"
    dump.write_bytes(Kdump(pages, notes=host.note_blob()).build())
    syms = tmp_path / "xen-syms"
    symbols = {"idle_pg_table": host.pgd_l4}
    texts = {host.virt_start + RODATA - 1: b"\0" + b"".join(STRINGS)}
    code = host.virt_start + TEXT
    syms.write_bytes(symbol_file(code_at=code, symbols=symbols, texts=texts, dwarf=5))
    fake_crash(tmp_path, "#!/bin/sh\necho crash 7.1.3\n", monkeypatch)
    with open_vmcore(dump) as vmcore:
        command = inspect_vmcore(vmcore, places=Places(xen_syms=(str(syms),))).commands[0]
    text = "\n".join(command.caveats)
    assert "DWARF 5, which crash reads from 8.0.0 on" in text
    assert "kdump-compressed dumps of a Xen host need crash 7.1.4" in text


def test_raw_memory_is_given_to_crash_with_its_address(tmp_path: Path) -> None:
    host = XenHost(base=0x400000, root=0x200000)
    host.pages = {page: data for page, data in host.pages.items() if page < 16 << 20}
    path = tmp_path / "memory.img"
    with path.open("wb") as file:
        for page, data in sorted(host.pages.items()):
            file.seek(page)
            file.write(data)
    with open_vmcore(path, format_name="raw") as vmcore:
        commands = inspect_vmcore(vmcore).commands
    assert commands
    for command in commands:
        assert command.argv[-1] == f"{path}@0"
        assert not command.ready
        assert any("was not seen" in caveat for caveat in command.caveats)
