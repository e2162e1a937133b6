"""The edge of the process: start, signals, streams, exit codes, and what may reach a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import vmcoretool
from tests.builders.elf_core import ElfCore, Load
from tests.builders.xen_host import XenHost
from tests.support import ROOT, tool
from vmcoretool import Evidence, Finding, Silence, VmcoreError
from vmcoretool.cli import exits, output
from vmcoretool.cli.exits import Exit
from vmcoretool.cli.main import COMMANDS, run
from vmcoretool.cli.progress import progress_line
from vmcoretool.printable import bash_word, printable, printable_lines, shell_word

SAMPLE = ROOT / "samples/xen-4.17-dom0-panic/vmcore"
LINUX = ROOT / "samples/linux-native/vmcore"
HOSTILE = "a\x1b]0;owned\x07\x9b31m\u202eb\x7f\r"
# of commands that work on one dump, with what else they need
ON_A_DUMP = [
    ["inspect"],
    ["crash"],
    ["notes"],
    ["vmcoreinfo"],
    ["console"],
    ["cpus"],
    ["domains"],
    ["dmesg"],
    ["explain", 'cannot resolve "idle_pg_table_4"'],
]


def words(*arguments: Any) -> list[str]:
    return [sys.executable, "-m", "vmcoretool", *map(str, arguments)]


def is_clean(text: str) -> bool:
    return all(char.isprintable() or char in "\n\t" for char in text)


# --- start ------------------------------------------------------------------------------------

STARTS_WITH = """
import sys, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "vmcoretool.cli.main":
            print("now", flush=True)
            time.sleep(20)
