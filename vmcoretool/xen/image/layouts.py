"""Where x86_64 Xen puts its image and its direct map, as data with upstream's citation.

No version decides which row holds: the page tables of a dump support a row or they do not.
``XEN_VIRT_START`` and ``DIRECTMAP_VIRT_START`` are macros of xen/include/asm-x86/config.h.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from vmcoretool.addresses import GIB, Vaddr

WINDOW_SIZE: Final = GIB
LINEAR_PT_SLOT: Final = 258
"""Slot of a level 4 table that refers to the table itself (LINEAR_PT_VIRT_START, all eras)."""


class XenLayout(NamedTuple):
    """One address space layout.

    Attributes:
        name: how docs and evidence call it.
        virt_start: XEN_VIRT_START, hypervisor virtual; for a Xen that does not relocate itself
            the start of the direct map, which holds the image.
        directmap_start: DIRECTMAP_VIRT_START, hypervisor virtual.
        relocatable: whether the image moves, so that xen_phys_start exists.
        since: the releases that used it.
        citation: the upstream commit that introduced it.
        array_conring: whether a Xen of it may have its console ring as an array in .bss (up to 4.0)
            and not behind a pointer.
    """

    name: str
    virt_start: Vaddr
    directmap_start: Vaddr
    relocatable: bool
    since: str
    citation: str
    array_conring: bool = False


_DIRECTMAP: Final = Vaddr(0xFFFF_8300_0000_0000)

LAYOUTS: Final[tuple[XenLayout, ...]] = (
    XenLayout(
        "4.14",
        Vaddr(0xFFFF_82D0_4000_0000),
        _DIRECTMAP,
        relocatable=True,
        since="4.14 to 4.22",
        citation='Xen commit 5af040ef8b ("x86: drop high compat r/o M2P table address range") '
        "(in 4.14)",
    ),
    XenLayout(
        "4.4",
        Vaddr(0xFFFF_82D0_8000_0000),
        _DIRECTMAP,
        relocatable=True,
        since="4.4 to 4.13",
        citation='Xen commit b0581b9214 ("x86: make map_domain_page_global() a simple wrapper '
        'around vmap()") (in 4.4)',
    ),
    XenLayout(
        "4.3",
        Vaddr(0xFFFF_82C4_C000_0000),
        _DIRECTMAP,
        relocatable=True,
        since="4.3",
        citation='Xen commit 4b28bf6ae9 ("x86: re-introduce map_domain_page() et al") (in 4.3)',
    ),
    XenLayout(
        "4.0",
        Vaddr(0xFFFF_82C4_8000_0000),
        _DIRECTMAP,
        relocatable=True,
        since="4.0 to 4.2",
        citation='Xen commit 615588563e ("x86-64: extend manageable memory range to 5Tb") (in 4.0)',
        array_conring=True,
    ),
    XenLayout(
        "4.0-dev",
        Vaddr(0xFFFF_8288_8000_0000),
        _DIRECTMAP,
        relocatable=True,
        since="development of 4.0 only",
        citation="libkdumpfile's table of Xen text bases; no release",
        array_conring=True,
    ),
    XenLayout(
        "3.2",
        Vaddr(0xFFFF_828C_8000_0000),
        _DIRECTMAP,
        relocatable=True,
        since="3.2 to 3.4, RHEL 5.2 to 5.11",
        citation='Xen commit 369bafdb1c ("xen: Big changes to x86 start-of-day:") (in 3.2)',
        array_conring=True,
    ),
)

NOT_RELOCATED: Final = XenLayout(
    "3.0",
    _DIRECTMAP,
    _DIRECTMAP,
    relocatable=False,
    since="3.0.4 to 3.1",
    citation='before Xen commit 369bafdb1c ("xen: Big changes to x86 start-of-day:"): the image '
    "stays at 1 MiB",
    array_conring=True,
)


class DirectMap(NamedTuple):
    """Where all machine memory is mapped: ``maddr`` at ``start + maddr``."""

    name: str
    start: Vaddr
    citation: str


DIRECTMAPS: Final = (
    DirectMap("usual", _DIRECTMAP, "DIRECTMAP_VIRT_START since 3.0.4"),
    DirectMap(
        "BIGMEM",
        Vaddr(0xFFFF_8480_0000_0000),
        'build option BIGMEM, Xen commit 10dcec844f ("x86: provide build time option to support up '
        'to 123Tb of memory") (in 4.6)',
    ),
)
