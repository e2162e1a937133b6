"""Every wrong way to call crash and makedumpfile that the texts of ``explain`` are held to.

A form names what its command line is given and which cause is the true one.  The generator
(:mod:`tests.peers.error_texts`) gives the real programs whole dumps and real symbol files under
those names; the test makes small ones of the same kind from the samples, without any program.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.builders import pae_host, variants
from tests.builders.dump_core import domain_core
from tests.builders.streams import as_kdump, flattened, process_core
from tests.builders.xen_host import XenHost
from tests.support import ROOT
from vmcoretool.xen.image.layouts import DIRECTMAPS

if TYPE_CHECKING:
    from collections.abc import Callable

CRASH: Final = "crash"
MAKEDUMPFILE: Final = "makedumpfile"
SAMPLES: Final = ROOT / "samples"
OF_THE_HOST: Final = "xen-4.20-dom0-panic"
"""The sample of the host whose whole dump the programs get."""
START: Final = 0x27800000
"""Where its hypervisor lies."""
HALF: Final = 0x13C00  # frames below it are in the first of two parts


def sample(name: str, file: str = "vmcore") -> bytes:
    """The bytes of a sample."""
    return (SAMPLES / name / file).read_bytes()


def host() -> bytes:
    """The host of most forms: Xen 4.20, with all its notes."""
    return sample(OF_THE_HOST)


def _lz4() -> bytes:
    import lz4.frame

    packed: bytes = lz4.frame.compress(host())
    return packed


def _zstd() -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(host())


def _cut(data: bytes, share: float = 0.6) -> bytes:
    return data[: int(len(data) * share)]


def _in_headers() -> bytes:
    return host()[: struct.unpack_from("<Q", host(), 32)[0] + 100]


def _bigmem() -> bytes:
    return XenHost(directmap=DIRECTMAPS[1].start).build()


def _lfs() -> bytes:
    return (
        b"version https://git-lfs.github.com/spec/v1\n"
        b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
        b"size 502779904\n"
    )


def _edited(name: str) -> bytes:
    return EDITS[name](host())


EDITS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "host-zeroed": variants.word_zeroed,
    "host-nine-words": variants.nine_words,
    "host-no-crash-info": variants.removed,
    "host-shifted": variants.shifted,
    "host-no-vmcoreinfo-xen": lambda data: variants.without_owner(data, b"VMCOREINFO_XEN"),
    "host-no-notes": variants.notes_removed,
    "host-other-p2m": lambda data: variants.other_p2m(data, 0x7FFFFFFF),
}
"""Changes of the host's headers and notes; each leaves them as long as they are."""


def _aarch64() -> bytes:
    data = bytearray(host())
    struct.pack_into("<H", data, 18, 183)
    return bytes(data)


def _tar() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("vmcore")
        member.size = len(host())
        archive.addfile(member, io.BytesIO(host()))
    return packed.getvalue()


