"""Whatever the bytes: a result or a VmcoreError, and nothing that a terminal may not see."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import notes as build
from tests.builders.elf_core import ElfCore, Load
from tests.support import inspect_bytes, is_safe
from vmcoretool import VmcoreError
from vmcoretool.inspection.as_json import inspection_json
from vmcoretool.render.text import inspection_text


class TestInspection:
    """Everything raised is a VmcoreError or an OSError (vmcoretool.errors)."""

    @given(st.binary(max_size=300), st.binary(max_size=100))
    def test_arbitrary_headers_and_notes(self, tail: bytes, blob: bytes) -> None:
        for data in (
            b"\x7fELF\x02\x01" + tail,
            b"\x7fELF\x01\x02" + tail,
            ElfCore([Load(0, tail)], [blob + build.crash_regs(0x1000)]).build(),
        ):
            try:
                inspection = inspect_bytes(data)
            except VmcoreError:
                continue
            assert is_safe(inspection_text(inspection))
            assert is_safe(inspection_json(inspection))

    @given(st.lists(st.binary(min_size=8, max_size=8), max_size=60), st.integers(0, 511))
    def test_arbitrary_page_tables(self, entries: list[bytes], start: int) -> None:
        # every table entry leads into the same few pages: loops, self-references, leaves
        page = bytearray(4096)
        for at, entry in enumerate(entries):
            slot = (start + at) % 512
            page[slot * 8 : slot * 8 + 8] = entry
        for slot in (258, 261, 321, 322, 50, 274):
            struct.pack_into("<Q", page, slot * 8, 0x1000 | 1)
        blob = build.prstatus() + build.crash_regs(0x1000)
        inspection = inspect_bytes(ElfCore([Load(0x1000, bytes(page))], [blob]).build())
        assert inspection.kind == "xen-host"
