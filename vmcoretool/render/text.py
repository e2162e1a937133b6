"""An Inspection as text that a person can act on at 3 a.m."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.render.screen import screen

if TYPE_CHECKING:
    from vmcoretool.inspection.inspect import Inspection

SCREEN_WIDTH: Final = 80
NARROWEST: Final = 40


def inspection_text(
    inspection: Inspection,
    *,
    verbose: bool = False,
    colour: bool = False,
    width: int = SCREEN_WIDTH,
    wrapped: bool = False,
) -> str:
    """The answer in lines of printable ASCII, and colour where asked for.

    Args:
        inspection: what was found.
        verbose: all of it, however long, instead of one screen.
        colour: whether to colour.
        width: of the terminal in columns.
        wrapped: whether the long form's lines are as wide at most, too.
    """
    if verbose:
        from vmcoretool.render.verbose import full  # noqa: PLC0415 - only then

        limit = max(width, NARROWEST) if wrapped else None
        return "\n".join(full(inspection, colour=colour, width=limit))
    return "\n".join(screen(inspection, width=max(width, NARROWEST), colour=colour))
