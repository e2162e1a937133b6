"""Which files may be symbol files of a dump: those named, those in named folders, the usual places.

Every candidate is opened once for its headers alone; what is no symbol file is passed over, what
looks like one but cannot be used is kept with the reason.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.errors import NamelistError
from vmcoretool.symbols.file import open_namelist
from vmcoretool.symbols.folders import Folders
from vmcoretool.symbols.places import is_symbol_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.budget import Budget
    from vmcoretool.symbols.file import Namelist, Purpose
    from vmcoretool.symbols.places import Places

MAX_FILES: Final = 100_000
"""Files looked at in all folders together."""
USUAL: Final = "usual place"
_PACKED: Final = (".gz", ".bz2", ".xz", ".zst", ".lz4")


class Candidate(NamedTuple):
    """A file that may be a symbol file of the dump.

    Attributes:
        path: of the file.
        origin: who named it: an option, or :data:`USUAL`.
        error: why it cannot be used, or "".
        purpose: what the addresses it is linked to are used for.
        compression: what it is compressed with, such as "gzip", or "".
        build_id: lower-case hexadecimal, or None.
        efi: whether it is of the hypervisor that EFI firmware starts.
        elf: an ELF file, not a map.
        has_symbols: whether it is not stripped.
        dwarf: whether it has the debugging data that crash needs.
        dwarf_version: of that data, or None where that is not known without unpacking it.
        debug_only: whether code and data were left in another file, as in ``.debug`` files.
        named: whether the user named this very file, not a folder.
    """

    path: str
    origin: str
    error: str = ""
    purpose: Purpose = "other"
    compression: str = ""
    build_id: str | None = None
    efi: bool = False
    elf: bool = False
    has_symbols: bool = False
    dwarf: bool = False
    dwarf_version: int | None = None
    debug_only: bool = False
    named: bool = False

    @property
    def for_hypervisor(self) -> bool:
        """Whether it is to be compared with the hypervisor, not with Linux kernels."""
        if self.purpose == "other":
            return self.origin != "--vmlinux" and "vmlinu" not in self.path.rpartition("/")[2]
        return self.purpose == "hypervisor" or self.origin == "--xen-syms"

    @property
    def asked_for(self) -> bool:
        """Whether the user pointed at it, not only this system's usual places."""
        return self.origin != USUAL


class Found(NamedTuple):
    """All candidates, and the reasons why there may be more."""

    candidates: tuple[Candidate, ...]
    reasons: tuple[str, ...]


def find_candidates(places: Places, budget: Budget) -> Found:
    """Look at every file in the places; never raises for one of them.

    Args:
        places: where; links by build-id are left to :meth:`Places.links`.
        budget: its caller may end the search.
    """
    return _Search(budget).run(places)


def look_at(
    path: str, origin: str, budget: Budget | None = None, *, named: bool = False
) -> Candidate:
    """One file that is taken for a symbol file, or the reason why it is none; raises nothing.

    Args:
        path: of the file.
        origin: who named it.
        budget: its caller may end the decompression.
        named: whether the user named this very file.
    """
    try:
        with open_namelist(path, budget) as namelist:
            return _candidate(namelist, origin, named=named)
    except NamelistError as error:
        return Candidate(path=path, origin=origin, error=_reason(error), named=named)
    except OSError as error:
        reason = error.strerror or str(error)
        return Candidate(path=path, origin=origin, error=reason, named=named)


class _Search:
    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._work = budget.work("searching symbol files")
        self._folders = Folders()
        self._looked_at = 0

    def run(self, places: Places) -> Found:
        found: list[Candidate] = []
        reasons = self._folders.reasons
        for path, origin, exact in self._paths(places):
            if self._looked_at >= MAX_FILES:
                reasons.append(f"the search ended after {MAX_FILES} files")
                break
            self._looked_at += 1
            candidate = self._look(path, origin, exact=exact)
            if candidate:
                found.append(candidate)
            if not self._work.progress(self._looked_at, 0):
                reasons.append("the search for symbol files was interrupted")
                break
        return Found(tuple(found), self._folders.all_reasons())

    def _paths(self, places: Places) -> Iterator[tuple[str, str, bool]]:
        # path, origin, and whether the file itself was named
        named = ((places.xen_syms, "--xen-syms"), (places.vmlinux, "--vmlinux"))
        for paths, origin in named:
            for path in paths:
                if os.path.isdir(path):
                    yield from ((inner, origin, False) for inner in self._folders.files(path))
                else:
                    yield path, origin, True
        for folder in places.search:
            yield from ((inner, "--search", False) for inner in self._folders.files(folder))
        yield from ((path, USUAL, False) for path in places.usual_files())

    def _look(self, path: str, origin: str, *, exact: bool) -> Candidate | None:
        telling = exact or is_symbol_name(path)
        error = ""
        try:
            status = os.stat(path)
            if not self._folders.first_time(status):
                return None
            if not stat.S_ISREG(status.st_mode):
                error = "not a regular file"
        except OSError as failure:
            error = failure.strerror or str(failure)
        if error:
            candidate = Candidate(path=path, origin=origin, error=error, named=exact)
            return candidate if telling else None
        if path.endswith(_PACKED) and not telling:
            return None  # nobody wants all of a folder's archives unpacked
        candidate = look_at(path, origin, self._budget, named=exact)
        # folders of debugging data hold modules and libraries by the thousand
        wanted = telling if candidate.error else _useful(candidate)
        return candidate if exact or wanted else None


def _candidate(namelist: Namelist, origin: str, *, named: bool) -> Candidate:
    return Candidate(
        path=namelist.path,
        origin=origin,
        purpose=namelist.purpose,
        compression=namelist.compression,
        build_id=namelist.build_id,
        efi=namelist.efi,
        elf=namelist.elf is not None,
        has_symbols=namelist.has_symbols,
        dwarf=namelist.dwarf,
        dwarf_version=namelist.dwarf_version,
        debug_only=namelist.debug_only,
        named=named,
    )


def _reason(error: NamelistError) -> str:
    where = "" if error.where is None else f" (file offset {error.where:#x})"
    return error.what + where


def _useful(candidate: Candidate) -> bool:
    # a map of Linux is of no use: crash does not open it, and nothing in it tells the build
    return candidate.purpose == "hypervisor" or (candidate.purpose == "linux" and candidate.elf)
