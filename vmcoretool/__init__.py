"""vmcoretool: find, prove and use the hypervisor's address in a crash dump of a Xen host.

>>> with open_vmcore("vmcore") as vmcore:                        # doctest: +SKIP
...     inspection = inspect_vmcore(vmcore)
...     print(inspection.verdict.status, hex(inspection.verdict.xen_phys_start))
...     for command in inspection.commands:
...         print(command.shell())
"""
# This file and __main__.py are read by Pythons too old for the rest: they stay syntax of all.

import sys

if sys.version_info < (3, 10):
    sys.exit(
        "vmcoretool needs Python 3.10 or newer, this is %d.%d: "
        "run it with a newer one, such as python3.11." % sys.version_info[:2]
    )

from vmcoretool.addresses import Extent, FileOffset, Maddr, Mfn, Vaddr
from vmcoretool.debuggers.crash import CrashCommand
from vmcoretool.errors import (
    AddressError,
    FormatError,
    LogError,
    MemoryFault,
    MissingSymbolError,
    NamelistError,
    SpaceError,
    TableFault,
    TranslationFault,
    TruncatedError,
    UnknownFormatError,
    UnsupportedFormatError,
    VmcoreError,
)
from vmcoretool.evidence.api import Evidence, Silence
from vmcoretool.evidence.weigh import Verdict
from vmcoretool.findings import Finding
from vmcoretool.hooks.report import Report, write_report
from vmcoretool.host.identity import IdlePageTable, XenIdentity
from vmcoretool.inspection.inspect import Inspection, inspect_vmcore
from vmcoretool.notes.crash_info import CrashInfo
from vmcoretool.notes.elf_note import Note
from vmcoretool.notes.registers import CpuState
from vmcoretool.notes.vmcoreinfo import VmcoreInfo
from vmcoretool.release import __version__
from vmcoretool.symbols.places import Places
from vmcoretool.vmcore import Vmcore, open_vmcore
from vmcoretool.xen.version import XenVersion

__all__ = [
    "AddressError",
    "CpuState",
    "CrashCommand",
    "CrashInfo",
    "Evidence",
    "Extent",
    "FileOffset",
    "Finding",
    "FormatError",
    "IdlePageTable",
    "Inspection",
    "LogError",
    "Maddr",
    "MemoryFault",
    "Mfn",
    "MissingSymbolError",
    "NamelistError",
    "Note",
    "Places",
    "Report",
    "Silence",
    "SpaceError",
    "TableFault",
    "TranslationFault",
    "TruncatedError",
    "UnknownFormatError",
    "UnsupportedFormatError",
    "Vaddr",
    "Verdict",
    "Vmcore",
    "VmcoreError",
    "VmcoreInfo",
    "XenIdentity",
    "XenVersion",
    "__version__",
    "inspect_vmcore",
    "open_vmcore",
    "write_report",
]
