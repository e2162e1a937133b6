"""``vmcoretool hook``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vmcoretool.cli.exits import Exit
from vmcoretool.cli.options import json_option
from vmcoretool.cli.output import complain, emit, emit_json, settings
from vmcoretool.hooks.systems import SYSTEMS, system_named
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from vmcoretool.cli.hook_objects import Chosen
    from vmcoretool.hooks.install import Step
    from vmcoretool.hooks.runner import Done


@click.group("hook")
def command() -> None:
    """Keep what identifies a dump, and have the answer beside it before anyone logs in."""


def _absolute(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and (not value.startswith("/") or "\n" in value):
        raise click.BadParameter(f"{value!r}: an absolute path, such as /var/crash")
    return value


def _system(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    system = system_named(value)
    if system is None:
        raise click.BadParameter(f"{printable(value)!r} is not one of {', '.join(SYSTEMS)}")
    return system


def _where(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        json_option,
        click.option(
            "--exec",
            "program",
            metavar="PATH",
            callback=_absolute,
            help="What the unit runs; default: what is installed so, else this very vmcoretool.",
        ),
        click.option(
            "--directory",
            metavar="DIR",
            callback=_absolute,
            help="Where dumps are; default: what is installed, else /var/crash.",
        ),
        click.option(
            "--root",
            default="/",
            metavar="DIR",
            show_default=True,
            type=click.Path(exists=True, file_okay=False),
            help="Another system's root.",
        ),
        click.option(
            "--system",
            metavar=f"[{'|'.join(SYSTEMS)}]",
            callback=_system,
            help="Or a distribution's name; default: by the os-release there.",
        ),
    ):
        function = option(function)
    return function


@command.command("install")
@_where
@click.option("--dry-run", is_flag=True, help="Show every file and line, and change nothing.")
@click.option(
    "--trust-this-python",
    is_flag=True,
    help="Go on where others than root can change what the unit runs as root.",
)
def install_command(
    *, as_json: bool, dry_run: bool, trust_this_python: bool, **where: str | None
) -> int:
    """Install the hooks of a system; what is not vmcoretool's is never overwritten."""
    from vmcoretool.cli.hook_objects import changes_object, content_of  # noqa: PLC0415 - as click's

    chosen = _choose(as_json=as_json, **where)
    open_to_others = _complain_of_others(chosen)
    if dry_run:
        if as_json:
            emit_json(changes_object("install", chosen, (), trouble=open_to_others, contents=True))
            return 0
        for step in chosen.steps:
            emit(f"--- {printable(step.path)}: {_state(step)}")
            emit(content_of(step.change))
        return 0
    if open_to_others and not trust_this_python:
        complain("nothing was installed; --trust-this-python goes on all the same")
        if as_json:
            emit_json(changes_object("install", chosen, (), trouble=open_to_others))
        return 1
    return _install(chosen, as_json=as_json)


def _install(chosen: Chosen, *, as_json: bool) -> int:
    from vmcoretool.hooks.install import (  # noqa: PLC0415 - as all of click's commands
        install,
        with_carriage_returns,
        without_configuration,
    )

    missing = without_configuration(chosen.steps)
    try:
        changed = install(chosen.steps)
    except PermissionError as error:
        return _needs_root(error)
    refused = [step for step in chosen.steps if step.state == "refused"]
    lacking = [f"{path} was not there: install kdump, or nothing runs the hook" for path in missing]
    lacking += [
        f"{path}: its lines end in CR LF, which kdump takes for a part of what is set"
        for path in with_carriage_returns(chosen.steps)
    ]
    trouble = [*(f"{step.path}: {_state(step)}" for step in refused), *lacking]
    _tell("install", chosen, changed, as_json=as_json, trouble="; ".join(trouble) or None)
    for step in refused:
        if step.by_hand:
            complain(f"{step.path}, by hand: {step.by_hand}")
    for line in lacking:
        complain(line)
    return int(bool(refused))


@command.command("uninstall")
@_where
def uninstall_command(*, as_json: bool, **where: str | None) -> int:
    """Take away exactly what install wrote."""
    from vmcoretool.hooks.install import uninstall  # noqa: PLC0415 - as above

    chosen = _choose(as_json=as_json, **where)
    try:
        removed = uninstall(chosen.steps)
    except PermissionError as error:
        return _needs_root(error)
    by_hand = [step for step in chosen.steps if step.state == "installed" and step.why]
    left = [f"{printable(step.path)}: take out by hand what was added by hand" for step in by_hand]
    _tell("uninstall", chosen, removed, as_json=as_json, trouble="; ".join(left) or None)
    for line in left:
        complain(line)
    return 0


@command.command("status")
@_where
def status_command(*, as_json: bool, **where: str | None) -> int:
    """Say what is installed; 1 where not all of it is as it should be."""
    chosen = _choose(as_json=as_json, **where)
    wrong = sum(step.state != "installed" for step in chosen.steps)
    trouble = f"{wrong} of {len(chosen.steps)} are not installed" if wrong else None
    _tell("status", chosen, (), as_json=as_json, trouble=trouble)
    return int(wrong > 0)


