"""One reason for an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmcoretool.explain.diagnoses import Diagnosis
    from vmcoretool.inspection.inspect import Inspection


class Cause(NamedTuple):
    """One reason for an error.

    Attributes:
        name: as :attr:`ErrorText.causes` names it.
        text: what is wrong.
        cure: what to do.
        ask: decides whether it applies to a dump of a Xen host.
    """

    name: str
    text: str
    cure: str
    ask: Callable[[Inspection], Diagnosis]