sys.meta_path.insert(0, Slow())
sys.argv = ["vmcoretool", "--help"]
from vmcoretool.cli.entry import main
main()
"""


def test_ctrl_c_during_the_imports_is_130_in_one_line() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_WITH],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"now\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, b"vmcoretool: interrupted\n")


def test_entry_imports_nothing_heavy_before_it_listens() -> None:
    program = (
        "import sys; before = set(sys.modules); import vmcoretool.cli.entry\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, cwd=ROOT
    )
    added = set(done.stdout.decode().split())
    assert added <= {"__future__", "vmcoretool", "vmcoretool.cli", "vmcoretool.cli.entry"}


def test_interrupt_that_the_shell_ignores_stays_ignored() -> None:
    script = f"trap '' INT; {sys.executable} -m vmcoretool inspect -q {SAMPLE}"
    program = (
        "import signal; import vmcoretool.cli.main as m; "
        "m.run = lambda words: print(signal.getsignal(signal.SIGINT).name, flush=True) or 0; "
        "from vmcoretool.cli.entry import main; main()"
    )
    script = f"trap '' INT; exec {sys.executable} -c '{program}'"
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=False, cwd=ROOT)
    assert done.stdout == b"SIG_IGN\n"


# What `inspect` of an ELF dump may import of the standard library and of click, from the first line
# of the package on; whatever else appears costs every start.
HEAVY = (
    *("elftools", "construct", "lz4", "lzallright", "cramjam", "zstandard", "json", "logging"),
    *(
        "subprocess",
        "shutil",
        "tempfile",
        "difflib",
        "traceback",
        "pickle",
        "socket",
        "ssl",
        "hashlib",
    ),
    *("vmcoretool.inspection.as_json", "vmcoretool.formats.kdump.reader", "vmcoretool.cli.tracing"),
    *("vmcoretool.hooks", "vmcoretool.explain", "importlib.metadata", "vmcoretool.symbols.dwarf"),
)
ALLOWED = set(
    re.findall(
        r"\w+",
        """
        __future__ abc annotationlib array ast atexit base64 bisect bz2 calendar click codecs
        collections colorsys contextlib copy copyreg dataclasses datetime decimal dis enum errno
        fcntl fnmatch functools gettext glob heapq importlib inspect io ipaddress itertools keyword
        linecache locale lzma math mmap ntpath numbers opcode operator os pathlib platform posixpath
        random re reprlib shlex signal sre_compile sre_constants sre_parse stat string struct sys
        textwrap threading time token tokenize types typing unicodedata urllib uuid vmcoretool
        warnings weakref zlib
        """,
    )
)


def imported_by_inspect() -> set[str]:
    # beyond what click needs, which on 3.10 is subprocess, for uuid's sake
    program = (
        "import os, sys, click; before = set(sys.modules); sys.argv[1:] = ['inspect', %r]\n"
        "from vmcoretool.cli.main import run\n"
        "code = run(sys.argv[1:])\n"
        "sys.stderr.write(' '.join(sorted(set(sys.modules) - before)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program % str(SAMPLE)], capture_output=True, check=True, cwd=ROOT
    )
    assert b"VERIFIED" in done.stdout
    return set(done.stderr.decode().split())


def test_inspect_of_an_elf_dump_imports_what_is_allowed() -> None:
    names = imported_by_inspect()
    found = {name for name in names if any(f"{name}.".startswith(f"{no}.") for no in HEAVY)}
    assert found == set()
    roots = {name.split(".")[0] for name in names}
    assert {name for name in roots if not name.startswith("_")} - ALLOWED == set()


def test_names_of_the_package_are_imported_when_asked_for() -> None:
    program = (
        "import sys, vmcoretool\n"
        "assert set(dir(vmcoretool)) >= set(vmcoretool.__all__)\n"
        "assert 'vmcoretool.vmcore' not in sys.modules\n"
        "vmcoretool.open_vmcore\n"
        "assert 'vmcoretool.vmcore' in sys.modules\n"
        "from vmcoretool import *\n"
        "assert write_report\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        vmcoretool.nothing  # type: ignore[attr-defined]  # noqa: B018 - the access is the test


def test_lazy_names_are_those_that_checkers_see() -> None:
    text = (ROOT / "vmcoretool/__init__.py").read_text()
    shown = text[text.index("if TYPE_CHECKING:") : text.index("\nelse:")]
    homes: dict[str, str] = {}
    for home, names in re.findall(r"from (\S+) import (\([^)]*\)|[^\n]+)", shown):
        homes |= dict.fromkeys(re.findall(r"\w+", names), home)
    assert homes == vmcoretool._HOMES  # type: ignore[attr-defined]
    assert set(homes) == set(vmcoretool.__all__)


@pytest.mark.parametrize("version", ["3.6.15", "3.9.18"])
def test_older_python_that_imports_the_package_gets_an_import_error(version: str) -> None:
    python = Path.home() / ".pyenv/versions" / version / "bin/python"
    if not python.exists():
        pytest.skip("no such interpreter here")
    program = "try:\n import vmcoretool\nexcept ImportError as error:\n print(error)"
    done = subprocess.run([str(python), "-c", program], capture_output=True, check=False, cwd=ROOT)
    assert done.returncode == 0
    assert done.stdout.startswith(b"vmcoretool needs Python 3.10 or newer")


# --- exit codes and output ----------------------------------------------------------------------


def test_every_exit_code_is_documented() -> None:
    page = (ROOT / "docs/exit-codes.md").read_text()
    rows = re.findall(r"^\| (\d+) \|", page, re.MULTILINE)
    assert [int(number) for number in rows] == sorted(Exit)
    shown = tool("--help").stdout.decode()
    assert [int(n) for n in re.findall(r"^ +(\d+)  \w", shown, re.MULTILINE)] == sorted(Exit)
    assert max(map(len, shown.splitlines())) < 80


def test_output_before_ctrl_c_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    environment = {key: word for key, word in os.environ.items() if key != "PYTHONUNBUFFERED"}
    with (
        out.open("wb") as file,
        subprocess.Popen(
            words("inspect", "-q", *[SAMPLE] * 400),
            stdout=file,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=ROOT,
        ) as process,
    ):
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.startswith(b"vmcoretool: interrupted")
    assert out.read_bytes().count(b"0x27800000 verified\n") >= 1


@pytest.mark.parametrize("command", ON_A_DUMP, ids=lambda words: words[0])
@pytest.mark.parametrize("to", ["/dev/full", "&-"])
def test_output_that_cannot_be_written_is_5_in_one_line(command: list[str], to: str) -> None:
    script = f'"$@" >{to}'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *words(*command, "-q", SAMPLE)],
        capture_output=True,
        check=False,
        cwd=ROOT,
    )
    lines = [line for line in done.stderr.splitlines() if b"standard output" in line]
    assert (done.returncode, len(lines)) == (5, 1)
    assert b"Traceback" not in done.stderr


def stop_in(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    # as if Ctrl-C were pressed in the middle of a piece of long work
    from vmcoretool.cli.progress import Watch

    real = Watch.__call__

    def stopped(self: Watch, work: str, done: int, total: int) -> bool:
        if work == name:
            self._interrupt(2, None)
        return real(self, work, done, total)

    monkeypatch.setattr(Watch, "__call__", stopped)


def test_dmesg_claims_nothing_of_a_search_that_was_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_in(monkeypatch, "searching VMCOREINFO")
    assert run(["dmesg", str(SAMPLE)]) == 130
    shown = capsys.readouterr()
    assert "interrupted" in shown.err
    assert "VMCOREINFO" not in shown.err
    assert run(["vmcoreinfo", "--source", "linux", str(SAMPLE)]) == 130
    shown = capsys.readouterr()
    assert "holds none" not in shown.err


@pytest.mark.parametrize("command", ["cpus", "console", "domains"])
def test_what_was_known_at_ctrl_c_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    from vmcoretool.cli import options

    real = vars(options)["locate"]

    def pressed(vmcore: Any, **given: Any) -> Any:
        found = real(vmcore, **given)
        vmcore.budget._watch._interrupt(2, None)
        return found

    monkeypatch.setattr(options, "locate", pressed)
    assert run([command, str(SAMPLE)]) == 130
    shown = capsys.readouterr()
    assert shown.out or "the search was cut off" in shown.err
    assert shown.err.splitlines()[-1].startswith("vmcoretool: interrupted")


def test_second_ctrl_c_ends_at_once() -> None:
    from vmcoretool.cli.progress import Watch

    watch = Watch()
    watch._interrupt(2, None)
    with pytest.raises(KeyboardInterrupt):
        watch._interrupt(2, None)


@pytest.mark.parametrize("error", [KeyError("x\x1b"), MemoryError(), RecursionError("deep")])
def test_fault_of_ours_is_70_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    from vmcoretool.cli import options

    def broken(*given: Any, **named: Any) -> Any:
        raise error

    monkeypatch.setattr(options, "locate", broken)
    assert run(["cpus", str(SAMPLE)]) == 70
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "please report" in shown
    assert type(error).__name__ in shown
    assert run(["cpus", "-vv", str(SAMPLE)]) == 70
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert is_clean(shown)
    monkeypatch.setattr(options, "inspect_vmcore", broken)
    assert run(["inspect", str(SAMPLE), "/missing"]) == 70
    assert capsys.readouterr().err.count("\n") == 2


def test_every_error_has_its_code() -> None:
    assert exits.exit_of(BrokenPipeError()) == Exit.REFUSED
    assert exits.exit_of(ValueError()) == Exit.BUG
    assert exits.exit_of(vmcoretool.TruncatedError("x")) == Exit.NOT_A_DUMP
    assert exits.exit_of(vmcoretool.UnsupportedFormatError("x")) == Exit.NOT_SUPPORTED
    assert exits.exit_of(vmcoretool.LogError("x")) == Exit.NOT_PROVED


# --- JSON -------------------------------------------------------------------------------------


def test_each_argument_of_inspect_json_is_one_object(tmp_path: Path) -> None:
    schema = Draft202012Validator(
        json.loads((ROOT / "vmcoretool/inspection/inspect.schema.json").read_text())
    )
    text = tmp_path / "text"
    text.write_text("hello\n")
    given_paths = [SAMPLE, tmp_path / "missing", text, LINUX, tmp_path]
    done = tool("inspect", "--json", *given_paths)
    assert done.returncode == 6
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["dump"]["paths"] for row in rows] == [[str(path)] for path in given_paths]
    for row in rows:
        schema.validate(row)
    assert [row.get("error", {}).get("exit") for row in rows] == [None, 5, 3, None, 5]
    error = rows[1]["error"]
    assert error["class"] == "FileNotFoundError"
    assert error["cure"] == "check the path"
    assert error["message"].endswith("missing: No such file or directory")
    single = tool("inspect", "--json", text)
    assert (single.returncode, json.loads(single.stdout)["error"]["exit"]) == (3, 3)


@pytest.mark.parametrize(
    ("arguments", "code", "name"),
    [
        (["cpus", "--json", "/missing"], 5, "FileNotFoundError"),
        (["notes", "--json", "/dev/null"], 3, "UnknownFormatError"),
        (["dmesg", "--json", LINUX], 6, "NotXenHost"),
        (["dmesg", "--json", "--domain", "77", SAMPLE], 1, "NoAnswer"),
        (["console", "--json"], 2, "MissingParameter"),
        (["inspect", "--json"], 2, "MissingParameter"),
        (["crash", "--json", LINUX], 6, "NotXenHost"),
        (["vtop", "--json", SAMPLE, "0x8000000000000000"], 1, "NoAnswer"),
        (["read", "--json", SAMPLE, "0x1000", "16", "--space", "machine"], 1, "NoAnswer"),
        (["explain", "--json", "zzz"], 1, "NoAnswer"),
        (["vmcoreinfo", "--json", "--get", "NO", SAMPLE], 1, "NoAnswer"),
        (["hook", "--json"], 2, "NoSuchOption"),
        (["inpsect", "--json"], 2, "UsageError"),
    ],
    ids=str,
)
def test_every_failure_under_json_is_one_object(arguments: list[Any], code: int, name: str) -> None:
    done = tool(*arguments)
    assert done.returncode == code
    shown = json.loads(done.stdout)
    assert shown["schema"] == "vmcoretool/error/1"
    error = shown["error"]
    assert (error["class"], error["exit"]) == (name, code)
    assert error["message"]
    assert done.stderr


def test_quiet_lines_of_several_dumps_name_them(tmp_path: Path) -> None:
    done = tool("inspect", "-q", SAMPLE, tmp_path / "missing", LINUX)
    assert done.stdout.decode().splitlines() == [
        f"{SAMPLE}: 0x27800000 verified",
        f"{tmp_path}/missing: - failed",
        f"{LINUX}: - linux",
    ]


# --- options of all commands --------------------------------------------------------------------


@pytest.mark.parametrize("command", ON_A_DUMP, ids=lambda words: words[0])
def test_every_command_takes_the_common_options(command: list[str]) -> None:
    plain = tool(*command, SAMPLE)
    quiet = tool(*command, "-q", "--color", "never", SAMPLE)
    assert quiet.returncode == plain.returncode
    loud = tool(*command, "-vv", SAMPLE)
    assert loud.returncode == plain.returncode
    if command[0] != "explain":
        assert b"opened " in loud.stderr or command[0] in ("notes", "vmcoreinfo")
        assert re.search(rb"^vmcoretool: +\d+ ms  vmcoretool 0", loud.stderr)


def test_quiet_leaves_remarks_out() -> None:
    assert b"stands for" in tool("crash", SAMPLE).stderr
    assert tool("crash", "-q", SAMPLE).stderr == b""
    assert b"no domain" in tool("dmesg", "-q", "--domain", "9", SAMPLE).stderr


def test_colour_is_for_terminals_that_have_some() -> None:
    assert "\x1b[1;32mVERIFIED" in on_a_terminal("inspect", SAMPLE)
    assert "\x1b" not in on_a_terminal("inspect", SAMPLE, TERM="dumb")
    assert "\x1b" not in on_a_terminal("inspect", SAMPLE, NO_COLOR="1")


# --- nearly right -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (["inpsect"], 2, "did you mean inspect?"),
        ([SAMPLE], 2, f"did you mean: vmcoretool inspect {SAMPLE}?"),
        (["help", "dmsg"], 2, "did you mean dmesg?"),
        (["help", "hook", "instal"], 2, "did you mean install"),
        (["vmcoreinfo", "--get", "pagesize", SAMPLE], 1, "did you mean PAGESIZE?"),
        (["inspect", "--format", "kdmp", SAMPLE], 2, "did you mean kdump?"),
        (["crash", "--target", "hypervizor", SAMPLE], 2, "did you mean hypervisor?"),
        (["crash", "--target", "foo", SAMPLE], 2, "none of: hypervisor, dom0, domN"),
        (["crash", "--target", "dom7", SAMPLE], 1, "no command for dom7"),
        (["read", "--space", "foo", SAMPLE, "0x0", "1"], 2, "none of"),
        (["explain"], 2, "in quotes"),
        (["explain", "foo"], 1, "explain --list"),
    ],
    ids=str,
)
def test_nearly_right_input_gets_a_suggestion(arguments: list[Any], code: int, hint: str) -> None:
    done = tool(*arguments)
    assert done.returncode == code
    assert hint in done.stderr.decode()


def test_help_of_a_command() -> None:
    assert tool("help", "crash").stdout == tool("crash", "--help").stdout
    assert tool("help").stdout == tool("--help").stdout
    assert b"--dry-run" in tool("help", "hook", "install").stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_80_columns(name: str) -> None:
    shown = tool(name, "--help", env={"COLUMNS": "80"}).stdout.decode()
    assert "Usage: " in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_explain_does_without_quotes_and_case(tmp_path: Path) -> None:
    right = tool("explain", 'cannot resolve "idle_pg_table_4"').stdout
    assert right.startswith(b"crash: ")
    assert tool("explain", "CANNOT resolve idle_pg_table_4").stdout == right
    unquoted = tool("explain", "crash:", "cannot", "resolve", "idle_pg_table_4")
    assert (unquoted.stdout, unquoted.returncode) == (right, 0)
    assert b"in quotes" in unquoted.stderr
    path = tmp_path / "log"
    path.write_bytes(b'\xffcrash 8\n\ncrash: cannot resolve "idle_pg_table_4"\n')
    with path.open("rb") as file:
        assert tool("explain", "-", stdin=file).stdout == right
    assert b'cannot resolve "idle_pg_table_4"' in tool("explain", "--list").stdout
    assert len(json.loads(tool("explain", "--list", "--json").stdout)) > 10


# --- progress -----------------------------------------------------------------------------------


@given(
    st.text(min_size=1, max_size=60),
    st.integers(0, 1 << 50),
    st.integers(0, 1 << 50),
    st.integers(10, 200),
)
def test_progress_is_narrower_than_the_terminal(
    name: str, done: int, total: int, width: int
) -> None:
    assert len(progress_line(name, done, total, width)) < width


def test_progress_is_cleared_before_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    output.settings.reset()
    output.draw("work 1%")
    output.emit("answer")
    shown = capsys.readouterr()
    assert shown.out == "answer\n"
    assert shown.err.endswith("\r\x1b[K")


def test_inspect_of_a_named_pipe_says_that_it_waits(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with subprocess.Popen(
        words("inspect", "-q", path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stderr
        # -q leaves remarks out: without it the line is there before anybody writes
        path.write_bytes(SAMPLE.read_bytes())
        assert process.communicate(timeout=20)[0] == b"0x27800000 verified\n"
    with subprocess.Popen(
        words("inspect", path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stderr
        assert b"waiting" in process.stderr.readline()
        path.write_bytes(b"")
        process.communicate(timeout=20)


# --- hostile text -------------------------------------------------------------------------------


@given(st.one_of(st.binary(), st.text(alphabet=st.characters(blacklist_categories=()))))
def test_printable_is_one_printable_line(raw: bytes | str) -> None:
    shown = printable(raw)
    assert shown.isprintable()
    assert printable(shown) == shown
    assert is_clean(printable_lines(raw if isinstance(raw, str) else raw.decode("latin-1")))


NAMES = st.binary(min_size=1, max_size=40).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"")))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(NAMES.filter(bool), min_size=1, max_size=20))
def test_quoted_words_are_the_words(given_words: list[str]) -> None:
    for shell, quote in (("sh", shell_word), ("bash", shell_word), ("bash", bash_word)):
        line = " ".join(map(quote, given_words))
        assert is_clean(line)
        done = subprocess.run(
            [shell, "-c", f"printf '%s\\0' {line}"],
            capture_output=True,
            check=True,
            env=os.environ | {"LC_ALL": "C.UTF-8"},
        )
        assert done.stdout == b"".join(os.fsencode(word) + b"\0" for word in given_words)


def test_texts_of_values_are_escaped_where_they_are_made() -> None:
    values = [
        Finding("info", "truncated", HOSTILE, HOSTILE),
        Evidence(
            source="user", xen_phys_start=None, strength="recorded", basis=HOSTILE, steps=(HOSTILE,)
        ),
        Silence(source="user", reason=HOSTILE),
        str(VmcoreError(HOSTILE, path=HOSTILE, cure=HOSTILE)),
    ]
    for value in values:
        assert r"owned\x07" in str(value).replace("\\\\", "\\")
        for part in [value] if isinstance(value, str) else value:
            for text in part if isinstance(part, tuple) else (part,):
                assert str(text).isprintable()


def on_a_terminal(*arguments: Any, **environment: str) -> str:
    """Both streams of a command on a terminal of 80 columns."""
    pid, terminal = pty.fork()
    if pid == 0:
        names = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"} | environment
        os.execve(sys.executable, words(*arguments), names)
    pieces = []
    while select.select([terminal], [], [], 30)[0]:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux: the other side is closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.waitpid(pid, 0)
    os.close(terminal)
    return b"".join(pieces).decode("utf-8", "surrogateescape").replace("\r\n", "\n")


def hostile_dump(folder: Path) -> Path:
    """A host's dump whose texts and file name are hostile wherever that is possible."""
    host = XenHost()
    evil = HOSTILE.encode("utf-8")
    host.page(host.base + 0x3A0000)[: len(evil) + 1] = evil + b"\0"
    path = folder / f"vm\u00e9{HOSTILE}.core"
    path.write_bytes(host.build())
    return path


