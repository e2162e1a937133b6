"""What makedumpfile prints."""

from __future__ import annotations

from typing import Final

from vmcoretool.explain.error_text import MAKEDUMPFILE, ErrorText

MAKEDUMPFILE_TEXTS: Final[tuple[ErrorText, ...]] = (
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
        (
            "Can't convert a virtual address(",
            "readmem: type_addr: 2",
            "Can't get the value of dom_xen domain_id",
            "Can't get the value of frame_table",
        ),
        "makedumpfile walked page tables that are not where it looked: the address in the note or "
        "the option is zero or wrong, or the page is not in the file. The option is decimal unless "
        "it begins with 0x.",
        ("address-wrong", "address-not-recorded", "cut-short", "filtered"),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Can't get through the domain_list",),
        "makedumpfile looked for the hypervisor's heap where it is not: the address that it was "
        "told is wrong, or the direct map starts elsewhere than usual.",
        ("address-wrong", "bigmem", "filtered", "cut-short"),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Can't get pml4", "read_vmcoreinfo_basic_info_xen"),
        "--xen-syms, --xen-vmcoreinfo or -i was given a file without the hypervisor's symbols; -i "
        "does not work with them either.",
        ("other-program", "needs-vmlinux"),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("not Xen's memory core image", "'-X' option is disable"),
        "-X was given, but the dump is no ELF file with a XEN_ELFNOTE_CRASH_INFO note.",
        ("not-a-host", "no-crash-info", "kdump-already"),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Can't get the symbol of xenheap_phys_end",),
        "A bug in some releases of makedumpfile before 1.7.2 on every Xen dump (makedumpfile "
        "commit a213694 fixed it; 1.6.8 does not have it).",
        ("makedumpfile-release",),
    ),
    ErrorText(
        MAKEDUMPFILE,
        # "disable" up to 1.7.6, "disabled" in 1.7.8
        ("'--num-threads' option is disable", "is Xen's memory core image"),
        "Several threads are not supported on a Xen host's dump.",
        ("no-threads",),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Can't get the number of PT_LOAD",),
        "makedumpfile reads neither the dump of one guest that 'xl dump-core' wrote nor every ELF "
        "dump that QEMU wrote.",
        ("one-guest", "qemu"),
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
        ("flattened-first", "packed", "cut-short", "no-such-dump"),
    ),
    ErrorText(
        MAKEDUMPFILE,
        (
            "check_elf_format: Can't read",
            "check_elf_format: Can't find Phdr",
            "get_elf64_phdr: Can't read",
            "Can't read a file(",
            "Can't read the dump memory(",
            "copy_1st_bitmap_from_memory",
        ),
        "The file ends before what its headers describe. The words behind it ('No such file or "
        "directory') mean nothing.",
        ("cut-short", "no-such-dump"),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Attempt to read non-existent page",),
        "A page that makedumpfile asked for is not in the file.",
        ("address-wrong", "address-not-recorded", "cut-short", "filtered"),
        weight="warning",
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Can't find PT_NOTE Phdr",),
        "The ELF file has no notes at all, which a crash kernel's dump always has.",
        ("no-crash-info", "no-such-dump", "damaged"),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("). No such file or directory",),
        "A file that was named is not there.",
        ("file-missing",),
        weight="general",
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("). Permission denied",),
        "A file that was named may not be read.",
        ("file-unreadable",),
        weight="general",
    ),
    ErrorText(
        MAKEDUMPFILE,
        (
            "Can't get first elf header of",
            "dwfl_module_getdwarf error",
            "not a valid ELF file",
        ),
        "makedumpfile found no DWARF in the symbol file. It may go on trying for a long time.",
        ("no-dwarf", "no-namelist"),
    ),
    ErrorText(
        MAKEDUMPFILE,
        (
            "Can't get the symbol of system_utsname",
            "Can't get the address of system_utsname",
            "readmem: type_addr: 0",
            "readmem: type_addr: 1",
        ),
        "makedumpfile looked for the Linux of the file behind -x, and did not find it.",
        ("other-program", "other-vmlinux", "cut-short", "filtered"),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("cannot be used with Elf format",),
        "--split writes kdump-compressed parts only.",
        ("no-elf-split",),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Can't get signature of flattened format", "Can't get header of flattened format"),
        "-R rearranges a flattened stream, and standard input is none.",
        ("not-flattened", "packed"),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("There is not dumpfile corresponding to pfn",),
        "--reassemble needs every part of the set, each once.",
        ("split-part",),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("is not the kdump-compressed format",),
        "--reassemble and --refilter take kdump-compressed parts only.",
        ("not-a-part", "no-such-dump"),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("check_dump_file: Can't open the dump file", ". File exists"),
        "makedumpfile does not overwrite a file.",
        ("output-exists",),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("open_dump_file: Can't open the dump file",),
        "The new dump cannot be written; the words behind it say why.",
        ("no-folder",),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("No space left on device", "Can't write the dump file"),
        "The new dump cannot be written to its end. What there is of it is cut short.",
        ("disk-full",),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Xen crash info too small",),
        "The XEN_ELFNOTE_CRASH_INFO note is shorter than one of a 64-bit hypervisor.",
        ("other-machine", "damaged"),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Can't allocate memory", "Cannot allocate memory"),
        "makedumpfile got no memory for its buffers.",
        ("no-memory",),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Dump_level(", "Message_level("),
        "A dump level is a number from 0 to 31, and so is a level of messages.",
        ("wrong-usage",),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("No memory is reserved for crashkernel",),
        "--mem-usage looks at the running system, not at a dump.",
        ("wrong-usage",),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("makedumpfile: unrecognized option", "makedumpfile: invalid option"),
        "makedumpfile does not take an option as it was given.",
        ("unknown-option",),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("The kernel version is not supported", "operation may be incomplete"),
        "A warning: the Linux is newer than this makedumpfile; the dump is mostly right all the "
        "same.",
        ("harmless",),
        weight="warning",
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Segmentation fault", "core dumped"),
        "The program itself crashed, as makedumpfile does on kdump-compressed dumps that lack a "
        "part; crash may, too.",
        ("cut-short", "split-part", "damaged", "unexplained"),
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("Commandline parameter is invalid", "Try `makedumpfile --help'"),
        "makedumpfile prints this of a command line that it does not take, and below many other "
        "faults: then the reason stands above it.",
        ("wrong-usage", "unknown-option", "line-above"),
        weight="closing",
    ),
    ErrorText(
        MAKEDUMPFILE,
        ("makedumpfile Failed",),
        "makedumpfile closes every failure with it.",
        ("line-above", "cut-short", "packed", "no-such-dump"),
        weight="banner",
    ),
)
