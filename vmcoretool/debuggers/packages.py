"""What crash lacks in a session's symbol file, and where to get a better one."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.host.identity import XenIdentity
    from vmcoretool.host.symbol_files import SymbolFiles
    from vmcoretool.linux.kernel import Kernel
    from vmcoretool.xen.version import XenVersion

NO_DWARF: Final = "no debugging data available"
"""The error of crash for a symbol file without DWARF (symbols.c)."""
UNPACK: Final = {"gzip": "gunzip -k", "bzip2": "bunzip2 -k", "xz": "unxz -k", "zstd": "unzstd",
                  "lz4": "unlz4"}  # fmt: skip
"""Commands that take a compression off and keep the packed file."""
_EFI_SIZE: Final = 32
_SHOWN: Final = 3
_PACKAGED: Final = 4
_WITHOUT_DWARF: Final = (4, 17)
"""The last Xen whose debug package of Debian was seen to hold symbols without DWARF."""
_DEBUG_INFO: Final = (4, 12)
"""The first Xen with that option: Xen commit a5f52c3f72 ("xen: add DEBUG_INFO Kconfig symbol").

Before, the whole build was a debug one.
"""


class Caveat(NamedTuple):
    """One thing to know about a command.

    Attributes:
        text: all of it.
        blocks: it keeps the command from opening.
        brief: the same in a few words, where the text is long.
    """

    text: str
    blocks: bool = True
    brief: str = ""


def namelist_caveats(
    symbol_files: SymbolFiles, target: str, placeholder: str, wanted: str, brief: str = ""
) -> Iterator[Caveat]:
    """What keeps the chosen file from being what crash needs.

    Args:
        symbol_files: what was found.
        target: the session.
        placeholder: what stands in the command where there is no file.
        wanted: the file that is needed, and where it comes from.
        brief: the same in a few words.
    """
    chosen = symbol_files.chosen.get(target)
    if chosen is None:
        named = target in symbol_files.named
        text = f"needed is {wanted}" if named else f"{placeholder} stands for {wanted}"
        yield Caveat(text, brief=brief)
        yield from _refused(symbol_files, target)
        return
    mine = chosen.candidate
    other = symbol_files.companions.get(target)
    path = printable(mine.path)
    if not mine.elf:
        yield Caveat(f"{path} is a map: crash needs the ELF file of the same build, with DWARF")
    elif not mine.dwarf and not (other and other.dwarf):
        yield Caveat(f'{path} has no DWARF: crash will say "{NO_DWARF}"')
        yield Caveat(f"needed is {wanted}")
    if mine.debug_only and not other:
        yield Caveat(f"{path} holds debugging data alone: crash needs what it was split from, too")
    if mine.compression:
        tool = UNPACK.get(mine.compression, "unpack")
        yield Caveat(f"unpack it first: {tool} {printable(shlex.quote(mine.path))}")


def _refused(symbol_files: SymbolFiles, target: str) -> Iterator[Caveat]:
    rows = [one for one in symbol_files.matches if one.target == target and one.candidate.asked_for]
    for one in rows[:_SHOWN]:
        reasons = "; ".join(one.reasons)
        known = "does not belong" if one.match == "differs" else "is not known to belong"
        yield Caveat(f"{printable(one.candidate.path)} {known} to this dump: {reasons}")
    if len(rows) > _SHOWN:
        yield Caveat(f"nor do {len(rows) - _SHOWN} others: see the list of symbol files")


def hypervisor_package(xen: XenIdentity) -> str:
    """Where a hypervisor's symbol file comes from, by the compiler that its maker used."""
    version = xen.version
    if xen.build_id and len(xen.build_id) == _EFI_SIZE:
        return (
            "xen-VERSION.efi.elf (installed by Xen 4.18 and later, else left in the build tree), "
            "not from xen-syms: this host booted xen.efi"
        )
    compiler = (version.compiler or "") if version else ""
    if version and _debian(version):
        return _packaged(version)
    if "SUSE" in compiler:
        return "package xen-debuginfo"
    if "Red Hat" in compiler:
        return "package xen-hypervisor-debuginfo (XCP-ng), kernel-debuginfo (RHEL 5)"
    if not compiler:
        return f"the debug package of whoever built it, or from {_build_tree(version)}"
    return _build_tree(version)


def _packaged(version: XenVersion) -> str:
    # of Debian and Ubuntu: up to 4.17 the package of that name holds a file without DWARF
    name = f"xen-hypervisor-{version.major}.{version.minor}-amd64-dbg"
    if (version.major, version.minor) <= _WITHOUT_DWARF:
        return (
            f"{_build_tree(version)}: the distribution's {name} has no DWARF and will not do; "
            "vmcoretool console, cpus and domains need no such file"
        )
    return f"package {name} where the distribution built it; else from {_build_tree(version)}"


def hypervisor_brief(xen: XenIdentity) -> str:
    """Where a hypervisor's symbol file comes from, in a few words."""
    version = xen.version
    if version and (version.major, version.minor) <= _WITHOUT_DWARF and _debian(version):
        return (
            f"Debian has no xen-syms with DWARF for {version.major}.{version.minor}; "
            "vmcoretool console, cpus, domains need none"
        )
    if version and not version.compiler:
        return "needs xen-syms with DWARF of whoever built this Xen"
    return f"needs xen-syms with DWARF: {hypervisor_package(xen)}"


def _debian(version: XenVersion) -> bool:
    compiler = version.compiler or ""
    return version.major >= _PACKAGED and ("Debian" in compiler or "Ubuntu" in compiler)


def kernel_brief(kernel: Kernel | None) -> str:
    """Where a kernel's debug image comes from, in a few words."""
    if kernel is None:
        return "needs the debug image of its kernel: --vmlinux PATH"
    package = _debug_package(kernel)
    if "Debian" in kernel.banner and package:
        return f"apt install {package} first"
    return f"needs vmlinux of {kernel.release}" + (f": package {package}" if package else "")


def _build_tree(version: XenVersion | None) -> str:
    old = version is not None and (version.major, version.minor) < _DEBUG_INFO
    return f"the build tree, made with {'debug=y' if old else 'CONFIG_DEBUG_INFO=y'}"


def kernel_package(kernel: Kernel | None) -> str:
    """Where a kernel's debug image comes from, by its banner; "" where that does not show it."""
    package = _debug_package(kernel) if kernel else ""
    return f"; it comes from package {package}" if package else ""


def _debug_package(kernel: Kernel) -> str:
    if "Debian" in kernel.banner:
        return f"linux-image-{kernel.release}-dbg"
    if "Ubuntu" in kernel.banner:
        return f"linux-image-unsigned-{kernel.release}-dbgsym"
    if "SUSE" in kernel.banner:
        flavour = kernel.release.rpartition("-")[2]
        return f"kernel-{flavour}-debuginfo for {kernel.release}"
    if "Red Hat" in kernel.banner or "redhat" in kernel.banner or "fedora" in kernel.banner:
        return f"kernel-debuginfo for {kernel.release}"
    return ""
