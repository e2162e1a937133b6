"""``vmcoretool hook``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vmcoretool.cli.exits import Exit
from vmcoretool.cli.output import complain, emit
from vmcoretool.hooks.systems import SYSTEMS, system_named
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from vmcoretool.hooks.install import Step
    from vmcoretool.hooks.systems import Plan


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
    "--allow-writable",
    is_flag=True,
    help="Go on where others than root can change what the unit runs.",
)
def install_command(*, dry_run: bool, allow_writable: bool, **where: str | None) -> int:
    """Install the hooks of a system; what is not vmcoretool's is never overwritten."""
    plan, steps = _steps(**where)
    open_to_others = _complain_of_others(plan, where["root"] or "/")
    if dry_run:
        for step in steps:
            emit(f"--- {printable(step.path)}: {_state(step)}")
            emit(_shown(step))
        return 0
    if open_to_others and not allow_writable:
        complain("nothing was installed; --allow-writable goes on all the same")
        return 1
    return _install(plan, steps, where["root"] or "/")


def _install(plan: Plan, steps: tuple[Step, ...], root: str) -> int:
    from vmcoretool.hooks.install import (  # noqa: PLC0415 - as all of click's commands
        install,
        without_configuration,
    )

    missing = without_configuration(steps)
    try:
        changed = install(steps)
    except PermissionError as error:
        return _needs_root(error)
    for step in steps:
        emit(f"{printable(step.path)}: {'written' if step in changed else _state(step)}")
        if step.by_hand:
            complain(f"{printable(step.path)}, by hand: {step.by_hand}")
    for path in missing:
        complain(f"{printable(path)} was not there: install kdump, or nothing runs the hook")
    if changed:
        _say_what_next(plan, root)
    return int(any(step.state == "refused" for step in steps))


@command.command("uninstall")
@_where
def uninstall_command(**where: str | None) -> int:
    """Take away exactly what install wrote."""
    from vmcoretool.hooks.install import uninstall  # noqa: PLC0415 - as above

    plan, steps = _steps(**where)
    try:
        removed = uninstall(steps)
    except PermissionError as error:
        return _needs_root(error)
    for step in steps:
        emit(f"{printable(step.path)}: {'removed' if step in removed else _state(step)}")
        if step.state == "installed" and step.why:
            complain(f"{printable(step.path)}: take out by hand what was added by hand")
    if removed:
        _say_what_next(plan, where["root"] or "/", removed=True)
    return 0


@command.command("status")
@_where
def status_command(**where: str | None) -> int:
    """Say what is installed; 1 where not all of it is as it should be."""
    _, steps = _steps(**where)
    for step in steps:
        emit(f"{printable(step.path)}: {_state(step)}")
    return int(any(step.state != "installed" for step in steps))


@command.command("run")
@click.argument("directory")
def run_command(directory: str) -> int:
    """Write vmcoretool.json and vmcoretool.txt beside each new, finished dump below DIRECTORY.

    The exit code is 0 whatever a dump is like: a hook never fails.
    """
    from vmcoretool.hooks.runner import run  # noqa: PLC0415 - as above

    try:
        for done in run(directory):
            (emit if done.right else complain)(f"{printable(done.folder)}: {done.line}")
    except BlockingIOError:
        complain(f"{printable(directory)}: another vmcoretool is at work")
    except OSError as error:
        complain(f"{printable(directory)}: {error.strerror or error}")
    return 0


@command.command("report", hidden=True)
@click.argument("path")
@click.argument("cpu_seconds", type=int)
@click.argument("memory", type=int)
def report_command(path: str, cpu_seconds: int, memory: int) -> int:
    """One dump, in a process that limits itself; run by ``hook run``."""
    from vmcoretool.errors import VmcoreError  # noqa: PLC0415 - as above
    from vmcoretool.hooks.report import write_failure, write_report  # noqa: PLC0415 - as above
    from vmcoretool.hooks.runner import UNREADABLE, limit_this_process  # noqa: PLC0415 - as above

    limit_this_process(cpu_seconds, memory)
    try:
        emit(write_report(path).summary)
    except VmcoreError as error:
        write_failure(path, str(error))
        complain(printable(str(error)))
        return UNREADABLE
    return 0


@command.command("selftest")
def selftest_command() -> int:
    """Try the capture hook with this system's shells on a small real dump."""
    from vmcoretool.hooks.selftest import selftest  # noqa: PLC0415 - as above

    right = True
    for trial in selftest():
        right = right and trial.right
        emit(f"{'ok  ' if trial.right else 'FAIL'} {trial.name}: {printable(trial.outcome)}")
    return int(not right)


def _steps(
    system: str | None, root: str | None, directory: str | None, program: str | None
) -> tuple[Plan, tuple[Step, ...]]:
    from vmcoretool.hooks.install import installed_choices, look  # noqa: PLC0415 - as above
    from vmcoretool.hooks.systems import plan_of, system_under  # noqa: PLC0415 - as above

    root = root or "/"
    if system is None:
        system = system_under(root)
        if system is None:
            known = ", ".join(SYSTEMS)
            raise click.UsageError(f"os-release names no system known here: --system, of {known}")
        emit(f"system: {system}, by its os-release")
    there = installed_choices(root)
    plan = plan_of(system, directory or there[0], program or there[1])
    return plan, look(plan, root)


def _complain_of_others(plan: Plan, root: str) -> bool:
    """Warn where others than root can change what the unit runs; whether it is so."""
    import os  # noqa: PLC0415 - as above

    from vmcoretool.hooks.trust import not_roots_alone  # noqa: PLC0415 - as above

    if os.path.realpath(root) != "/":
        return False  # who may write to what there cannot be seen from here
    found = not_roots_alone(plan.program)
    if found is None:
        return False
    place, why = found
    complain(f"{printable(place)} {why}, and the unit would run it as root at each boot")
    complain(
        "install vmcoretool as root in a place that is root's alone, such as a virtual environment "
        "made with 'sudo python3 -m venv /opt/vmcoretool', and run 'hook install' from there"
    )
    return True


def _needs_root(error: PermissionError) -> int:
    complain(f"{printable(str(error.filename))}: {error.strerror}; writing there needs root")
    return Exit.REFUSED


def _say_what_next(plan: Plan, root: str, *, removed: bool = False) -> None:
    from vmcoretool.hooks.systems import command_of  # noqa: PLC0415 - as above

    where = "" if root == "/" else f"in {printable(root)}, "
    emit(f"{where}now run: {'; '.join(plan.afterwards)}")
    if root != "/" and not removed:
        emit(f"the unit there runs: {printable(' '.join(command_of(plan.program)))}")


def _state(step: Step) -> str:
    return f"{step.state}: {printable(step.why)}" if step.why else step.state


def _shown(step: Step) -> str:
    from vmcoretool.hooks.systems import PutFile, PutLines  # noqa: PLC0415 - as above

    if isinstance(step.change, PutFile):
        return step.change.text.rstrip("\n")
    if isinstance(step.change, PutLines):
        return "\n".join(step.change.lines)
    return f"-> {step.change.target}"
