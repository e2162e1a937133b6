"""What an inspection reports besides its result: stable codes, each with cause and cure.

The table of all codes is :data:`CODES`; ``docs/findings.md`` is generated from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from vmcoretool.budget import Budget

from vmcoretool.printable import printable

Level = Literal["info", "warning", "error"]


class _Finding(NamedTuple):
    level: Level
    code: str
    message: str
    advice: str


class Finding(_Finding):
    """One thing worth telling: ``message`` says what was seen, ``advice`` what to do.

    Whatever the texts were made of - they quote dumps and file names - they are printable.
    """

    __slots__ = ()

    def __new__(cls, level: Level, code: str, message: str, advice: str) -> Finding:  # noqa: PYI034 - Self is in typing from 3.11 on only
        """All in their order."""
        return super().__new__(cls, level, code, printable(message), printable(advice))


class Code(NamedTuple):
    """One row of the table of codes: its usual level, cause and cure."""

    code: str
    level: Level
    cause: str
    cure: str


CODES: Final[tuple[Code, ...]] = (
    Code(
        "truncated",
        "error",
        "The file ends before the data its headers describe: a full disk, an interrupted copy.",
        "Copy the dump again and compare sizes; what is left is still inspected.",
    ),
    Code(
        "decompression-stopped",
        "error",
        "The decompression was ended before its end: by Ctrl-C, or since the stream holds far more "
        "data than any real dump of its size. That is no sign of a damaged file.",
        "Run it again and let it finish, or decompress the file first.",
    ),
    Code(
        "page-unreadable",
        "error",
        "Pages that were read for this answer are damaged or were lost; the message gives their "
        "number and the first addresses. Pages that nothing asked for are not counted.",
        "Copy the dump again; what did not need these pages is as good as before.",
    ),
    Code(
        "work-limited",
        "warning",
        "A count, link or length in the dump asked for more work than any real dump needs: a list "
        "that does not end, a table of millions of entries. What was found by then stands.",
        "Take that part as incomplete: the dump is damaged, or made to mislead.",
    ),
    Code(
        "page-map-damaged",
        "error",
        "A kdump file's page bitmaps contradict its descriptors or each other. Pages that cannot "
        "be assigned to a frame are not read.",
        "Copy the dump again; the notes are not affected.",
    ),
    Code(
        "domain-list-damaged",
        "warning",
        "The hypervisor's list of domains cannot be followed to its end.",
        "The domains found so far are right; others may be missing.",
    ),
    Code(
        "domain-list-incomplete",
        "warning",
        "The hypervisor's list of domains leads to memory that is not in the dump.",
        "The domains found so far are right; get the whole dump for the others.",
    ),
    Code(
        "dom0-p2m-disputed",
        "warning",
        "The XEN_ELFNOTE_CRASH_INFO note and dom0's shared info page name different p2m trees.",
        "Try crash --p2m_mfn with the one that the shared info page names.",
    ),
    Code(
        "p2m-damaged",
        "warning",
        "A PV domain's p2m tree leads to pages that the domain does not own.",
        "Do not trust what crash shows of this domain: it follows that tree.",
    ),
    Code(
        "notes-only",
        "warning",
        "The input is readelf's text about a dump, not the dump.",
        "Find the vmcore itself to have the address proved and to open it.",
    ),
    Code(
        "split-part-missing",
        "error",
        "A part of a makedumpfile --split set was not given, or is lost.",
        "Give all parts, in any order; pages of a missing part cannot be read.",
    ),
    Code(
        "headers-odd",
        "warning",
        "A header field has a value no writer uses; the usual value was assumed.",
        "Compare a checksum with the original if the dump was copied.",
    ),
    Code(
        "process-core",
        "warning",
        "The notes are those of a process (NT_AUXV, NT_FILE): the file is no dump of a machine.",
        "Open it with gdb and the program.",
    ),
    Code(
        "note-damaged",
        "warning",
        "An ELF note's header contradicts the notes around it, or its payload has no known shape.",
        "Nothing, if the address is verified: page tables need no note.",
    ),
    Code(
        "notes-missing",
        "warning",
        "The dump carries no XEN_ELFNOTE_CRASH_INFO note.",
        "Where the address is proved, the printed command carries it: paste that.",
    ),
    Code(
        "xen-phys-start-not-recorded",
        "warning",
        "The XEN_ELFNOTE_CRASH_INFO note has no xen_phys_start (Xen 3.2, RHEL 5.2), or it is zero.",
        "Paste the command as printed: crash needs its option --xen_phys_start.",
    ),
    Code(
        "xen-phys-start-wrong",
        "error",
        "A recorded address contradicts the dump's own page tables.",
        "Use the printed command: it carries the proven address.",
    ),
    Code(
        "address-disputed",
        "error",
        "Two hypervisor images, or two recorded addresses, contradict each other; nothing decides.",
        "Read the evidence (-v); give the one you trust with --xen-phys-start.",
    ),
    Code(
        "address-unproven",
        "error",
        "An address is recorded, but the page tables that could prove it are not in the dump.",
        "Try the command; if crash reads nonsense, get the whole dump, unfiltered.",
    ),
    Code(
        "address-unknown",
        "error",
        "Neither notes nor page tables in this dump show where the hypervisor is.",
        "Still up? --xen-phys-start with /proc/iomem's 'Hypervisor code and data'.",
    ),
    Code(
        "idle-page-table-missing",
        "warning",
        "The page that holds idle_pg_table was left out of the dump.",
        "Nothing here; crash may fail on addresses outside image and direct map.",
    ),
    Code(
        "pgd-l4-wrong",
        "warning",
        "SYMBOL(pgd_l4) in VMCOREINFO_XEN does not lead to the idle page table of this image.",
        "Nothing, if the address is verified: the table itself was found.",
    ),
    Code(
        "cpu-not-saved",
        "warning",
        "A CPU's notes hold no registers: it did not answer when the others were stopped.",
        "Look at that CPU first: it may be the one that hung.",
    ),
    Code(
        "dom0-p2m-missing",
        "warning",
        "The XEN_ELFNOTE_CRASH_INFO note has no mfn of dom0's p2m tree; a dom0 session needs it.",
        "The hypervisor session does not need it.",
    ),
    Code(
        "domain-not-openable",
        "info",
        "crash follows a guest's memory through the guest's p2m tree, which only PV guests keep.",
        "Dump such a guest while it runs: 'xl dump-core', or kdump inside it.",
    ),
    Code(
        "namelist-not-used",
        "warning",
        "A symbol file that was named on the command line does not belong to this dump.",
        "Look for the file with the build-id that 'inspect -v' prints.",
    ),
    Code(
        "namelist-no-dwarf",
        "warning",
        "The symbol file belongs to the dump, but lacks the debugging data that crash needs.",
        "vmcoretool's own commands need none; for crash, see its caveats (-v).",
    ),
    Code(
        "namelist-search-incomplete",
        "warning",
        "A folder could not be read, or holds more files than are looked at.",
        "Name the file itself with --xen-syms or --vmlinux.",
    ),
    Code(
        "nested-xen-image",
        "warning",
        "Memory holds a Xen that this machine's CPUs did not run: a guest's, or an earlier boot's.",
        "To look at that one, take a dump of the guest itself.",
    ),
    Code(
        "directmap-unusual",
        "warning",
        "This Xen was built with BIGMEM; crash and makedumpfile know the usual direct map only.",
        "Use vmcoretool console, cpus, domains, dmesg; crash opens dom0.",
    ),
    Code(
        "architecture-not-supported",
        "warning",
        "Page tables of this architecture are not walked, so nothing can be proved.",
        "The notes are still decoded: see 'vmcoretool notes'.",
    ),
)

_LEVELS: Final = {code.code: code.level for code in CODES}
_CURES: Final = {code.code: code.cure for code in CODES}


def finding(code: str, message: str, advice: str | None = None) -> Finding:
    """A finding with its table's level, and its table's cure where no better one is given."""
    return Finding(_LEVELS[code], code, message, _CURES[code] if advice is None else advice)


def stopped_findings(budget: Budget) -> tuple[Finding, ...]:
    """What to report of decompressions that were ended before their end."""
    return tuple(
        finding(
            "decompression-stopped",
            f"{row.name} ended at {100 * row.done // max(row.total, 1)} %: "
            + ("you stopped it" if row.by_caller else "it met a limit of work"),
        )
        for row in budget.unfinished
    )
