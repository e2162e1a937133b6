"""The causes of errors of crash and makedumpfile that do not hang on the text, and their cures."""

from __future__ import annotations

from typing import Final

from vmcoretool.explain import diagnoses, symbol_diagnoses
from vmcoretool.explain.cause import Cause

_OPTION: Final = "Give crash or makedumpfile the option --xen_phys_start as 'inspect' prints it."
_PARTS: Final = "Name all parts of the set on one command line."
_REARRANGE: Final = "makedumpfile -R NEW < FILE"

ALL: Final[tuple[Cause, ...]] = (
    Cause(
        "address-not-recorded",
        "The dump does not record where the hypervisor was.",
        _OPTION,
        diagnoses.address_not_recorded,
    ),
    Cause(
        "address-wrong",
        "A wrong address was given or recorded.",
        _OPTION,
        diagnoses.address_wrong,
    ),
    Cause(
        "other-namelist",
        "The symbol file is of another build, or is stripped.",
        "Use the one that 'inspect --search DIR' picks: it compares builds, not names.",
        symbol_diagnoses.other_namelist,
    ),
    Cause(
        "other-vmlinux",
        "The vmlinux is of another build.",
        "Use the one that 'inspect --search DIR' picks.",
        symbol_diagnoses.other_vmlinux,
    ),
    Cause(
        "no-namelist",
        "The file is not a symbol file, or not a whole one.",
        "A hypervisor session takes xen-syms (not xen.gz, xen.efi or a .map); dom0 takes a vmlinux "
        "with debugging data (not vmlinuz). 'inspect --search DIR' picks the one of the dump.",
        symbol_diagnoses.no_namelist,
    ),
    Cause(
        "no-dwarf",
        "The symbol file was built without debugging data.",
        "'inspect' names the package; Debian's of 4.14 and 4.17 have none. vmcoretool's own "
        "commands (console, cpus, domains, dmesg) need none.",
        symbol_diagnoses.no_dwarf,
    ),
    Cause(
        "not-a-host",
        "The dump is not of a Xen host.",
        "Open it with vmlinux.",
        diagnoses.not_a_host,
    ),
    Cause(
        "not-its-panic",
        "The Linux that was opened did not panic itself.",
        "Use a crash before 8.0.6 (Debian 12 has 8.0.2), or 'vmcoretool dmesg'.",
        diagnoses.not_its_panic,
    ),
    Cause("cut-short", "The dump is cut short.", "Copy it again.", diagnoses.cut_short),
    Cause("split-part", "One part of a split set was given alone.", _PARTS, diagnoses.split_part),
    Cause(
        "filtered",
        "The pages were filtered out when the dump was made (-X leaves other guests out).",
        "Take the dump again without -X, or look at what there is with vmcoretool.",
        diagnoses.filtered,
    ),
    Cause(
        "p2m-missing",
        "The XEN_ELFNOTE_CRASH_INFO note does not name the guest's p2m tree, or it keeps none.",
        "Give --p2m_mfn as 'inspect' prints it.",
        diagnoses.p2m_missing,
    ),
    Cause(
        "flattened",
        "The dump is a flattened ELF file.",
        _REARRANGE,
        diagnoses.flattened,
    ),
    Cause(
        "packed",
        "The dump is compressed as a whole.",
        "Decompress it first; vmcoretool itself reads it as it is.",
        diagnoses.packed,
    ),
    Cause(
        "bigmem",
        "This Xen was built with BIGMEM, and its heap lies elsewhere.",
        "No option of crash or makedumpfile helps; vmcoretool's own commands read it.",
        diagnoses.bigmem,
    ),
    Cause(
        "packed-namelist",
        "The symbol file is compressed.",
        "Decompress it first; vmcoretool itself reads it as it is.",
        symbol_diagnoses.packed_namelist,
    ),
    Cause(
        "no-such-dump",
        "The file is not a dump, or in a format that crash does not read.",
        "'vmcoretool inspect FILE' shows what it is.",
        diagnoses.readable,
    ),
    Cause(
        "split-namelist",
        "The debugging data was split off (.debug).",
        "Name both files: crash VMLINUX VMLINUX.debug VMCORE",
        symbol_diagnoses.split_namelist,
    ),
    Cause(
        "no-crash-info",
        "The dump has no XEN_ELFNOTE_CRASH_INFO note.",
        "Leave -X out; crash needs --xen_phys_start as 'inspect' prints it.",
        diagnoses.no_crash_info,
    ),
    Cause(
        "no-vmcoreinfo-xen",
        "The dump has no VMCOREINFO_XEN note.",
        "Leave -X out, or give --xen-syms a file with DWARF.",
        diagnoses.no_vmcoreinfo_xen,
    ),
    Cause(
        "needs-vmlinux",
        "dom0's symbols are missing.",
        "makedumpfile -x VMLINUX -d 31 VMCORE NEW, with dom0's debug image; or stay at -d 1.",
        diagnoses.always,
    ),
    Cause("no-dump", "No dump was named.", "Name the vmcore, last.", diagnoses.always),
    Cause(
        "harmless",
        "Nothing is wrong.",
        "Go on. In a hypervisor session 'set -p CPU' shows the CPU that crashed.",
        diagnoses.always,
    ),
    Cause("no-threads", "The option was given.", "Leave --num-threads out.", diagnoses.always),
    Cause(
        "makedumpfile-release",
        "This release of makedumpfile fails on every dump of a Xen host.",
        "Use 1.7.2 or later.",
        diagnoses.always,
    ),
    Cause(
        "qemu",
        "The dump was written by QEMU's dump-guest-memory.",
        "Have QEMU write kdump (dump-guest-memory -z); crash reads the ELF file as it is.",
        diagnoses.written_by_qemu,
    ),
    Cause(
        "one-guest",
        "The file is a guest's, written by 'xl dump-core'.",
        "makedumpfile does not read it; crash and vmcoretool do.",
        diagnoses.one_guest,
    ),
    Cause(
        "log-of-dom0",
        "dom0's symbols are missing.",
        "'vmcoretool dmesg VMCORE' prints dom0's log without them.",
        diagnoses.always,
    ),
    Cause(
        "flattened-first",
        "The dump is a flattened stream.",
        _REARRANGE,
        diagnoses.any_flattened,
    ),
    Cause(
        "no-codec",
        "This build of crash lacks the dump's compression.",
        "Use a later release or another build of crash, or rewrite the dump: makedumpfile -c -d 1 "
        "VMCORE NEW. vmcoretool itself reads it as it is.",
        diagnoses.page_codec,
    ),
    Cause(
        "no-namelist-given",
        "No symbol file was named.",
        "Paste a command that 'inspect' prints; the symbol file stands before the dump.",
        diagnoses.always,
    ),
    Cause(
        "file-missing",
        "There is no file of that name: mistyped, or elsewhere, or an argument was taken for one.",
        "Check the path; the commands that 'inspect' prints name files as they are. /proc/vmcore "
        "is there in the crash kernel alone.",
        diagnoses.always,
    ),
    Cause(
        "file-unreadable",
        "The file may not be read by this user.",
        "Dumps and some symbol files are readable by root only: try again with sudo.",
        diagnoses.always,
    ),
    Cause(
        "two-dumps",
        "More than one dump was named, and they are not parts of one set.",
        "Name one dump; the parts of a split set go together.",
        diagnoses.always,
    ),
    Cause(
        "two-symbol-files",
        "More than one symbol file was named.",
        "Name one: xen-syms for the hypervisor, vmlinux for dom0.",
        symbol_diagnoses.two_symbol_files,
    ),
    Cause(
        "unknown-option",
        "This release does not know the option, or its value is missing.",
        "Check the spelling, or leave it out; 'vmcoretool crash' prints commands that the crash "
        "here takes.",
        diagnoses.always,
    ),
    Cause(
        "dwarf-5",
        "The symbol file has DWARF 5, which this release of crash does not read.",
        "Use crash 8.0.0 or later.",
        symbol_diagnoses.dwarf_5,
    ),
    Cause(
        "other-program",
        "The symbols that were named are of another program: a kernel's where the hypervisor's are "
        "asked for, or the other way round.",
        "The hypervisor's is xen-syms, dom0's is vmlinux with debugging data. Neither -i nor "
        "--xen-vmcoreinfo can stand for them on a Xen host's dump; leave them out.",
        symbol_diagnoses.other_program,
    ),
    Cause(
        "line-above",
        "This line closes the output of every failure; the reason stands above it.",
        "Give the whole output: crash ... 2>&1 | vmcoretool explain - VMCORE",
        diagnoses.always,
    ),
    Cause(
        "damaged",
        "The dump's own headers or lists are damaged.",
        "Compare a checksum with the file it was copied from; 'vmcoretool inspect' shows what is "
        "left.",
        diagnoses.damaged,
    ),
    Cause(
        "unexplained",
        "The program itself broke off. What leads to it is not known here.",
        "Look at the dump with 'vmcoretool inspect', try another release of the program, or report "
        "it to its authors.",
        diagnoses.always,
    ),
    Cause(
        "wrong-usage",
        "makedumpfile takes no such combination of arguments.",
        "Paste a command that 'inspect' prints; it reads one dump and writes one new file.",
        diagnoses.always,
    ),
    Cause(
        "no-elf-split",
        "The parts of a split dump cannot be ELF files.",
        "Leave -E out.",
        diagnoses.always,
    ),
    Cause(
        "output-exists",
        "There is a file with the name of the new dump, which comes last on the command line.",
        "Choose another name. If it is the dump that exists, swap the two: -f would overwrite it.",
        diagnoses.always,
    ),
    Cause(
        "no-folder",
        "The folder of the new dump is missing, or may not be written to.",
        "Make it, or choose another one.",
        diagnoses.always,
    ),
    Cause(
        "disk-full",
        "The disk of the new dump is full.",
        "Make room, or save less: -c or -l compress, -X leaves other guests out, and -d 31 with -x "
        "VMLINUX leaves out what dom0 does not need.",
        diagnoses.always,
    ),
    Cause(
        "not-flattened",
        "What was given to -R is not a flattened stream.",
        "Leave -R out: only files that makedumpfile -F wrote have to be rearranged.",
        diagnoses.not_flattened,
    ),
    Cause(
        "not-a-part",
        "A file that was named is no part of a split dump.",
        "Name the files that makedumpfile --split wrote; an ELF file needs no --reassemble.",
        diagnoses.not_a_part,
    ),
    Cause(
        "kdump-already",
        "The dump is kdump-compressed; -X takes other guests' pages out of the ELF file alone.",
        "Leave -X out; 'vmcoretool inspect' says how many pages were left out already.",
        diagnoses.kdump_already,
    ),
    Cause(
        "other-machine",
        "The dump is of another kind of machine than the program reads.",
        "Use a crash that was built for that machine; vmcoretool itself reads it as it is.",
        diagnoses.other_machine,
    ),
    Cause(
        "no-memory",
        "There is too little memory, as in a crash kernel, or an option asks for too much.",
        "Leave -b and --cyclic-buffer out; save the dump with a larger crashkernel=, or on another "
        "machine.",
        diagnoses.always,
    ),
)
