"""The files that may be symbol files of a dump: looked for once, asked for by build-id alone."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmcoretool.budget import Budget
    from vmcoretool.symbols.candidates import Candidate, Found
    from vmcoretool.symbols.places import Places


class SymbolFinder:
    """Where symbol files are looked for, and what was found; answers depend on the build-id alone.

    Nothing is opened before somebody asks for candidates, and then each file once.
    """

    def __init__(self, places: Places, budget: Budget) -> None:
        """Look nowhere yet.

        Args:
            places: where.
            budget: of the dump; its caller may end the search.
        """
        self._places = places
        self._budget = budget
        self._downloads: dict[str, tuple[Candidate, ...]] = {}

    @cached_property
    def _promising(self) -> bool:
        return self._places.promising

    @cached_property
    def _found(self) -> Found:
        from vmcoretool.symbols.candidates import find_candidates  # noqa: PLC0415 - as below

        return find_candidates(self._places, self._budget)

    def may_have(self, *build_ids: str | None) -> bool:
        """Whether a symbol file may turn up for programs of these build-ids."""
        links = self._places.links
        return self._promising or any(links(build_id) for build_id in build_ids if build_id)

    def candidates(self, build_id: str | None) -> tuple[Candidate, ...]:
        """The files that may be symbol files of this dump, those under a build-id's links first."""
        if not self.may_have(build_id):
            return ()
        from vmcoretool.symbols.candidates import (  # noqa: PLC0415 - costs 1/20 of a start
            USUAL,
            look_at,
        )

        linked = self._places.links(build_id) if build_id else ()
        found = [look_at(path, USUAL) for path in linked]
        found += [file for file in self._found.candidates if file.path not in linked]
        if build_id and self._places.debuginfod and not _whole(found, build_id):
            found += self._fetched(build_id)
        return tuple(found)

    def _fetched(self, build_id: str) -> tuple[Candidate, ...]:
        from vmcoretool.symbols.debuginfod import fetch  # noqa: PLC0415 - only when asked for

        if build_id not in self._downloads:
            self._downloads[build_id] = fetch(build_id, self._budget)
        return self._downloads[build_id]

    @property
    def reasons(self) -> tuple[str, ...]:
        """What kept the search from being whole; nothing where there was none."""
        return self._found.reasons if "_found" in self.__dict__ else ()


def _whole(found: list[Candidate], build_id: str) -> bool:
    return any(file.build_id == build_id and file.dwarf and not file.debug_only for file in found)
