"""Xen's version and build, from the CRASH_INFO note and the strings it points to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.errors import MemoryFault
from vmcoretool.notes.crash_info import STRING_WORDS

if TYPE_CHECKING:
    from vmcoretool.addresses import Maddr
    from vmcoretool.memory.physical import PhysicalMemory
    from vmcoretool.notes.crash_info import CrashInfo

STRING_LIMIT: Final = 256


class XenVersion(NamedTuple):
    """What the hypervisor calls itself; a string that cannot be read is None, an empty one "".

    Attributes:
        major, minor: words 0 and 1 of the note.
        extra: what follows them, such as ".7" or "-unstable".
        changeset, compiler, compile_date: as compiled in; printable ASCII.
    """

    major: int
    minor: int
    extra: str | None
    changeset: str | None
    compiler: str | None
    compile_date: str | None

    @property
    def text(self) -> str:
        """The version as Xen's banner prints it."""
        return f"{self.major}.{self.minor}{self.extra or ''}"


def read_string(memory: PhysicalMemory, maddr: Maddr) -> str | None:
    """Text of 0 to 256 printable ASCII characters, NUL-ended, at a machine address, or None."""
    if maddr == 0:
        return None
    try:
        raw = memory.read_c_string(maddr, STRING_LIMIT)
    except MemoryFault:
        return None
    if raw is None:
        return None
    text = raw.decode("latin-1")
    return text if text.isascii() and (text.isprintable() or not text) else None


def read_version(memory: PhysicalMemory, info: CrashInfo) -> XenVersion | None:
    """The version, or None when the note's words are all zero (cleared, never filled in)."""
    if not any(info.words[:7]):
        return None
    texts = dict(zip(STRING_WORDS, (read_string(memory, at) for at in info.strings), strict=True))
    return XenVersion(
        major=info.major,
        minor=info.minor,
        extra=texts["extra_version"],
        changeset=texts["changeset"],
        compiler=texts["compiler"],
        compile_date=texts["compile_date"],
    )
