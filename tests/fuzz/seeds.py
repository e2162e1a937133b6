"""Where mutation begins: real samples and small built files of every kind."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import struct
import zlib
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import lz4.frame
import zstandard

from tests.builders import notes as build
from tests.builders import pae_host, variants
from tests.builders.dump_core import domain_core, vcpu_context
from tests.builders.elf_core import ElfCore, Load
from tests.builders.kdump import Kdump
from tests.builders.xen_host import RODATA, STRINGS, XenHost
from tests.fuzz.mutators import MOST, SEPARATOR, join
from tests.support import ROOT, SAMPLES
from tests.test_containers import CODECS, in_blocks, squeezed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE: Final = 4096
_RAW_END: Final = 0x680000
_FLAT: Final = b"makedumpfile\0\0\0\0" + struct.pack(">qq", 1, 1)


class Seed(NamedTuple):
    """An input to begin with.

    Attributes:
        name: of the seed.
        data: its bytes.
        base: the address that may be proved of it and of what is made of it; None: none may.
    """

    name: str
    data: bytes
    base: int | None = None


@cache
def sample(name: str) -> Seed:
    """A real one, with the address that is true from outside."""
    folder = ROOT / "samples" / name
    facts = folder / "truth.json"
    if facts.exists():
        start = json.loads(facts.read_text())["xen_phys_start"]
        moved = json.loads(facts.read_text()).get("relocated", True)
    else:
        relocation = json.loads((folder / "expected.json").read_text())["inspect"]["relocation"]
        start, moved = (relocation or {}).get("xen_phys_start"), True
    base = int(start, 16) if start and moved else None
    return Seed(name, (folder / "vmcore").read_bytes(), base)


def _samples(*starts: str) -> list[Seed]:
    return [sample(path.name) for path in SAMPLES if path.name.startswith(starts)]


@cache
def built_host() -> Seed:
    host = XenHost()
    return Seed(f"built-{host.base:x}", host.build(), host.base)


_VARIABLES: Final = 0x3B0000
_RING: Final = 0x10_0000


@cache
def host_with_variables() -> tuple[Seed, dict[str, int], dict[int, bytes]]:
    """A host whose variables lie where symbols say, the symbols, and the texts of its image."""
    host = XenHost()
    page = host.page(host.base + _VARIABLES)
    line = b"(XEN) Xen version 4.9-built\n(XEN) Panic on CPU 0:\n(XEN) symbols tell the ring\n"
    host.page(_RING)[:] = (line * 60)[:PAGE]
    start = host.virt_start + _VARIABLES
    values = (host.directmap + _RING, 1 << 14, 3000, host.base)
    struct.pack_into("<QIIQ", page, 0, *values)
    page[24:44] = b"loglvl=all console=x"
    build_id = bytes(range(1, 21))
    page[64:100] = struct.pack("<III4s20s", 4, 20, 3, b"GNU\0", build_id)
    for at in range(1, 4):
        host.page(_RING + at * PAGE)
    symbols = {
        "idle_pg_table": host.pgd_l4,
        "conring": start,
        "conring_size": start + 8,
        "conringp": start + 12,
        "xen_phys_start": start + 16,
        "saved_cmdline": start + 24,
        "__note_gnu_build_id_start": start + 64,
    }
    texts = {host.virt_start + RODATA - 1: b"\0" + b"".join(STRINGS)}
    return Seed("variables", host.build(), host.base), symbols, texts


@cache
def dumps() -> list[Seed]:
    big = ElfCore([Load(0x1000, bytes(PAGE))], [build.note(b"Xen", 1, b"x" * 80, ">")], order=">")
    small = ElfCore([Load(0x1000, bytes(PAGE)), Load(0x5800, b"x" * 100, 5000)], [b""], bits=32)
    xnum = ElfCore([Load(at << 14, b"y" * 64) for at in range(9)], [build.prstatus(1)], xnum=True)
    pages = XenHost(small_pages=True)
    old = XenHost(virt_start=0xFFFF828C80000000, base=0x7E000000, version=(3, 2))
    return [
        *_samples("xen-", "linux-", "qemu-", "elf-"),
        built_host(),
        Seed("small-pages", pages.build(), pages.base),
        Seed("old-layout", old.build(old.note_blob(words=9)), old.base),
        Seed("pae", pae_host.build()),
        Seed("pae-9", pae_host.build(words=9, vmcoreinfo=False)),
        Seed("big-endian", big.build()),
        Seed("elf32", small.build()),
        Seed("xnum", xnum.build()),
        Seed("ia64", ElfCore([Load(0, bytes(PAGE))], [_ia64_notes()], machine=50).build()),
    ]


def _ia64_notes() -> bytes:
    return build.prstatus() + build.crash_info([3, 4, 0, 0, 0, 0, 0, 0, 0x1234])


@cache
def blobs() -> list[Seed]:
    """Notes; what they are put in front of is :func:`with_notes`'s."""
    found = []
    for seed in _samples("xen-", "linux-", "qemu-"):
        _, offset, size = variants.note_segment(seed.data)
        found.append(seed._replace(data=seed.data[offset : offset + size]))
    host = XenHost()
    more = host.note_blob() + build.qemu_cpu(host.root) + build.note(b"LINUX", 0x202, bytes(64))
    return [*found, Seed(built_host().name, more, host.base)]


