"""Sound dumps in every container, cut short: only findings that the lost bytes explain may appear.

What is allowed is computed from the byte ranges that are left (:mod:`tests.fuzz.layout`), which
shares nothing with the readers::

    python -m tests.fuzz.cuts              # every 512 bytes, of every sample in every container
    python -m tests.fuzz.cuts --borders    # where structures begin and end, and beside that, too
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import time
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.builders.kdump import Kdump
from tests.fuzz.layout import (
    Kept,
    Layout,
    frame_bytes,
    kept_of_records,
    layout_of,
    record_borders,
    tables_to,
    unpacked_size,
)
from tests.fuzz.oracles import check_json
from tests.fuzz.seeds import flat, sample
from tests.support import ROOT, XEN_SAMPLES
from tests.test_containers import in_blocks, squeezed
from tests.test_namelist import NOWHERE
from vmcoretool import VmcoreError, inspect_vmcore
from vmcoretool.inspection.as_json import inspection_json
from vmcoretool.sources.file import MemorySource
from vmcoretool.vmcore import read_vmcore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STEP: Final = 512
SAMPLES: Final = tuple(path.name for path in XEN_SAMPLES)
_CRASH_INFO, _CRASH_REGS = 0x1000001, 0x1000002
_CODECS: Final = {"raw": 0, "zlib": 1, "lzo": 2, "snappy": 4, "zstd": 0x20}
_WORDS: Final = 10
_GIB: Final = 1 << 30

# what each loss may have said of it; a code that is in no row may never appear by a cut
_BY_ANY_LOSS: Final = {"truncated"}
_BY_PAGES: Final = {"page-unreadable", "domain-list-incomplete"}
_BY_TABLES: Final = {"address-unproven", "address-unknown"}
_BY_IDLE: Final = {"idle-page-table-missing"}
_BY_ALL_XEN_NOTES: Final = {"nested-xen-image"}
_BY_SHORT_NOTE: Final = {"xen-phys-start-not-recorded"}


class Container(NamedTuple):
    """A whole dump in a container.

    Attributes:
        name: of the container.
        files: the dump, or the parts of a set.
        inside: of each file what is in it once all around it is taken off.
    """

    name: str
    files: tuple[bytes, ...]
    inside: tuple[bytes, ...]


class Facts(NamedTuple):
    """What is true of a sample's memory: the pages that its address is proved by.

    Attributes:
        tables: frames of the hypervisor's tables and of what its note points to.
        idle: the frame of the idle page table.
        unrecorded: whether the note has no word for the address: what matters only once the tables
            no longer show that the hypervisor is where it was built for.
    """

    tables: frozenset[int]
    idle: int
    unrecorded: bool


@cache
def facts_of(name: str) -> Facts:
    """By the sample's own notes and the truth from outside."""
    data = sample(name).data
    layout = layout_of(data)
    truth = json.loads((ROOT / "samples" / name / "truth.json").read_text())
    window = int(truth["idle_pg_table_va"], 16)
    base = int(truth["xen_phys_start"], 16)
    idle = window % _GIB + (base if truth.get("relocated", True) else 0) >> 12
    roots = {idle}
    pages: set[int] = set()
    short = False
    for note in layout.notes:
        if (note.owner, note.type) == (b"Xen", _CRASH_REGS):
            roots.add(struct.unpack_from("<Q", note.desc, 16)[0] >> 12)
        elif (note.owner, note.type) == (b"Xen", _CRASH_INFO):
            words = struct.unpack(f"<{len(note.desc) // 8}Q", note.desc)
            pages |= {word >> 12 for word in words[2:7]}
            short = len(words) < _WORDS
    for root in roots:
        for vaddr in (window, 0xFFFF830000000000):
            pages |= tables_to(data, layout, root, vaddr)
    return Facts(frozenset(pages & layout.pages.keys()), idle, short)


