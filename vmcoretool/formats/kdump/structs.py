"""The headers of diskdump and kdump-compressed files, declared once for all widths and orders.

Names and order are upstream's: ``struct disk_dump_header`` and ``struct kdump_sub_header`` of
makedumpfile's diskdump_mod.h.  Neither width nor byte order is recorded in the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from construct import (
    Bytes,
    Int32sb,
    Int32sl,
    Int32ub,
    Int32ul,
    Int64ub,
    Int64ul,
    Padding,
    Struct,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

Order = Literal["little", "big"]


def disk_dump_header(bits: int, order: Order) -> Any:
    """The main header, block 0 of the file."""
    u32, i32, u64 = _types(order)
    long = u64 if bits == 64 else u32
    return Struct(
        "signature" / Bytes(8),
        "header_version" / i32,
        "utsname" / Bytes(6 * 65),
        Padding(6 if bits == 64 else 2),
        "tv_sec" / long,
        "tv_usec" / long,
        "status" / u32,
        "block_size" / i32,
        "sub_hdr_size" / i32,
        "bitmap_blocks" / u32,
        "max_mapnr" / u32,
        "total_ram_blocks" / u32,
        "device_blocks" / u32,
        "written_blocks" / u32,
        "current_cpu" / u32,
        "nr_cpus" / i32,
    )


def kdump_sub_header(bits: int, order: Order, version: int, *, packed: bool) -> Any:
    """The sub-header, at the start of block 1, with the fields that ``version`` has.

    Args:
        bits: 32 or 64.
        order: byte order.
        version: header_version; later fields are not there in earlier files.
        packed: 32 bits only: 8-byte fields are aligned to 4 bytes (i386), not to 8 (ARM and all
            others).
    """
    u32, i32, u64 = _types(order)
    long = u64 if bits == 64 else u32
    gap = [] if bits == 64 or packed else [Padding(4)]
    fields: list[tuple[int, Sequence[Any]]] = [
        (0, ["phys_base" / long]),
        (1, ["dump_level" / i32]),
        (2, ["split" / i32, "start_pfn" / long, "end_pfn" / long]),
        (3, [*gap, "offset_vmcoreinfo" / u64, "size_vmcoreinfo" / long]),
        (4, [*gap, "offset_note" / u64, "size_note" / long]),
        (5, [*gap, "offset_eraseinfo" / u64, "size_eraseinfo" / long]),
        (6, [*gap, "start_pfn_64" / u64, "end_pfn_64" / u64, "max_mapnr_64" / u64]),
    ]
    return Struct(*(field for since, group in fields if since <= version for field in group))


def _types(order: Order) -> tuple[Any, Any, Any]:
    if order == "little":
        return Int32ul, Int32sl, Int64ul
    return Int32ub, Int32sb, Int64ub
