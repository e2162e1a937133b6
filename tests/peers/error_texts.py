"""What crash and makedumpfile of every Debian release print when they are called wrongly.

    python3 -m tests.peers.error_texts [--write] [--only FORM]

Runs each form of :mod:`tests.peers.wrong_forms` in each release, unpacked by the lab and not
installed, without network, without privileges and with a limit of time.  Without ``--write`` it
says what differs from ``tests/data/error-texts.json``, which the tests read; see docs/lab.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.lab.__main__ import ensure
from tests.lab.packages import CACHE, LabError, Suite, dbg_vmlinux, kernel, run
from tests.lab.scenarios import SCENARIOS
from tests.peers.wrong_forms import DUMPS, EDITS, FOLDER, FORMS, MISSING, NOT_THERE, UNREADABLE
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.peers.wrong_forms import Form

DATA: Final = ROOT / "tests/data/error-texts.json"
SUITES: Final = ("bullseye", "bookworm", "trixie", "forky", "sid")
KEPT: Final = 12
SECONDS: Final = 90
MOST_BYTES: Final = 1 << 30
"""That a program may write to a file; more is a run without an end."""
READ: Final = 1 << 16
WORKERS: Final = 2
HEAD: Final = 1 << 16
"""Where the headers and notes of the lab's dump end at the latest."""
STATUS: Final = 424
"""Where the status is in the header of a kdump file of a 64-bit machine."""
OTHER_KERNEL: Final = "linux-image-cloud-amd64-dbg"
"""Of bullseye: its DWARF is of version 4, which every release reads."""
_BANNER: Final = re.compile(
    r"^(crash \d|Copyright|This |There is|Enter \"help|certain cond|and you are|under certain|"
    r"GNU gdb|License|Type |For help|Find the|\s+<http|and \"show|please wait|NOTE: stdin)"
)
_OPENED: Final = re.compile(r"^(crash>|\s+STATE: TASK)", re.MULTILINE)
_PROGRESS: Final = re.compile(r"^[A-Za-z ]*: \[ *[\d.]*( %\])?( [-/|\\])?(\s+eta: \S+)?\s*")
_ESCAPE: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][0-9A-B]|\x0f")
_NUMBER: Final = re.compile(r"\b(?=[0-9a-fx]*\d)(0x)?[0-9a-f]{7,16}\b")
"""Addresses and sizes: those of another dump would be others."""
_TEMPORARY: Final = re.compile(r"/var/tmp/(.*?)_[A-Za-z0-9]{6}\b")
_TRACE: Final = re.compile(r"\b[0-9a-f]{12,16}( => [0-9a-f]{6,16})+")


class Release(NamedTuple):
    """One program of one Debian release, unpacked."""

    program: str
    version: str
    root: Path

    @property
    def argv(self) -> list[str]:
        """The words that start it with its own libraries."""
        libraries = [self.root / "lib/x86_64-linux-gnu", self.root / "usr/lib/x86_64-linux-gnu"]
        loaders = [path for place in libraries for path in sorted(place.glob("ld-*.so*"))]
        found = [
            path
            for part in ("usr/bin", "usr/sbin", "sbin")
            for path in (self.root / part).glob(self.program)
        ]
        return [str(loaders[0]), "--library-path", ":".join(map(str, libraries)), str(found[0])]


def releases() -> list[Release]:
    """Every release of both programs that Debian's archive has, one of each version."""
    found: dict[tuple[str, str], Release] = {}
    for suite in map(Suite, SUITES):
        root = suite.closure("crash", "makedumpfile")
        for program, option, at in (
            ("crash", "--version", r"crash (\d[\d.]+)"),
            ("makedumpfile", "-v", r"version (\d[\d.]+)"),
        ):
            one = Release(program, "", root)
            done = subprocess.run([*one.argv, option], capture_output=True, text=True, check=False)
            version = re.search(at, done.stdout + done.stderr)
            if version is None:
                raise LabError(f"{program} of {suite.name} does not start: {done.stderr[-300:]}")
            found.setdefault((program, version[1]), one._replace(version=version[1]))
    return list(found.values())


