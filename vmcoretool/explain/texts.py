"""Error texts of crash and makedumpfile on a Xen host's dump, and what they mean.

One row per text; ``vmcoretool explain`` finds rows by it, and docs/errors.md lists them.  The
texts are those of crash 7.0.4 to 9.0.2 and makedumpfile 1.7.2 to 1.7.9.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from vmcoretool.debuggers.crash_releases import NO_PANIC_TASK, REQUIREMENTS, Requirement, dotted

CRASH: Final = "crash"
MAKEDUMPFILE: Final = "makedumpfile"
_COMMON: Final = 2
_SUGGESTED: Final = 4
_QUOTE: Final = "[\"'`\u2018\u2019\u201c\u201d]?"
_NO_QUOTES: Final = dict.fromkeys(map(ord, "\"'`\u2018\u2019\u201c\u201d"))
_WORD: Final = re.compile(r"\w+")


class ErrorText(NamedTuple):
    """One message.

    Attributes:
        program: which program prints it.
        texts: pieces that distinguish it from others; any of them is enough.
        meaning: what the program failed at.
        causes: names of what leads to it (``vmcoretool.explain.causes``), likely ones first.
        requirements: for the cause ``crash-release``: the changes in Xen an older crash trips over.
    """

    program: str
    texts: tuple[str, ...]
    meaning: str
    causes: tuple[str, ...]
    requirements: tuple[Requirement, ...] = ()


def find_texts(text: str) -> tuple[ErrorText, ...]:
    """The known texts that a message holds, the most telling first."""
    message = " ".join(text.lower().split())
    found: list[tuple[str, ErrorText]] = []
    for row in ERROR_TEXTS:
        pieces = [_plain(piece) for piece in row.texts if _pattern(piece).search(message)]
        if pieces:
            found.append((max(pieces, key=len), row))
    found.sort(key=lambda pair: -len(pair[0]))
    return tuple(
        row
        for number, (piece, row) in enumerate(found)
        if not any(piece in longer for longer, _ in found[:number])
    )


def similar_texts(text: str) -> tuple[str, ...]:
    """Known texts that share words with a message that is not known."""
    words = set(_WORD.findall(_plain(text)))
    scored = [
        (len(words & set(_WORD.findall(_plain(piece)))), piece)
        for row in ERROR_TEXTS
        for piece in row.texts[:1]
    ]
    best = sorted((pair for pair in scored if pair[0] >= _COMMON), key=lambda pair: -pair[0])
    return tuple(piece for _, piece in best[:_SUGGESTED])


def _pattern(piece: str) -> re.Pattern[str]:
    # A shell may have eaten the quotes of the message; a name still ends where they stood.
    parts = []
    for part in re.split(r"(\W)", " ".join(piece.lower().split())):
        if part == '"':
            parts.append(rf"{_QUOTE}\b{_QUOTE}")
        elif part == "'":
            parts.append(_QUOTE)
        else:
            parts.append(re.escape(part))
    return re.compile("".join(parts))


def _plain(text: str) -> str:
    return " ".join(text.lower().translate(_NO_QUOTES).split())


def _by_release() -> tuple[ErrorText, ...]:
    rows = []
    for row in REQUIREMENTS:
        if row.on_stacks:
            continue  # one text, two reasons: below
        needs = (
            "no release reads it yet"
            if row.crash is None
            else f"crash {dotted(row.crash)} reads it"
        )
        meaning = f"Xen {dotted(row.xen)} changed what crash reads here; {needs} ({row.citation})."
        causes = ("crash-release", "other-namelist")
        rows.append(ErrorText(CRASH, (row.error,), meaning, causes, (row,)))
    return tuple(rows)


_STACKS: Final = tuple(row for row in REQUIREMENTS if row.on_stacks)
_IDLE_TABLE: Final = Requirement(
    (3, 2),
    (7, 0, 4),
    'cannot resolve "idle_pg_table_4"',
    "crash 7.0.4, the oldest whose source is at hand, asks for both names",
)
_IS_HVM: Final = Requirement(
    (4, 4),
    (7, 0, 5),
    "invalid structure member offset: domain_is_hvm",
    "Xen 4.4 renamed the member",
)


ERROR_TEXTS: Final[tuple[ErrorText, ...]] = (
    ErrorText(
        CRASH,
        ('cannot resolve "idle_pg_table_4"', 'cannot resolve "idle_pg_table"'),
        "The symbol file has neither name of the idle page table: it is stripped, or it is "
        "not a hypervisor's, or this is an old crash that asks for idle_pg_table_4 alone, which "
        "Xen 3.2 and later do not have.",
        ("other-namelist", "no-namelist", "crash-release"),
        (_IDLE_TABLE,),
    ),
    ErrorText(
        CRASH,
        ("This hypervisor is relocatable", "command line option"),
        "A warning: the XEN_ELFNOTE_CRASH_INFO note of this dump gives crash no xen_phys_start. "
        "The session fails unless the option is given. crash also prints it for a native Linux "
        "dump with xen-syms.",
        ("address-not-recorded", "not-a-host"),
    ),
    ErrorText(
        CRASH,
        ('invalid size request: 0  type: "__per_cpu_offset"', "cannot read __per_cpu_offset"),
        "crash read the hypervisor's variables at a wrong place and found a count of zero CPUs. "
        "The text is the same for a missing address, a wrong one, and a symbol file of another "
        "build.",
        ("address-not-recorded", "address-wrong", "other-namelist", "not-a-host"),
    ),
    ErrorText(
        CRASH,
        ('type: "__per_cpu_offset"', 'type: "nr_cpu_ids"', "read error: kernel virtual address"),
        "crash read the hypervisor at a wrong machine address: the option, or the address in the "
        "note, is wrong. "
        "The number is hexadecimal with or without 0x; a decimal one is misread without a warning.",
        ("address-wrong", "address-not-recorded", "other-namelist", "cut-short"),
    ),
    ErrorText(
        CRASH,
        ("no debugging data available",),
        "The symbol file has no DWARF, which crash needs in addition to the symbols.",
        ("no-dwarf",),
    ),
    ErrorText(
        CRASH,
        ("fill_pcpu_struct", "cannot read cpu_info", "cannot fill pcpu_struct"),
        "crash looked for the CPUs' stacks where older hypervisors had them: Xen 4.14 needs crash "
        "8.0.3, Xen 4.11 needs 7.2.6.",
        ("crash-release", "bigmem", "address-not-recorded"),
        _STACKS,
    ),
    *_by_release(),
    ErrorText(
        CRASH,
        (_IS_HVM.error,),
        "Xen 4.4 renamed a member of struct domain; crash 7.0.5 and later know it.",
        ("crash-release", "other-namelist"),
        (_IS_HVM,),
    ),
    ErrorText(
        CRASH,
        ("note_buf_t or crash_note_t", "cannot read crash_notes"),
        "crash found the pointers to the CPUs' notes at a wrong place: usual for Xen 3.2 and RHEL "
        "5.2, which move the hypervisor and do not record where to.",
        ("address-not-recorded", "other-namelist"),
    ),
    ErrorText(
        CRASH,
        (NO_PANIC_TASK.error, "try -t or -T options"),
        f"crash {dotted(NO_PANIC_TASK.since)} and later give up at the start where the Linux they "
        "open did not panic itself: dom0 after a panic of the hypervisor, any other guest "
        f"({NO_PANIC_TASK.citation}).",
        ("not-its-panic",),
    ),
    ErrorText(
        CRASH,
        ("cannot realloc resized ELF header buffer",),
        "crash cannot read some flattened ELF dumps; it reads them once they are rearranged.",
        ("flattened",),
    ),
    ErrorText(
        CRASH,
        ("seek error: physical address", "read error: physical address"),
        "A page that crash asked for is not in the file: it was left out, it was lost, or crash "
        "looked at a wrong place.",
        ("split-part", "cut-short", "address-wrong", "filtered"),
    ),
    ErrorText(
        CRASH,
        ("xen kdump p2m mfn page",),
        "A page of the guest's own list of its memory is not where the XEN_ELFNOTE_CRASH_INFO note "
        "says, or not in the dump.",
        ("p2m-missing", "cut-short", "filtered", "split-part"),
    ),
    ErrorText(
        CRASH,
        ("no text and data contents", "supplied in this case is a debuginfo file"),
        "The symbol file holds debugging data alone; crash needs the file it was split from, too.",
        ("split-namelist",),
    ),
    ErrorText(
        CRASH,
        ("do not match!", "invalid linux_banner pointer"),
        "The banner of the symbol file's kernel is not the one in the dump.",
        ("other-vmlinux",),
    ),
    ErrorText(
        CRASH,
        ('compressed file name does not start with "vmlinux"',),
        "crash unpacks only symbol files whose names begin with vmlinux.",
        ("packed-namelist", "packed"),
    ),
    ErrorText(
        CRASH,
        ("not a supported file format",),
        "crash does not know the file's format: often a dump or a symbol file is still compressed.",
        ("packed", "packed-namelist", "no-such-dump"),
    ),
    ErrorText(
        CRASH,
        ("may be truncated or incomplete",),
        "A warning: the dump's headers describe more than the file holds.",
        ("cut-short",),
    ),
    ErrorText(
        CRASH,
        ("Xen hypervisor mode requires a dumpfile", "cannot find a live memory device"),
        "crash was started with a hypervisor's symbols and no dump; it cannot read a running Xen.",
        ("no-dump",),
    ),
    ErrorText(
        CRASH,
        ("crashing_cpu not found",),
        "A warning without consequence: crash shows physical CPU 0 first, whichever CPU crashed.",
        ("harmless",),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("doesn't contain vmcoreinfo", "Specify '-x' option or '-i' option"),
        "Dump levels above 1 need the symbols of dom0's Linux, and a Xen host's dump has only the "
        "hypervisor's. '-x vmlinux' works; '-i' does not on such a dump (makedumpfile looks "
        "for the hypervisor's symbols in that file, too, and cannot read it twice).",
        ("needs-vmlinux",),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("doesn't contain a vmcoreinfo for Xen", "Specify '--xen-syms' option"),
        "-X needs VMCOREINFO_XEN, which Xen writes from 3.3 on when a crash kernel is loaded.",
        ("no-vmcoreinfo-xen",),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Please use the --xen_phys_start option", "Can't get Xen physical start address"),
        "The XEN_ELFNOTE_CRASH_INFO note records no xen_phys_start (Xen 3.2, RHEL 5.2).",
        ("address-not-recorded", "address-wrong"),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Can't convert a virtual address(",),
        "makedumpfile walked page tables that are not where it looked: the address in the note is "
        "zero or wrong, or the page is not in the file.",
        ("address-not-recorded", "address-wrong", "cut-short", "filtered"),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Can't get through the domain_list",),
        "makedumpfile looked for the hypervisor's heap at the usual start of the direct map.",
        ("bigmem", "filtered", "cut-short"),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Can't get pml4",),
        "-i was given a file without the hypervisor's symbols; it does not work with them either.",
        ("needs-vmlinux",),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("not Xen's memory core image",),
        "-X was given, but the dump has no XEN_ELFNOTE_CRASH_INFO note.",
        ("no-crash-info", "not-a-host"),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Can't get the symbol of xenheap_phys_end",),
        "A bug in makedumpfile before 1.7.2 on every Xen dump (makedumpfile commit a213694 "
        "fixed it).",
        ("makedumpfile-release",),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("'--num-threads' option is disable",),  # "disabled" since 1.7.3
        "Several threads are not supported on a Xen host's dump.",
        ("no-threads",),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Can't get the number of PT_LOAD",),
        "makedumpfile does not read an ELF dump that QEMU wrote.",
        ("qemu", "one-guest"),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Can't find some symbols for log_buf",),
        "makedumpfile --dump-dmesg needs the symbols of dom0's Linux, and a Xen host's dump has "
        "only the hypervisor's. kdump-tools runs it before it saves the dump, which goes on.",
        ("log-of-dom0",),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Can't get valid ehdr",),
        "The file is neither ELF nor kdump-compressed.",
        ("flattened-first", "packed", "no-such-dump"),
    ),
    ErrorText(
        CRASH,
        ("truncated/incomplete", "dump-incomplete"),
        "The dump, or the flattened stream that it is in, ends too early.",
        ("cut-short",),
    ),
    ErrorText(
        CRASH,
        ("uncompress failed: no",),
        "This build of crash cannot decompress the pages of the dump: LZO, snappy and zstd are "
        "options of its build.",
        ("no-codec",),
    ),
    ErrorText(
        CRASH,
        ("namelist argument required",),
        "crash was given the dump alone; it needs the symbol file, too.",
        ("no-namelist-given",),
    ),
)
