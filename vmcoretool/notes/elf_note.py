"""ELF notes: a walk that survives damage.

Every note of a vmcore has a 12-byte header of three 32-bit words in the file's byte order, then
owner and payload, each padded to 4 bytes even in 64-bit files (for that reason: Xen commit
6265f09192 ("kexec: Avoid unaligned writes when producing crash info.") (in 3.1))::

    +0  n_namesz   +4  n_descsz   +8  n_type   +12 owner, NUL   +12+pad4(n_namesz) desc

One wrong size word makes a plain walk lose all notes behind it.  The owners that kdump uses are
known, so their headers are located first; a note that runs over the next one, or ends where no
note can start, is cut or extended to the next known header, and that is reported.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vmcoretool.addresses import FileOffset
from vmcoretool.findings import Finding, finding
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator


NT_PRSTATUS: Final = 1
XEN_ELFNOTE_CRASH_INFO: Final = 0x1000001
XEN_ELFNOTE_CRASH_REGS: Final = 0x1000002
NT_XEN_KDUMP_CR3: Final = 0x10000001
MAX_NOTES: Final = 65_536
_OWNER_LIMIT: Final = 64
_ZERO_BLOCK: Final = 4096
_HEADER_SIZE: Final = 12
_MOST_DAMAGED: Final = 32
"""Damaged notes that are each a finding; the others are counted."""

# Owner and type of the notes a host vmcore is made of; xen.git xen/include/public/elfnote.h and
# xen/common/kexec.c, QEMU target/i386/arch_dump.c, makedumpfile elf_info.c.
# The sizes are those their payloads have in all versions, none where they vary.
_KNOWN: Final[tuple[tuple[bytes, dict[int, tuple[int, ...]]], ...]] = (
    (b"CORE", {NT_PRSTATUS: (336, 144)}),
    (
        b"Xen",
        {
            XEN_ELFNOTE_CRASH_INFO: (80, 72, 64, 40, 36, 32),
            XEN_ELFNOTE_CRASH_REGS: (32, 16),
            NT_XEN_KDUMP_CR3: (8, 4),
        },
    ),
    (b"VMCOREINFO_XEN", {0: ()}),
    (b"VMCOREINFO", {0: ()}),
    (b"QEMU", {0: (440, 432)}),
)
# owners whose notes all have one type, 0, are called by what they hold
_NAMES: Final = {
    ("CORE", NT_PRSTATUS): "NT_PRSTATUS",
    ("LINUX", 0x700): "NT_VMCOREDD",
    ("Xen", XEN_ELFNOTE_CRASH_INFO): "XEN_ELFNOTE_CRASH_INFO",
    ("Xen", XEN_ELFNOTE_CRASH_REGS): "XEN_ELFNOTE_CRASH_REGS",
    ("Xen", 0x1000003): "XEN_ELFNOTE_CRASH_INFO2",
    ("Xen", 0x2000000): "XEN_ELFNOTE_DUMPCORE_NONE",
    ("Xen", 0x2000001): "XEN_ELFNOTE_DUMPCORE_HEADER",
    ("Xen", 0x2000002): "XEN_ELFNOTE_DUMPCORE_XEN_VERSION",
    ("Xen", 0x2000003): "XEN_ELFNOTE_DUMPCORE_FORMAT_VERSION",
    ("Xen", NT_XEN_KDUMP_CR3): "NT_XEN_KDUMP_CR3",
    ("XEN CORE", NT_XEN_KDUMP_CR3): "NT_XEN_KDUMP_CR3",
    ("VMCOREINFO_XEN", 0): "VMCOREINFO_XEN",
    ("VMCOREINFO", 0): "VMCOREINFO",
    ("ERASEINFO", 0): "ERASEINFO",
    ("QEMU", 0): "QEMUCPUState",
}


class Note(NamedTuple):
    """One ELF note, identified by owner and type together, never by type alone.

    Attributes:
        owner: the name without its NUL; bytes outside printable ASCII are escaped.
        type: the 32-bit n_type.
        desc: the payload.
        offset: where the note's header stands in the dump file.
        desc_offset: where the payload starts in the dump file.
        complete: False when the file or segment ended inside the payload.
    """

    owner: str
    type: int
    desc: bytes
    offset: FileOffset
    desc_offset: FileOffset
    complete: bool = True

    @property
    def type_name(self) -> str:
        """The upstream name of the type, or its hexadecimal value."""
        return _NAMES.get((self.owner, self.type), f"{self.type:#x}")


class _Header:
    # A note header read at one place of a blob, with the ends it implies.
    __slots__ = ("desc_end", "desc_start", "owner", "sound", "type")

    def __init__(self, blob: bytes, at: int, words: struct.Struct) -> None:
        namesz, descsz, self.type = words.unpack_from(blob, at)
        known = _owner_at(blob, at, self.type)
        if known is not None and namesz not in (len(known), len(known) + 1):
            namesz = len(known) + 1  # the owner and the type are right, so this word is damaged
        name = blob[at + 12 : at + 12 + min(namesz, _OWNER_LIMIT)]
        self.owner = name.rstrip(b"\0")
        self.sound = (
            namesz <= _OWNER_LIMIT
            and len(name) == namesz
            and printable(self.owner) == self.owner.decode("latin-1")
            and (namesz > 0 or descsz > 0)
        )
        self.desc_start = at + 12 + _pad4(namesz)
        self.desc_end = self.desc_start + descsz

    @property
    def usual_size(self) -> bool:
        # Whether n_descsz is one that notes of this owner and type have.
        sizes = next((types for owner, types in _KNOWN if owner == self.owner), {})
        return self.desc_end - self.desc_start in sizes.get(self.type, ())


def _owner_at(blob: bytes, at: int, kind: int) -> bytes | None:
    # The known owner, NUL-ended, of a note of this type whose header stands at `at`.
    for owner, types in _KNOWN:
        if kind in types and blob.startswith(owner + b"\0", at + 12):
            return owner
    return None


def _pad4(size: int) -> int:
    return size + 3 & ~3


def _known_headers(blob: bytes, words: struct.Struct) -> list[int]:
    # Offsets, ascending, where a known note of a known type starts.
    found: list[int] = []
    for owner, _ in _KNOWN:
        at = blob.find(owner + b"\0", 12)
        while at >= 0:
            start = at - 12
            if start % 4 == 0:
                namesz, _, kind = words.unpack_from(blob, start)
                # type 0 says little: such an owner may stand in a payload, so its size must fit
                sure = kind != 0 or namesz in (len(owner), len(owner) + 1)
                if sure and _owner_at(blob, start, kind):
                    found.append(start)
            at = blob.find(owner + b"\0", at + 4)
    return sorted(set(found))


def is_known_owner(owner: bytes) -> bool:
    """Whether it is one of those that the notes of a host's vmcore have."""
    return any(known == owner for known, _ in _KNOWN)