DUMPS: Final[dict[str, Callable[[], bytes]]] = {
    "host": host,
    **{name: partial(_edited, name) for name in EDITS},
    "host-cut": lambda: _cut(host()),
    "host-cut-in-headers": _in_headers,
    "host-cut-in-ehdr": lambda: host()[:40],
    "host-3.2": lambda: sample("xen-3.2-hypervisor-panic"),
    "host-3.4": lambda: sample("xen-3.4-debug-key"),
    "host-4.8": lambda: sample("xen-4.8-dom0-panic"),
    "hypervisor-panicked": lambda: sample("xen-4.1-debug-key"),
    "kdump": lambda: as_kdump(host()),
    "kdump-filtered": lambda: as_kdump(host(), excluded=True),
    "kdump-lzo": lambda: as_kdump(host(), codec=2),
    "kdump-snappy": lambda: as_kdump(host(), codec=4),
    "kdump-zstd": lambda: as_kdump(host(), codec=0x20),
    "kdump-cut": lambda: _cut(as_kdump(host())),
    "kdump-cut-in-bitmap": lambda: as_kdump(host())[: 3 * 4096],
    "kdump-cut-in-header": lambda: as_kdump(host())[:300],
    "kdump-no-room": lambda: _cut(as_kdump(host(), incomplete=True)),
    "kdump-part-1": lambda: as_kdump(host(), split=(0, HALF)),
    "kdump-part-2": lambda: as_kdump(host(), split=(HALF, 0x28000)),
    "flat-elf": lambda: flattened(host()),
    "flat-kdump": lambda: flattened(as_kdump(host())),
    "flat-elf-cut": lambda: _cut(flattened(host())),
    "flat-kdump-cut": lambda: _cut(flattened(as_kdump(host()))),
    "flat-cut-in-header": lambda: flattened(host())[:1000],
    "flat-gz": lambda: gzip.compress(flattened(host()), mtime=0),
    "gz": lambda: gzip.compress(host(), mtime=0),
    "xz": lambda: lzma.compress(host(), preset=0),
    "bz2": lambda: bz2.compress(host()),
    "zst": _zstd,
    "lz4": _lz4,
    "guest": lambda: domain_core(list(range(3, 300))),
    "guest-cut": lambda: _cut(domain_core(list(range(3, 300)))),
    "linux": lambda: sample("linux-native"),
    "qemu": lambda: sample("qemu-xen-4.17"),
    "bigmem": _bigmem,
    "process": process_core,
    "i386": pae_host.build,
    "aarch64": _aarch64,
    "xl-save": lambda: b"Xen saved domain, xl format\n \0 \r".ljust(8192, b"\0"),
    "tar": _tar,
    "readelf": lambda: sample("readelf-text"),
    "raw": lambda: bytes(range(1, 256)) * 4096,
    "zeros": lambda: bytes(1 << 20),
    "empty": lambda: b"",
    "text": lambda: b"Nov 25 19:00:00 host kernel: a line of some log\n" * 200,
    "lfs": _lfs,
}
"""What a dump may be, as the test makes it."""

MISSING: Final = "missing"
UNREADABLE: Final = "unreadable"
FOLDER: Final = "folder"
NOT_THERE: Final = (MISSING, UNREADABLE, FOLDER)
"""Contents that are no bytes: no file of that name, one that may not be read, a folder."""


_SAID: Final = (
    ("wrong version in compilation unit header", "dwarf-5"),
    ("fill_pcpu_struct", "crash-release"),
    ("vcpu_vcpu_info", "crash-release"),
)
"""What a release ends with whatever the form is: it reads neither the symbol files nor the host."""


class Form(NamedTuple):
    """One wrong way to call a program.

    Attributes:
        name: of the form.
        program: crash or makedumpfile.
        command: its arguments, separated by blanks; ``< FILE`` or ``> FILE`` come last.
        cause: the one that is true, as ``vmcoretool.explain.causes`` names it.
        files: name on the command line to content: of ``DUMPS``, of the symbol files that the
            generator finds or makes, or of ``NOT_THERE``.
        unless: texts of releases that end for another reason, and that reason.
    """

    name: str
    program: str
    command: str
    cause: str
    files: dict[str, str]
    unless: tuple[tuple[str, str], ...] = ()

    def cause_of(self, lines: list[str]) -> str:
        """The true cause of what a release printed."""
        text = "\n".join(lines)
        said = (*self.unless, *_SAID)
        return next((cause for piece, cause in said if piece in text), self.cause)

    @property
    def dumps(self) -> list[str]:
        """The files that ``explain`` is to be given."""
        return [name for name in self.files if name.startswith(("vmcore", "part"))]

    @property
    def symbol_files(self) -> list[str]:
        """The files that ``explain`` can be given as symbol files."""
        return [name for name in self.files if name.startswith(("xen", "vmlinu"))]


_XEN: Final = "xen-syms vmcore"
_GOOD: Final = {"xen-syms": "xen-syms", "vmcore": "host"}


