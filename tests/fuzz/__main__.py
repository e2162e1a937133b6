"""``python -m tests.fuzz``: a campaign, or one input of one again."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import TYPE_CHECKING

# the guide begins before anything of the package is imported: its definitions are lines, too
from tests.fuzz.lines import MEASURES, Guide, measured

if TYPE_CHECKING:
    from tests.fuzz.campaign import Campaign
    from tests.fuzz.targets import Target

_NEVER = 1 << 62


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="wall time (default: 1)")
    parser.add_argument("--executions", type=int, default=_NEVER, help="end after so many")
    parser.add_argument("--each", type=int, help="so many of each target, whatever the time")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats a campaign")
    parser.add_argument("--target", action="append", default=[], help="only this; repeatable")
    parser.add_argument("--folder", type=Path, default=Path("fuzz-failures"), help="for failures")
    parser.add_argument("--until-fault", action="store_true", help="end with the first fault")
    parser.add_argument("--input", type=Path, help="run this one input of --target")
    parser.add_argument("--of", default="", help="the seed that it was made of")
    parser.add_argument("--missing", action="store_true", help="name the lines not reached")
    given = parser.parse_args()
    guide = Guide()
    guide.start()
    os.environ["PATH"] = "/nowhere"  # what is installed here decides nothing
    _import_all()
    targets = _chosen(given.target)
    if given.input:
        return _again(targets[0], given.input, given.of)
    from tests.fuzz.campaign import Campaign

    campaign = Campaign(targets, guide, given.seed, given.folder)
    with suppress(KeyboardInterrupt):  # what was done by then is reported
        if given.each:
            campaign.run_each(given.each)
        else:
            ends = 60 * given.minutes
            campaign.run(ends, given.executions, until_fault=given.until_fault)
    _report(campaign, missing=given.missing)
    return int(bool(campaign.failures))


def _import_all() -> None:
    # each worker would import them anew
    package = import_module("vmcoretool")
    for module in walk_packages(package.__path__, "vmcoretool."):
        if not module.name.endswith("__main__"):
            import_module(module.name)


def _chosen(names: list[str]) -> tuple[Target, ...]:
    from tests.fuzz.targets import TARGETS

    known = [target.name for target in TARGETS]
    unknown = set(names) - set(known)
    if unknown:
        sys.exit(f"no target {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    return tuple(target for target in TARGETS if not names or target.name in names)


def _again(target: Target, path: Path, of: str) -> int:
    from tests.fuzz.campaign import Entry, run_case

    seeds = target.seeds()
    number = next((at for at, seed in enumerate(seeds) if seed.name == of), 0)
    kind, failure = run_case(target, Entry(path.read_bytes(), number), seeds)
    print(f"{failure.what}\n{failure.detail}" if failure else f"no fault: {kind}")
    return int(bool(failure))


def _report(campaign: Campaign, *, missing: bool) -> None:
    print(f"seed {campaign.seed}, Python {sys.version.split()[0]}")
    for state in campaign.states:
        each = 1000 * state.seconds / max(state.executions, 1)
        print(
            f"{state.target.name:12} {state.executions:8} executions {each:6.1f} ms each "
            f"{len(state.kinds):5} kinds of answers {len(state.entries):5} inputs kept "
            f"{state.failures} failures"
        )
    print(f"{'all':12} {campaign.executions:8} executions")
    if MEASURES:
        table, lost = measured(campaign.guide.reached)
        reached = sum(row[0] for row in table.values())
        total = sum(row[1] for row in table.values())
        print(f"{reached} of {total} lines reached: {100 * reached / total:.1f} %")
        if missing:
            print("\n".join(lost))
    else:
        print("lines are measured on Python 3.12 and later only")
    for failure in campaign.failures:
        print(f"FAULT {failure.target}: {failure.what}\n{failure.detail}")


if __name__ == "__main__":
    sys.exit(main())
