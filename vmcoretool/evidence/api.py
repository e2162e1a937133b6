"""What sources say, and what a source is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmcoretool.addresses import Maddr
    from vmcoretool.evidence.known import Known, Place

Strength = Literal["recorded", "derived", "suggested"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one source says of the address.

    Attributes:
        source: a name from the closed list of sources.
        xen_phys_start: the machine address, or None: the hypervisor is not relocated.
        strength: ``recorded`` (somebody wrote the number down), ``derived`` (it follows from
            memory) or ``suggested`` (a pattern match).
        basis: where exactly it was seen, in one sentence.
        steps: the parts of a proof, enough to repeat it by hand.
    """

    source: str
    xen_phys_start: Maddr | None
    strength: Strength
    basis: str
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Why a source says nothing."""

    source: str
    reason: str


When = Literal["always", "in doubt", "image known"]


class Source(NamedTuple):
    """A source of evidence.

    Attributes:
        name: from the closed list that JSON documents.
        description: one line for the documentation.
        when: it is asked always; only while what was asked before leaves doubt; or when no source
            can add an image any more.
        examine: yields what it has to say by what is known, and a new place where it found one.
    """

    name: str
    description: str
    when: When
    examine: Callable[[Known], Iterator[Evidence | Silence | Place]]
