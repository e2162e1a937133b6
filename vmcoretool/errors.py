"""Everything vmcoretool raises; operating-system refusals stay ``OSError``.

::

    VmcoreError
      FormatError (ValueError)            the bytes contradict the format
        TruncatedError                    a structure runs past the end of the file
        UnknownFormatError                no format claimed the file
      UnsupportedFormatError              understood, but not read here
      NotAXenHostError                    a readable dump, but not of a Xen host
      StoppedError                        ended on the caller's wish, or by a limit of work
      AddressError (LookupError)          an address whose byte cannot be read
        MemoryFault                       machine memory that the dump does not hold
          TableFault                      ... and a page table lies there
          TranslationFault                nothing is mapped at a virtual address
      SpaceError                          an address space that is not known
      LogError                            a kernel's log that cannot be read
      NamelistError                       a symbol file that cannot be used
        MissingSymbolError (LookupError)  a symbol it does not have

*Not mapped* is not *not in the dump*: TranslationFault is a MemoryFault for one more release only,
so that ``except MemoryFault`` goes on to catch both; write AddressError for that.
All of them survive pickling, as between the processes of a pool.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from vmcoretool.printable import printable

if TYPE_CHECKING:
    from vmcoretool.addresses import FileOffset, Maddr, Vaddr

State = dict[str, object]
# These say that the file as a whole is out of reach, any other that this part of it cannot be read.
_NO_FILE: Final = frozenset(
    (
        errno.EBADF,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EMFILE,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENFILE,
        errno.ENODEV,
        errno.ENOMEM,
        errno.ENOTCONN,
        errno.ENXIO,
        errno.ESHUTDOWN,
        errno.ESTALE,
        errno.ETIMEDOUT,
    )
)


class VmcoreError(Exception):
    """What went wrong, in which file, at which byte, and what cures it.

    Attributes:
        what: one sentence without the file's name.
        path: the file, or "" where the raiser does not know it.
        where: byte offset in the file, or None.
        cure: what the user can do, or "".
    """

    def __init__(
        self, what: str, *, path: str = "", where: FileOffset | None = None, cure: str = ""
    ) -> None:
        super().__init__(what)
        self.what = printable(what)
        self.path = path
        self.where = where
        self.cure = cure

    @property
    def message(self) -> str:
        """What went wrong, in which file, at which byte: one printable line."""
        text = f"{printable(self.path)}: {self.what}" if self.path else self.what
        return text if self.where is None else f"{text} (file offset {self.where:#x})"

    def __reduce__(self) -> tuple[object, ...]:
        # without __init__, whose arguments are not the ones that Exception keeps
        return _unpickle, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        return f"{self.message}; {printable(self.cure)}" if self.cure else self.message


def _unpickle(kind: type[VmcoreError], args: tuple[object, ...], state: State) -> VmcoreError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class FormatError(VmcoreError, ValueError):
    """The bytes contradict the format that claimed them."""


class TruncatedError(FormatError):
    """A structure runs past the end of the file."""


class UnknownFormatError(FormatError):
    """No known format claims the file."""


class UnsupportedFormatError(VmcoreError):
    """The format is recognised, but vmcoretool does not read it."""


class NotAXenHostError(VmcoreError):
    """A readable dump, but of a native Linux kernel, a guest or something else."""


class StoppedError(VmcoreError):
    """What was to be read lies behind the place where the caller or a limit ended the work."""


class AddressError(VmcoreError, LookupError):
    """An address whose byte cannot be read.

    Attributes:
        reason: why, as words that can follow "the page".
        steps: of a walk through page tables, (level, table, slot, entry) of each entry that was
            read on the way; () for machine addresses.
    """

    reason: str = ""
    steps: tuple[tuple[int, Maddr, int, int], ...] = ()


class MemoryFault(AddressError):
    """Machine memory that the dump does not hold.

    Attributes:
        maddr: first byte that is missing.
        excluded: True when the dump describes the page but left its data out.
        reason: which of the two, or what is damaged, as words that follow "the page".
    """

    def __init__(self, maddr: Maddr, *, excluded: bool = False, reason: str = "") -> None:
        missing = "was left out of the dump, or lost" if excluded else "is not in the dump"
        reason = reason or missing
        super().__init__(f"machine address {maddr:#x} {reason}")
        self.reason = reason
        self.maddr = maddr
        self.excluded = excluded


class TableFault(MemoryFault):
    """A page table on the way to a virtual address that the dump does not hold.

    Attributes:
        vaddr: the address being translated.
        level: of the table: 4 (top) to 1 (last).
        table: its machine address.
        index: the slot in it that would be next.
    """

    def __init__(  # noqa: PLR0913 - all that repeats the walk by hand
        self,
        vaddr: Vaddr,
        *,
        level: int,
        table: Maddr,
        index: int,
        cause: MemoryFault,
        steps: tuple[tuple[int, Maddr, int, int], ...] = (),
    ) -> None:
        super().__init__(cause.maddr, excluded=cause.excluded)
        self.reason = f"the table page {cause.reason}"
        place = f"{vaddr:#x}: level {level} table {table:#x} slot {index}"
        self.what = printable(f"{place}: {self.reason}")
        self.steps = steps
        self.vaddr = vaddr
        self.level = level
        self.table = table
        self.index = index


class TranslationFault(MemoryFault):
    """Nothing is mapped at a virtual address; every table on the way is in the dump.

    Attributes:
        vaddr: the address being translated.
        level: 4 (top) to 1 (last), the level of ``entry``.
        table: machine address of the table page; ``maddr`` is the same, and no byte is missing.
        index: the slot in it.
        entry: what the slot holds.
    """

    def __init__(  # noqa: PLR0913 - all that repeats the walk by hand
        self,
        vaddr: Vaddr,
        *,
        level: int,
        table: Maddr,
        index: int,
        entry: int,
        reason: str,
        steps: tuple[tuple[int, Maddr, int, int], ...] = (),
    ) -> None:
        super().__init__(table, reason=reason)
        place = f"level {level} table {table:#x} slot {index}"
        self.what = printable(f"{vaddr:#x}: {place} = {entry:#x}: {reason}")
        self.steps = steps
        self.vaddr = vaddr
        self.level = level
        self.table = table
        self.index = index
        self.entry = entry


class SpaceError(VmcoreError):
    """An address space that the dump does not show, or an address that no space has."""


class LogError(VmcoreError):
    """A kernel's log cannot be read, and why."""


class NamelistError(VmcoreError):
    """A symbol file that cannot be used."""


class MissingSymbolError(NamelistError, LookupError):
    """A symbol that the namelist does not have."""


def is_out_of_reach(error: OSError) -> bool:
    """Whether the file as a whole cannot be read, not one part of it (a bad sector)."""
    return error.errno in _NO_FILE


def reason_of(error: OSError) -> str:
    """Why the system refused, in its own words; without file and offset."""
    return os.strerror(error.errno) if error.errno else str(error)
