"""Make dumps and check them: ``python3 -m tests.lab [SCENARIO...]``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab import boots, checks, crashes, report, scenarios, truth
from tests.lab.packages import (
    TOOLS,
    LabError,
    dbg_vmlinux,
    missing_for,
    missing_tools,
    xen_syms,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.checks import Row
    from tests.lab.crashes import Crash, Session
    from tests.lab.scenarios import Scenario


def ensure(scenario: Scenario, *, fresh: bool = False) -> Path:
    """The folder of a scenario's dump, made now unless a whole one is there.

    truth.json is written last, so a folder without it is nothing.

    Raises:
        LabError: it could not be made.
    """
    # a hypervisor of one's own never shares a folder with the package's
    own = "own-" if os.environ.get("LAB_XEN") else ""
    folder = scenarios.output_folder() / f"{own}{scenario.name}"
    done = folder / "truth.json"
    if done.exists() and not fresh:
        _write(done, truth.collect(scenario, folder))
        return folder
    done.unlink(missing_ok=True)
    started = time.monotonic()
    try:
        scenarios.make(scenario, folder)
    finally:
        scenarios.remove_working_files(folder)
    _write(done, truth.collect(scenario, folder))
    print(f"{scenario.name}: made in {time.monotonic() - started:.0f} s", flush=True)
    return folder


def _write(place: Path, facts: dict[str, Any]) -> None:
    partial = place.with_suffix(".partial")
    partial.write_text(json.dumps(facts, indent=1) + "\n")
    partial.rename(place)


def variants_of(scenario: Scenario, folder: Path) -> Iterator[Row]:
    """The dump with other notes, and what makedumpfile makes of it."""
    facts = json.loads((folder / "truth.json").read_text())
    with tempfile.TemporaryDirectory(dir=folder) as name:
        path = Path(name) / "vmcore"
        for variant in checks.VARIANTS:
            checks.write_variant(folder / "vmcore", variant, path)
            yield from checks.check_variant(scenario.name, variant, path, facts)
        for options in checks.MADE:
            yield from checks.check_made(scenario.name, options, folder / "vmcore", path)
            path.unlink(missing_ok=True)


def sessions_of(
    scenario: Scenario, folder: Path, found: list[Crash], *, full: bool
) -> Iterator[Session]:
    """Every command with a symbol file at hand, in every crash, held to what was foretold."""
    if scenario.xen is None:
        return
    whose = "own" if os.environ.get("LAB_XEN") else "stock"
    files = {}
    syms = xen_syms(scenario.xen) if scenario.boot != "efi" else None
    if syms:
        files["hypervisor"] = ("--xen-syms", syms, f"{whose} xen-syms")
    if full and scenario.name in scenarios.WITH_LINUX:
        files["dom"] = ("--vmlinux", dbg_vmlinux(), "dbg vmlinux")
    for crash in found:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            words = [word for option, path, _ in files.values() for word in (option, path)]
            path = crashes.path_with(crash, Path(name))
            _, answer = checks.inspect(*words, folder / "vmcore", PATH=path)
        for command in answer["commands"]:
            kind = command["target"].rstrip("0123456789")
            if kind in files:
                label = f"{scenario.name}, {command['target']}, {files[kind][2]}"
                script = crashes.HYPERVISOR if kind == "hypervisor" else crashes.LINUX
                wanted = crashes.foretold(command)
                argv = command["argv"]
                yield crashes.session(label, crash, argv, script, folder, wanted=wanted)


def opening_pair(found: list[Crash]) -> Iterator[Session]:
    """LAB_XEN_SYMS and LAB_VMCORE: a symbol file that crash accepts, and its dump."""
    syms, vmcore = os.environ.get("LAB_XEN_SYMS"), os.environ.get("LAB_VMCORE")
    if not syms or not vmcore:
        return
    with tempfile.TemporaryDirectory(dir=scenarios.output_folder()) as name:
        path = Path(name) / "vmcore"
        for variant in ("as saved", "9-words", "zeroed", "removed"):
            if variant == "as saved":
                path.symlink_to(Path(vmcore).resolve())
            else:
                path.unlink()
                checks.write_variant(Path(vmcore), variant, path)
            for crash in found:
                environment = {"PATH": crashes.path_with(crash, Path(name))}
                _, answer = checks.inspect("--xen-syms", syms, path, **environment)
                given = next(one for one in answer["commands"] if one["target"] == "hypervisor")
                yield from _with_and_without(variant, given, crash, Path(name))


def _with_and_without(
    variant: str, given: dict[str, Any], crash: Crash, folder: Path
) -> Iterator[Session]:
    argv, script, wanted = given["argv"], crashes.HYPERVISOR, crashes.foretold(given)
    label = f"pair, note {variant}"
    yield crashes.session(f"{label}, as given", crash, argv, script, folder, wanted=wanted)
    bare = [argv[0], *argv[3:]] if argv[1] == "--xen_phys_start" else argv
    if given["requires_option"]:
        wanted = crashes.OUTCOMES
    label = f"{label}, without the option"
    yield crashes.session(label, crash, bare, script, folder, wanted=wanted)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.lab", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="SCENARIO")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument("--fresh", action="store_true", help="make dumps again")
    parser.add_argument("--full", action="store_true", help="guests in crash too (1 GB to fetch)")
    parser.add_argument("--write-docs", action="store_true", help="write docs/lab.md's tables")
    options = parser.parse_args()
    known = {scenario.name: scenario for scenario in scenarios.SCENARIOS}
    if options.list:
        print("\n".join([*known, boots.NAME]))
        return 0
    unknown = [name for name in options.names if name not in (*known, boots.NAME)]
    missing = missing_tools(TOOLS)
    if unknown or missing:
        what = f"no scenario {unknown}" if unknown else f"apt-get install {' '.join(missing)}"
        print(f"the lab cannot run: {what}", file=sys.stderr)
        return 2
    if options.names and options.write_docs:
        print("the page shows a run of all scenarios: name none", file=sys.stderr)
        return 2
    chosen = options.names or [*known, boots.NAME]
    try:
        run = _Run(crashes.crashes())
        for scenario in (known[name] for name in chosen if name in known):
            run.do(scenario, fresh=options.fresh, full=options.full)
        run.sessions += opening_pair(run.crashes)
        if boots.NAME in chosen:
            run.boot(fresh=options.fresh)
    except LabError as error:
        print(f"the lab cannot run: {error}", file=sys.stderr)
        return 2
    body = report.text(run.rows, run.sessions, run.left_out + run.failed, run.booted)
    print(body)
    if options.write_docs:
        report.write_page(body)
    rows = run.rows + run.booted
    wrong = [row for row in rows if not row.right]
    other = [one for one in run.sessions if not one.right]
    print(
        f"{len(rows)} facts, {len(wrong)} wrong; {len(run.sessions)} sessions of crash, "
        f"{len(other)} not as foretold; {len(run.failed)} scenarios failed"
    )
    return 1 if wrong or other or run.failed else 0


class _Run:
    """What is found scenario by scenario."""

    def __init__(self, found: list[Crash]) -> None:
        self.crashes = found
        self.rows: list[Row] = []
        self.booted: list[Row] = []
        self.sessions: list[Session] = []
        self.left_out: list[str] = []
        self.failed: list[str] = []

    def do(self, scenario: Scenario, *, fresh: bool, full: bool) -> None:
        """One scenario; what it lacks or where it failed is kept as a line."""
        needed = missing_for(scenario.boot)
        if needed:
            self.left_out.append(f"{scenario.name} needs apt-get install {' '.join(needed)}")
            return
        try:
            folder = ensure(scenario, fresh=fresh)
            self.rows += checks.check(scenario, folder)
            self.sessions += sessions_of(scenario, folder, self.crashes, full=full)
            if scenario.name in scenarios.WITH_VARIANTS:
                self.rows += variants_of(scenario, folder)
        except LabError as error:
            self.failed.append(f"{scenario.name} failed: {error}")

    def boot(self, *, fresh: bool) -> None:
        """The machine whose unit reports after boot."""
        started = time.monotonic()
        try:
            log = boots.ensure(scenarios.output_folder() / boots.NAME, fresh=fresh)
            self.booted += boots.check(log.read_text(errors="replace"))
        except LabError as error:
            self.failed.append(f"{boots.NAME} failed: {error}")
        print(f"{boots.NAME}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
