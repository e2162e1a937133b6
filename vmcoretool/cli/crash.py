"""``vmcoretool crash``."""

from __future__ import annotations

import errno
import os
import re
import shutil
from typing import TYPE_CHECKING

import click

from vmcoretool.cli.exits import exit_code
from vmcoretool.cli.nearly import did_you_mean
from vmcoretool.cli.options import Request, dump_options, inspect, json_option, opened
from vmcoretool.cli.output import complain, emit, emit_json, flush, is_terminal, remark
from vmcoretool.cli.progress import Watch
from vmcoretool.render.owner import owner_words

if TYPE_CHECKING:
    from vmcoretool.debuggers.crash import CrashCommand
    from vmcoretool.inspection.inspect import Inspection


def _target(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"hypervisor|dom\d{1,5}", value):
        close = did_you_mean(value, ("hypervisor", "dom0"))
        raise click.BadParameter(f"{value!r} is none of: hypervisor, dom0, domN{close}")
    return value


class _PassingOn(click.Command):
    """A command that keeps what follows ``VMCORE... --`` for another program.

    A ``--`` before any VMCORE ends the options, as everywhere.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.obj = ()
        if at < len(args):
            # what an argument without a value looks like differs between releases of click
            dumps = self.make_parser(ctx).parse_args(args[:at])[0].get("vmcore")
            if isinstance(dumps, tuple) and dumps:
                ctx.obj = tuple(args[at + 1 :])
                args = args[:at]
        return super().parse_args(ctx, args)


@click.command("crash", cls=_PassingOn)
@dump_options
@click.option(
    "--target", metavar="hypervisor|dom0|domN", callback=_target, help="Only this session."
)
@click.option(
    "--run/--print",
    "run",
    default=False,
    help="Replace this process by crash, where the command is ready; default: print.",
)
@json_option
@click.pass_obj
def command(
    further: tuple[str, ...], request: Request, target: str | None, *, run: bool, as_json: bool
) -> int:
    """Print the crash command lines, one per session, quoted for the shell.

    What follows -- is passed on to crash: vmcoretool crash --run vmcore -- -i commands
    """
    with Watch() as watch, opened(request, watch) as vmcore:
        inspection = inspect(vmcore, request, ask_crash=True)
    commands = [one for one in inspection.commands if target in (None, one.target)]
    code = exit_code(inspection)
    if not commands:
        complain(_why_none(inspection, target))
        if not inspection.commands:
            for found in inspection.findings:
                complain(f"{found.message}: {found.advice}")
        return code or 1
    commands = [_with(one, further) for one in commands]
    if run:
        return _run(commands)
    if as_json:
        from vmcoretool.inspection.as_json import command_object  # noqa: PLC0415 - only then

        emit_json([command_object(one) for one in commands])
        return code
    terminal = is_terminal()
    for one in commands:
        emit(one.display() if terminal else one.shell())
        for caveat in one.caveats:
            remark(f"{one.target}: {caveat}")
    return code


def _with(one: CrashCommand, further: tuple[str, ...]) -> CrashCommand:
    return one._replace(argv=(one.argv[0], *further, *one.argv[1:]))


def _why_none(inspection: Inspection, target: str | None) -> str:
    for domain in inspection.domains:
        if target == f"dom{domain.id}":
            return (
                f"no command for {target}: it is HVM or PVH, or not understood, and crash follows "
                "only a PV guest's memory; dump such a guest by itself (xl dump-core)"
            )
    known = ", ".join(one.target for one in inspection.commands)
    if known:
        return f"no command for {target}: there is {known}"
    owner = owner_words(inspection.kind, inspection.vmcore)
    return f"no command for {target or 'any session'}: {owner}; see 'vmcoretool inspect'"


def _run(commands: list[CrashCommand]) -> int:  # noqa: RET503 - execvp does not return
    # preflight: crash's own words for what is wrong would be the same for three different things
    if shutil.which("crash") is None:
        raise OSError(errno.ENOENT, "not found on the PATH; install the package 'crash'", "crash")
    chosen = next((one for one in commands if one.ready), None)
    if chosen is None:
        for one in commands:
            for caveat in one.caveats:
                complain(f"{one.target}: {caveat}")
        complain("crash was not started: no command is ready; the printed ones can be pasted")
        return 1
    for caveat in chosen.caveats:
        remark(f"{chosen.target}: {caveat}")
    remark(f"{chosen.target}: {chosen.display()}")
    flush()
    os.execvp(chosen.argv[0], chosen.argv)  # noqa: S606 - crash is what the user asked to become