def with_notes(name: str, blob: bytes) -> bytes:
    """The dump of a seed with other notes."""
    whole = built_host().data if name == built_host().name else sample(name).data
    phdr, _, _ = variants.note_segment(whole)
    out = bytearray(whole)
    struct.pack_into("<Q", out, phdr + 8, len(out))
    struct.pack_into("<QQ", out, phdr + 32, len(blob), len(blob))
    return bytes(out) + blob


def _host_pages() -> tuple[XenHost, dict[int, bytes]]:
    host = XenHost(base=0x400000, root=0x1000)
    return host, {at // PAGE: bytes(page) for at, page in host.pages.items()}


@cache
def kdumps() -> list[Seed]:
    host, pages = _host_pages()
    found = [*_samples("kdump-")]
    for codec in (0, 1, 2, 4, 0x20):
        data = Kdump(pages, ram={5}, notes=host.note_blob(), codec=codec).build()
        found.append(Seed(f"codec-{codec}", data, host.base))
    few = {at: pages[at] for at in sorted(pages)[:3]}
    for version in range(7):
        for bits, order, packed in ((64, "<", True), (32, "<", True), (32, ">", False)):
            text = b"OSRELEASE=5.0\nPAGESIZE=4096\n"
            made = Kdump(few, bits=bits, order=order, packed=packed, version=version)
            made.vmcoreinfo = text if version >= 3 else b""
            found.append(Seed(f"v{version}-{bits}{order}", made.build()))
    old = Kdump(few, version=1, signature=b"DISKDUMP", machine=b"armv7l")
    return [*found, Seed("diskdump", old.build())]


@cache
def sets() -> list[Seed]:
    host, pages = _host_pages()
    last = max(pages) + 1
    ranges = ((0, 0x500), (0x500, 0x820), (0x820, last))
    made = [Kdump(pages, notes=host.note_blob(), split=part, codec=1).build() for part in ranges]
    folder = ROOT / "samples/kdump-split"
    real = [path.read_bytes() for path in sorted(folder.glob("part-*"))]
    packed = [squeezed("gzip", part) for part in made]
    base = sample("kdump-zlib").base
    return [
        Seed("built-set", join(made), host.base),
        Seed("real-set", join(real), base),
        Seed("packed-set", join(packed), host.base),
        Seed("two-dumps", join([built_host().data, made[0]]), built_host().base),
    ]


def flat(data: bytes, size: int = 8192, *, end: bool = True) -> bytes:
    """A file as makedumpfile -F sends it, its first block once more at last."""
    cuts = [(at, data[at : at + size]) for at in range(0, len(data), size)]
    records = b"".join(struct.pack(">qq", at, len(piece)) + piece for at, piece in [*cuts, cuts[0]])
    return _FLAT.ljust(PAGE, b"\0") + records + struct.pack(">qq", -1, -1) * end


def replayed(data: bytes) -> bytes:
    """The file that a stream of records describes, up to the first record that makes no sense."""
    out = bytearray()
    at = PAGE
    while at + 16 <= len(data):
        offset, size = struct.unpack_from(">qq", data, at)
        if offset < 0 or size <= 0 or offset + size > MOST:
            break
        out.extend(bytes(max(offset + size - len(out), 0)))
        piece = data[at + 16 : at + 16 + size]
        out[offset : offset + len(piece)] = piece
        at += 16 + size
    return bytes(out)


@cache
def flattened() -> list[Seed]:
    host, pages = _host_pages()
    packed = Kdump(pages, notes=host.note_blob()).build()
    elf = built_host()
    return [
        *_samples("flattened-"),
        Seed("flat-elf", flat(elf.data), elf.base),
        Seed("flat-kdump", flat(packed, 1000), host.base),
        Seed("flat-cut", flat(packed, 4096, end=False), host.base),
    ]


def unpacked(data: bytes) -> bytes | None:
    """What is inside a compressed stream, or None where it is damaged."""
    for magic, unpack in _UNPACK.items():
        if data.startswith(magic):
            try:
                return unpack(data)[:MOST]
            except (OSError, EOFError, ValueError, RuntimeError, *_DAMAGE):
                return None
    return None


def _zstd(data: bytes) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        return reader.read(MOST)


_DAMAGE: Final = (lzma.LZMAError, zlib.error, zstandard.ZstdError)
_UNPACK: Final[dict[bytes, Callable[[bytes], bytes]]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\0": lzma.decompress,
    b"\x28\xb5\x2f\xfd": _zstd,
    b"\x50\x2a\x4d\x18": _zstd,
    b"\x04\x22\x4d\x18": lz4.frame.decompress,
}


@cache
def streams() -> list[Seed]:
    # of one host all of them: what another seed lends is small, and a stream of it may be whole
    elf, host = built_host(), XenHost()
    pages = {at // PAGE: bytes(page) for at, page in host.pages.items()}
    packed = Kdump(pages, notes=host.note_blob(), codec=0).build()
    found = []
    for codec in CODECS:
        found.append(Seed(f"{codec}-one", squeezed(codec, elf.data), elf.base))
        found.append(Seed(f"{codec}-blocks", in_blocks(codec, elf.data, 16_384), elf.base))
        found.append(Seed(f"{codec}-kdump", squeezed(codec, packed), host.base))
    twice = squeezed("gzip", squeezed("zstd", flat(elf.data)))
    found.append(Seed("layers", twice, elf.base))
    found.append(Seed("text", squeezed("xz", sample("readelf-text").data)))
    return found


@cache
def readelf_texts() -> list[Seed]:
    return [sample("readelf-text")._replace(base=None)]


@cache
def guests() -> list[Seed]:
    magic = b"\xed\xeb\x0f\xf0"
    old = magic + struct.pack("<5I", 1, 3, 24, 24 + 2800, 24 + 2800 + 24)
    old += vcpu_context(0x2000, 32) + struct.pack("<3Q", 1, 2, 9) + bytes(3 * PAGE)
    hvm = b"\xee" + old[1:]
    return [
        Seed("pv-64", domain_core([1, 2, 5, 200], tail=2)),
        Seed("pv-32", domain_core([9, 4, 7], bits=32)),
        Seed("hvm-64", domain_core([1, 2, 3, 10, 11], pv=False)),
        Seed("hvm-32", domain_core([3, 4], pv=False, bits=32)),
        Seed("xc-core", old),
        Seed("xc-core-hvm", hvm),
    ]


@cache
def raw_memory() -> list[Seed]:
    host = XenHost(base=0x200000, root=0x1000)
    return [Seed("raw", host.build(b""), host.base)]


def as_raw(core: bytes) -> bytes:
    """The memory of an ELF core as bytes from address 0 on."""
    out = bytearray(_RAW_END)
    core = core.ljust(64, b"\0")
    (phoff,), (phnum,) = struct.unpack_from("<Q", core, 32), struct.unpack_from("<H", core, 56)
    for at in range(phoff, min(phoff + 56 * phnum, len(core) - 56), 56):
        kind, _, offset, _, paddr, size = struct.unpack_from("<IIQQQQ", core, at)
        if kind == 1 and paddr + size <= _RAW_END and offset + size <= len(core):
            out[paddr : paddr + size] = core[offset : offset + size]
    return bytes(out)


def lines(*rows: str) -> bytes:
    return "\n".join(rows).encode()


def words(*given: str) -> Seed:
    return Seed(" ".join(given)[:40], SEPARATOR.join(word.encode() for word in given))


def console_texts() -> Iterator[Seed]:
    """What is in the console rings of the samples: the bytes around their first line."""
    for seed in _samples("xen-"):
        start = seed.data.find(b"(XEN) ")
        end = seed.data.rfind(b"(XEN) ")
        if start >= 0:
            yield Seed(seed.name, seed.data[start : min(end + 200, start + (1 << 15))])
