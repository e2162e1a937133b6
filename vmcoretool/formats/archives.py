"""Which member of an archive is a dump, so that it can be named; nothing is unpacked."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import MIB
from vmcoretool.sources.layers import find_layer

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmcoretool.sources.file import ByteSource

MAX_MEMBERS: Final = 20_000
"""That are looked at; reports for a vendor's support hold some thousands."""
MAX_BYTES: Final = 64 * MIB
"""Of a compressed archive that are looked at, and that members' own headers may take."""
_HEAD: Final = 4096
_NAMES: Final = ("vmcore", "dump", "coredump")


def dump_in_tar(source: ByteSource, is_dump: Callable[[bytes], bool]) -> str | None:
    """The name of the first member that is a dump, or None where none is found.

    Args:
        source: the archive, or what there is of it.
        is_dump: whether a file with these first bytes is one.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        with tarfile.open(fileobj=_Reader(source), mode="r:") as archive:
            for number, member in enumerate(archive):
                if number == MAX_MEMBERS:
                    break
                head = source.pread(min(_HEAD, member.size), member.offset_data)
                if not member.isreg() or not head:
                    continue
                name = member.name.rpartition("/")[2]
                packed = find_layer(head) is not None and name.startswith(_NAMES)
                if packed or is_dump(head):
                    return member.name
    except (tarfile.TarError, ValueError, ArithmeticError, EOFError):
        pass  # it is damaged: what was found by then is the answer
    return None


def begins_with_member(head: bytes) -> bool:
    """Whether an archive's first header is whole, so that it is worth looking further."""
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    return True


class _Reader(io.RawIOBase):
    # a source as the file object that tarfile wants; its position is all that it keeps
    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._at = 0
        self._left = MAX_BYTES

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            size = max(self._source.size - self._at, 0)
        data = self._source.pread(min(size, MIB, self._left), self._at)
        self._at += len(data)
        self._left -= len(data)
        return data
