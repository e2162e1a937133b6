"""What crash prints when it has begun to read a dump: addresses, symbol files, releases."""

from __future__ import annotations

from typing import Final

from vmcoretool.debuggers.crash_releases import NO_PANIC_TASK, REQUIREMENTS, Requirement, dotted
from vmcoretool.explain.error_text import CRASH, ErrorText


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

SESSION_TEXTS: Final[tuple[ErrorText, ...]] = (
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
        weight="warning",
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
        (
            'type: "__per_cpu_offset"',
            'type: "nr_cpu_ids"',
            "read error: kernel virtual address",
            "seek error: kernel virtual address",
        ),
        "crash read the hypervisor at a wrong machine address (the option, or the address in the "
        "note, is wrong), or what lies there is not in the file. "
        "The number is hexadecimal with or without 0x; a decimal one is misread without a warning.",
        (
            "address-wrong",
            "address-not-recorded",
            "other-namelist",
            "split-part",
            "cut-short",
            "no-such-dump",
            "not-a-host",
        ),
        weight="general",
    ),
    ErrorText(
        CRASH,
        ("no debugging data available", "no .gnu_debuglink section"),
        "crash found no DWARF that it can read in the symbol file; it needs it in addition to the "
        "symbols.",
        ("no-dwarf", "dwarf-5", "other-program", "two-symbol-files"),
        weight="general",
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
        ("seek error: physical address", "read error: physical address"),
        "A page that crash asked for is not in the file: it was left out, it was lost, or crash "
        "looked at a wrong place.",
        ("split-part", "cut-short", "address-wrong", "filtered"),
        weight="general",
    ),
    ErrorText(
        CRASH,
        ("xen kdump p2m mfn page", "xen kdump p2m mfn list page", "xen_kdump_p2m mfn frame"),
        "A page of the guest's own list of its memory is not where the XEN_ELFNOTE_CRASH_INFO note "
        "says, or not in the dump.",
        ("p2m-missing", "split-part", "cut-short", "filtered", "no-codec"),
    ),
    ErrorText(
        CRASH,
        ("do not match!", "invalid linux_banner pointer", "cannot read linux_banner"),
        "The banner of the symbol file's kernel is not where crash looks for it in the dump. Where "
        "the dump has no XEN_ELFNOTE_CRASH_INFO note, crash does not take it for a Xen host's.",
        ("other-vmlinux", "p2m-missing", "split-part", "cut-short"),
    ),
    ErrorText(
        CRASH,
        ("crashing_cpu not found",),
        "A warning without consequence: crash shows physical CPU 0 first, whichever CPU crashed.",
        ("harmless",),
        weight="warning",
    ),
    ErrorText(
        CRASH,
        ("Dwarf Error: wrong version in compilation unit header",),
        "The GDB inside this crash does not read debugging data of that version.",
        ("dwarf-5",),
    ),
    ErrorText(
        CRASH,
        ("cannot read vmcoreinfo_data", 'type: "vmcoreinfo_data"'),
        "crash 9 looks for VMCOREINFO in the memory of the Linux that it opens, and did not find "
        "it where the symbol file says.",
        ("other-vmlinux", "p2m-missing", "no-such-dump", "cut-short", "filtered"),
    ),
    ErrorText(
        CRASH,
        ("page excluded: kernel virtual address", "page excluded: physical address"),
        "A page that crash asked for was left out when the dump was made.",
        ("filtered", "address-wrong", "other-namelist"),
        weight="general",
    ),
    ErrorText(
        CRASH,
        ("cannot read cpu_present_map", 'type: "cpu_present_map"'),
        "crash found the hypervisor, but the page with its list of CPUs is not in the dump.",
        ("filtered", "cut-short", "split-part", "address-wrong", "other-namelist"),
    ),
    ErrorText(
        CRASH,
        ("This dumpfile is incomplete", "may be analyzed with the --zero_excluded"),
        "A warning: the dump's header says that it was not written to its end, as where the disk "
        "was full.",
        ("cut-short",),
        weight="warning",
    ),
    ErrorText(
        CRASH,
        ("invalid NT_PRSTATUS note",),
        "A warning: crash does not find the registers of a CPU among the notes of a Xen host's "
        "dump; backtraces of that CPU are affected.",
        ("harmless",),
        weight="warning",
    ),
    ErrorText(
        CRASH,
        ("cannot read index page",),
        "crash does not find the list of pages of a file that 'xl dump-core' wrote.",
        ("cut-short", "not-a-host"),
    ),
    ErrorText(
        CRASH,
        ("possibly corrupt Elf64_Nhdr", "possibly corrupt Elf32_Nhdr"),
        "A warning: what should be the dump's notes is none.",
        ("no-crash-info", "damaged"),
        weight="warning",
    ),
    ErrorText(
        CRASH,
        ("no VMCOREINFO section",),
        "crash --log reads by the VMCOREINFO of a native Linux dump; a Xen host's has only the "
        "hypervisor's.",
        ("log-of-dom0", "cut-short"),
    ),
    ErrorText(
        CRASH,
        ("unknown",),
        "crash --osrelease and --build-id read the VMCOREINFO of a native Linux dump; a Xen host's "
        "has only the hypervisor's.",
        ("log-of-dom0", "cut-short"),
        whole_line=True,
    ),
    ErrorText(
        CRASH,
        ("] error trace:", "xen_hyper.c LINE:"),
        "crash shows where in its own program it gave up.",
        ("line-above",),
        weight="closing",
    ),
    ErrorText(
        CRASH,
        ('to search for commands related to "word"', "This GDB was configured as"),
        "crash ended behind GDB's greeting without a message of its own. So it does where the "
        "kernel of the symbol file is not the one in the dump.",
        ("other-vmlinux", "no-such-dump", "cut-short"),
        weight="banner",
    ),
)