def test_hostile_bytes_reach_no_terminal(tmp_path: Path) -> None:
    path = hostile_dump(tmp_path)
    console = tmp_path / f"log{HOSTILE}"
    data = bytearray(SAMPLE.read_bytes())
    at = data.find(b"New Xen image base address: 0x27800000")
    before = b"\n(XEN) [\x1b]0;owned\x07\x1b[31m] "
    data[at - len(before) : at] = before
    banner = data.find(b"Linux version ")
    data[banner + 14 : banner + 24] = b"6.\x1b[31m\x07\x9b\xc2\x9b"
    console.write_bytes(data)
    lost = tmp_path / f"gone{HOSTILE}"
    for number, dump in enumerate((path, console, lost)):
        for command in ON_A_DUMP if number == 1 else ON_A_DUMP[:4]:
            shown = on_a_terminal(*command, "--color", "never", dump)
            assert is_clean(shown), (command, dump)
        for command in ON_A_DUMP:
            done = tool(*command, dump)
            assert is_clean((done.stdout + done.stderr).decode("utf-8")), (command, dump)
            done = tool(*command, "--json", dump)
            assert is_clean((done.stdout + done.stderr).decode("utf-8")), (command, dump)


@pytest.mark.parametrize(
    "arguments",
    [
        ["formats", HOSTILE],
        ["hook", "run", "a", HOSTILE],
        [HOSTILE],
        ["inspect", f"--{HOSTILE}"],
        ["inspect", "--format", HOSTILE, "x"],
        ["crash", "--target", HOSTILE, SAMPLE],
        ["explain", HOSTILE],
        ["inspect", "--xen-syms", HOSTILE, SAMPLE],
        ["vmcoreinfo", "--get", HOSTILE, SAMPLE],
        ["help", HOSTILE],
    ],
    ids=ascii,
)
def test_hostile_arguments_reach_no_terminal(arguments: list[Any]) -> None:
    done = tool(*arguments)
    assert is_clean((done.stdout + done.stderr).decode("utf-8"))


