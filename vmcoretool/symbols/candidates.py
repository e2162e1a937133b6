"""Which files may be symbol files of a dump: those named, those in named folders, the usual places.

Every candidate is opened once for its headers alone.  A folder is followed through links, each
folder once; what is no symbol file is passed over, what looks like one but cannot be used is kept
with the reason.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.errors import NamelistError
from vmcoretool.symbols.file import open_namelist
from vmcoretool.symbols.places import is_symbol_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.budget import Budget
    from vmcoretool.symbols.file import Namelist, Purpose
    from vmcoretool.symbols.places import Places

MAX_FILES: Final = 100_000
"""Files looked at in all folders together."""
MAX_DEPTH: Final = 32
USUAL: Final = "usual place"
_PACKED: Final = (".gz", ".bz2", ".xz", ".zst", ".lz4")


class Candidate(NamedTuple):
    """A file that may be a symbol file of the dump.

    Attributes:
        path: of the file.
        origin: who named it: an option, or :data:`USUAL`.
        trouble: why it cannot be used, or "".
        purpose: what the addresses it is linked to are used for.
        packed: its compression, or "".
        build_id: lower-case hexadecimal, or None.
        efi: whether it is of the hypervisor that EFI firmware starts.
        elf: an ELF file, not a map.
        has_symbols: whether it is not stripped.
        dwarf: whether it has the debugging data that crash needs.
        dwarf_version: of that data, or None where it is not told without unpacking it.
        split: whether code and data were left in another file, as in ``.debug`` files.
        named: whether the user named this very file, not a folder.
    """

    path: str
    origin: str
    trouble: str = ""
    purpose: Purpose = "other"
    packed: str = ""
    build_id: str | None = None
    efi: bool = False
    elf: bool = False
    has_symbols: bool = False
    dwarf: bool = False
    dwarf_version: int | None = None
    split: bool = False
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
    """All candidates, and what kept the search from being whole."""

    candidates: tuple[Candidate, ...]
    troubles: tuple[str, ...]


def find_candidates(places: Places, budget: Budget) -> Found:
    """Look at every file in the places; never raises for one of them.

    Args:
        places: where; links by build-id are left to :meth:`Places.links`.
        budget: its caller may end the search.
    """
    return _Search(budget).run(places)


def look_at(path: str, origin: str) -> Candidate:
    """One file that is taken for a symbol file, with what troubles it; raises nothing."""
    try:
        with open_namelist(path) as namelist:
            return _candidate(namelist, origin)
    except NamelistError as error:
        return Candidate(path, origin, _told(error))
    except OSError as error:
        return Candidate(path, origin, error.strerror or str(error))


class _Search:
    def __init__(self, budget: Budget) -> None:
        self._work = budget.work("searching symbol files")
        self._seen: set[tuple[int, int]] = set()
        self._looked_at = 0
        self._troubles: list[str] = []

    def run(self, places: Places) -> Found:
        found: list[Candidate] = []
        for path, origin, exact in self._paths(places):
            if self._looked_at >= MAX_FILES:
                self._troubles.append(f"the search ended after {MAX_FILES} files")
                break
            self._looked_at += 1
            candidate = self._look(path, origin, exact=exact)
            if candidate:
                found.append(candidate)
            if not self._work.progress(self._looked_at, 0):
                self._troubles.append("the search for symbol files was interrupted")
                break
        return Found(tuple(found), tuple(self._troubles))

    def _paths(self, places: Places) -> Iterator[tuple[str, str, bool]]:
        # path, origin, and whether the file itself was named
        named = ((places.xen_syms, "--xen-syms"), (places.vmlinux, "--vmlinux"))
        for paths, origin in named:
            for path in paths:
                if os.path.isdir(path):
                    yield from ((inner, origin, False) for inner in self._under(path))
                else:
                    yield path, origin, True
        for folder in places.search:
            yield from ((inner, "--search", False) for inner in self._under(folder))
        yield from ((path, USUAL, False) for path in places.usual_files())

    def _under(self, folder: str) -> Iterator[str]:
        # every file below a folder; each folder once, whatever links lead to it
        waiting = [(folder, 0)]
        while waiting:
            place, depth = waiting.pop()
            try:
                status = os.stat(place)
                entries = sorted(os.scandir(place), key=lambda entry: entry.name)
            except OSError as error:
                self._troubles.append(f"{place}: {error.strerror}")
                continue
            if not self._first_time(status):
                continue
            folders = []
            for entry in entries:
                if _is_folder(entry):
                    folders.append((entry.path, depth + 1))
                else:
                    yield entry.path
            if folders and depth >= MAX_DEPTH:
                self._troubles.append(f"{place}: folders deeper than {MAX_DEPTH} are not searched")
            else:
                waiting += reversed(folders)

    def _first_time(self, status: os.stat_result) -> bool:
        identity = (status.st_dev, status.st_ino)
        if identity in self._seen:
            return False
        self._seen.add(identity)
        return True

    def _look(self, path: str, origin: str, *, exact: bool) -> Candidate | None:
        telling = exact or is_symbol_name(path)
        try:
            status = os.stat(path)
            if not self._first_time(status):
                return None
            if not stat.S_ISREG(status.st_mode):
                trouble = "not a regular file"
                return Candidate(path, origin, trouble, named=exact) if telling else None
            if path.endswith(_PACKED) and not telling:
                return None  # nobody wants all of a folder's archives unpacked
        except OSError as error:
            trouble = error.strerror or str(error)
            return Candidate(path, origin, trouble, named=exact) if telling else None
        candidate = look_at(path, origin)._replace(named=exact)
        # folders of debugging data hold modules and libraries by the thousand
        wanted = telling if candidate.trouble else _useful(candidate)
        return candidate if exact or wanted else None


def _candidate(namelist: Namelist, origin: str) -> Candidate:
    return Candidate(
        path=namelist.path,
        origin=origin,
        purpose=namelist.purpose,
        packed=namelist.packed,
        build_id=namelist.build_id,
        efi=namelist.efi,
        elf=namelist.elf is not None,
        has_symbols=namelist.has_symbols,
        dwarf=namelist.dwarf,
        dwarf_version=namelist.dwarf_version,
        split=namelist.split,
    )


def _told(error: NamelistError) -> str:
    where = "" if error.where is None else f" (file offset {error.where:#x})"
    return error.what + where


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _useful(candidate: Candidate) -> bool:
    # a map of Linux is of no use: crash does not open it, and nothing in it tells the build
    return candidate.purpose == "hypervisor" or (candidate.purpose == "linux" and candidate.elf)
