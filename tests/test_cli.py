from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.builders import notes, variants
from tests.builders.elf_core import ElfCore, Load
from tests.builders.xen_host import XenHost
from tests.support import ROOT, SAMPLES, environment_to_measure, tool

SAMPLE = ROOT / "samples/xen-4.17-dom0-panic/vmcore"
LINUX = ROOT / "samples/linux-native/vmcore"
NASTY = [
    "a b';$(touch pwned).core",
    "-v",
    "new\nline",
    "-rf",
    "tab\tand\x1b[2Jescape",
    "$HOME",
    "é",
    "naïve 日本語/vm core".replace("/", " "),
    os.fsdecode(b"\xff\xfe.core"),
    "\x9b2J\u202e '$(x)\\n",
]


@pytest.fixture(scope="session")
def schema() -> Draft202012Validator:
    text = (ROOT / "vmcoretool/inspection/inspect.schema.json").read_text()
    return Draft202012Validator(closed(json.loads(text)))


def closed(part: Any) -> Any:
    """The schema, but without keys that it does not name: readers may meet some, tests must not."""
    if isinstance(part, list):
        return [closed(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    inner = {key: closed(value) for key, value in part.items()}
    if isinstance(part.get("properties"), dict) and "additionalProperties" not in part:
        inner["additionalProperties"] = False
    return inner


def test_schema_is_open_for_added_keys_and_closed_for_tests() -> None:
    published = json.loads((ROOT / "vmcoretool/inspection/inspect.schema.json").read_text())
    (more,) = objects(SAMPLE)
    assert list(Draft202012Validator(closed(published)).iter_errors(more)) == []
    for place in (more, more["dump"]):
        place["added"] = 1
        assert list(Draft202012Validator(published).iter_errors(more)) == []
        assert list(Draft202012Validator(closed(published)).iter_errors(more)) != []
        del place["added"]


@pytest.fixture
def fake_crash(tmp_path: Path) -> Path:
    """A `crash` on the PATH that writes its arguments, NUL-separated, into a file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "crash"
    script.write_text('#!/bin/sh\nfor a; do printf \'%s\\0\' "$a"; done > "$CRASH_LOG"\n')
    script.chmod(0o755)
    return folder


def objects(*arguments: Any) -> list[dict[str, Any]]:
    done = tool("inspect", "--json", *arguments)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_json_follows_the_published_schema(schema: Draft202012Validator, sample: Path) -> None:
    schema.validate(objects(sample / "vmcore")[0])


def test_json_of_variants_and_damage_follows_it_too(
    schema: Draft202012Validator, tmp_path: Path
) -> None:
    data = SAMPLE.read_bytes()
    _, offset, size = variants.note_segment(data)
    cases = [
        variants.word_zeroed(data),
        variants.removed(data),
        variants.shifted(data),
        data[: offset + size],
        data[: offset + 100],
        ElfCore([Load(0, b"x")], [notes.note(b"\x1b[2J", 1, b"")]).build(),
    ]
    paths = []
    for number, case in enumerate(cases):
        path = tmp_path / str(number)
        path.write_bytes(case)
        paths.append(path)
    shown = objects(*paths)
    assert len(shown) == len(cases)
    for one in shown:
        schema.validate(one)


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("name", NASTY, ids=ascii)
def test_eval_of_the_printed_command_runs_no_shell_surprise(
    tmp_path: Path, fake_crash: Path, name: str, shell: str
) -> None:
    shutil.copy(SAMPLE, tmp_path / name)
    environment = {"PATH": f"{fake_crash}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    environment |= {"CRASH_LOG": str(tmp_path / "log"), "NAME": name, "PY": sys.executable}
    script = (
        'line=$("$PY" -m vmcoretool crash --target hypervisor -- "$NAME" 2>/dev/null) && '
        'eval "$line"'
    )
    done = subprocess.run([shell, "-c", script], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0
    given = (tmp_path / "log").read_bytes().split(b"\0")[:-1]
    expected = f"./{name}" if name.startswith("-") else name
    assert given == [b"--xen_phys_start", b"0x27800000", b"xen-syms", os.fsencode(expected)]
    assert not (tmp_path / "pwned").exists()


def test_name_that_is_no_utf8(tmp_path: Path, schema: Draft202012Validator) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe.core"
    Path(os.fsdecode(path)).write_bytes(SAMPLE.read_bytes())
    assert b"\"$(printf '\\377\\376')\".core" in tool("crash", path).stdout
    shown = tool("inspect", "--json", path)
    schema.validate(json.loads(shown.stdout.decode("utf-8")))


def test_inspect_text_shows_control_characters_of_a_name_escaped(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2Jb\nc"
    path.write_bytes(SAMPLE.read_bytes())
    done = tool("inspect", path)
    assert b"\x1b" not in done.stdout + done.stderr
    assert b"a\\033[2Jb\\nc'" in done.stdout


def test_run_without_crash_installed_says_so(tmp_path: Path) -> None:
    done = tool("crash", "--run", SAMPLE, env={"PATH": str(tmp_path)})
    assert done.returncode == 5
    assert b"crash" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("namelist", "hyper"),
    [("xen-syms-4.17", False), ("a/b/xen-syms", False), ("xen-syms/x", True), ("-x", True)],
)
def test_hyper_is_given_when_the_name_does_not_tell(
    tmp_path: Path, namelist: str, *, hyper: bool
) -> None:
    (tmp_path / namelist).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / namelist).write_bytes(b"nothing that decides")
    done = tool("inspect", "--json", f"--xen-syms={namelist}", SAMPLE, cwd=tmp_path)
    shown = json.loads(done.stdout)
    argv = shown["commands"][0]["argv"]
    assert ("--hyper" in argv) == hyper
    assert argv[-2].endswith(namelist)
    assert not argv[-2].startswith("-")
    assert shown["namelists"][0]["match"] == "undecided"


# --- exit codes -------------------------------------------------------------------------------


def code(*arguments: Any, **options: Any) -> int:
    done = tool(*arguments, **options)
    assert b"Traceback" not in done.stderr
    return done.returncode


def test_verified_is_0() -> None:
    assert code("inspect", SAMPLE) == 0
    assert code("crash", SAMPLE) == 0


def test_disputed_is_1(tmp_path: Path) -> None:
    path = tmp_path / "wrong"
    path.write_bytes(variants.shifted(SAMPLE.read_bytes()))
    assert code("inspect", path) == 1
    assert code("crash", path) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect"],
        ["frobnicate"],
        ["inspect", "--xen-phys-start", "27800000", SAMPLE],
        ["inspect", "--xen-phys-start", "0xzz", SAMPLE],
        ["inspect", "--format", "tar", SAMPLE],
        ["vmcoreinfo", "--source", "hurd", SAMPLE],
    ],
)
def test_wrong_usage_is_2(arguments: list[Any]) -> None:
    assert code(*arguments) == 2


def test_what_is_no_dump_is_3(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("hello\n")
    assert code("inspect", text) == 3
    assert code("inspect", "-") == 3
    assert code("inspect", "/dev/null") == 3
    assert tool("inspect", text).stderr.count(b"\n") == 1


def test_refused_by_the_system_is_5(tmp_path: Path) -> None:
    assert code("inspect", tmp_path / "missing") == 5
    assert code("inspect", tmp_path) == 5
    done = tool("inspect", tmp_path / "missing")
    assert done.stdout == b""
    assert b"missing" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_dump_of_another_user_is_5_with_the_cure() -> None:
    # /tmp, as the fixture's folders are closed to other users
    path = Path("/tmp/vmcoretool-test-private.core")
    path.write_bytes(SAMPLE.read_bytes())
    path.chmod(0o600)
    program = (
        f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); import vmcoretool.cli.main as c; "
        f"c.run(['inspect', {str(SAMPLE)!r}]); c.run(['inspect', '/missing']); "
        "os.setgid(65534); os.setuid(65534); "
        f"sys.exit(c.run(['inspect', {str(path)!r}]))"
    )
    try:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    finally:
        path.unlink()
    assert done.returncode == 5
    assert b"sudo" in done.stderr


def test_native_linux_is_6_and_says_so() -> None:
    done = tool("inspect", LINUX)
    assert done.returncode == 6
    assert b"native Linux" in done.stdout
    shown = objects(LINUX)[0]
    assert shown["kind"] == "linux"
    assert shown["xen"] is shown["relocation"] is shown["idle_page_table"] is None
    for key in ("cpus", "domains", "namelists", "commands", "findings"):
        assert shown[key] == []
    assert code("crash", LINUX) == 6


def test_several_dumps_exit_with_the_highest_code(tmp_path: Path) -> None:
    done = tool("inspect", "--json", SAMPLE, tmp_path / "missing", LINUX)
    assert done.returncode == 6
    assert len(done.stdout.splitlines()) == 3
    assert code("inspect", SAMPLE, tmp_path / "missing") == 5


# --- hostile surroundings ---------------------------------------------------------------------


def test_reader_that_leaves_early_is_no_failure() -> None:
    words = [sys.executable, "-m", "vmcoretool", "inspect", "-v", *[str(SAMPLE)] * 3]
    script = f"{shlex.join(words)} | head -1"
    for _ in range(3):
        done = subprocess.run(["bash", "-c", script], capture_output=True, check=False, cwd=ROOT)
        assert done.stderr == b""
        assert done.stdout.count(b"\n") == 1


def test_closed_output_is_no_traceback() -> None:
    words = [sys.executable, "-m", "vmcoretool", "inspect", str(SAMPLE)]
    script = f"{shlex.join(words)} >&-"
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=False, cwd=ROOT)
    assert b"Traceback" not in done.stderr


def test_full_disk_is_5() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vmcoretool", "inspect", SAMPLE],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            cwd=ROOT,
        )
    assert done.returncode == 5
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "environment",
    [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}, {"HOME": "/proc"}, {"TERM": "dumb"}],
)
def test_poor_environments(environment: dict[str, str]) -> None:
    done = tool("inspect", "-v", SAMPLE, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")


def test_colour_only_where_it_is_wanted() -> None:
    assert b"\x1b" not in tool("inspect", SAMPLE).stdout
    assert b"\x1b[1;32mVERIFIED" in tool("inspect", "--color", "always", SAMPLE).stdout
    assert b"\x1b" not in tool("inspect", "--color", "never", SAMPLE).stdout


def test_a_pipe_is_read_as_well_as_a_file() -> None:
    with subprocess.Popen(["cat", SAMPLE], stdout=subprocess.PIPE) as cat:
        done = tool("inspect", "-q", "-", stdin=cat.stdout)
    assert done.stdout == b"0x27800000 verified\n"


def test_endless_streams_are_refused_by_their_first_bytes() -> None:
    for device in ("/dev/zero", "/dev/urandom"):
        assert tool("inspect", device).returncode == 3
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as yes:
        done = tool("inspect", "-", stdin=yes.stdout)
        yes.kill()
    assert done.returncode == 3


def test_stdin_from_a_file_is_read_in_place() -> None:
    with SAMPLE.open("rb") as file:
        assert tool("inspect", "-q", "-", stdin=file).stdout == b"0x27800000 verified\n"


def test_hostile_strings_reach_no_terminal(tmp_path: Path) -> None:
    host = XenHost()
    host.page(host.base + 0x3A0000)[:9] = b"\x1b]0;pwn\x07\0"
    path = tmp_path / "hostile"
    path.write_bytes(host.build())
    for arguments in (["inspect", "-v"], ["inspect", "--json"], ["notes"], ["vmcoreinfo"]):
        assert b"\x1b" not in tool(*arguments, path).stdout


# --- the other commands -----------------------------------------------------------------------


def test_vmcoreinfo_prints_the_text_as_it_is() -> None:
    done = tool("vmcoreinfo", SAMPLE)
    assert done.stdout.startswith(b"PAGESIZE=4096\nSYMBOL(domain_list)=")
    assert done.stdout in SAMPLE.read_bytes()
    assert tool("vmcoreinfo", "--get", "SYMBOL(pgd_l4)", SAMPLE).stdout == b"ffff82d04046e000\n"
    assert tool("vmcoreinfo", "--get", "SYMBOL(pgd_l", SAMPLE).returncode == 1
    without = ROOT / "samples/xen-4.14-dom0-panic/vmcore"
    assert tool("vmcoreinfo", "--source", "linux", without).returncode == 1
    assert b"OSRELEASE=6.1.0" in tool("vmcoreinfo", "--source", "linux", SAMPLE).stdout
    assert b"OSRELEASE=6.1.0" in tool("vmcoreinfo", LINUX).stdout


def test_notes_are_decoded() -> None:
    done = tool("notes", SAMPLE)
    assert b"XEN_ELFNOTE_CRASH_INFO (0x1000001), 80 bytes" in done.stdout
    assert b"xen_phys_start                   0x27800000" in done.stdout
    assert b'0x27ba053f ".7"' in done.stdout
    listed = json.loads(tool("notes", "--json", SAMPLE).stdout)
    assert [note["owner"] for note in listed] == [
        *("CORE", "Xen", "Xen"),
        *("CORE", "Xen"),
        "VMCOREINFO_XEN",
    ]


def test_formats_lists_what_is_read_and_what_is_not() -> None:
    text = tool("formats").stdout.decode()
    listed = json.loads(tool("formats", "--json").stdout)
    names = [row["name"] for row in listed["read"]]
    assert names == ["elf", "xen-core", "kdump", "readelf-text", "raw"]
    assert next(row["name"] for row in listed["layers"]) == "flattened"
    assert "LiME image" in text


def test_every_command_has_help_and_json() -> None:
    listed = tool("--help").stdout.decode()
    for name in ("inspect", "crash", "notes", "vmcoreinfo", "formats"):
        assert f"  {name}" in listed
        assert "--json" in tool(name, "--help").stdout.decode()


def test_version_lists_what_was_found() -> None:
    done = tool("--version")
    assert done.returncode == 0
    assert done.stdout.startswith(b"vmcoretool 0.")


def test_verbose_shows_every_step_of_the_proof() -> None:
    shown = tool("inspect", "-v", SAMPLE).stdout.decode()
    assert "L4 0x27c6e000[258] = 0x8000000027c6e063" in shown
    assert "0x27c6e000 - (0xffff82d04046e000 - 0xffff82d040000000) = 0x27800000" in shown


# --- start-up ---------------------------------------------------------------------------------


def test_inspecting_elf_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "vmcoretool", "inspect", SAMPLE],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env=environment_to_measure(),
    )
    imported = {line.rsplit(b"|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert b"vmcoretool.inspection.inspect" in imported
    heavy: tuple[bytes, ...] = (
        b"elftools",
        b"construct",
        b"importlib.metadata",
        b"json",
        b"vmcoretool.inspection.as_json",
    )
    heavy += (b"vmcoretool.formats.kdump.reader", b"lzallright", b"cramjam", b"zstandard", b"lz4")
    roots = {name.split(b".")[0] for name in imported}
    assert [name for name in heavy if name in imported or name in roots] == []


def test_importing_the_package_opens_and_spawns_nothing() -> None:
    program = (
        "import sys; sys.dont_write_bytecode = True\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, args: seen.append((event, args)) "
        "if event in ('subprocess.Popen', 'os.fork', 'socket.connect') else None)\n"
        "import vmcoretool\n"
        "assert seen == [], seen\n"
        "assert 'click' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


@pytest.mark.parametrize("version", ["2.7.18", "3.6.15", "3.8.18", "3.9.18"])
def test_older_python_gets_one_sentence(version: str) -> None:
    python = Path.home() / ".pyenv/versions" / version / "bin/python"
    if not python.exists():
        # no such interpreter here: at least the syntax must be old
        source = (ROOT / "vmcoretool/__init__.py").read_text()
        assert "from __future__" not in source
        return
    done = subprocess.run(
        [str(python), "-m", "vmcoretool", "inspect", str(SAMPLE)],
        capture_output=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode != 0
    assert done.stderr.startswith(b"vmcoretool needs Python 3.10 or newer")
    assert done.stderr.count(b"\n") == 1


def test_headers_that_were_cut_off_do_not_say_that_there_is_no_xen(tmp_path: Path) -> None:
    path = tmp_path / "vmcore"
    path.write_bytes(SAMPLE.read_bytes()[:1000])
    for command in ("inspect", "console", "crash"):
        done = tool(command, path)
        said = done.stdout + done.stderr
        assert b"does not tell whose memory it is" in said
        assert b"bytes of notes" in said
        assert b"without any trace" not in said
        assert done.returncode == 6
