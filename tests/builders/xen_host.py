"""Writes the memory of a small Xen host: image, page tables, notes, for any layout."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from tests.builders import notes
from tests.builders.elf_core import ElfCore, Load
from tests.builders.memory import PAGE

DIRECTMAP = 0xFFFF830000000000
STRINGS = (b".9-built\0", b"\0", b"gcc (built) 1.0\0", b"Thu Jan  1 00:00:00 UTC 1970\0", b"")

# places in the image, as offsets from XEN_VIRT_START, in the style of real builds
TEXT, RODATA, IDLE, L3_WINDOW, L2_WINDOW, L3_DIRECT, L2_DIRECT, L1_WINDOW = (
    0x200000,
    0x3A0000,
    0x46E000,
    0x46D000,
    0x46A000,
    0x46C000,
    0x466000,
    0x469000,
)
IMAGE_END = 0x600000


@dataclass
class XenHost:
    """A host whose hypervisor is mapped at ``virt_start`` and lies at ``base``."""

    virt_start: int = 0xFFFF82D040000000
    base: int = 0x27800000
    directmap: int = DIRECTMAP
    root: int = 0x1000000
    version: tuple[int, int] = (4, 9)
    small_pages: bool = False
    pages: dict[int, bytearray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.write_image(self.base, self_reference=True)
        root = bytearray(self.pages[self.base + IDLE])
        struct.pack_into("<Q", root, 258 * 8, self.root | 0x63)
        struct.pack_into("<Q", root, 273 * 8, 0x1234067)  # a guest's own slot
        self.pages[self.root] = root

    @property
    def pgd_l4(self) -> int:
        return self.virt_start + IDLE

    @property
    def idle(self) -> int:
        return self.base + IDLE

    def page(self, maddr: int) -> bytearray:
        return self.pages.setdefault(maddr & -PAGE, bytearray(PAGE))

    def entry(self, table: int, slot: int, value: int) -> None:
        struct.pack_into("<Q", self.page(table), slot * 8, value)

    def write_image(self, base: int, *, self_reference: bool) -> None:
        """Page tables and strings of an image at ``base``, all inside it."""
        idle = base + IDLE
        self.entry(idle, 261, base + L3_WINDOW | 0x63)
        self.entry(base + L3_WINDOW, self.virt_start >> 30 & 511, base + L2_WINDOW | 0x63)
        for index in range(IMAGE_END >> 21):
            if self.small_pages:
                table = base + L1_WINDOW - index * PAGE
                self.entry(base + L2_WINDOW, index, table | 0x63)
                for page in range(512):
                    self.entry(table, page, base + (index << 21) + page * PAGE | 0x161)
            else:
                self.entry(base + L2_WINDOW, index, base + (index << 21) | 0x1E3)
        self.entry(idle, self.directmap >> 39 & 511, base + L3_DIRECT | 0x63)
        self.entry(base + L3_DIRECT, self.directmap >> 30 & 511, base + L2_DIRECT | 0x63)
        for index in range(512):
            self.entry(base + L2_DIRECT, index, index << 21 | 0x1E3)
        if self_reference:
            self.entry(idle, 258, idle | 0x63)
        rodata = self.page(base + RODATA)
        text = b"".join(STRINGS)
        rodata[: len(text)] = text

    def string_pointers(self) -> list[int]:
        at = self.base + RODATA
        places = []
        for text in STRINGS[:4]:
            places.append(at)
            at += len(text)
        return [*places, places[3] + 11]  # compile-time points into compile-date

    def crash_info_words(self, count: int = 10, start: int | None = None) -> list[int]:
        words = [*self.version, *self.string_pointers(), 0]
        if count == 10:
            words.append(self.base if start is None else start)
        if count >= 9:
            words.append(0x27E09)
        return words

    def note_blob(
        self, *, words: int = 10, start: int | None = None, cr3: bool = True, info: bool = True
    ) -> bytes:
        blob = b""
        for cpu in range(2):
            blob += notes.prstatus(self.virt_start + TEXT + 0x123, self.directmap + 0x5000000)
            if cr3:
                blob += notes.crash_regs(self.root)
            if info and cpu == 0:
                blob += notes.crash_info(self.crash_info_words(words, start))
        return blob + notes.vmcoreinfo_xen(self.pgd_l4)

    def loads(self) -> list[Load]:
        runs: list[Load] = []
        for maddr in sorted(self.pages):
            data = bytes(self.pages[maddr])
            if runs and runs[-1].paddr + len(runs[-1].data) == maddr:
                runs[-1].data += data
            else:
                runs.append(Load(maddr, data))
        return runs

    def build(self, blob: bytes | None = None) -> bytes:
        blob = self.note_blob() if blob is None else blob
        return ElfCore(self.loads(), [blob] if blob else []).build()
