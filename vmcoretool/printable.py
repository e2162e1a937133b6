"""Text from a dump, made safe for terminals, logs and JSON."""

from __future__ import annotations


def printable(raw: bytes | str) -> str:
    r"""``raw`` as printable ASCII; every other byte or character becomes a backslash escape.

    Dumps are hostile input: an escape sequence in a version string must not reach a terminal.

    >>> printable(b"4.17\x1b[2J")
    '4.17\\x1b[2J'
    """
    text = raw.decode("ascii", "backslashreplace") if isinstance(raw, bytes) else raw
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char.isascii() and char.isprintable() else _escape(char) for char in text
    )


def log_line(raw: bytes) -> str:
    """A line of a log for people: as :func:`printable`, with its tabs."""
    return "\t".join(map(printable, raw.split(b"\t")))


def _escape(char: str) -> str:
    # surrogateescape'd file-name bytes show as the byte they stand for
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")
