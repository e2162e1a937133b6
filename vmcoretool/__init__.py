"""vmcoretool: find, prove and use the hypervisor's address in a crash dump of a Xen host.

>>> with open_vmcore("vmcore") as vmcore:                        # doctest: +SKIP
...     inspection = inspect_vmcore(vmcore)
...     print(inspection.verdict.status, inspection.verdict.xen_phys_start)
...     for command in inspection.commands:
...         print(command.shell())
"""
# This file and __main__.py are read by Pythons too old for the rest: they stay syntax of all.

import sys

if sys.version_info < (3, 10):
    _NEEDED = (
        "vmcoretool needs Python 3.10 or newer, this is %d.%d: "
        "run it with a newer one, such as python3.11." % sys.version_info[:2]
    )
    # runpy looks for the package with this in place of the program's name
    _RUNPY = "-m" if sys.version_info >= (3,) else "-c"
    _PROGRAM = getattr(sys, "argv", [""])[0].rpartition("/")[2]
    if _PROGRAM == _RUNPY or _PROGRAM.startswith("vmcoretool"):
        sys.exit(_NEEDED)
    raise ImportError(_NEEDED)

TYPE_CHECKING = False
if TYPE_CHECKING:
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
        StoppedError,
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
else:
    # Names are imported when they are asked for: importing the package costs next to nothing, and
    # the command line can set its signals before anything else is imported.
    _HOMES = {
        "AddressError": "vmcoretool.errors",
        "CpuState": "vmcoretool.notes.registers",
        "CrashCommand": "vmcoretool.debuggers.crash",
        "CrashInfo": "vmcoretool.notes.crash_info",
        "Evidence": "vmcoretool.evidence.api",
        "Extent": "vmcoretool.addresses",
        "FileOffset": "vmcoretool.addresses",
        "Finding": "vmcoretool.findings",
        "FormatError": "vmcoretool.errors",
        "IdlePageTable": "vmcoretool.host.identity",
        "Inspection": "vmcoretool.inspection.inspect",
        "LogError": "vmcoretool.errors",
        "Maddr": "vmcoretool.addresses",
        "MemoryFault": "vmcoretool.errors",
        "Mfn": "vmcoretool.addresses",
        "MissingSymbolError": "vmcoretool.errors",
        "NamelistError": "vmcoretool.errors",
        "Note": "vmcoretool.notes.elf_note",
        "Places": "vmcoretool.symbols.places",
        "Report": "vmcoretool.hooks.report",
        "Silence": "vmcoretool.evidence.api",
        "SpaceError": "vmcoretool.errors",
        "StoppedError": "vmcoretool.errors",
        "TableFault": "vmcoretool.errors",
        "TranslationFault": "vmcoretool.errors",
        "TruncatedError": "vmcoretool.errors",
        "UnknownFormatError": "vmcoretool.errors",
        "UnsupportedFormatError": "vmcoretool.errors",
        "Vaddr": "vmcoretool.addresses",
        "Verdict": "vmcoretool.evidence.weigh",
        "Vmcore": "vmcoretool.vmcore",
        "VmcoreError": "vmcoretool.errors",
        "VmcoreInfo": "vmcoretool.notes.vmcoreinfo",
        "XenIdentity": "vmcoretool.host.identity",
        "XenVersion": "vmcoretool.xen.version",
        "__version__": "vmcoretool.release",
        "inspect_vmcore": "vmcoretool.inspection.inspect",
        "open_vmcore": "vmcoretool.vmcore",
        "write_report": "vmcoretool.hooks.report",
    }

    def __getattr__(name):
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError("module 'vmcoretool' has no attribute %r" % name)
        from importlib import import_module

        value = getattr(import_module(home), name)
        globals()[name] = value
        return value

    def __dir__():
        return sorted(__all__)


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
    "StoppedError",
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
