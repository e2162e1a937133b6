"""What work on a dump may cost: every loop that the dump's own data steers asks one of these.

A dump is hostile input: counts, links and lengths in it may say anything.  Each piece of such work
has a name and an allowance of steps and bytes; what it found by the time the allowance is used up
is its answer, and the name is kept for a finding that says so::

    work = budget.work("the domain list", steps=100_000)
    while address and work.go_on():
        address = ...

The caller's own wish to stop (Ctrl-C) and a limit of time end all pieces of work alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

Watch = Callable[[str, int, int], bool]
"""Told of long work: its name, what is done and what there is in all; False ends the work."""
NO_LIMIT: Final = 1 << 62


def watch_nothing(name: str, done: int, total: int) -> bool:
    """The watch of callers that want none."""
    del name, done, total
    return True


class Unfinished(NamedTuple):
    """A decompression that was ended at ``done`` of ``total``, by the caller or by a limit."""

    name: str
    done: int
    total: int
    by_caller: bool


class Budget:
    """The limits of all work on one dump, and which of them were met.

    Attributes:
        stopped: whether the caller wants no more.
    """

    __slots__ = ("_ends", "_names", "_unfinished", "_watch", "stopped")

    def __init__(self, *, watch: Watch = watch_nothing, seconds: float | None = None) -> None:
        """Begin to count.

        Args:
            watch: told of long work; the work ends when it returns False.
            seconds: of the process's CPU time from now on, or None: no limit.
        """
        self._watch = watch
        self._ends = None if seconds is None else time.process_time() + seconds
        self._names: dict[str, None] = {}
        self._unfinished: dict[str, Unfinished] = {}
        self.stopped = False

    @property
    def cut_off(self) -> tuple[str, ...]:
        """The pieces of work that met a limit of steps, bytes or time, in that order."""
        return tuple(self._names)

    @property
    def unfinished(self) -> tuple[Unfinished, ...]:
        """The decompressions that were ended before their end."""
        return tuple(self._unfinished.values())

    def work(self, name: str, *, steps: int = NO_LIMIT, size: int = NO_LIMIT) -> Work:
        """An allowance for one piece of work.

        Args:
            name: what is done, as words that can follow "cut off:".
            steps: how often the work may go on.
            size: how many bytes it may look at or make.
        """
        return Work(self, name, steps, size)

    def progress(self, name: str, done: int, total: int) -> bool:
        """Tell the caller how far a piece of work is; False when it wants no more."""
        if not self.stopped and not self._watch(name, done, total):
            self.stopped = True
        return not self.stopped

    def met(self, name: str) -> None:
        """Remember that a piece of work met its limit."""
        self._names.setdefault(name)

    def leave(self, name: str, done: int, total: int) -> None:
        """Remember how far a decompression was when it was ended; what is behind was not lost."""
        self._unfinished.setdefault(name, Unfinished(name, done, total, self.stopped))

    def in_time(self) -> bool:
        """Whether the limit of time is not met."""
        return self._ends is None or time.process_time() < self._ends


class Work:
    """One piece of work and what is left of its allowance."""

    __slots__ = ("_budget", "_size", "_steps", "name")

    def __init__(self, budget: Budget, name: str, steps: int, size: int) -> None:
        self._budget = budget
        self._steps = steps
        self._size = size
        self.name = name

    def go_on(self, steps: int = 1, size: int = 0) -> bool:
        """Whether the next steps may be done and that many bytes be looked at; takes them off."""
        self._steps -= steps
        self._size -= size
        if self._budget.stopped:
            return False
        if self._steps >= 0 and self._size >= 0 and self._budget.in_time():
            return True
        self._budget.met(self.name)
        return False

    def cut(self) -> None:
        """End this work as if its allowance was used up."""
        self._steps = -1
        self._budget.met(self.name)

    def progress(self, done: int, total: int) -> bool:
        """Tell the caller how far this work is; False when it wants no more."""
        return self._budget.progress(self.name, done, total)
