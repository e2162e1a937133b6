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
) -> str:
    """The answer in lines of printable ASCII, and colour where asked for.

    Args:
        inspection: what was found.
        verbose: all of it, however long, instead of one screen.
        colour: whether to colour.
        width: of the terminal in columns; lines of the long form are not wrapped.
    """
    if verbose:
        from vmcoretool.render.verbose import full  # noqa: PLC0415 - only then

        return "\n".join(full(inspection, colour=colour))
    return "\n".join(screen(inspection, width=max(width, NARROWEST), colour=colour))
