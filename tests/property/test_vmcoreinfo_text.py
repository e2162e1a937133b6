"""VMCOREINFO texts (Linux: Documentation/admin-guide/kdump/vmcoreinfo.rst)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.property.strategies import KEYS
from vmcoretool.addresses import FileOffset
from vmcoretool.notes.elf_note import Note
from vmcoretool.notes.vmcoreinfo import VmcoreInfo, parse_vmcoreinfo

VALUES = st.integers(0, (1 << 64) - 1)


def parsed(desc: bytes, *, complete: bool = True) -> VmcoreInfo:
    where = FileOffset(0)
    note = Note(
        owner="VMCOREINFO", type=0, desc=desc, offset=where, desc_offset=where, complete=complete
    )
    return parse_vmcoreinfo(note)


class TestLines:
    """SYMBOL(x)= in hexadecimal without 0x, SIZE(x)= and OFFSET(x.y)= in decimal."""

    @given(st.dictionaries(KEYS, VALUES, max_size=12), st.integers(0, 40))
    def test_written_values_are_read_back(self, written: dict[str, int], padding: int) -> None:
        lines = [
            f"{key}={value:x}\n" if key.startswith("SYMBOL") else f"{key}={value}\n"
            for key, value in written.items()
        ]
        info = parsed("".join(lines).encode() + bytes(padding))
        read = {"SYMBOL": info.symbol, "SIZE": info.size, "OFFSET": info.offset}
        for key, value in written.items():
            kind, name = key.rstrip(")").split("(")
            assert read[kind](name) == value

    @given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=6), st.floats(0, 1))
    def test_a_line_that_was_cut_off_is_left_out(
        self, written: dict[str, int], keep: float
    ) -> None:
        text = "".join(f"{key}={value}\n" for key, value in written.items()).encode()
        info = parsed(text[: int(keep * len(text))], complete=False)
        assert info.entries.items() <= {key: str(value) for key, value in written.items()}.items()

    @given(st.binary(max_size=200))
    def test_arbitrary_bytes_give_entries_or_none(self, desc: bytes) -> None:
        info = parsed(desc)
        assert info.raw == desc.split(b"\0")[0]
        for name in info.symbols():
            assert f"SYMBOL({name})" in info.entries
