"""Which cause of an error applies to which dump."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.builders import pae_host, variants
from tests.builders.kdump import Kdump
from tests.builders.memory import PAGE
from tests.builders.streams import as_kdump, process_core
from tests.builders.symbol_file import symbol_file
from tests.builders.xen_host import RODATA, STRINGS, TEXT, XenHost
from tests.support import ROOT, inspect_bytes, run, tool
from vmcoretool import Inspection, inspect_vmcore, open_vmcore
from vmcoretool.explain.causes import CAUSES, CRASH_RELEASE, causes_of, judged
from vmcoretool.explain.texts import ERROR_TEXTS, find_texts
from vmcoretool.symbols.places import Places
from vmcoretool.xen.image.layouts import DIRECTMAPS

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = ROOT / "samples"
DOM0_PANIC = (SAMPLES / "xen-4.17-dom0-panic/vmcore").read_bytes()


def of_sample(name: str, *parts: str) -> Inspection:
    paths = [SAMPLES / name / part for part in parts or ("vmcore",)]
    with open_vmcore(*paths) as vmcore:
        return inspect_vmcore(vmcore)


def host_without_console() -> Inspection:
    return inspect_bytes(XenHost().build())


def host_with_bigmem() -> Inspection:
    return inspect_bytes(XenHost(directmap=DIRECTMAPS[1].start).build())


def filtered_host() -> Inspection:
    host = XenHost()
    pages = {maddr // PAGE: bytes(page) for maddr, page in host.pages.items()}
    return inspect_bytes(Kdump(pages, ram={0x30000}, notes=host.note_blob()).build())


def damaged_notes() -> bytes:
    place = variants.crash_info(DOM0_PANIC)
    data = bytearray(DOM0_PANIC)
    data[place.start + 4 : place.start + 8] = b"\xff\xff\xff\x00"  # descsz
    return bytes(data)


def built(data: bytes) -> Inspection:
    return inspect_bytes(data)


@pytest.mark.parametrize(
    ("cause", "make", "arguments", "applies", "why"),
    [
        ("address-not-recorded", of_sample, ["xen-3.2-hypervisor-panic"], True, "no xen_phys"),
        ("address-not-recorded", of_sample, ["xen-3.1-hypervisor-panic"], False, "not relocate"),
        ("address-not-recorded", built, [variants.removed(DOM0_PANIC)], True, "is missing"),
        ("address-not-recorded", built, [variants.shifted(DOM0_PANIC)], False, "which is wrong"),
        ("address-not-recorded", built, [DOM0_PANIC], False, "crash reads the address from"),
        ("address-wrong", built, [variants.shifted(DOM0_PANIC)], True, "crash-info-note records"),
        ("address-wrong", built, [DOM0_PANIC], None, "address is right; was another one than 0x2"),
        ("address-wrong", built, [variants.removed(DOM0_PANIC)], None, "records none; was another"),
        ("address-wrong", of_sample, ["readelf-text"], None, "not proved"),
        ("other-namelist", built, [DOM0_PANIC], None, "--xen-syms"),
        ("other-vmlinux", built, [DOM0_PANIC], None, "--vmlinux"),
        ("no-namelist", built, [DOM0_PANIC], None, "--xen-syms"),
        ("no-dwarf", built, [DOM0_PANIC], None, "--vmlinux"),
        ("not-a-host", of_sample, ["linux-native"], True, "linux"),
        ("not-a-host", built, [DOM0_PANIC], False, "xen-host"),
        ("not-its-panic", of_sample, ["xen-4.1-debug-key"], True, "hypervisor panicked"),
        ("not-its-panic", built, [DOM0_PANIC], None, "dom0 panicked itself"),
        ("not-its-panic", host_without_console, [], None, "does not show"),
        ("cut-short", built, [DOM0_PANIC[:-1]], True, "cut short"),
        ("cut-short", built, [DOM0_PANIC], False, "whole"),
        ("split-part", of_sample, ["kdump-split", "part-2"], True, "missing"),
        ("split-part", of_sample, ["kdump-split", "part-1", "part-2", "part-3"], False, "no part"),
        ("filtered", filtered_host, [], None, "1 pages"),
        ("filtered", built, [DOM0_PANIC], False, "0 pages"),
        ("p2m-missing", built, [variants.other_p2m(DOM0_PANIC, 0xDEAD)], True, "0xdead"),
        ("p2m-missing", built, [DOM0_PANIC], False, "names dom0's tree"),
        ("p2m-missing", host_without_console, [], None, "no dom0"),
        ("flattened", of_sample, ["flattened-elf"], True, "it is"),
        ("flattened", of_sample, ["flattened-kdump-lzo"], False, "not a flattened ELF"),
        ("flattened-first", of_sample, ["flattened-kdump-lzo"], True, "it is"),
        ("flattened-first", built, [DOM0_PANIC], False, "not flattened"),
        ("packed", built, [DOM0_PANIC], False, "not compressed"),
        ("bigmem", host_with_bigmem, [], True, "0xffff8480"),
        ("bigmem", built, [DOM0_PANIC], False, "0xffff8300"),
        ("bigmem", of_sample, ["readelf-text"], None, "does not show"),
        ("packed-namelist", built, [DOM0_PANIC], None, "examined"),
        ("split-namelist", built, [DOM0_PANIC], None, "examined"),
        ("no-such-dump", built, [process_core()], True, "core of a process"),
        ("no-such-dump", of_sample, ["readelf-text"], True, "readelf-text"),
        ("no-such-dump", of_sample, ["kdump-lzo"], False, "kdump"),
        ("no-crash-info", built, [variants.removed(DOM0_PANIC)], True, "none"),
        ("no-crash-info", built, [DOM0_PANIC], False, "has one"),
        ("no-vmcoreinfo-xen", of_sample, ["xen-3.2-hypervisor-panic"], True, "none"),
        ("no-vmcoreinfo-xen", built, [DOM0_PANIC], False, "has one"),
        ("qemu", of_sample, ["qemu-xen-4.17"], True, "QEMU's notes"),
        ("qemu", built, [DOM0_PANIC], False, "no note of QEMU"),
        ("one-guest", built, [DOM0_PANIC], False, "xen-host"),
        ("no-dump", built, [DOM0_PANIC], None, "does not depend"),
        ("cut-short", of_sample, ["kdump-split", "part-2"], False, "was not named"),
        ("cut-short", of_sample, ["readelf-text"], False, "readelf-text"),
        ("p2m-missing", built, [variants.removed(DOM0_PANIC)], True, "is missing"),
        ("p2m-missing", of_sample, ["linux-native"], None, "no dom0"),
        ("not-flattened", of_sample, ["flattened-elf"], False, "is a flattened"),
        ("not-flattened", built, [DOM0_PANIC], True, "not flattened"),
        ("no-codec", of_sample, ["kdump-zlib"], None, "may be in LZO"),
        ("no-codec", built, [DOM0_PANIC], False, "not kdump"),
        ("kdump-already", of_sample, ["kdump-zlib"], True, "it is"),
        ("kdump-already", built, [DOM0_PANIC], False, "elf"),
        ("not-a-part", built, [DOM0_PANIC], True, "elf"),
        ("not-a-part", of_sample, ["kdump-split", "part-2"], False, "it is kdump"),
        ("other-machine", built, [pae_host.build()], True, "i386"),
        ("other-machine", built, [DOM0_PANIC], False, "x86_64"),
        ("damaged", built, [damaged_notes()], True, "note-damaged"),
        ("damaged", built, [DOM0_PANIC], None, "no damage"),
        ("other-program", built, [DOM0_PANIC], None, "--xen-syms"),
        ("two-symbol-files", built, [DOM0_PANIC], None, "--xen-syms"),
    ],
)
def test_cause_and_dump(
    cause: str, make: Any, arguments: list[Any], *, applies: bool | None, why: str
) -> None:
    found = CAUSES[cause].ask(make(*arguments))
    assert found.applies is applies
    assert why in found.why


def test_compressed_dump_is_what_crash_does_not_read(tmp_path: Path) -> None:
    path = tmp_path / "vmcore.gz"
    path.write_bytes(gzip.compress(DOM0_PANIC))
    with open_vmcore(path) as vmcore:
        found = CAUSES["packed"].ask(inspect_vmcore(vmcore))
    assert found == (True, "it is gzip")


def test_every_cause_leads_to_some_text_and_the_other_way_round() -> None:
    used = {name for row in ERROR_TEXTS for name in row.causes}
    assert used - {CRASH_RELEASE} == set(CAUSES)


@pytest.mark.parametrize(
    ("message", "program", "cause"),
    [
        ("'--num-threads' option is disable,\nbecause it is Xen's", "makedumpfile", "no-threads"),
        ("'--num-threads' option is disabled", "makedumpfile", "no-threads"),
        ("dump_dmesg: Can't find some symbols for log_buf.", "makedumpfile", "log-of-dom0"),
        (
            "crash: read error: dump-incomplete (flat format): truncated/incomplete",
            "crash",
            "cut-short",
        ),
        ("crash: vmcore: uncompress failed: no lzo compression support", "crash", "no-codec"),
        ("crash: vmcore: uncompress failed: no zstd compression support", "crash", "no-codec"),
        ("check_elf_format: Can't get valid ehdr.", "makedumpfile", "flattened-first"),
        ("crash: namelist argument required", "crash", "no-namelist-given"),
    ],
)
def test_messages_that_the_programs_print(message: str, program: str, cause: str) -> None:
    (row,) = find_texts(message)
    assert row.program == program
    assert cause in [known.name for known in causes_of(row)]


def test_explanation_for_people_names_what_applies() -> None:
    done = run("explain", "cannot read crash_notes", SAMPLES / "xen-3.2-hypervisor-panic/vmcore")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("crash: note_buf_t or crash_note_t")
    assert any(line.startswith("  APPLIES: The dump does not record") for line in lines)
    assert any("crash --xen_phys_start 0x26e00000" in line for line in lines)
    alone = run("explain", "--json", "cannot read crash_notes")
    assert alone.returncode == 0
    assert {row["applies"] for row in json.loads(alone.stdout)[0]["causes"]} == {None}


@pytest.mark.parametrize(
    ("cause", "dwarf", "packed", "applies"),
    [
        ("no-dwarf", None, False, True),
        ("no-dwarf", 4, False, False),
        ("packed-namelist", 4, True, True),
        ("other-namelist", 4, False, False),
    ],
)
def test_cause_and_symbol_file(
    tmp_path: Path, cause: str, dwarf: int | None, *, packed: bool, applies: bool
) -> None:
    host = XenHost()
    data = symbol_file(
        code_at=host.virt_start + TEXT,
        symbols={"idle_pg_table": host.pgd_l4},
        texts={host.virt_start + RODATA - 1: b"\0" + b"".join(STRINGS)},
        dwarf=dwarf,
    )
    path = tmp_path / "xen-syms"
    path.write_bytes(gzip.compress(data) if packed else data)
    places = Places(xen_syms=(str(path),), standard=(), build_ids=())
    found = CAUSES[cause].ask(inspect_bytes(host.build(), places=places))
    assert found.applies is applies
    assert found.why


def test_a_cut_kdump_file_is_looked_at_while_it_is_open(tmp_path: Path) -> None:
    # the pages that were lost are counted when a cause asks for them
    (tmp_path / "vmcore").write_bytes(as_kdump(DOM0_PANIC)[:60000])
    done = run("explain", "--json", "xen kdump p2m mfn page", tmp_path / "vmcore")
    assert done.returncode == 1
    causes = json.loads(done.stdout)[0]["causes"]
    assert [cause["cause"] for cause in causes if cause["applies"]] == ["cut-short"]
    assert causes[0]["cause"] == "cut-short"


def test_causes_that_apply_come_first_and_ruled_out_ones_last() -> None:
    inspection = of_sample("linux-native")
    for row in ERROR_TEXTS:
        said = [found.applies for _, found in judged(row, inspection) if found]
        assert said == sorted(said, key=[True, None, False].index)
        assert [cause.name for cause, _ in judged(row, None)] == list(row.causes)


OUTPUT = """\
crash 8.0.2
Copyright (C) 2002-2022  Red Hat, Inc.
WARNING: This hypervisor is relocatable; if initialization fails below, try
         using the "--xen_phys_start <address>" command line option.