def test_log_text_keeps_its_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    output.settings.reset()
    output.emit("a\tb\nc\x1b[1;32md\x1b[0m")
    assert capsys.readouterr().out == "a\tb\nc\\x1b[1;32md\\x1b[0m\n"
    output.settings.colour = "always"
    output.emit("\x1b[1;32md\x1b[0m \x1b[8mhidden \x1b]0;x\x07")
    assert capsys.readouterr().out == "\x1b[1;32md\x1b[0m \\x1b[8mhidden \\x1b]0;x\\x07\n"
    output.settings.reset()


def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "naïve 日本語"
    path.write_bytes(SAMPLE.read_bytes())
    shown = tool("inspect", path, env={"LC_ALL": "C.UTF-8", "COLUMNS": "400"}).stdout.decode()
    assert f"{path}: crash dump of a Xen host" in shown
    assert f"'{path}'" in shown
    plain = tool(
        "inspect", path, env={"LC_ALL": "POSIX", "PYTHONUTF8": "0", "COLUMNS": "400"}
    ).stdout
    assert rb"$'" + os.fsencode(tmp_path) + rb"/na\303\257ve" in plain


def test_native_linux_is_opened_by_a_quoted_command(tmp_path: Path) -> None:
    path = tmp_path / "a b.elf"
    path.write_bytes(LINUX.read_bytes())
    assert (
        f"crash VMLINUX '{path}'" in tool("inspect", path, env={"COLUMNS": "400"}).stdout.decode()
    )


def test_notes_of_a_guest_of_no_kind_are_clean(tmp_path: Path) -> None:
    path = tmp_path / HOSTILE
    path.write_bytes(ElfCore([Load(0, b"x")], []).build())
    done = tool("inspect", path)
    assert is_clean((done.stdout + done.stderr).decode("utf-8"))