def _tell(
    name: str, chosen: Chosen, made: Sequence[Step], *, as_json: bool, trouble: str | None
) -> None:
    if as_json:
        from vmcoretool.cli.hook_objects import changes_object  # noqa: PLC0415 - as above

        emit_json(changes_object(name, chosen, made, trouble=trouble))
        return
    word = "removed" if name == "uninstall" else "written"
    for step in chosen.steps:
        emit(f"{printable(step.path)}: {word if step in made else _state(step)}")
    if made:
        _say_what_next(chosen, removed=name == "uninstall")


@command.command("run")
@click.argument("directory")
@json_option
def run_command(directory: str, *, as_json: bool) -> int:
    """Write vmcoretool.json and vmcoretool.txt beside each new, finished dump below DIRECTORY.

    The exit code is 0 whatever a dump is like: a hook never fails.
    """
    from vmcoretool.hooks.runner import run  # noqa: PLC0415 - as above

    reports: list[Done] = []
    trouble: str | None = "interrupted"
    try:
        for done in run(directory):
            reports.append(done)
            if not done.right:
                complain(f"{printable(done.folder)}: {done.line}")
            elif not as_json:
                emit(f"{printable(done.folder)}: {done.line}")
        trouble = reports[-1].line if reports and reports[-1].state == "nothing" else None
    except BlockingIOError:
        trouble = "another vmcoretool is at work"
        complain(f"{printable(directory)}: {trouble}")
    except OSError as error:
        trouble = error.strerror or str(error)
        complain(f"{printable(directory)}: {trouble}")
    finally:
        if as_json:
            from vmcoretool.cli.hook_objects import run_object  # noqa: PLC0415 - as above

            emit_json(run_object(directory, reports, trouble))
    return 0


@command.command("report", hidden=True)
@click.argument("path")
@click.argument("cpu_seconds", type=int)
@click.argument("memory", type=int)
def report_command(path: str, cpu_seconds: int, memory: int) -> int:
    """One dump, in a process that limits itself; run by ``hook run``."""
    from vmcoretool.errors import VmcoreError  # noqa: PLC0415 - as above
    from vmcoretool.hooks.report import leave_report  # noqa: PLC0415 - as above
    from vmcoretool.hooks.runner import UNREADABLE, limit_this_process  # noqa: PLC0415 - as above

    limit_this_process(cpu_seconds, memory)
    try:
        report, why = leave_report(path)
    except VmcoreError as error:
        complain(printable(str(error)))
        return Exit.REFUSED
    if why:
        complain(why)
        return UNREADABLE
    emit(report.summary)
    return 0


@command.command("selftest")
@json_option
def selftest_command(*, as_json: bool) -> int:
    """Try the capture hook with this system's shells on a small real dump."""
    from vmcoretool.cli.hook_objects import selftest_object  # noqa: PLC0415 - as above
    from vmcoretool.hooks.selftest import selftest  # noqa: PLC0415 - as above

    trials = []
    for trial in selftest():
        trials.append(trial)
        if not as_json:
            outcome = printable(trial.outcome)
            emit(f"{'ok  ' if trial.right else 'FAIL'} {trial.name}: {outcome}")
    if as_json:
        emit_json(selftest_object(trials))
    return int(not all(trial.right for trial in trials))


def _choose(
    *,
    system: str | None,
    root: str | None,
    directory: str | None,
    program: str | None,
    as_json: bool,
) -> Chosen:
    from vmcoretool.cli.hook_objects import Chosen  # noqa: PLC0415 - as above
    from vmcoretool.hooks.install import installed_choices, look  # noqa: PLC0415 - as above
    from vmcoretool.hooks.systems import plan_of, system_under  # noqa: PLC0415 - as above

    root = root or "/"
    if system is None:
        system = system_under(root)
        if system is None:
            known = ", ".join(SYSTEMS)
            raise click.UsageError(f"os-release names no system known here: --system, of {known}")
        if not (as_json or settings.quiet):
            emit(f"system: {system}, by its os-release")
    there = installed_choices(root)
    plan = plan_of(system, directory or there[0], program or there[1])
    return Chosen(root, plan, look(plan, root))


def _complain_of_others(chosen: Chosen) -> str | None:
    """Warn where others than root can change what the unit runs; who can, or None."""
    import os  # noqa: PLC0415 - as above

    from vmcoretool.hooks.trust import not_roots_alone, roots_own  # noqa: PLC0415 - as above

    if os.path.realpath(chosen.root) != "/":
        return None  # who may write to what there cannot be seen from here
    found = not_roots_alone(chosen.plan.program)
    if found is None:
        return None
    place, why = found
    said = f"{printable(place)} {why}, and the unit would run it as root at each boot"
    complain(said)
    complain(f"install vmcoretool where only root can write: {roots_own()}")
    return said


def _needs_root(error: PermissionError) -> int:
    complain(f"{printable(str(error.filename))}: {error.strerror}; writing there needs root")
    return Exit.REFUSED


def _say_what_next(chosen: Chosen, *, removed: bool) -> None:
    from vmcoretool.hooks.systems import command_of  # noqa: PLC0415 - as above

    root, plan = chosen.root, chosen.plan
    where = "" if root == "/" else f"in {printable(root)}, "
    if not settings.quiet:
        emit(f"{where}now run: {'; '.join(plan.afterwards)}")
        if root != "/" and not removed:
            emit(f"the unit there runs: {printable(' '.join(command_of(plan.program)))}")


def _state(step: Step) -> str:
    return f"{step.state}: {printable(step.why)}" if step.why else step.state
