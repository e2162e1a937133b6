"""Writes kdump-compressed files of every header version, width and byte order."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

BLOCK = 4096


def compress(codec: int, page: bytes) -> bytes:
    if codec == 1:
        return zlib.compress(page, 1)
    if codec == 2:
        from lzallright import LZOCompressor

        packed: bytes = LZOCompressor().compress(page)
        return packed
    if codec == 4:
        import cramjam

        return bytes(cramjam.snappy.compress_raw(page))
    if codec == 0x20:
        import zstandard

        return zstandard.ZstdCompressor(level=1).compress(page)
    return page


@dataclass
class Kdump:
    """``pages`` maps frame numbers to their bytes; ``ram`` are frames that were left out."""

    pages: dict[int, bytes]
    ram: set[int] = field(default_factory=set)
    notes: bytes = b""
    bits: int = 64
    order: str = "<"
    packed: bool = True
    version: int = 6
    codec: int = 1
    signature: bytes = b"KDUMP   "
    split: tuple[int, int] | None = None
    vmcoreinfo: bytes = b""
    frames: int | None = None
    machine: bytes = b""
    status: int | None = None

    def build(self) -> bytes:
        frames = self.frames or max({*self.pages, *self.ram}) + 1
        half = ((frames + 7) // 8 + BLOCK - 1) // BLOCK
        sub = self._sub_header(frames)
        area = sub + (self.notes or self.vmcoreinfo)
        sub_blocks = max(-(-len(area) // BLOCK), 1)
        head = self._main_header(frames, sub_blocks, 2 * half)
        ram = self._bitmap({*self.pages, *self.ram}, half)
        dumped = self._bitmap(set(self.pages), half)
        start, end = self.split or (0, frames)
        mine = [frame for frame in sorted(self.pages) if start <= frame < end]
        table: list[bytes] = []
        data: list[bytes] = []
        at = BLOCK * (1 + sub_blocks + 2 * half) + 24 * len(self.pages)
        for frame in mine:
            packed = compress(self.codec, self.pages[frame])
            flags = self.codec
            if len(packed) >= BLOCK:
                packed, flags = self.pages[frame], 0
            table.append(struct.pack(self.order + "QIIQ", at, len(packed), flags, 0))
            data.append(packed)
            at += len(packed)
        blocks = head.ljust(BLOCK, b"\0") + area.ljust(BLOCK * sub_blocks, b"\0")
        # parts have room for the descriptors of the whole set
        table.append(bytes(24 * (len(self.pages) - len(mine))))
        return b"".join([blocks, ram, dumped, *table, *data])

    def _bitmap(self, frames: set[int], half: int) -> bytes:
        bits = bytearray(half * BLOCK)
        for frame in frames:
            bits[frame >> 3] |= 1 << (frame & 7)
        return bytes(bits)

    def _main_header(self, frames: int, sub_blocks: int, bitmap_blocks: int) -> bytes:
        utsname = bytes(4 * 65) + self.machine.ljust(65, b"\0") + bytes(65)
        pad, long = (6, "Q") if self.bits == 64 else (2, "I")
        return struct.pack(
            f"{self.order}8si390s{pad}x{long}{long}IiiIIIIIIi",
            self.signature,
            self.version,
            utsname,
            0,
            0,
            self.codec if self.status is None else self.status,
            BLOCK,
            sub_blocks,
            bitmap_blocks,
            min(frames, 0xFFFFFFFF),
            0,
            0,
            0,
            0,
            2,
        )

    def _sub_header(self, frames: int) -> bytes:
        # built field by field with explicit gaps, as the C compilers lay it out
        wide = self.bits == 64
        long = "Q" if wide else "I"
        gap = b"" if wide or self.packed else bytes(4)
        start, end = self.split or (0, 0)
        sizes = self._sizes()
        notes_at = BLOCK + sizes
        text_at = notes_at if self.vmcoreinfo and not self.notes else 0
        parts = [struct.pack(self.order + long, 0)]
        if self.version >= 1:
            parts.append(struct.pack(self.order + "i", 1))
        if self.version >= 2:
            split = int(self.split is not None)
            parts.append(struct.pack(self.order + "i" + long * 2, split, start, end))
        if self.version >= 3:
            parts += [gap, struct.pack(self.order + "Q" + long, text_at, len(self.vmcoreinfo))]
        if self.version >= 4:
            where = notes_at if self.notes else 0
            parts += [gap, struct.pack(self.order + "Q" + long, where, len(self.notes))]
        if self.version >= 5:
            parts += [gap, struct.pack(self.order + "Q" + long, 0, 0)]
        if self.version >= 6:
            parts += [gap, struct.pack(self.order + "QQQ", start, end, frames)]
        return b"".join(parts).ljust(sizes, b"\0")

    def _sizes(self) -> int:
        if self.bits == 64:
            return (8, 16, 32, 48, 64, 80, 104)[self.version]
        if self.packed:
            return (4, 8, 20, 32, 44, 56, 80)[self.version]
        return (4, 8, 20, 40, 56, 72, 96)[self.version]
