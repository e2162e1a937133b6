"""One message of crash or makedumpfile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from vmcoretool.debuggers.crash_releases import Requirement

CRASH: Final = "crash"
MAKEDUMPFILE: Final = "makedumpfile"
Weight = Literal["error", "general", "warning", "closing", "banner"]
"""What a message is in the output around it: what ended the program, what is said of many things
so that another error beside it tells more, what the program went on after, a line that closes many
failures, or a greeting or farewell that counts where nothing else is there."""
ASIDES: Final = ("warning", "closing", "banner")
"""Weights of messages that do not say what ended the program."""


class ErrorText(NamedTuple):
    """One message.

    Attributes:
        program: which program prints it.
        texts: pieces that distinguish it from others; any of them is enough.
        meaning: what the program failed at.
        causes: names of what leads to it (``vmcoretool.explain.causes``), likely ones first.
        requirements: for the cause ``crash-release``: the changes in Xen an older crash trips over.
        weight: what it is in the output around it.
        whole_line: the pieces are too short to be looked for inside a line.
    """

    program: str
    texts: tuple[str, ...]
    meaning: str
    causes: tuple[str, ...]
    requirements: tuple[Requirement, ...] = ()
    weight: Weight = "error"
    whole_line: bool = False
