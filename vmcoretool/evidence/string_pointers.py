"""Source ``string-pointers``: the five string addresses in XEN_ELFNOTE_CRASH_INFO.

They are machine addresses of text inside the image in every version, written by the hypervisor
while it died; where page tables show an image, it must be the one that holds these strings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.evidence.api import Evidence, Silence, Source
from vmcoretool.notes.crash_info import STRING_WORDS
from vmcoretool.xen.version import read_string

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.addresses import Maddr
    from vmcoretool.evidence.facts import Facts
    from vmcoretool.evidence.known import Known

NAME: Final = "string-pointers"


def _examine(known: Known) -> Iterator[Evidence | Silence]:
    facts, images = known.facts, known.place.images
    info = facts.vmcore.crash_info
    if info is None:
        yield Silence(source=NAME, reason="the dump has no readable XEN_ELFNOTE_CRASH_INFO note")
        return
    if not any(info.strings):
        yield Silence(source=NAME, reason="all five addresses in the note are 0")
        return
    exact = known.namelist.exact_base
    if exact:
        yield Evidence(
            source=NAME,
            xen_phys_start=exact.base,
            strength="recorded",
            basis=f"the note's addresses of {exact.strings} strings, and the addresses that the "
            f"symbol file has of the same strings from {exact.virt_start:#x} on",
        )
        return
    memory = facts.vmcore.memory
    readable = [at for at in info.strings if read_string(memory, at) is not None]
    for image in images:
        inside = [at for at in info.strings if image.vaddr_of(at) is not None]
        if len(inside) == len(readable) == len(STRING_WORDS):
            yield _evidence(readable, image.base if image.layout.relocatable else None)
            return
    if images:
        missing = len(STRING_WORDS) - len(readable)
        reason = f"{missing} of the 5 addresses hold no printable text in this dump"
        if not missing:
            reason = "the 5 strings are readable, but not inside the image that page tables show"
        yield Silence(source=NAME, reason=reason)
        return
    yield from _candidates(facts)


def _candidates(facts: Facts) -> Iterator[Evidence | Silence]:
    # No tables at all: the image starts 2 MiB-aligned, some MiB below its strings.
    if facts.low_strings:
        yield Evidence(
            source=NAME,
            xen_phys_start=None,
            strength="suggested",
            basis="the strings lie in the first 16 MiB: a hypervisor that does not move itself",
        )
        return
    for step, base in enumerate(facts.string_candidates):
        yield Evidence(
            source=NAME,
            xen_phys_start=base,
            strength="suggested",
            basis=f"2 MiB-aligned, {step} x 2 MiB below the lowest string of the note",
        )


def _evidence(pointers: list[Maddr], base: Maddr | None) -> Evidence:
    steps = tuple(f"{name} at {at:#x}" for name, at in zip(STRING_WORDS, pointers, strict=True))
    low, high = min(pointers), max(pointers)
    return Evidence(
        source=NAME,
        xen_phys_start=base,
        strength="suggested",
        basis=f"all 5 strings of the note are text inside that image ({low:#x} to {high:#x})",
        steps=steps,
    )


SOURCE: Final = Source(
    NAME,
    "The five string addresses of CRASH_INFO are text inside the image.",
    "image known",
    _examine,
)
