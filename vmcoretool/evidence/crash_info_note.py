"""Source ``crash-info-note``: the xen_phys_start word of XEN_ELFNOTE_CRASH_INFO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.evidence.api import Evidence, Silence, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.evidence.known import Known
    from vmcoretool.vmcore import Vmcore

NAME: Final = "crash-info-note"
_WORD: Final = 8


def _never_relocates(vmcore: Vmcore) -> str:
    # x86_32 links its image into the direct map and ia64 keeps its own base: neither relocates.
    if vmcore.architecture == "i386":
        return "the note has 4-byte words: a 32-bit hypervisor stays where it was loaded"
    if vmcore.architecture == "ia64":
        return "an ia64 hypervisor has no xen_phys_start; crash finds it by itself"
    return ""


def _examine(known: Known) -> Iterator[Evidence | Silence]:
    vmcore = known.facts.vmcore
    info = vmcore.crash_info
    if info is None:
        yield Silence(source=NAME, reason="the dump has no readable XEN_ELFNOTE_CRASH_INFO note")
        return
    unmoved = _never_relocates(vmcore)
    if unmoved:
        yield Evidence(source=NAME, xen_phys_start=None, strength="derived", basis=unmoved)
    if not info.has_phys_start_word:
        count = len(info.words)
        reason = f"this {count}-word form of the note has no xen_phys_start (before Xen 3.3)"
        yield Silence(source=NAME, reason=reason)
    elif info.xen_phys_start is None:
        where = info.word_offset(_WORD)
        yield Silence(source=NAME, reason=f"word 8 at file offset {where:#x} is 0: not recorded")
    else:
        yield Evidence(
            source=NAME,
            xen_phys_start=info.xen_phys_start,
            strength="recorded",
            basis=f"word 8 of {len(info.words)}, at file offset {info.word_offset(_WORD):#x}",
        )


SOURCE: Final = Source(
    NAME,
    "The xen_phys_start word of XEN_ELFNOTE_CRASH_INFO; zero or missing is 'not recorded'.",
    "always",
    _examine,
)
