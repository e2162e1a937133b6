"""Which symbol file belongs to a program in the dump: by content, never by its name.

The first rule that can decide does:

1. the build-id in the dump's memory against the file's note;
2. every ``SYMBOL()`` of VMCOREINFO_XEN against the file's symbols;
3. the strings that CRASH_INFO points to against the file's bytes at the same addresses; for Linux
   its banner.  A release alone can only refuse: kernels are built again under the same one.

File names and version numbers decide nothing: distributions rebuild the same version, and Xen cuts
its own version string short.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vmcoretool.errors import NamelistError
from vmcoretool.printable import printable
from vmcoretool.symbols.file import open_namelist

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vmcoretool.addresses import Vaddr
    from vmcoretool.symbols.candidates import Candidate
    from vmcoretool.symbols.file import Namelist, Purpose

Outcome = Literal["matches", "differs", "undecided"]
ALIASES: Final = {"pgd_l4": "idle_pg_table", "pgd_l3": "idle_pg_table"}
"""Names in VMCOREINFO_XEN that are other names in a symbol file (xen/arch/x86/machine_kexec.c)."""
ENOUGH_SYMBOLS: Final = 2
ENOUGH_STRINGS: Final = 3
BANNER_SIZE: Final = 512
_SHOWN: Final = 1
_PURPOSES: Final = {
    "hypervisor": "a hypervisor",
    "linux": "a Linux kernel",
    "other": "neither a hypervisor nor a kernel",
}
_EFI_SIZE: Final = 32


class Facts(NamedTuple):
    """What is known of one program in it.

    Attributes:
        target: as in commands: "hypervisor", "dom0" or "domN".
        purpose: what kind of program.
        build_id: lower-case hexadecimal, or None.
        symbols: addresses that the dump's VMCOREINFO has.
        strings: texts of CRASH_INFO and their addresses.
        release: as ``uname -r`` says, or None.
        banner: a kernel's banner, printable, or "".
    """

    target: str
    purpose: Purpose
    build_id: str | None = None
    symbols: Mapping[str, Vaddr] = MappingProxyType({})
    strings: tuple[tuple[str, Vaddr], ...] = ()
    release: str | None = None
    banner: str = ""


class Match(NamedTuple):
    """What came of comparing one candidate with one program.

    Attributes:
        candidate: the file.
        target: the program's; "" where the file could not be used at all.
        match: what came of it.
        reasons: which rule decided and what it saw.
    """

    candidate: Candidate
    target: str
    match: Outcome
    reasons: tuple[str, ...]


def match(candidate: Candidate, facts: Facts) -> Match:
    """Compare a candidate with a program of the dump."""
    if candidate.error:
        return Match(candidate, facts.target, "undecided", (candidate.error,))
    if candidate.purpose != facts.purpose:
        reason = f"it is {_PURPOSES[candidate.purpose]}, not {_PURPOSES[facts.purpose]}"
        return Match(candidate, facts.target, "differs", (reason,))
    verdict, reason = _by_build_id(candidate, facts)
    if verdict == "undecided":
        try:
            with open_namelist(candidate.path) as namelist:
                verdict, reason = _by_content(namelist, facts, reason)
        except NamelistError as error:
            reason = error.what
        except OSError as error:
            reason = error.strerror or str(error)
    reasons = [reason]
    if verdict == "matches" and not candidate.has_symbols:
        reasons.append("it is stripped: it has no symbol table")
    return Match(candidate, facts.target, verdict, tuple(reasons))


def choose(matches: Iterable[Match], target: str) -> Match | None:
    """The best matching file that crash could use, or None.

    Debugging data counts most, then that the user named it, then that it needs no unpacking and
    has a name by which crash knows a hypervisor.
    """
    fit = [
        row
        for row in matches
        if row.target == target and row.match == "matches" and row.candidate.has_symbols
    ]
    return max(fit, key=_worth, default=None)


def _worth(row: Match) -> tuple[bool, ...]:
    candidate = row.candidate
    name = candidate.path.rpartition("/")[2]
    return (
        candidate.dwarf,
        candidate.elf,
        candidate.named,
        not candidate.compression,
        name.startswith(("xen-syms", "vmlinux")),
    )


def _by_build_id(candidate: Candidate, facts: Facts) -> tuple[Outcome, str]:
    mine, theirs = facts.build_id, candidate.build_id
    if theirs is None:
        return "undecided", "the file has no build-id"
    if mine is None:
        return "undecided", "no build-id is in the dump"
    if mine == theirs:
        return "matches", f"build-id {mine}, as in the dump's memory"
    if facts.purpose == "hypervisor" and candidate.efi != (len(mine) == _EFI_SIZE):
        booted, other = ("xen.efi", "xen.gz") if not candidate.efi else ("xen.gz", "xen.efi")
        return "differs", f"this host booted {booted}; the file belongs to {other}"
    return "differs", f"another build: its build-id is {theirs}, the dump's {mine}"


def _by_content(namelist: Namelist, facts: Facts, so_far: str) -> tuple[Outcome, str]:
    symbols = namelist.symbols()
    for verdict, reason in (
        _by_symbols(symbols, facts),
        _by_strings(namelist, facts),
        _by_banner(namelist, symbols, facts),
    ):
        if verdict != "undecided":
            return verdict, reason
    return "undecided", f"{so_far}, and nothing else in the dump tells"


def _by_symbols(symbols: Mapping[str, Vaddr], facts: Facts) -> tuple[Outcome, str]:
    named = {ALIASES.get(key, key): value for key, value in facts.symbols.items()}
    both = [name for name in named if name in symbols]
    wrong = [name for name in both if symbols[name] != named[name]]
    if wrong:
        some = ", ".join(
            f"{name} is at {symbols[name]:#x}, the dump has {named[name]:#x}"
            for name in wrong[:_SHOWN]
        )
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        return "differs", f"another build: {some}{more}"
    if len(both) < ENOUGH_SYMBOLS:
        return "undecided", ""
    return "matches", f"all {len(both)} symbols of VMCOREINFO_XEN agree: {', '.join(both)}"


def _by_strings(namelist: Namelist, facts: Facts) -> tuple[Outcome, str]:
    if namelist.elf is None:
        return "undecided", ""
    same = 0
    for text, vaddr in facts.strings:
        wanted = text.encode("ascii") + b"\0"
        found = namelist.elf.read(vaddr, len(wanted))
        if found is None:
            continue
        if found != wanted:
            seen = printable(found.split(b"\0")[0])
            return "differs", f"another build: at {vaddr:#x} it has {seen!r}, the dump {text!r}"
        same += 1
    if same < ENOUGH_STRINGS:
        return "undecided", ""
    return "matches", f"{same} strings of CRASH_INFO stand at the same addresses in the file"


def _by_banner(
    namelist: Namelist, symbols: Mapping[str, Vaddr], facts: Facts
) -> tuple[Outcome, str]:
    at = symbols.get("linux_banner")
    if namelist.elf is None or at is None or not (facts.banner or facts.release):
        return "undecided", ""
    raw = namelist.elf.read(at, BANNER_SIZE)
    if raw is None:
        return "undecided", ""
    theirs = printable(raw.split(b"\n")[0].split(b"\0")[0])
    if facts.banner:
        if theirs == facts.banner:
            return "matches", f"its banner is the dump's: {theirs}"
        return "differs", f"another kernel: its banner is {theirs!r}, the dump's {facts.banner!r}"
    if not theirs.startswith(f"Linux version {facts.release} "):
        return "differs", f"another kernel: {theirs!r}; the dump's is {facts.release}"
    return "undecided", ""
