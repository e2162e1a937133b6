"""Formats that are named but not read: who writes them, and how to get something readable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.addresses import MIB
from vmcoretool.errors import UnsupportedFormatError
from vmcoretool.printable import bash_word, printable

if TYPE_CHECKING:
    from vmcoretool.sources.file import ByteSource


class Recognised(NamedTuple):
    """A format known by bytes at a fixed place.

    Attributes:
        name: what it is.
        writer: which program makes it.
        cure: how to get at a readable dump.
        offset: where the bytes stand; negative counts from the end.
        magic: the bytes.
        suffix: how the file's name must end where the bytes are too common to tell.
    """

    name: str
    writer: str
    cure: str
    offset: int
    magic: bytes
    suffix: str = ""


MAX_ZEROS: Final = 64 * MIB
TAR: Final = b"ustar"
TAR_AT: Final = 257
_GUEST: Final = "run 'xl dump-core DOMAIN FILE' on the running guest instead"
_QEMU: Final = "take it with 'virsh dump --memory-only' or QEMU's dump-guest-memory"
_VMWARE: Final = "convert it with vmss2core, or open it with crash itself"
_UNPACK: Final = "unpack it and give the file inside"
_NO_XEN: Final = "crash reads it; no Xen host is saved like this"

RECOGNISED: Final[tuple[Recognised, ...]] = (
    Recognised("xend save image", "xm save", _GUEST, 0, b"LinuxGuestRecord"),
    Recognised("xl save image", "xl save", _GUEST, 0, b"Xen saved domain, xl format\n"),
    Recognised("libxl migration stream", "xl migrate", _GUEST, 0, b"LibxlFmt"),
    Recognised("libxc migration stream", "xl save or migrate", _GUEST, 0, b"\xff" * 8 + b"XENF"),
    Recognised("LKCD dump", "lkcd", _NO_XEN, 0, bytes.fromhex("ed238f61730119a8")),
    Recognised("LKCD dump", "lkcd", _NO_XEN, 0, bytes.fromhex("a8190173618f23ed")),
    Recognised("LKCD live dump", "lkcd", _NO_XEN, 0, bytes.fromhex("cd238f61730119a8")),
    Recognised("LKCD live dump", "lkcd", _NO_XEN, 0, bytes.fromhex("a8190173618f23cd")),
    Recognised("s390 stand-alone dump", "zipl", _NO_XEN, 0, bytes.fromhex("a8190173618f23fd")),
    Recognised("Mission Critical Linux dump", "mclx", _NO_XEN, 0, bytes.fromhex("ddcc8b9a")),
    Recognised("sadump", "Fujitsu firmware", "convert it with makedumpfile", 0, b"sadump\0\0"),
    Recognised(
        "sadump media backup",
        "Fujitsu firmware",
        "convert it with makedumpfile",
        4096,
        b"sadump\0\0",
    ),
    Recognised("QEMU migration stream", "virsh dump, savevm", _QEMU, 0, b"QEVM"),
    Recognised("libvirt save image", "virsh save", _QEMU, 0, b"LibvirtQemudSave"),
    Recognised("unfinished libvirt save image", "virsh save", _QEMU, 0, b"LibvirtQemudPart"),
    *(
        Recognised(
            "VMware monitor dump",
            "VMware (debug.guest)",
            "open it, with its debug.vmem beside it, with crash itself",
            0,
            bytes([version, 0, 0, 0]),
            ".guest",
        )
        for version in range(1, 8)
    ),
    *(
        Recognised("VMware checkpoint", "VMware (.vmss, .vmsn)", _VMWARE, 0, bytes.fromhex(magic))
        for magic in ("d0bed0be", "d0bed2be", "d2bed2be", "d3bed3be", "d1bad1ba", "d2bad2ba")
    ),
    Recognised(
        "Windows crash dump", "Windows, QEMU win-dmp", "open it with WinDbg", 0, b"PAGEDU64"
    ),
    Recognised("Windows crash dump", "Windows", "open it with WinDbg", 0, b"PAGEDUMP"),
    Recognised("Windows minidump", "Windows", "open it with WinDbg", 0, b"MDMP"),
    Recognised("LiME image", "the LiME module", "take an ELF vmcore with kdump", 0, b"EMiL"),
    Recognised(
        "AVML image", "avml", "convert it with avml-convert to LiME, or use kdump", 0, b"AVML"
    ),
    Recognised("lzop file", "lzop", "unpack it with lzop -d", 0, b"\x89LZO\0\r\n\x1a\n"),
    Recognised("lzma file", "lzma", "unpack it with unlzma", 0, b"\x5d\0\0"),
    Recognised("old lz4 file", "lz4 -l", "unpack it with lz4 -d", 0, bytes.fromhex("02214c18")),
    Recognised("tar archive", "tar", _UNPACK, TAR_AT, TAR),
    Recognised("zip archive", "zip", _UNPACK, 0, b"PK\x03\x04"),
    Recognised("7z archive", "7z", _UNPACK, 0, b"7z\xbc\xaf\x27\x1c"),
    Recognised("snappy stream", "snzip", "unpack it with snzip -d", 0, b"\xff\x06\0\0sNaPpY"),
    Recognised(
        "pointer of Git LFS",
        "git",
        "the dump was not fetched: git lfs pull",
        0,
        b"version https://git-lfs.github.com/spec/",
    ),
    Recognised(
        "pointer of git-annex",
        "git-annex",
        "the dump was not fetched: git annex get FILE",
        0,
        b"/annex/objects/",
    ),
    Recognised(
        "report of apport",
        "Ubuntu's apport",
        "apport-unpack FILE FOLDER; VmCore in the folder is the dump",
        0,
        b"ProblemType: ",
    ),
    Recognised(
        "qcow2 disk image", "QEMU", "a dump may be a file in it, not the image", 0, b"QFI\xfb"
    ),
    Recognised(
        "VMDK disk image", "VMware", "a dump may be a file in it, not the image", 0, b"KDMV"
    ),
    Recognised("hibernation image", "Linux", "it is no crash dump", 4086, b"S1SUSPEND"),
    *(
        Recognised("Windows hibernation file", "Windows", "it is no crash dump", 0, magic)
        for magic in (b"hibr", b"HIBR", b"wake", b"WAKE", b"RSTR")
    ),
    Recognised(
        "KVM dump with crash's own trailer",
        "crash",
        "give crash the dump itself",
        -8,
        (0xFEEDBEEFDEADBABE).to_bytes(8, "little"),
    ),
    Recognised(
        "map of a KVM dump",
        "crash",
        "give crash the dump itself",
        -8,
        (0xFEEDBABEDEADBEEF).to_bytes(8, "little"),
    ),
)


def recognise(source: ByteSource) -> Recognised | None:
    """The row whose bytes the file has, or None."""
    for row in RECOGNISED:
        offset = row.offset if row.offset >= 0 else max(source.size + row.offset, 0)
        named = source.path.endswith(row.suffix)
        if named and source.pread(len(row.magic), offset) == row.magic:
            return row
    return None


def may_be_raw(source: ByteSource) -> bool:
    """Whether the file begins as a PC's memory does: with interrupt vectors into the BIOS."""
    head = source.pread(4096, 0)
    # a real-mode vector is offset and segment; unused ones all lead to F000:FF53
    vectors = [head[at : at + 4] for at in range(0, 1024, 4)]
    return vectors.count(b"\x53\xff\x00\xf0") >= 32


def zeros_in_front(source: ByteSource) -> int:
    """How many bytes of the file, MAX_ZEROS at most, are zero from its start on."""
    at = 0
    while at < min(source.size, MAX_ZEROS):
        piece = source.pread(min(MIB, MAX_ZEROS - at), at)
        if not piece:
            break
        rest = piece.lstrip(b"\0")
        if rest:
            return at + len(piece) - len(rest)
        at += len(piece)
    return at


def refusal(row: Recognised, path: str, member: str | None = None) -> UnsupportedFormatError:
    """The error of a format that is known but not read.

    Args:
        row: the format.
        path: of the file.
        member: of an archive, the dump that it holds.
    """
    what = f"this is a {row.name}, written by {row.writer}, which is not read here"
    cure = row.cure
    if member is not None:
        what += f"; it holds {printable(member)}"
        archive = "ARCHIVE" if path == "-" else bash_word(path)
        cure = f"tar -xf {archive} -- {bash_word(member)}"
    return UnsupportedFormatError(what, path=path, cure=cure)
