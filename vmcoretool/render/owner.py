"""Whose memory a dump is, in words, and which host there is to show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vmcoretool.host.identity import Kind
    from vmcoretool.inspection.inspect import Inspection
    from vmcoretool.vmcore import Vmcore

_KINDS: Final = {
    "xen-host": "crash dump of a Xen host",
    "xen-domain": "dump of a single Xen guest, not of a Xen host",
    "linux": "dump of a native Linux kernel, not of a Xen host",
    "unknown": "memory dump without any trace of Xen",
}


def owner_words(kind: Kind, vmcore: Vmcore) -> str:
    """Whose memory a dump is; of one that is cut short, what is left may not tell."""
    if vmcore.process:
        name = vmcore.process.name
        return f"core of the process {name}, not of a machine" if name else "core of a process"
    if kind == "unknown" and not (vmcore.container.complete and vmcore.notes_whole):
        return "what is left of this dump does not tell whose memory it is"
    return _KINDS[kind]


def title_words(inspection: Inspection) -> str:
    """As :func:`owner_words`, with the Xen inside a guest's dump."""
    if inspection.nested:
        return "dump of a single Xen guest that is a Xen host itself"
    return owner_words(inspection.kind, inspection.vmcore)


def host_of(inspection: Inspection) -> Inspection | None:
    """The Xen host that there is to show: the dump's, or the one that a guest itself is."""
    return inspection if inspection.kind == "xen-host" else inspection.nested


def wholeness(vmcore: Vmcore) -> str:
    """Whether a dump is whole, in a word or two."""
    if not vmcore.container.row.has_memory:
        return "no memory in it"
    return "complete" if vmcore.container.complete else "CUT SHORT"
