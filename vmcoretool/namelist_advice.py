"""What to say of a session's symbol file: what crash will make of it, and where to get a better."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.identity import XenIdentity
    from vmcoretool.linux.kernel import Kernel
    from vmcoretool.selection import Selection

NO_DWARF: Final = "no debugging data available"
"""What crash says of a symbol file without DWARF (symbols.c)."""
UNPACK: Final = {"gzip": "gunzip -k", "bzip2": "bunzip2 -k", "xz": "unxz -k", "zstd": "unzstd",
                  "lz4": "unlz4"}  # fmt: skip
"""Commands that take a compression off and keep the packed file."""
_EFI_SIZE: Final = 32
_SHOWN: Final = 3
_PACKAGED: Final = 4
_BUILD_TREE: Final = "the build tree's, made with CONFIG_DEBUG_INFO=y"


class Caveat(NamedTuple):
    """One thing to know about a command; ``blocks``: it keeps the command from opening."""

    text: str
    blocks: bool = True


def namelist_caveats(selection: Selection, target: str, missing: str) -> Iterator[Caveat]:
    """What keeps the chosen file from being what crash needs.

    Args:
        selection: what was found.
        target: the session.
        missing: what to say where no file matches.
    """
    chosen = selection.chosen.get(target)
    if chosen is None:
        yield Caveat(missing)
        yield from _refused(selection, target)
        return
    mine = chosen.candidate
    other = selection.companions.get(target)
    path = printable(mine.path)
    if not mine.elf:
        yield Caveat(f"{path} is a map: crash needs the ELF file of the same build, with DWARF")
    elif not mine.dwarf and not (other and other.dwarf):
        yield Caveat(f'{path} has no DWARF: crash will say "{NO_DWARF}"')
        yield Caveat(missing)
    if mine.split and not other:
        yield Caveat(f"{path} holds debugging data alone: crash needs what it was split from, too")
    if mine.packed:
        tool = UNPACK.get(mine.packed, "unpack")
        yield Caveat(f"unpack it first: {tool} {printable(shlex.quote(mine.path))}")


def _refused(selection: Selection, target: str) -> Iterator[Caveat]:
    rows = [one for one in selection.matches if one.target == target and one.candidate.asked_for]
    for one in rows[:_SHOWN]:
        reasons = "; ".join(one.reasons)
        verdict = "is not it" if one.match == "differs" else "is not known to be it"
        yield Caveat(f"{printable(one.candidate.path)} {verdict}: {reasons}")
    if len(rows) > _SHOWN:
        yield Caveat(f"nor are {len(rows) - _SHOWN} others: see the list of symbol files")


def hypervisor_package(xen: XenIdentity) -> str:
    """Where a hypervisor's symbol file comes from, by the compiler that its maker used."""
    version = xen.version
    if xen.build_id and len(xen.build_id) == _EFI_SIZE:
        return (
            "xen-VERSION.efi.elf (installed by Xen 4.18 and later, else left in the build tree), "
            "not from xen-syms: this host booted xen.efi"
        )
    compiler = (version.compiler or "") if version else ""
    if version and version.major >= _PACKAGED and ("Debian" in compiler or "Ubuntu" in compiler):
        return (
            f"package xen-hypervisor-{version.major}.{version.minor}-amd64-dbg where the "
            f"distribution built it (without DWARF up to 4.17); else {_BUILD_TREE}"
        )
    if "SUSE" in compiler:
        return "package xen-debuginfo"
    if "Red Hat" in compiler:
        return "package xen-hypervisor-debuginfo (XCP-ng), kernel-debuginfo (RHEL 5)"
    return _BUILD_TREE


def kernel_package(kernel: Kernel | None) -> str:
    """Where a kernel's debug image comes from, by its banner; "" where that does not tell."""
    if kernel is None:
        return ""
    if "Debian" in kernel.banner:
        return f"; it comes from package linux-image-{kernel.release}-dbg"
    if "Ubuntu" in kernel.banner:
        return f"; it comes from package linux-image-unsigned-{kernel.release}-dbgsym"
    if "SUSE" in kernel.banner:
        flavour = kernel.release.rpartition("-")[2]
        return f"; it comes from package kernel-{flavour}-debuginfo for {kernel.release}"
    if "Red Hat" in kernel.banner or "redhat" in kernel.banner or "fedora" in kernel.banner:
        return f"; it comes from package kernel-debuginfo for {kernel.release}"
    return ""
