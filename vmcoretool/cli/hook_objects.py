"""What the hook commands did and found, as plain data: the objects of ``--json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from vmcoretool.hooks.report import JSON_NAME, TEXT_NAME
from vmcoretool.hooks.systems import PutFile, PutLines, command_of
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmcoretool.hooks.install import Step
    from vmcoretool.hooks.runner import Done
    from vmcoretool.hooks.selftest import Trial
    from vmcoretool.hooks.systems import Change, Plan


class Chosen(NamedTuple):
    """What a command works on: a system's root, the changes of its plan and how they stand."""

    root: str
    plan: Plan
    steps: tuple[Step, ...]


def content_of(change: Change) -> str:
    """What a change writes, as text."""
    if isinstance(change, PutFile):
        return change.text.rstrip("\n")
    if isinstance(change, PutLines):
        return "\n".join(change.lines)
    return f"-> {change.target}"


def changes_object(
    name: str,
    chosen: Chosen,
    made: Sequence[Step],
    *,
    trouble: str | None,
    contents: bool = False,
) -> dict[str, Any]:
    """The object of ``install``, ``uninstall`` and ``status``.

    Args:
        name: the command's.
        chosen: what it works on.
        made: the changes that it made or took back.
        trouble: why not all is as it should be, or None.
        contents: whether to tell what each change writes.
    """
    after = "absent" if name == "uninstall" else "installed"
    rows = []
    for step in chosen.steps:
        row: dict[str, Any] = {
            "path": printable(step.path),
            "kind": _kind(step.change),
            "state": after if step in made else step.state,
            "changed": step in made,
            "why": printable(step.why) or None,
            "by_hand": step.by_hand or None,
        }
        if contents:
            row["content"] = content_of(step.change)
        rows.append(row)
    return {
        "schema": f"vmcoretool/hook-{name}/1",
        "system": chosen.plan.system,
        "root": printable(chosen.root),
        "runs": [printable(word) for word in command_of(chosen.plan.program)],
        "changes": rows,
        "then_run": list(chosen.plan.afterwards) if made else [],
        "trouble": printable(trouble) if trouble else None,
    }


def _kind(change: Change) -> str:
    if isinstance(change, PutFile):
        return "file"
    return "lines" if isinstance(change, PutLines) else "link"


def run_object(directory: str, done: Sequence[Done], trouble: str | None) -> dict[str, Any]:
    """The object of ``run``: what was done now; what an earlier run reported on is not in it."""
    wrong = [one for one in done if not one.right]
    if trouble is None and wrong:
        trouble = f"{len(wrong)} without a report, such as {wrong[0].folder}: {wrong[0].line}"
    return {
        "schema": "vmcoretool/hook-run/1",
        "directory": printable(directory),
        "folders": [_folder_object(one) for one in done if one.state != "nothing"],
        "trouble": printable(trouble) if trouble else None,
    }


def _folder_object(done: Done) -> dict[str, Any]:
    there = done.state in ("written", "unreadable")
    folder = printable(done.folder)
    return {
        "folder": folder,
        "dump": printable(done.dump) if done.dump else None,
        "state": done.state,
        "says": printable(done.line),
        "report": [f"{folder}/{name}" for name in (JSON_NAME, TEXT_NAME)] if there else [],
    }


def selftest_object(trials: Sequence[Trial]) -> dict[str, Any]:
    """The object of ``selftest``."""
    wrong = [trial.name for trial in trials if not trial.right]
    return {
        "schema": "vmcoretool/hook-selftest/1",
        "trials": [
            {"name": one.name, "outcome": printable(one.outcome), "right": one.right}
            for one in trials
        ],
        "trouble": f"wrong: {', '.join(wrong)}" if wrong else None,
    }