def _opened(name: str, cause: str, dump: str, namelist: str = "xen-syms") -> Form:
    # crash with a symbol file and a dump, of which one is not what it should be
    return Form(name, CRASH, _XEN, cause, {"xen-syms": namelist, "vmcore": dump})


def _dom0(name: str, cause: str, dump: str, namelist: str = "vmlinux") -> Form:
    return Form(name, CRASH, "vmlinux vmcore", cause, {"vmlinux": namelist, "vmcore": dump})


def _crash(name: str, command: str, cause: str, **files: str) -> Form:
    return Form(name, CRASH, command, cause, {key.replace("_", "-"): files[key] for key in files})


def _made(name: str, command: str, cause: str, dump: str = "host", **files: str) -> Form:
    given = {key.replace("_", "-"): files[key] for key in files}
    return Form(name, MAKEDUMPFILE, command, cause, ({"vmcore": dump} if dump else {}) | given)


_COMMAND_LINES: Final = (
    _crash("nothing", "", "no-namelist-given"),
    _crash("no-namelist", "vmcore", "no-namelist-given", vmcore="host"),
    _crash("no-dump", "xen-syms", "no-dump", xen_syms="xen-syms"),
    _crash("no-dump-hyper", "--hyper xen-syms", "no-dump", xen_syms="xen-syms"),
    _crash("no-dump-vmlinux", "vmlinux", "no-dump", vmlinux="vmlinux"),
    _crash("two-dumps", "vmcore vmcore-2", "two-dumps", vmcore="host", vmcore_2="host-4.8"),
    Form(
        "two-dumps-of-one-host",
        CRASH,
        "xen-syms vmcore vmcore-2",
        "two-dumps",
        {**_GOOD, "vmcore-2": "host-4.8"},
    ),
    Form(
        "two-symbol-files",
        CRASH,
        "xen-syms xen-syms-2 vmcore",
        "two-symbol-files",
        {**_GOOD, "xen-syms-2": "xen-syms"},
    ),
    Form(
        "both-symbol-files",
        CRASH,
        "vmlinux xen-syms vmcore",
        "two-symbol-files",
        {**_GOOD, "vmlinux": "vmlinux"},
    ),
    Form("other-order", CRASH, "vmcore xen-syms", "crash-release", _GOOD),
    Form("unknown-option", CRASH, "--xen_phys xen-syms vmcore", "no-namelist-given", _GOOD),
    Form(
        "option-of-a-later-release",
        CRASH,
        "--build-id vmcore",
        "unknown-option",
        {"vmcore": "host"},
        (("unknown", "log-of-dom0"),),
    ),
    Form(
        "option-without-value", CRASH, "xen-syms vmcore --xen_phys_start", "unknown-option", _GOOD
    ),
    Form(
        "option-swallowed-the-symbol-file",
        CRASH,
        "--xen_phys_start xen-syms vmcore",
        "no-namelist-given",
        _GOOD,
    ),
    _crash("log-of-a-host", "--log vmcore", "log-of-dom0", vmcore="host"),
    _crash("osrelease-of-a-host", "--osrelease vmcore", "log-of-dom0", vmcore="host"),
)
_ADDRESSES: Final = (
    Form(
        "option-too-low",
        CRASH,
        f"--xen_phys_start {START - 0x200000:#x} {_XEN}",
        "address-wrong",
        _GOOD,
    ),
    Form("option-decimal", CRASH, f"--xen_phys_start {START} {_XEN}", "address-wrong", _GOOD),
    Form("option-far-away", CRASH, f"--xen_phys_start 0x7fffe00000 {_XEN}", "address-wrong", _GOOD),
    Form("option-1m", CRASH, f"--xen_phys_start 0x100000 {_XEN}", "address-wrong", _GOOD),
    _opened("note-zeroed", "address-not-recorded", "host-zeroed"),
    _opened("note-of-nine-words", "address-not-recorded", "host-nine-words"),
    _opened("note-removed", "address-not-recorded", "host-no-crash-info"),
    _opened("note-shifted", "address-wrong", "host-shifted"),
    _opened("no-notes", "address-not-recorded", "host-no-notes"),
    _dom0("p2m-wrong", "p2m-missing", "host-other-p2m"),
    _dom0("p2m-note-removed", "p2m-missing", "host-no-crash-info"),
    _dom0("p2m-no-notes", "p2m-missing", "host-no-notes"),
    Form(
        "p2m-option-wrong",
        CRASH,
        "--p2m_mfn 0x7fffffff vmlinux vmcore",
        "p2m-missing",
        {"vmlinux": "vmlinux", "vmcore": "host"},
    ),
)
_NAMELISTS: Final = (
    _opened("good", "crash-release", "host"),
    _opened("namelist-without-dwarf", "no-dwarf", "host", "xen-syms-bare"),
    _opened("namelist-stripped", "no-dwarf", "host", "xen-syms-stripped"),
    _opened("namelist-of-another-build", "other-namelist", "host", "xen-syms-other"),
    _opened("namelist-of-another-release", "no-dwarf", "host-4.8", "xen-syms-bare"),
    _opened("namelist-for-another-host", "other-namelist", "host-4.8"),
    _opened("namelist-debug-half", "split-namelist", "host", "xen-syms-debug"),
    _opened("namelist-missing", "file-missing", "host", MISSING),
    _opened("namelist-unreadable", "file-unreadable", "host", UNREADABLE),
    _opened("namelist-folder", "no-namelist", "host", FOLDER),
    _opened("namelist-empty", "no-namelist", "host", "empty"),
    _opened("namelist-cut", "no-namelist", "host", "xen-syms-cut"),
    _opened("namelist-is-text", "no-namelist", "host", "text"),
    _opened("namelist-is-map", "no-namelist", "host", "map"),
    _opened("namelist-is-the-hypervisor", "no-namelist", "host", "xen"),
    Form(
        "namelist-is-xen-gz",
        CRASH,
        "xen.gz vmcore",
        "no-namelist",
        {"xen.gz": "xen-gz", "vmcore": "host"},
    ),
    Form(
        "namelist-gz",
        CRASH,
        "xen-syms.gz vmcore",
        "packed-namelist",
        {"xen-syms.gz": "xen-syms-gz", "vmcore": "host"},
    ),
    Form(
        "namelist-xz",
        CRASH,
        "xen-syms.xz vmcore",
        "packed-namelist",
        {"xen-syms.xz": "xen-syms-xz", "vmcore": "host"},
    ),
    _crash(
        "namelist-is-vmlinuz", "vmlinuz vmcore", "no-namelist", vmlinuz="vmlinuz", vmcore="host"
    ),
    _dom0("vmlinux-of-another-build", "other-vmlinux", "host", "vmlinux-other"),
    _crash(
        "namelist-is-vmlinux",
        "--hyper vmlinux vmcore",
        "other-program",
        vmlinux="vmlinux",
        vmcore="host",
    ),
    _dom0("vmlinux-missing", "file-missing", "host", MISSING),
    _dom0("vmlinux-good", "harmless", "host"),
    _dom0("vmlinux-where-the-hypervisor-panicked", "not-its-panic", "hypervisor-panicked"),
)
_FILES: Final = (
    _opened("dump-missing", "file-missing", MISSING),
    _opened("dump-unreadable", "file-unreadable", UNREADABLE),
    _opened("dump-folder", "no-such-dump", FOLDER),
    _opened("dump-empty", "cut-short", "empty"),
    *(
        _opened(f"dump-{kind}", "no-such-dump", kind)
        for kind in ("text", "lfs", "raw", "zeros", "readelf", "process")
    ),
    *(
        Form(
            f"dump-{kind}",
            CRASH,
            f"xen-syms vmcore.{kind}",
            "packed",
            {"xen-syms": "xen-syms", f"vmcore.{kind}": kind},
        )
        for kind in ("gz", "xz", "bz2", "zst", "lz4")
    ),
    *(
        _opened(f"dump-{kind}", "cut-short", kind)
        for kind in (
            "host-cut",
            "kdump-no-room",
            "host-cut-in-headers",
            "host-cut-in-ehdr",
            "kdump-cut",
            "kdump-cut-in-bitmap",
            "kdump-cut-in-header",
            "flat-elf-cut",
            "flat-kdump-cut",
            "flat-cut-in-header",
        )
    ),
    *(
        _dom0(f"dom0-{kind}", "cut-short", kind)
        for kind in (
            "host-cut",
            "kdump-cut",
            "kdump-cut-in-bitmap",
            "kdump-no-room",
            "flat-elf-cut",
            "flat-kdump-cut",
        )
    ),
    *(_opened(f"dump-{kind}", "no-such-dump", kind) for kind in ("xl-save", "tar")),
    *(_opened(f"dump-{kind}", "other-machine", kind) for kind in ("i386", "aarch64")),
    _opened("part-alone", "split-part", "kdump-part-1"),
    _opened("last-part-alone", "split-part", "kdump-part-2"),
    _dom0("dom0-part-alone", "split-part", "kdump-part-1"),
    _dom0("dom0-last-part-alone", "split-part", "kdump-part-2"),
    # every release reads this symbol file, and these dumps end before it is compared
    *(
        _dom0(f"other-vmlinux-{kind}", cause, kind, "vmlinux-other")
        for kind, cause in (
            ("host-cut", "cut-short"),
            ("kdump-cut", "cut-short"),
            ("kdump-part-2", "split-part"),
            ("host-other-p2m", "p2m-missing"),
            ("flat-kdump-cut", "cut-short"),
        )
    ),
    _opened("flat-elf", "flattened", "flat-elf"),
    _dom0("dom0-flat-elf", "flattened", "flat-elf"),
    _opened("filtered", "filtered", "kdump-filtered"),
    Form(
        "dom0-kdump-zstd",
        CRASH,
        "vmlinux vmcore",
        "no-codec",
        {"vmlinux": "vmlinux-other", "vmcore": "kdump-zstd"},
        (("do not match!", "other-vmlinux"),),
    ),
    _opened("guest", "not-a-host", "guest"),
    _opened("guest-cut", "cut-short", "guest-cut"),
    _opened("linux", "not-a-host", "linux"),
    _dom0("guest-vmlinux", "other-vmlinux", "guest"),
    _dom0("process-vmlinux", "no-such-dump", "process"),
)
_SAVED: Final = (
    _made("d31", "-X -d 31 vmcore new", "needs-vmlinux"),
    _made(
        "d31-xen-syms",
        "--xen-syms xen-syms -X -d 31 vmcore new",
        "needs-vmlinux",
        xen_syms="xen-syms",
    ),
    _made("dump-dmesg", "--dump-dmesg vmcore new", "log-of-dom0"),
    _made("num-threads", "-X --num-threads 2 -c -d 1 vmcore new", "no-threads"),
    _made("split-elf", "--split -E -d 1 vmcore new-1 new-2", "no-elf-split"),
    _made("split-one", "--split -d 1 vmcore new-1", "wrong-usage"),
    _made("x-missing", "-x vmlinux -d 31 vmcore new", "file-missing", vmlinux=MISSING),
    _made("x-other", "-x vmlinux -d 31 vmcore new", "other-vmlinux", vmlinux="vmlinux-other"),
    _made("x-is-xen-syms", "-x xen-syms -d 31 vmcore new", "other-program", xen_syms="xen-syms"),
    _made("x-is-vmlinuz", "-x vmlinuz -d 31 vmcore new", "no-namelist", vmlinuz="vmlinuz"),
    _made("x-is-text", "-x vmlinux -d 31 vmcore new", "no-namelist", vmlinux="text"),
    _made(
        "i-without-xen", "-i vmcoreinfo -d 31 vmcore new", "other-program", vmcoreinfo="vmcoreinfo"
    ),
    _made("i-missing", "-i vmcoreinfo -d 31 vmcore new", "file-missing", vmcoreinfo=MISSING),
    _made("i-is-text", "-i vmcoreinfo -d 31 vmcore new", "other-program", vmcoreinfo="text"),
    _made(
        "xen-syms-missing",
        "--xen-syms xen-syms -X -d 1 vmcore new",
        "file-missing",
        xen_syms=MISSING,
    ),
    _made(
        "xen-syms-without-dwarf",
        "--xen-syms xen-syms -X -d 1 vmcore new",
        "no-dwarf",
        xen_syms="xen-syms-bare",
    ),
    _made(
        "xen-syms-is-vmlinux",
        "--xen-syms xen-syms -X -d 1 vmcore new",
        "other-program",
        xen_syms="vmlinux",
    ),
    _made(
        "xen-syms-cut",
        "--xen-syms xen-syms -X -d 1 vmcore new",
        "no-namelist",
        xen_syms="xen-syms-cut",
    ),
    _made(
        "xen-syms-is-text", "--xen-syms xen-syms -X -d 1 vmcore new", "no-namelist", xen_syms="text"
    ),
    _made(
        "xen-vmcoreinfo",
        "--xen-vmcoreinfo vmcoreinfo -X -d 1 vmcore new",
        "other-program",
        vmcoreinfo="vmcoreinfo",
    ),
    _made(
        "option-too-low",
        f"--xen_phys_start {START - 0x200000:#x} -X -d 1 vmcore new",
        "address-wrong",
    ),
    _made("option-bare-hex", f"--xen_phys_start {START:x} -X -d 1 vmcore new", "address-wrong"),
    _made("note-zeroed", "-X -d 1 vmcore new", "address-not-recorded", "host-zeroed"),
    _made("note-of-nine-words", "-X -d 1 vmcore new", "address-not-recorded", "host-nine-words"),
    _made("note-of-nine-words-3.2", "-X -d 1 vmcore new", "no-vmcoreinfo-xen", "host-3.2"),
    _made("note-removed", "-X -d 1 vmcore new", "no-crash-info", "host-no-crash-info"),
    _made("note-shifted", "-X -d 1 vmcore new", "address-wrong", "host-shifted"),
    _made("no-vmcoreinfo-xen", "-X -d 1 vmcore new", "no-vmcoreinfo-xen", "host-no-vmcoreinfo-xen"),
    _made("no-notes", "-X -d 1 vmcore new", "no-crash-info", "host-no-notes"),
    _made("qemu", "-d 1 vmcore new", "qemu", "qemu"),
    _made("qemu-X", "-X -d 1 vmcore new", "no-crash-info", "qemu"),
    _made("guest", "-d 1 vmcore new", "one-guest", "guest"),
    _made("linux-X", "-X -d 1 vmcore new", "not-a-host", "linux"),
    _made("process", "-d 1 vmcore new", "no-such-dump", "process"),
    *(
        _made(f"dump-{kind}", "-X -d 1 vmcore new", "packed", kind)
        for kind in ("gz", "xz", "bz2", "zst", "lz4")
    ),
    *(
        _made(f"dump-{kind}", "-X -d 1 vmcore new", "no-such-dump", kind)
        for kind in ("text", "lfs", "raw", "zeros", "readelf", FOLDER)
    ),
    _made("dump-empty", "-X -d 1 vmcore new", "cut-short", "empty"),
    _made("dump-missing", "-X -d 1 vmcore new", "file-missing", MISSING),
    _made("dump-unreadable", "-X -d 1 vmcore new", "file-unreadable", UNREADABLE),
    *(
        _made(f"dump-{kind}", "-X -d 1 vmcore new", "cut-short", kind)
        for kind in ("host-cut", "host-cut-in-headers", "host-cut-in-ehdr")
    ),
    *(
        _made(f"kdump-{kind}", "-d 1 vmcore new", "cut-short", kind)
        for kind in ("kdump-cut", "kdump-cut-in-bitmap", "kdump-cut-in-header")
    ),
    _made("kdump-X", "-X -d 1 vmcore new", "kdump-already", "kdump"),
    _made("kdump-d31", "-d 31 vmcore new", "needs-vmlinux", "kdump"),
    _made("kdump-part", "-d 1 vmcore new", "split-part", "kdump-part-1"),
    _made("flat-elf", "-X -d 1 vmcore new", "flattened-first", "flat-elf"),
    _made("flat-kdump", "-d 1 vmcore new", "flattened-first", "flat-kdump"),
    _made("rearrange-elf", "-R new < vmcore", "not-flattened", "host"),
    _made("rearrange-kdump", "-R new < vmcore", "not-flattened", "kdump"),
    _made("rearrange-text", "-R new < vmcore", "not-flattened", "text"),
    _made("rearrange-empty", "-R new < vmcore", "cut-short", "empty"),
    _made("rearrange-gz", "-R new < vmcore", "packed", "flat-gz"),
    _made("rearrange-cut", "-R new < vmcore", "cut-short", "flat-kdump-cut"),
    _made("rearrange-cut-elf", "-R new < vmcore", "cut-short", "flat-elf-cut"),
    _made("rearrange-cut-in-header", "-R new < vmcore", "cut-short", "flat-cut-in-header"),
    _made("rearrange-named", "-R vmcore new", "wrong-usage", "flat-kdump"),
    _made(
        "reassemble-same",
        "--reassemble part-1 part-2 new",
        "split-part",
        "",
        part_1="kdump-part-1",
        part_2="kdump-part-1",
    ),
    _made(
        "reassemble-elf",
        "--reassemble part-1 part-2 new",
        "not-a-part",
        "",
        part_1="host",
        part_2="kdump-part-2",
    ),
    _made(
        "reassemble-missing",
        "--reassemble part-1 part-2 new",
        "file-missing",
        "",
        part_1="kdump-part-1",
        part_2=MISSING,
    ),
    _made("zstd", "-z -X -d 1 vmcore new", "unknown-option"),
    _made("no-output", "-X -d 1 vmcore", "wrong-usage"),
    _made("nothing", "", "wrong-usage", ""),
    _made("disk-full", "-F -X -d 1 vmcore > /dev/full", "disk-full"),
    _made("output-exists", "-X -d 1 vmcore new", "output-exists", new="text"),
    _made("output-in-no-folder", "-X -d 1 vmcore no-folder/new", "no-folder"),
    *(
        _made(f"dump-{kind}", "-X -d 1 vmcore new", "no-such-dump", kind)
        for kind in ("xl-save", "tar")
    ),
    _made("dump-i386", "-X -d 1 vmcore new", "other-machine", "i386"),
    _made("message-level-64", "--message-level 64 -X -d 1 vmcore new", "wrong-usage"),
    _made("block-order-99", "-b 99 -X -d 1 vmcore new", "no-memory"),
    _made("level-32", "-X -d 32 vmcore new", "wrong-usage"),
    _made("unknown-option", "-X --level 1 vmcore new", "unknown-option"),
    _made("other-order", "-X -d 1 new vmcore", "output-exists"),
    _made("mem-usage", "--mem-usage vmcore", "wrong-usage"),
    Form(
        "show-stats",
        MAKEDUMPFILE,
        "--show-stats vmcore",
        "wrong-usage",
        {"vmcore": "host"},
        (("unrecognized option", "unknown-option"),),
    ),
    _made("F-with-name", "-F -X -d 1 vmcore new", "wrong-usage"),
    _made("erase", "-X -d 1 --config filter vmcore new", "wrong-usage", filter="text"),
    _made("generate-xen", "-g new --xen-syms xen-syms", "no-dwarf", "", xen_syms="xen-syms-bare"),
)
FORMS: Final = (*_COMMAND_LINES, *_ADDRESSES, *_NAMELISTS, *_FILES, *_SAVED)
