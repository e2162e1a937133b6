"""Everything vmcoretool raises; operating-system refusals stay ``OSError``.

::

    VmcoreError
      FormatError (ValueError)            the bytes contradict the format
        TruncatedError                    a structure runs past the end of the file
        UnknownFormatError                no format claimed the file
      UnsupportedFormatError              understood, but not read here
      StoppedError                        ended on the caller's wish, or by a limit of work
      MemoryFault (LookupError)           machine memory that the dump does not hold
        TranslationFault                  a page walk that cannot go on
      LogError                            a kernel's log that cannot be read
      NamelistError                       a symbol file that cannot be used
        MissingSymbolError (LookupError)  a symbol it does not have
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmcoretool.addresses import FileOffset, Maddr, Vaddr


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
        self.what = what
        self.path = path
        self.where = where
        self.cure = cure

    def __str__(self) -> str:
        text = f"{self.path}: {self.what}" if self.path else self.what
        if self.where is not None:
            text += f" (file offset {self.where:#x})"
        return f"{text}; {self.cure}" if self.cure else text


class FormatError(VmcoreError, ValueError):
    """The bytes contradict the format that claimed them."""


class TruncatedError(FormatError):
    """A structure runs past the end of the file."""


class UnknownFormatError(FormatError):
    """No known format claims the file."""


class UnsupportedFormatError(VmcoreError):
    """The format is recognised, but vmcoretool does not read it."""


class StoppedError(VmcoreError):
    """What was to be read lies behind the place where the caller or a limit ended the work."""


class MemoryFault(VmcoreError, LookupError):
    """Machine memory that the dump does not hold.

    Attributes:
        maddr: first byte that is missing.
        excluded: True when the dump describes the page but left its data out.
        reason: which of the two, or what is damaged, as words that follow "the page".
    """

    def __init__(self, maddr: Maddr, *, excluded: bool = False, reason: str = "") -> None:
        missing = "was left out of the dump, or lost" if excluded else "is not in the dump"
        self.reason = reason or missing
        super().__init__(f"machine address {maddr:#x} {self.reason}")
        self.maddr = maddr
        self.excluded = excluded


class TranslationFault(MemoryFault):
    """A page walk that cannot go on.

    Attributes:
        vaddr: the address being translated.
        level: 4 (top) to 1 (last), the level of ``entry``.
        table: machine address of the table page.
        index: the slot in it.
        entry: the entry found, or None when the table page itself is missing.
        steps: (level, table, slot, entry) of each entry that was read on the way.
    """

    def __init__(  # noqa: PLR0913 - all that repeats the walk by hand
        self,
        vaddr: Vaddr,
        *,
        level: int,
        table: Maddr,
        index: int,
        entry: int | None,
        reason: str,
        steps: tuple[tuple[int, Maddr, int, int], ...] = (),
    ) -> None:
        super().__init__(table)
        self.steps = steps
        self.vaddr = vaddr
        self.level = level
        self.table = table
        self.index = index
        self.entry = entry
        self.reason = reason
        shown = "" if entry is None else f" = {entry:#x}"
        self.what = f"{vaddr:#x}: level {level} table {table:#x} slot {index}{shown}: {reason}"


class SpaceError(VmcoreError):
    """An address space that the dump does not tell, or an address that no space has."""


class LogError(VmcoreError):
    """A kernel's log cannot be read, and why."""


class NamelistError(VmcoreError):
    """A symbol file that cannot be used."""


class MissingSymbolError(NamelistError, LookupError):
    """A symbol that the namelist does not have."""