def containers(name: str) -> Iterator[Container]:
    """A sample in every container."""
    data = sample(name).data
    layout = layout_of(data)
    pages = {frame: frame_bytes(data, layout, frame) for frame in layout.pages}
    blob = b"".join(data[note.start : note.end] for note in layout.notes)
    yield Container("elf", (data,), (data,))
    for codec, number in _CODECS.items():
        packed = Kdump(pages, notes=blob, codec=number).build()
        yield Container(f"kdump-{codec}", (packed,), (packed,))
    packed = Kdump(pages, notes=blob, codec=1).build()
    for inner, word in ((data, "elf"), (packed, "kdump")):
        yield Container(f"flattened-{word}", (flat(inner, 10_000),), (inner,))
    frames = sorted(pages)
    cuts = [0, frames[len(frames) // 3], frames[2 * len(frames) // 3], frames[-1] + 1]
    parts = tuple(
        Kdump(pages, notes=blob, split=(low, high)).build() for low, high in pairwise(cuts)
    )
    yield Container("split", parts, parts)
    for codec in ("gzip", "bzip2", "xz", "zstd", "lz4"):
        yield Container(codec, (squeezed(codec, data),), (data,))
    for codec in ("xz", "zstd"):
        yield Container(f"{codec}-blocks", (in_blocks(codec, data),), (data,))


def kept_inside(container: Container, number: int, end: int) -> Kept:
    """What of the inside of a file is left when the file ends at a place."""
    file = container.files[number]
    if container.name.startswith("flattened"):
        return Kept(kept_of_records(file, end))
    if container.inside[number] is file:
        return Kept([(0, end)])
    return Kept([(0, unpacked_size(file[:end]))])


class Whole(NamedTuple):
    """A container, its layouts, and what the readers say of it as it is."""

    sample: str
    container: Container
    layouts: tuple[Layout, ...]
    answer: dict[str, Any]


def whole_of(name: str, container: Container) -> Whole:
    answer = answer_of(container.files)
    assert answer is not None
    layouts = tuple(layout_of(inside) for inside in container.inside)
    return Whole(name, container, layouts, answer)


def answer_of(files: tuple[bytes, ...]) -> dict[str, Any] | None:
    """What the readers say, or None where they refuse the file with a typed error."""
    sources = [MemorySource(f"part-{number}", file) for number, file in enumerate(files)]
    try:
        with read_vmcore(*sources) as vmcore:
            found = inspect_vmcore(vmcore, places=NOWHERE)
            answer: dict[str, Any] = check_json(inspection_json(found))
            return answer
    except VmcoreError:
        return None


def borders(whole: Whole, number: int) -> list[int]:
    """Where structures of a file begin and end, as places of that file."""
    container = whole.container
    if container.name.startswith("flattened"):
        return record_borders(container.files[number])
    if container.inside[number] is container.files[number]:
        return list(whole.layouts[number].borders)
    size = len(container.files[number])
    return [*range(min(32, size)), *range(max(size - 64, 0), size)]


class Lost(NamedTuple):
    """What a cut took away, by the bytes that are left.

    Attributes:
        result: whether the headers are whole, so that there must be a result.
        pages: the frames that are lost, or in part.
        whole: how many pages of all files are left.
        partly: of how many a part is.
        notes: whether one is lost, or in part.
        tables: whether a page that proves the address is.
        allowed: the findings that may be reported.
    """

    result: bool
    pages: frozenset[int]
    whole: int
    partly: int
    notes: bool
    tables: bool
    allowed: frozenset[str]


def lost_by(whole: Whole, number: int, end: int) -> Lost:
    """What may be missed, and which findings may say so."""
    kept = kept_inside(whole.container, number, end)
    layout, facts = whole.layouts[number], facts_of(whole.sample)
    pages = frozenset(at for at, ranges in layout.pages.items() if not kept.has_all(ranges))
    # notes are read of the first part; the others have the same
    gone = [note for note in layout.notes if not kept.has(note.start, note.end)]
    kinds = {(note.owner, note.type) for note in gone}
    tables = bool(pages & facts.tables)
    allowed = {row["code"] for row in whole.answer["findings"]}
    allowed |= _BY_ANY_LOSS
    rows: list[tuple[bool, set[str]]] = [
        (bool(pages), _BY_PAGES),
        (tables or (b"Xen", _CRASH_REGS) in kinds, _BY_TABLES),
        (facts.idle in pages, _BY_IDLE),
        (all(note in gone for note in layout.notes if note.owner == b"Xen"), _BY_ALL_XEN_NOTES),
        (tables and facts.unrecorded, _BY_SHORT_NOTE),
    ]
    for happened, codes in rows:
        allowed |= codes if happened else set()
    return Lost(
        result=kept.has_all(layout.needed),
        pages=pages,
        whole=sum(len(one.pages) for one in whole.layouts) - len(pages),
        partly=sum(kept.touches(*layout.pages[at][-1]) for at in pages),
        notes=bool(gone),
        tables=tables,
        allowed=frozenset(allowed),
    )


def check(whole: Whole, number: int, end: int) -> list[str]:
    """What is wrong with the answer to a file that was cut at a place; [] where nothing is."""
    files = list(whole.container.files)
    files[number] = files[number][:end]
    answer = answer_of(tuple(files))
    lost = lost_by(whole, number, end)
    if answer is None:
        return ["refused, though its headers are whole"] if lost.result else []
    wrong = [
        f"{row['code']}: {row['message']}"
        for row in answer["findings"]
        if row["code"] not in lost.allowed
    ]
    codes = {row["code"] for row in answer["findings"]}
    if (lost.pages or lost.notes) and "truncated" not in codes:
        wrong.append("bytes are lost, and nothing says so")
    return wrong + list(_other_facts(whole.answer, answer, lost))


def _other_facts(whole: dict[str, Any], cut: dict[str, Any], lost: Lost) -> Iterator[str]:
    if whole["kind"] != cut["kind"] and not lost.notes:
        yield f"kind {cut['kind']}, though every note is there"
    if cut["relocation"] is not None:
        yield from _other_address(whole["relocation"], cut["relocation"], lost)
    for name in ("version", "build_id", "changeset", "compiler", "compile_date"):
        was, now = ((one["xen"] or {}).get(name) for one in (whole, cut))
        if now is not None and not str(was or "").startswith(now):
            yield f"another {name}: {now!r}"
    here = cut["dump"]["pages"]["present"]
    if not lost.whole <= here <= lost.whole + lost.partly:
        yield f"{here} pages are present, not {lost.whole} and {lost.partly} in part"


def _other_address(before: dict[str, Any], after: dict[str, Any], lost: Lost) -> Iterator[str]:
    true = before["xen_phys_start"]
    if after["xen_phys_start"] not in (true, None):
        yield f"another address: {after['xen_phys_start']}"
    if after["status"] not in (before["status"], "reported", "unknown"):
        yield f"status {after['status']}"
    if after["status"] != before["status"] and not (lost.tables or lost.notes):
        yield f"status {after['status']}, though all tables and notes are there"
    for row in after["evidence"]:
        if row["xen_phys_start"] not in (true, None) and row["strength"] != "suggested":
            yield f"evidence of another address: {row}"


# --- the campaign --------------------------------------------------------------------------------


def places(whole: Whole, number: int, step: int, *, near: bool) -> list[int]:
    """Every so many bytes and, if that is wanted, each border with its neighbours."""
    size = len(whole.container.files[number])
    beside = {at + by for at in borders(whole, number) for by in (-1, 0, 1)} if near else set()
    return sorted(at for at in {*range(0, size, step), *beside} if 0 <= at < size)


def campaign(
    step: int, names: list[str], say: Callable[[str], object], *, near: bool = False
) -> int:
    """All cuts of some samples; how many were answered wrongly."""
    total = faults = 0
    for name in names:
        began, count = time.process_time(), 0
        for container in containers(name):
            whole = whole_of(name, container)
            for number in range(len(container.files)):
                for end in places(whole, number, step, near=near):
                    count += 1
                    for wrong in check(whole, number, end):
                        faults += 1
                        say(f"FAULT {name} {container.name} file {number} cut at {end}: {wrong}")
        total += count
        say(f"{name}: {count} cuts, {time.process_time() - began:.0f} s of CPU")
    say(f"{total} cuts, {faults} faults")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.cuts", description=__doc__)
    parser.add_argument("--step", type=int, default=STEP, help="bytes between cuts")
    parser.add_argument("--sample", action="append", choices=SAMPLES, help="only this one")
    parser.add_argument("--borders", action="store_true", help="and at every border")
    given = parser.parse_args()
    names = given.sample or list(SAMPLES)
    return int(bool(campaign(given.step, names, print, near=given.borders)))


if __name__ == "__main__":
    sys.exit(main())
