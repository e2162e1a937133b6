"""Which release of crash opens which hypervisor, and what an older one says instead.

crash reads the hypervisor's structures by name, so each change of them in Xen needed one in crash.
The rows are crash's own history (github.com/crash-utility/crash, xen_hyper*.c); that they hold was
seen with 8.0.2, 8.0.6 and 9.0.2 on 3.1 to 4.22.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmcoretool.xen.version import XenVersion

NEWEST_KNOWN: Final = (9, 0, 2)
"""The newest release whose source was read for this table."""


class Requirement(NamedTuple):
    """One change in Xen that crash had to follow.

    Attributes:
        xen: major and minor of the first Xen that has it.
        crash: the first crash that copes, or None: no release up to :data:`NEWEST_KNOWN` does.
        error: what an older one ends with.
        citation: where it was followed, or, where it was not, what changed in Xen.
        member: (compilation unit, structure, member) that crash reads and that the change took
            away; a symbol file's debugging data decides then, not the version.
        on_stacks: the change moved where CPUs' stacks are found, so that crash reads a wrong place.
    """

    xen: tuple[int, int]
    crash: tuple[int, int, int] | None
    error: str
    citation: str
    member: tuple[str, str, str] | None = None
    on_stacks: bool = False


REQUIREMENTS: Final[tuple[Requirement, ...]] = (
    Requirement(
        (4, 18),
        None,
        "invalid structure member offset: vcpu_vcpu_info",
        'Xen commit 295514ff75 ("common: convert vCPU info area registration") (in 4.18)',
        ("common/domain.c", "vcpu", "vcpu_info"),
    ),
    # before the next row, though older: crash trips over that one first
    Requirement(
        (4, 13),
        (8, 0, 3),
        "invalid structure member offset: vcpu_sched_priv",
        'crash commit 9726920 ("xen: adjust to new scheduler structures")',
    ),
    Requirement(
        # Xen commit 91d26ed304 ("x86/shstk: Create shadow stacks") put ist_ssp before the TSS; the
        # commit of crash names 4.16
        (4, 14),
        (8, 0, 3),
        'invalid kernel virtual address: 1ef8  type: "fill_pcpu_struct"',
        'crash commit 9ee564c ("xen: get stack address via stack_base array if available")',
        on_stacks=True,
    ),
    Requirement(
        (4, 12),
        (7, 2, 8),
        "cannot resolve init_tss",
        'crash commit 4e4e585 ("Fix for newer Xen hypervisors")',
    ),
    Requirement(
        (4, 11),
        (7, 2, 6),
        'type: "fill_pcpu_struct"',
        'crash commit c6f0db6 ("Two fixes for the Xen hypervisor")',
        on_stacks=True,
    ),
    Requirement(
        (4, 7),
        (7, 2, 1),
        "cannot resolve schedulers",
        'crash commit e4499a9 ("crash cannot open Xen vmcores because the schedulers symbol ...")',
    ),
    Requirement(
        (4, 5),
        (7, 1, 1),
        "cannot resolve: dom0",
        'crash commit 4e1dca2 ("Fix to address the Xen 4.5.0 hypervisor symbol name change")',
    ),
    Requirement(
        (4, 3),  # and 4.2.5, which a minor number does not tell apart
        (7, 1, 1),
        "invalid structure member offset: domain_is_paused_by_controller",
        "crash commit eff086f (\"Fix to account for Xen hypervisor's 'domain' structure member\")",
    ),
)


class Broken(NamedTuple):
    """Something that a release of crash stopped doing: since when, its last words, and why."""

    since: tuple[int, int, int]
    error: str
    citation: str


NO_PANIC_TASK: Final = Broken(
    (8, 0, 6),
    "starting backtrace locations of the active (non-crashing) xen tasks cannot be determined",
    'crash commit 89ff1e4 ("x86_64: Add gdb stack unwind support")',
)
"""A Linux in a Xen host's dump that did not panic itself: dom0 after a hypervisor panic, a domU.

Seen with 8.0.6 and 9.0.2; 8.0.2 opens the same dumps.
"""
DWARF_5: Final = (8, 0, 0)
"""The first crash whose gdb (10) reads DWARF 5; 7.2.9 was seen not to."""
COMPRESSED: Final = (7, 1, 4)
"""crash commit 9531d0f: kdump-compressed dumps of a Xen host."""


def requirement(
    xen: XenVersion, has_member: Callable[[str, str, str], bool | None] = lambda *_: None
) -> Requirement | None:
    """The strictest row for a hypervisor, or None: every crash opens it.

    Args:
        xen: its version, which decides where nothing better does.
        has_member: whether the hypervisor's debugging data has a member in a structure of a
            compilation unit; None where it does not tell.
    """
    release = (xen.major, xen.minor)
    for row in REQUIREMENTS:
        there = has_member(*row.member) if row.member else None
        if there is False or (there is None and release >= row.xen):
            return row
    return None


def first_error(xen: XenVersion, crash: tuple[int, int, int], strictest: Requirement) -> str:
    """What a crash that does not cope ends with: it trips over the last row first."""
    release = (xen.major, xen.minor)
    lacking = [row for row in REQUIREMENTS if release >= row.xen and not copes(crash, row.crash)]
    return (lacking or [strictest])[-1].error


def copes(crash: tuple[int, int, int], needed: tuple[int, int, int] | None) -> bool:
    """Whether a crash copes with a change; one newer than the table is trusted to."""
    return crash > NEWEST_KNOWN if needed is None else crash >= needed


def dotted(release: tuple[int, ...]) -> str:
    """A release as crash prints it."""
    return ".".join(map(str, release))
