"""What crash prints of its command line and of the files named there."""

from __future__ import annotations

from typing import Final

from vmcoretool.explain.error_text import CRASH, ErrorText

FILE_TEXTS: Final[tuple[ErrorText, ...]] = (
    ErrorText(
        CRASH,
        ("cannot realloc resized ELF header buffer",),
        "crash cannot read some flattened ELF dumps; it reads them once they are rearranged.",
        ("flattened",),
    ),
    ErrorText(
        CRASH,
        (
            "no text and data contents",
            "supplied in this case is a debuginfo file",
            "accompanied by the kernel file from which it was derived",
        ),
        "The symbol file holds debugging data alone; crash needs the file it was split from, too.",
        ("split-namelist",),
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
        (
            "packed",
            "no-namelist",
            "packed-namelist",
            "cut-short",
            "no-such-dump",
            "other-machine",
        ),
    ),
    ErrorText(
        CRASH,
        ("may be truncated or incomplete", "dumpfile size:", "bytes required:"),
        "A warning: the dump's headers describe more than the file holds.",
        ("cut-short",),
        weight="warning",
    ),
    ErrorText(
        CRASH,
        ("Xen hypervisor mode requires a dumpfile", "cannot find a live memory device"),
        "crash was started with a hypervisor's symbols and no dump; it cannot read a running Xen.",
        ("no-dump",),
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
        ("namelist argument required", "please enter namelist argument"),
        "crash was given no symbol file; an option without a value takes the next word for it.",
        ("no-namelist-given",),
    ),
    ErrorText(
        CRASH,
        (": No such file or directory",),
        "A file that was named is not there.",
        ("file-missing",),
    ),
    ErrorText(
        CRASH,
        (": Permission denied",),
        "A file that was named may not be read.",
        ("file-unreadable",),
    ),
    ErrorText(
        CRASH,
        ("too many dumpfile arguments",),
        "crash opens one dump, or all parts of one split set.",
        ("two-dumps",),
    ),
    ErrorText(
        CRASH,
        ("too many namelist arguments", "cannot distinguish"),
        "crash takes one symbol file, and the .debug file that was split from it.",
        ("two-symbol-files",),
    ),
    ErrorText(
        CRASH,
        ("invalid option:",),
        "crash does not take an option as it was given.",
        ("unknown-option",),
    ),
    ErrorText(
        CRASH,
        ("cannot read memory bitmap", "Mmap: Beyond the end of mapped file"),
        "The file ends in the list of pages in front of its data.",
        ("cut-short", "damaged"),
    ),
    ErrorText(
        CRASH,
        ("Bus error",),
        "crash read behind the end of a file that it had mapped.",
        ("cut-short", "unexplained"),
    ),
    ErrorText(
        CRASH,
        (
            'Enter "crash -h" for details',
            "NAMELIST MEMORY-IMAGE[@ADDRESS]",
            "(live system form)",
        ),
        "crash shows its usage below every fault of the command line and of the files named there.",
        ("line-above", "packed", "no-such-dump", "cut-short"),
        weight="closing",
    ),
)
