"""Text that lies beside dumps: Xen's console, a Linux kernel's log; its headline names it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vmcoretool.addresses import MIB
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from vmcoretool.sources.file import ByteSource

_HEAD: Final = 64 * 1024
_TAIL: Final = 4 * MIB
_XEN: Final = re.compile(rb"^(?:.{0,40}?)\(XEN\) ", re.MULTILINE)
_LINUX: Final = re.compile(rb"^(?:<\d+>)?\[ *\d+\.\d{6}\] |^.{0,40}?Linux version \d", re.MULTILINE)
_FEW: Final = 3
_PANIC: Final = re.compile(rb"(Kernel panic - not syncing: [^\n]{0,200})")


def text_of(source: ByteSource) -> tuple[str, str] | None:
    """What a text is, and its headline or ""; None of what is no such text.

    Raises:
        OSError: the file cannot be read.
    """
    head = source.pread(_HEAD, 0)
    if b"\0" in head:
        return None
    start = max(source.size - _TAIL, 0)
    if len(_XEN.findall(head)) >= _FEW:
        return "text of Xen's console", _xen_headline(source.pread(_TAIL, start))
    if len(_LINUX.findall(head)) >= _FEW:
        panics = _PANIC.findall(source.pread(_TAIL, start))
        return "the log of a Linux kernel", printable(panics[-1]) if panics else ""
    return None


def _xen_headline(text: bytes) -> str:
    from vmcoretool.xen.panic import read_crash_text  # noqa: PLC0415 - few files are such text

    lines = [line[at:] for line in text.split(b"\n") if (at := line.find(b"(XEN) ")) >= 0]
    return read_crash_text([line.rstrip(b"\r") for line in lines]).panic or ""
