"""ELF notes as plain objects: every known payload decoded, every other listed with its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vmcoretool.formats.api import EM_IA_64
from vmcoretool.notes.crash_info import STRING_WORDS, CrashInfo, parse_crash_info
from vmcoretool.notes.elf_note import XEN_ELFNOTE_CRASH_INFO, Note
from vmcoretool.notes.registers import cpu_states, obsolete_cr3
from vmcoretool.notes.vmcoreinfo import parse_vmcoreinfo
from vmcoretool.xen.version import read_string

if TYPE_CHECKING:
    from vmcoretool.vmcore import Vmcore

_RAW_SHOWN: Final = 64
_WORD_8: Final = "dom0_pfn_to_mfn_frame_list_list"
_WORD_8_IA64: Final = "dom0_mm_pgd_mfn"
_COMMON: Final = ("major", "minor", *STRING_WORDS, "tainted")


def note_objects(vmcore: Vmcore) -> list[dict[str, Any]]:
    """Owner, type, size, place and decoded fields of each note, in file order."""
    return [
        {
            "owner": note.owner,
            "type": f"{note.type:#x}",
            "name": note.type_name,
            "size": len(note.desc),
            "offset": note.offset,
            "complete": note.complete,
            "fields": _fields(vmcore, note),
        }
        for note in vmcore.notes
    ]


def _fields(vmcore: Vmcore, note: Note) -> dict[str, str | None]:
    order = vmcore.container.machine.byte_order
    if (note.owner, note.type) == ("Xen", XEN_ELFNOTE_CRASH_INFO):
        ia64 = vmcore.container.machine.e_machine == EM_IA_64
        info = parse_crash_info(note, order, ia64=ia64)
        if info:
            return _crash_info(vmcore, info, _WORD_8_IA64 if ia64 else _WORD_8)
    if note.owner in ("VMCOREINFO", "VMCOREINFO_XEN"):
        return dict(parse_vmcoreinfo(note).entries)
    old = obsolete_cr3([note], order)
    if old is not None:
        return {"cr3": f"{old:#x}"}
    states = cpu_states([note], order)
    if states:
        state = states[0]
        control = {
            "cr0": state.cr0,
            "cr2": state.cr2,
            "cr3": state.cr3,
            "cr4": state.cr4,
        }
        named = {**state.registers, **{k: v for k, v in control.items() if v is not None}}
        if named:
            return {name: f"{value:#x}" for name, value in named.items()}
    more = "..." if len(note.desc) > _RAW_SHOWN else ""
    return {"desc": note.desc[:_RAW_SHOWN].hex() + more}


def _crash_info(vmcore: Vmcore, info: CrashInfo, last: str) -> dict[str, str | None]:
    fields: dict[str, str | None] = {}
    names = list(_COMMON)
    if info.has_phys_start_word:
        names.append("xen_phys_start")
    if len(info.words) > len(names):
        names.append(last)
    for name, word in zip(names, info.words, strict=True):
        fields[name] = str(word) if name in ("major", "minor") else f"{word:#x}"
    for name, at in zip(STRING_WORDS, info.strings, strict=True):
        text = read_string(vmcore.memory, at)
        fields[name] = f"{at:#x}" if text is None else f'{at:#x} "{text}"'
    return fields
