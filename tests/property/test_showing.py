"""What is shown to people and pasted into shells."""

from __future__ import annotations

import os
import shlex
import subprocess

from hypothesis import given
from hypothesis import strategies as st

from tests.property.strategies import FILE_NAMES
from tests.support import is_safe
from vmcoretool import CrashCommand
from vmcoretool.debuggers.session import file_argument
from vmcoretool.printable import log_line, printable


class TestCommands:
    """The command quoted for any POSIX shell; safe to eval whatever the files are called."""

    @given(FILE_NAMES)
    def test_shell_reads_back_the_arguments(self, name: str) -> None:
        argv = ("crash", "--xen_phys_start", "0x27800000", "xen-syms", file_argument(name))
        command = CrashCommand(
            purpose="",
            target="hypervisor",
            argv=argv,
            ready=False,
            requires_option=False,
            caveats=(),
        )
        line = command.shell()
        if "$(printf" in line and "$(printf" not in name:  # what only a shell can read back
            done = subprocess.run(
                ["sh", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True
            )
            assert tuple(map(os.fsdecode, done.stdout.split(b"\0")[:-1])) == argv
        else:
            assert tuple(shlex.split(line)) == argv
        assert line.replace("\n", "").replace("\t", "").isprintable()
        assert command.display().isprintable()


class TestPrintable:
    """Printable text; every other byte or character becomes a backslash escape."""

    @given(st.binary() | st.text())
    def test_nothing_is_shown_unescaped(self, raw: bytes | str) -> None:
        shown = printable(raw)
        assert is_safe(shown)
        assert "\n" not in shown

    @given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
    def test_plain_text_stays(self, text: str) -> None:
        assert printable(text) == printable(text.encode()) == text

    @given(st.binary())
    def test_of_control_characters_only_tabs_stay_in_a_log(self, raw: bytes) -> None:
        shown = log_line(raw)
        assert is_safe(shown.replace("\t", " "))
        assert shown.count("\t") == raw.count(b"\t")