class Contents:
    """Whole dumps and real symbol files under the names of the forms, made when asked for."""

    def __init__(self, makedumpfile: Release) -> None:
        self._makedumpfile = makedumpfile
        self._lab = _lab_dump("xen-4.20")
        self._folder = CACHE / "error-texts"
        self._folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """The file of that content."""
        place = self._folder / name
        if not place.exists():
            partial = place.with_suffix(".partial")
            partial.unlink(missing_ok=True)
            self._make(name, partial)
            partial.chmod(0o444)
            partial.rename(place)
        return place

    def _make(self, name: str, target: Path) -> None:
        symbols: dict[str, Callable[[Path], object]] = {
            "xen-syms": lambda to: shutil.copy(self._package("trixie"), to),
            "xen-syms-other": lambda to: shutil.copy(self._package("sid"), to),
            "map": lambda to: shutil.copy(f"{self._package('trixie')}.map", to),
            "xen-syms-bare": lambda to: run("objcopy", "-g", self.path("xen-syms"), to),
            "xen-syms-stripped": lambda to: run("strip", "-o", to, self.path("xen-syms")),
            "xen-syms-debug": lambda to: run(
                "objcopy", "--only-keep-debug", self.path("xen-syms"), to
            ),
            "xen-syms-cut": lambda to: self._cut(self.path("xen-syms"), to),
            "xen-syms-gz": lambda to: self._packed("gzip", "xen-syms", to),
            "xen-syms-xz": lambda to: self._packed("xz", "xen-syms", to),
            "xen-gz": lambda to: shutil.copy(self._hypervisor(), to),
            "xen": lambda to: self._output(["zcat", self._hypervisor()], to),
            "vmlinux": lambda to: to.symlink_to(dbg_vmlinux()),
            "vmlinux-other": lambda to: to.symlink_to(self._other_kernel()),
            "vmlinuz": lambda to: shutil.copy(_only(kernel()[0], "vmlinuz-*"), to),
            "vmcoreinfo": lambda to: self._saved(["-g", to, "-x", self.path("vmlinux")]),
            "host": lambda to: to.symlink_to(self._lab),
            "hypervisor-panicked": lambda to: to.symlink_to(_lab_dump("key-C")),
            "kdump": lambda to: self._saved(["-c", "-X", "-d", "1", self._lab, to]),
            "kdump-lzo": lambda to: self._saved(["-l", "-X", "-d", "1", self._lab, to]),
            "kdump-zstd": lambda to: self._saved(["-z", "-X", "-d", "1", self._lab, to]),
            "flat-elf": lambda to: self._flat(["-E"], to),
            "flat-kdump": lambda to: self._flat(["-c"], to),
        }
        if name in symbols:
            symbols[name](target)
        elif name.startswith("kdump-part-"):
            target.hardlink_to(self._parts()[int(name[-1]) - 1])
        elif name == "kdump-no-room":
            self._incomplete(target)
        elif name in ("host-cut", "kdump-cut", "flat-elf-cut", "flat-kdump-cut"):
            self._cut(self.path(name.removesuffix("-cut")), target)
        elif name in EDITS:
            self._edited(name, target)
        else:
            target.write_bytes(DUMPS[name]())

    def _edited(self, name: str, target: Path) -> None:
        # the variants change nothing but headers and notes
        with self._lab.open("rb") as file:
            head = file.read(HEAD)
        changed = EDITS[name](head)
        run("cp", "--sparse=always", self._lab, target)
        target.chmod(0o600)
        with target.open("rb+") as file:
            file.write(changed)

    def _incomplete(self, target: Path) -> None:
        # what makedumpfile sets in the header where the disk is full
        self._cut(self.path("kdump"), target)
        with target.open("r+b") as file:
            file.seek(STATUS)
            (status,) = file.read(1)
            file.seek(STATUS)
            file.write(bytes([status | 8]))

    def _cut(self, whole: Path, target: Path) -> None:
        self._output(["head", "-c", whole.stat().st_size * 6 // 10, whole], target)

    @staticmethod
    def _output(command: list[object], target: Path) -> None:
        with target.open("wb") as out:
            subprocess.run([str(word) for word in command], stdout=out, check=True)

    def _packed(self, program: str, name: str, target: Path) -> None:
        self._output([program, "-c", self.path(name)], target)

    def _saved(self, words: list[object]) -> None:
        run(*self._makedumpfile.argv, *words)

    def _flat(self, words: list[str], target: Path) -> None:
        self._output([*self._makedumpfile.argv, "-F", *words, "-X", "-d", "1", self._lab], target)

    def _parts(self) -> list[Path]:
        parts = [self._folder / f"of-a-pair-{number}" for number in (1, 2)]
        if not all(part.exists() for part in parts):
            self._saved(["-f", "--split", "-c", "-X", "-d", "1", self._lab, *parts])
        return parts

    def _package(self, suite: str) -> Path:
        return _only(Suite(suite).root("xen-hypervisor-4.20-amd64-dbg"), "xen-syms-4.20-amd64")

    def _hypervisor(self) -> Path:
        return _only(Suite("trixie").root("xen-hypervisor-4.20-amd64"), "xen-4.20-amd64.gz")

    def _other_kernel(self) -> Path:
        suite = Suite("bullseye")
        return _only(suite.root(suite.resolve(OTHER_KERNEL)), "vmlinux-*")


def _lab_dump(scenario: str) -> Path:
    return ensure(next(one for one in SCENARIOS if one.name == scenario)) / "vmcore"


def _only(root: Path, pattern: str) -> Path:
    return next(path for path in sorted(root.rglob(pattern)) if path.is_file())


def printed(release: Release, form: Form, contents: Contents) -> tuple[str, list[str]]:
    """How a run ended (opened, failed, no end) and its last lines."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = {release.argv[-1]: release.program}
        for file, content in form.files.items():
            _put(folder / file, content, contents)
            names[str((folder / file).resolve())] = file
        ended, output = _run(release.argv, form.command, folder)
        lines, banner = _last(output, name, names)
        # of a run that was ended only what it said itself counts
        return ended, lines or (banner if ended == "failed" else [])


def _put(path: Path, content: str, contents: Contents) -> None:
    if content == FOLDER:
        path.mkdir()
    elif content == UNREADABLE:
        path.write_bytes(b"x")
        path.chmod(0)
    elif content != MISSING:
        path.symlink_to(contents.path(content).resolve())


def _alone() -> list[str]:
    # no network; root without its powers, so that a file may be unreadable
    if os.geteuid():
        return ["unshare", "--map-current-user", "-n"]
    return ["unshare", "-n", "setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]


def _run(argv: list[str], command: str, folder: Path) -> tuple[str, str]:
    words, _, source = command.partition("< ")
    words, _, target = words.partition("> ")
    environment = {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(folder), "LC_ALL": "C"}
    # a program may print without end, so into a file: the limit of its size ends that, too
    with (
        tempfile.TemporaryFile() as output,
        (folder / (source or os.devnull)).open("rb") as stdin,
        (folder / (target or os.devnull)).open("wb") as stdout,
    ):
        with subprocess.Popen(
            ["prlimit", "--core=0", f"--fsize={MOST_BYTES}", *_alone(), *argv, *words.split()],
            cwd=folder,
            env=environment,
            stdin=stdin,
            stdout=stdout if target else output,
            stderr=output,
            start_new_session=True,
        ) as process:
            try:
                status = process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                status = None
        output.seek(max(0, output.seek(0, os.SEEK_END) - READ))
        text = output.read().decode(errors="replace")
    if status is None or status == -signal.SIGXFSZ:
        return "no end", text
    if status < 0:  # as the shell says it
        text += f"\n{signal.strsignal(-status)}\n"
    failed = status and not _OPENED.search(text)
    return "failed" if failed else "opened", text


def _last(output: str, folder: str, names: dict[str, str]) -> tuple[list[str], list[str]]:
    lines: list[str] = []
    banner: list[str] = []
    for line in _ESCAPE.sub("", output).splitlines():
        text = line.rstrip().expandtabs().rpartition("\r")[2].replace(f"{folder}/", "")
        for path, name in names.items():
            text = text.replace(path, name)
        text = _TEMPORARY.sub(r"\1", text)
        text = _NUMBER.sub("NUMBER", _TRACE.sub("ADDRESSES", text))
        text = _PROGRESS.sub("", text)
        if text.strip():
            (banner if _BANNER.match(text) else lines).append(text)
    lines = list(dict.fromkeys(reversed(lines)))[::-1]  # of repeated ones the last
    return lines[-KEPT:], banner[-2:]


def records(found: list[Release], contents: Contents, form: Form) -> list[dict[str, Any]]:
    """One record for each way a form ended, with the releases that end so."""
    for content in form.files.values():
        if content not in NOT_THERE:
            contents.path(content)
    programs = [one for one in found if one.program == form.program]
    with ThreadPoolExecutor(WORKERS) as pool:
        done = list(pool.map(lambda one: printed(one, form, contents), programs))
    rows: dict[str, dict[str, Any]] = {}
    for release, (ended, lines) in zip(programs, done, strict=True):
        row: dict[str, Any] = {"program": form.program, "form": form.name, "releases": []}
        row |= {"ended": ended, "lines": [] if ended == "opened" else lines}
        rows.setdefault(json.dumps(row), row)["releases"].append(release.version)
    return list(rows.values())


def differences(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> Iterator[str]:
    """What another run printed, one line each."""
    known = {json.dumps(row, sort_keys=True) for row in old}
    made = {json.dumps(row, sort_keys=True) for row in new}
    yield from (f"- {row}" for row in sorted(known - made))
    yield from (f"+ {row}" for row in sorted(made - known))


def main() -> int:
    """Run all, say what differs, write it where that is asked for."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.peers.error_texts")
    parser.add_argument("--write", action="store_true", help="write tests/data/error-texts.json")
    parser.add_argument("--only", metavar="FORM", action="append", help="this form alone")
    arguments = parser.parse_args()
    forms = [form for form in FORMS if not arguments.only or form.name in arguments.only]
    programs = releases()
    contents = Contents([one for one in programs if one.program == "makedumpfile"][-1])
    changed: list[str] = []
    for form in forms:
        new = records(programs, contents, form)
        changed += _kept(form, new, write=arguments.write)
        print(f"{form.program} {form.name}: {len(new)} ways to end", file=sys.stderr, flush=True)
    print("\n".join(changed) or "nothing differs")
    return 0 if arguments.write or not changed else 1


def _kept(form: Form, new: list[dict[str, Any]], *, write: bool) -> list[str]:
    # saved form by form: all of them take a quarter of an hour
    old = json.loads(DATA.read_text()) if DATA.exists() else []
    order = {(one.program, one.name): number for number, one in enumerate(FORMS)}
    own = order[form.program, form.name]
    place = {id(row): order.get((row["program"], row["form"])) for row in old}
    rest = [row for row in old if place[id(row)] not in (own, None)]  # None: a form of the past
    if write:
        rows = sorted([*rest, *new], key=lambda row: order[row["program"], row["form"]])
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        DATA.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    return list(differences([row for row in old if place[id(row)] == own], new))


if __name__ == "__main__":
    sys.exit(main())