def walk_notes(
    blob: bytes, offset: FileOffset, byte_order: Literal["little", "big"], *, complete: bool = True
) -> tuple[tuple[Note, ...], tuple[Finding, ...]]:
    """All notes of one PT_NOTE segment, and what was wrong with them.

    Args:
        blob: the segment's bytes, as far as the file has them.
        offset: where ``blob`` starts in the file.
        byte_order: EI_DATA of the file.
        complete: False where bytes of the segment are lost: a first or last note that is not whole
            is not damaged then.

    Returns:
        the notes in file order; damage costs only the note that is damaged.
    """
    words = struct.Struct("<III" if byte_order == "little" else ">III")
    notes: list[Note] = []
    findings: list[Finding] = []
    damaged = 0
    for note, trouble in _walk(blob, offset, words, complete=complete):
        if note is not None:
            notes.append(note)
        if trouble:
            damaged += 1
            if damaged <= _MOST_DAMAGED:
                findings.append(finding("note-damaged", trouble))
        if len(notes) >= MAX_NOTES:
            findings.append(finding("note-damaged", f"more than {MAX_NOTES} notes: rest ignored"))
            break
    if damaged > _MOST_DAMAGED:
        more = f"{damaged - _MOST_DAMAGED} more like these"
        findings.append(finding("note-damaged", more))
    return tuple(notes), tuple(findings)


def _walk(
    blob: bytes, offset: FileOffset, words: struct.Struct, *, complete: bool
) -> Iterator[tuple[Note | None, str]]:
    known = _known_headers(blob, words)
    at = _skip_zeros(blob, 0)
    while at + 12 <= len(blob):
        after = bisect_right(known, at)
        following = known[after] if after < len(known) else None
        header = _Header(blob, at, words)
        if not header.sound or (following is not None and following < header.desc_start):
            broken_off = at == 0 or header.desc_start > len(blob)
            if complete or not broken_off:
                where = f"at file offset {offset + at:#x}"
                yield None, f"no note can start {where}: skipped to the next known note"
            if following is None:
                return
            at = following
            continue
        end, trouble = _settle_end(blob, header, following, words)
        if end > len(blob) and not complete:
            trouble = ""
        yield (
            Note(
                owner=printable(header.owner),
                type=header.type,
                desc=blob[header.desc_start : end],
                offset=FileOffset(offset + at),
                desc_offset=FileOffset(offset + header.desc_start),
                complete=end <= len(blob),
            ),
            f"note at file offset {offset + at:#x}: {trouble}" if trouble else "",
        )
        at = _skip_zeros(blob, _pad4(end))
        if following is not None and _only_zeros(blob, _pad4(end), following):
            at = following  # a few zeros, too few to be a header's room


def _settle_end(
    blob: bytes, header: _Header, following: int | None, words: struct.Struct
) -> tuple[int, str]:
    # Where the payload really ends, and what is wrong with the n_descsz that says otherwise.
    end = header.desc_end
    said = end - header.desc_start
    if following is not None and following < end:
        return following, f"n_descsz {said} runs over the next note: cut to its start"
    if end > len(blob):
        left = max(len(blob) - header.desc_start, 0)
        return end, f"the file holds {left} of its {said} bytes"
    if following is not None:
        then = _skip_zeros(blob, _pad4(end))
        # either this size or the header behind it is damaged: a usual size is believed
        usual = header.usual_size
        if then < following and not usual and not _Header(blob, then, words).sound:
            got = following - header.desc_start
            return following, f"n_descsz {said} ends where no note starts: {got} bytes taken"
    return end, ""


def _only_zeros(blob: bytes, start: int, end: int) -> bool:
    # more zeros than a header has are a CPU's room, which _skip_zeros goes over
    return end - start <= _HEADER_SIZE and not any(blob[start:end])


def _skip_zeros(blob: bytes, at: int) -> int:
    # Xen reserves room for a note per CPU and leaves it zero when the CPU did not write it.
    if blob[at : at + 12] != bytes(12):
        return at
    while at < len(blob):
        block = blob[at : at + _ZERO_BLOCK]
        rest = block.lstrip(b"\0")
        if rest:
            return at + len(block) - len(rest) & ~3
        at += len(block)
    return len(blob)