crash: read error: kernel virtual address: ffff82d0407da000  type: "__per_cpu_offset"
crash: cannot read __per_cpu_offset.
"""
USAGE = """\
crash: sadump: cannot read partition header
crash: vmcore.gz: not a supported file format

Usage:
  crash [OPTION]... NAMELIST MEMORY-IMAGE[@ADDRESS]  (dumpfile form)
Enter "crash -h" for details.
"""


@pytest.mark.parametrize(
    ("output", "texts"),
    [
        (OUTPUT, ["cannot read __per_cpu_offset", 'type: "__per_cpu_offset"', "is relocatable"]),
        (USAGE, ["not a supported file format"]),
        ("readmem: type_addr: 2\nmakedumpfile Failed.\n", ["readmem: type_addr"]),
        ('Usage:\nEnter "crash -h" for details.\n', ['Enter "crash -h" for details']),
        ("crash: cannot read __per_c\npu_offset.", ["cannot read __per_cpu_offset"]),
        ("makedumpfile Failed.", ["makedumpfile Failed"]),
        ("unknown\n", ["unknown"]),
        ("an unknown error", []),
        ('Type "apropos word" to search for commands related to "word"...', ["to search for"]),
        ("idle_pg_table_5", []),
    ],
)
def test_what_ended_the_program_is_explained_first(output: str, texts: list[str]) -> None:
    rows = find_texts(output)
    assert len(rows) == len(texts)
    for row, text in zip(rows, texts, strict=True):
        assert any(text in piece for piece in row.texts), row


def test_the_end_of_a_long_output_is_read(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("Copying data : [ 1.0 %] /\r" * 100_000 + OUTPUT)
    with (tmp_path / "output").open("rb") as stdin:
        done = tool("explain", "--json", "-", stdin=stdin)
    assert json.loads(done.stdout)[0]["text"].startswith("invalid size request")


@pytest.mark.parametrize(
    ("around", "code"), [("", 1), ('\nUsage:\nEnter "crash -h" for details.\n', 0)]
)
def test_an_output_without_a_known_text_is_said_to_be_so(
    tmp_path: Path, around: str, code: int
) -> None:
    (tmp_path / "output").write_text(f"crash 8.0.2\ncrash: a text of tomorrow\n{around}")
    with (tmp_path / "output").open("rb") as stdin:
        done = tool("explain", "-", stdin=stdin)
    assert done.returncode == code
    assert b"this text is not known: crash: a text of tomorrow" in done.stderr


@pytest.mark.parametrize("text", ["", " \n", "\x1b[0m"])
def test_an_empty_text_is_said_to_be_empty(text: str) -> None:
    done = run("explain", text)
    assert done.returncode == 1
    assert done.stderr.startswith("vmcoretool: the text is empty; ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "data", "text", "cause"),
    [
        ("vmcore", b"", "vmcore: not a supported file format", "cut-short"),
        ("vmcore", b"\x7fELF\x02\x01", "vmcore: not a supported file format", "cut-short"),
        ("vmcore", b"version 1\n", "vmcore: not a supported file format", "no-such-dump"),
        ("vmcore", None, "crash: vmcore: No such file or directory", "file-missing"),
        (".", None, "crash: .: not a supported file format", "no-such-dump"),
    ],
)
def test_a_dump_that_cannot_be_read_shows_a_cause(
    tmp_path: Path, name: str, data: bytes | None, text: str, cause: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    done = run("explain", text, tmp_path / name)
    assert done.returncode in {3, 5}
    said = [line for line in done.stdout.splitlines() if line.startswith("  APPLIES: ")]
    assert len(said) == 1
    assert said[0].startswith(f"  APPLIES: {CAUSES[cause].text} (")
