"""Which member of a tar archive is a dump, so that it can be named; nothing is unpacked.

POSIX ustar and pax, and GNU's long names (tar(5)): a header is one block of 512 bytes, and the
member's data follows, padded to whole blocks::

    +0 name, 100 bytes   +124 size, 12 octal digits   +148 checksum   +156 type   +345 prefix, 155
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB
from vmcoretool.sources.layers import find_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmcoretool.sources.file import ByteSource

BLOCK: Final = 512
MAX_HEADERS: Final = 50_000
"""That are looked at; reports for a vendor's support hold some thousands of members."""
MAX_BYTES: Final = 64 * MIB
"""Of a compressed archive that are looked at."""
_MAX_TEXT: Final = 64 * 1024
_HEAD: Final = 4096
_NAMES: Final = ("vmcore", "dump", "coredump")
_FILES: Final = b"0\0"
_LONG_NAME, _PAX = b"L", b"x"


class _Header(NamedTuple):
    name: str
    size: int
    kind: bytes


def dump_in_tar(source: ByteSource, is_dump: Callable[[bytes], bool]) -> str | None:
    """The name of the first member that is a dump, or None where none is found.

    Args:
        source: the archive, or what there is of it.
        is_dump: whether a file with these first bytes is one.

    Raises:
        OSError: the file cannot be read.
    """
    for name, size, at in _files(source):
        head = source.pread(min(_HEAD, size), at)
        base = name.rpartition("/")[2]
        if head and (is_dump(head) or (find_layer(head) is not None and base.startswith(_NAMES))):
            return name
    return None


def begins_with_member(head: bytes) -> bool:
    """Whether an archive's first header is whole, so that it is worth looking further."""
    return _header(head[:BLOCK]) is not None


def _files(source: ByteSource) -> Iterator[tuple[str, int, int]]:
    # name, size and place of each regular file, as far as headers are sound
    at, named, sized = 0, "", -1
    for _ in range(MAX_HEADERS):
        header = _header(source.pread(BLOCK, at))
        if header is None:
            return
        size = header.size
        if header.kind in (_LONG_NAME, _PAX):
            text = source.pread(min(size, _MAX_TEXT), at + BLOCK)
            if header.kind == _LONG_NAME:
                named = _text(text)
            else:
                named, sized = _pax(text, named)
        else:
            size = sized if sized >= 0 else size
            if header.kind in _FILES:
                yield named or header.name, size, at + BLOCK
            named, sized = "", -1
        at += BLOCK + (size + BLOCK - 1 & -BLOCK)


def _header(block: bytes) -> _Header | None:
    if len(block) < BLOCK:
        return None
    total = sum(block[:148]) + 8 * 32 + sum(block[156:])
    if _number(block[148:156]) != total:
        return None
    size = _number(block[124:136])
    if size is None:
        return None
    name, prefix = _text(block[:100]), _text(block[345:500])
    posix = block[257:263] == b"ustar\0"
    return _Header(f"{prefix}/{name}" if prefix and posix else name, size, block[156:157] or b"\0")


def _number(field: bytes) -> int | None:
    if field[0] & 0x80:  # GNU: base 256, for what octal digits cannot say
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.strip(b" \0") or b"0"
    # int() itself takes signs, spaces and underscores, too
    return int(digits, 8) if not digits.strip(b"01234567") else None


def _pax(text: bytes, named: str) -> tuple[str, int]:
    # records "LENGTH KEY=VALUE\n"; a length that is wrong ends them
    sized = -1
    at = 0
    while at < len(text):
        digits = text[at : at + 8].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        key, _, value = text[at + len(digits) + 1 : at + length - 1].partition(b"=")
        if length <= len(digits):
            break
        if key == b"path":
            named = _text(value)
        elif key == b"size" and value.isdigit() and len(value) < 20:
            sized = int(value)
        at += length
    return named, sized


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")
