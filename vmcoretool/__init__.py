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
    from vmcoretool.budget import Budget, Unfinished, Work
    from vmcoretool.debuggers.crash import CrashCommand
    from vmcoretool.debuggers.makedumpfile import FilterCommand
    from vmcoretool.errors import (
        AddressError,
        FormatError,
        LogError,
        MemoryFault,
        MissingSymbolError,
        NamelistError,
        NotAXenHostError,
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
    from vmcoretool.evidence.facts import Scan
    from vmcoretool.evidence.weigh import Verdict
    from vmcoretool.findings import Finding
    from vmcoretool.formats.api import Container, Format, Machine, NoteBlob
    from vmcoretool.hooks.report import Report, write_report
    from vmcoretool.host.account import Account
    from vmcoretool.host.cause import Cause, Task
    from vmcoretool.host.identity import IdlePageTable, Kind, XenIdentity
    from vmcoretool.host.machine import HostMachine
    from vmcoretool.host.signature import Signature
    from vmcoretool.host.symbol_files import SymbolFiles
    from vmcoretool.host.when import Moment
    from vmcoretool.inspection.as_json import to_dict
    from vmcoretool.inspection.inspect import Inspection, inspect_vmcore
    from vmcoretool.inspection.open_host import CrashedHost, open_host
    from vmcoretool.linux.kernel import Kernel
    from vmcoretool.memory.pages import FilePlace, Missing, PageReader, PartialPage
    from vmcoretool.memory.paging import Step, Translation
    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.notes.crash_info import CrashInfo
    from vmcoretool.notes.elf_note import Note
    from vmcoretool.notes.process import Process
    from vmcoretool.notes.registers import CpuState
    from vmcoretool.notes.vmcoreinfo import VmcoreInfo
    from vmcoretool.release import __version__
    from vmcoretool.sources.file import ByteSource, ReadableObject
    from vmcoretool.symbols.candidates import Candidate
    from vmcoretool.symbols.matching import Match
    from vmcoretool.symbols.places import Places
    from vmcoretool.vmcore import Vmcore, open_vmcore
    from vmcoretool.xen.cpus import CpuActivity
    from vmcoretool.xen.domains import Domain, SharedInfo, Vcpu
    from vmcoretool.xen.image.layouts import DirectMap
    from vmcoretool.xen.panic import CrashText
    from vmcoretool.xen.version import XenVersion
else:
    # Names are imported when they are asked for: importing the package costs next to nothing, and
    # the command line can set its signals before anything else is imported.
    _HOMES = {
        "Account": "vmcoretool.host.account",
        "AddressError": "vmcoretool.errors",
        "Budget": "vmcoretool.budget",
        "ByteSource": "vmcoretool.sources.file",
        "Candidate": "vmcoretool.symbols.candidates",
        "Cause": "vmcoretool.host.cause",
        "Container": "vmcoretool.formats.api",
        "CpuActivity": "vmcoretool.xen.cpus",
        "CpuState": "vmcoretool.notes.registers",
        "CrashCommand": "vmcoretool.debuggers.crash",
        "CrashInfo": "vmcoretool.notes.crash_info",
        "CrashText": "vmcoretool.xen.panic",
        "CrashedHost": "vmcoretool.inspection.open_host",
        "DirectMap": "vmcoretool.xen.image.layouts",
        "Domain": "vmcoretool.xen.domains",
        "Evidence": "vmcoretool.evidence.api",
        "Extent": "vmcoretool.addresses",
        "FileOffset": "vmcoretool.addresses",
        "FilePlace": "vmcoretool.memory.pages",
        "FilterCommand": "vmcoretool.debuggers.makedumpfile",
        "Finding": "vmcoretool.findings",
        "Format": "vmcoretool.formats.api",
        "FormatError": "vmcoretool.errors",
        "HostMachine": "vmcoretool.host.machine",
        "IdlePageTable": "vmcoretool.host.identity",
        "Inspection": "vmcoretool.inspection.inspect",
        "Kernel": "vmcoretool.linux.kernel",
        "Kind": "vmcoretool.host.identity",
        "LogError": "vmcoretool.errors",
        "Machine": "vmcoretool.formats.api",
        "Maddr": "vmcoretool.addresses",
        "Match": "vmcoretool.symbols.matching",
        "MemoryFault": "vmcoretool.errors",
        "Mfn": "vmcoretool.addresses",
        "Missing": "vmcoretool.memory.pages",
        "MissingSymbolError": "vmcoretool.errors",
        "Moment": "vmcoretool.host.when",
        "NamelistError": "vmcoretool.errors",
        "NotAXenHostError": "vmcoretool.errors",
        "Note": "vmcoretool.notes.elf_note",
        "Process": "vmcoretool.notes.process",
        "NoteBlob": "vmcoretool.formats.api",
        "PageReader": "vmcoretool.memory.pages",
        "PartialPage": "vmcoretool.memory.pages",
        "PhysicalMemory": "vmcoretool.memory.physical",
        "Places": "vmcoretool.symbols.places",
        "ReadableObject": "vmcoretool.sources.file",
        "Report": "vmcoretool.hooks.report",
        "Scan": "vmcoretool.evidence.facts",
        "SharedInfo": "vmcoretool.xen.domains",
        "Signature": "vmcoretool.host.signature",
        "Silence": "vmcoretool.evidence.api",
        "SpaceError": "vmcoretool.errors",
        "Step": "vmcoretool.memory.paging",
        "StoppedError": "vmcoretool.errors",
        "SymbolFiles": "vmcoretool.host.symbol_files",
        "TableFault": "vmcoretool.errors",
        "Task": "vmcoretool.host.cause",
        "Translation": "vmcoretool.memory.paging",
        "TranslationFault": "vmcoretool.errors",
        "TruncatedError": "vmcoretool.errors",
        "Unfinished": "vmcoretool.budget",
        "UnknownFormatError": "vmcoretool.errors",
        "UnsupportedFormatError": "vmcoretool.errors",
        "Vaddr": "vmcoretool.addresses",
        "Vcpu": "vmcoretool.xen.domains",
        "Verdict": "vmcoretool.evidence.weigh",
        "Vmcore": "vmcoretool.vmcore",
        "VmcoreError": "vmcoretool.errors",
        "VmcoreInfo": "vmcoretool.notes.vmcoreinfo",
        "Work": "vmcoretool.budget",
        "XenIdentity": "vmcoretool.host.identity",
        "XenVersion": "vmcoretool.xen.version",
        "__version__": "vmcoretool.release",
        "inspect_vmcore": "vmcoretool.inspection.inspect",
        "open_host": "vmcoretool.inspection.open_host",
        "open_vmcore": "vmcoretool.vmcore",
        "to_dict": "vmcoretool.inspection.as_json",
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
    "Account",
    "AddressError",
    "Budget",
    "ByteSource",
    "Candidate",
    "Cause",
    "Container",
    "CpuActivity",
    "CpuState",
    "CrashCommand",
    "CrashInfo",
    "CrashText",
    "CrashedHost",
    "DirectMap",
    "Domain",
    "Evidence",
    "Extent",
    "FileOffset",
    "FilePlace",
    "FilterCommand",
    "Finding",
    "Format",
    "FormatError",
    "HostMachine",
    "IdlePageTable",
    "Inspection",
    "Kernel",
    "Kind",
    "LogError",
    "Machine",
    "Maddr",
    "Match",
    "MemoryFault",
    "Mfn",
    "Missing",
    "MissingSymbolError",
    "Moment",
    "NamelistError",
    "NotAXenHostError",
    "Note",
    "NoteBlob",
    "PageReader",
    "PartialPage",
    "PhysicalMemory",
    "Places",
    "Process",
    "ReadableObject",
    "Report",
    "Scan",
    "SharedInfo",
    "Signature",
    "Silence",
    "SpaceError",
    "Step",
    "StoppedError",
    "SymbolFiles",
    "TableFault",
    "Task",
    "Translation",
    "TranslationFault",
    "TruncatedError",
    "Unfinished",
    "UnknownFormatError",
    "UnsupportedFormatError",
    "Vaddr",
    "Vcpu",
    "Verdict",
    "Vmcore",
    "VmcoreError",
    "VmcoreInfo",
    "Work",
    "XenIdentity",
    "XenVersion",
    "__version__",
    "inspect_vmcore",
    "open_host",
    "open_vmcore",
    "to_dict",
    "write_report",
]
