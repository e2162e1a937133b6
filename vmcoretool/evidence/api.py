"""What sources say, and what a source is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmcoretool.addresses import Maddr
    from vmcoretool.evidence.known import Known, Place

Strength = Literal["recorded", "derived", "suggested"]


class _Evidence(NamedTuple):
    source: str
    xen_phys_start: Maddr | None
    strength: Strength
    parts: tuple[str, ...]
    steps: tuple[str, ...]


class Evidence(_Evidence):
    """What one source says of the address; its texts, which quote the dump, are printable.

    Attributes:
        source: a name from the closed list of sources.
        xen_phys_start: the machine address, or None: the hypervisor is not relocated.
        strength: ``recorded`` (somebody wrote the number down), ``derived`` (it follows from
            memory) or ``suggested`` (a pattern match).
        parts: where exactly it was seen, a sentence each.
        steps: the parts of a proof, enough to repeat it by hand.
    """

    __slots__ = ()

    def __new__(  # noqa: PYI034, PLR0913 - Self is in typing from 3.11 on only; all by name
        cls,
        *,
        source: str,
        xen_phys_start: Maddr | None,
        strength: Strength,
        basis: str,
        further: tuple[str, ...] = (),
        steps: tuple[str, ...] = (),
    ) -> Evidence:
        """All by name; ``basis`` and what is ``further`` to it become the parts."""
        parts = tuple(map(printable, (basis, *further)))
        return super().__new__(
            cls, source, xen_phys_start, strength, parts, tuple(map(printable, steps))
        )

    @property
    def basis(self) -> str:
        """The parts in one line."""
        return "; ".join(self.parts)

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]:
        first, *others = self.parts
        named = {"basis": first, "further": tuple(others)}
        rest = ("source", "xen_phys_start", "strength", "steps")
        return (), {**named, **{name: getattr(self, name) for name in rest}}


class _Silence(NamedTuple):
    source: str
    reason: str


class Silence(_Silence):
    """Why a source says nothing, in printable text."""

    __slots__ = ()

    def __new__(cls, *, source: str, reason: str) -> Silence:  # noqa: PYI034 - as above
        """All by name."""
        return super().__new__(cls, source, printable(reason))

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]:
        return (), self._asdict()


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
