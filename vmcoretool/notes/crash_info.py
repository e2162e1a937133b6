"""XEN_ELFNOTE_CRASH_INFO: what the hypervisor wrote about itself when it died.

The payload is an array of words as wide as the hypervisor's ``unsigned long``; how many there are
tells the era, because ``xen_phys_start`` was *inserted* before the p2m word, not appended
(Xen commit 96967abdc7 ("x86: Add xen_phys_start to the crash_xen_info structure") (in 3.3))::

    word  0 major  1 minor  2 extra_version  3 changeset  4 compiler  5 compile_date
          6 compile_time  7 tainted
     8 words  (common part only)
     9 words  8 dom0_pfn_to_mfn_frame_list_list     ia64: 8 dom0_mm_pgd_mfn
    10 words  8 xen_phys_start   9 dom0_pfn_to_mfn_frame_list_list

Words 2 to 6 are *machine* addresses of strings inside the hypervisor image in every version
(xen/common/kexec.c, xen/include/xen/elfcore.h).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vmcoretool.addresses import Maddr, Mfn

if TYPE_CHECKING:
    from vmcoretool.notes.elf_note import Note


class _Shape(NamedTuple):
    word_size: int
    xen_phys_start: int | None
    p2m: int | None


# crash_xen_info_t by the payload's length; the length alone decides, never EI_CLASS (a 32-bit dom0
# on 64-bit Xen writes ELF32 headers around 8-byte words).
_SHAPES: Final = {
    64: _Shape(8, None, None),
    72: _Shape(8, None, 8),
    80: _Shape(8, 8, 9),
    32: _Shape(4, None, None),
    36: _Shape(4, None, 8),
    40: _Shape(4, 8, 9),
}
STRING_WORDS: Final = ("extra_version", "changeset", "compiler", "compile_date", "compile_time")


class CrashInfo(NamedTuple):
    """The decoded note; a word that was not recorded (absent or zero) is None.

    Attributes:
        note: the note it came from.
        word_size: 8 for a 64-bit hypervisor, 4 for a 32-bit one.
        words: all words as they stand.
        major, minor: Xen's version.
        strings: machine addresses of extra_version, changeset, compiler, compile_date,
            compile_time, in that order.
        tainted: bit mask; its bits were renumbered between versions.
        xen_phys_start: machine address where XEN_VIRT_START is mapped.
        dom0_p2m_mfn: machine frame of dom0's p2m frame list list; None also when the word is
            all ones, which means "tree invalid" (Xen commit 50bd1f0825
            ("x86: expand arch_shared_info to support linear p2m list") (in 4.6)).
    """

    note: Note
    word_size: int
    words: tuple[int, ...]
    major: int
    minor: int
    strings: tuple[Maddr, ...]
    tainted: int
    xen_phys_start: Maddr | None
    dom0_p2m_mfn: Mfn | None

    @property
    def has_phys_start_word(self) -> bool:
        """Whether this form of the note has a xen_phys_start word at all."""
        return _SHAPES[len(self.note.desc)].xen_phys_start is not None

    def word_offset(self, word: int) -> int:
        """File offset of a word of the payload."""
        return self.note.desc_offset + word * self.word_size


def parse_crash_info(
    note: Note, byte_order: Literal["little", "big"], *, ia64: bool = False
) -> CrashInfo | None:
    """Decode the note, or None when its length is none that any Xen wrote.

    Args:
        note: a note of owner Xen and type XEN_ELFNOTE_CRASH_INFO.
        byte_order: EI_DATA of the file.
        ia64: whether the dump is of an ia64 host, where word 8 is a page directory, not a p2m.
    """
    shape = _SHAPES.get(len(note.desc))
    if shape is None or not note.complete:
        return None
    order = "<" if byte_order == "little" else ">"
    letter = "Q" if shape.word_size == 8 else "I"
    words = struct.unpack(f"{order}{len(note.desc) // shape.word_size}{letter}", note.desc)
    all_ones = (1 << 8 * shape.word_size) - 1
    start = words[shape.xen_phys_start] if shape.xen_phys_start is not None else 0
    p2m = words[shape.p2m] if shape.p2m is not None and not ia64 else 0
    return CrashInfo(
        note=note,
        word_size=shape.word_size,
        words=words,
        major=words[0],
        minor=words[1],
        strings=tuple(Maddr(word) for word in words[2:7]),
        tainted=words[7],
        xen_phys_start=Maddr(start) if start else None,
        dom0_p2m_mfn=Mfn(p2m) if p2m not in (0, all_ones) else None,
    )
