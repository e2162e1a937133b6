"""The command line: a click group whose commands are imported when they are called."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, Final

import click

from vmcoretool.cli.exits import Exit, Failure, failure_of, without_answer
from vmcoretool.cli.nearly import did_you_mean, instead_of_command
from vmcoretool.cli.output import (
    complain,
    emit,
    emit_json,
    explain_usage,
    flush,
    settings,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

# command -> what `vmcoretool --help` says of it; the module has the same name
COMMANDS: Final = {
    "inspect": "What is this dump, where is the hypervisor, and how to open it.",
    "crash": "Print (or run) the crash command line.",
    "notes": "List every ELF note, decoded.",
    "vmcoreinfo": "Print the VMCOREINFO text.",
    "console": "The hypervisor's console ring, oldest line first.",
    "cpus": "Per CPU: registers, who was running, which CPU crashed.",
    "domains": "Every domain: type, memory, p2m list, virtual CPUs.",
    "dmesg": "The Linux log of dom0, or of another PV domain.",
    "vtop": "Translate a virtual address, every level shown.",
    "read": "Memory as a hexdump, by machine or virtual address.",
    "explain": "What an error text of crash or makedumpfile means.",
    "hook": "Install, try and run the kdump hooks.",
    "formats": "List the formats that can be read.",
    "help": "The help of a command, as --help prints it.",
}
_TRACEBACK: Final = 2
# click 8.1 prints the help by itself
_NO_ARGUMENTS: Final[tuple[type[click.UsageError], ...]] = tuple(
    kind for kind in (getattr(click.exceptions, "NoArgsIsHelpError", None),) if kind
)


class _LazyGroup(click.Group):
    """Imports a command's module when it is called: a command costs only what it uses."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name == "help":
            return _help
        if cmd_name not in COMMANDS:
            return None
        module: Any = importlib.import_module(f"vmcoretool.cli.{cmd_name}")
        command: click.Command = module.command
        for own in command.commands.values() if isinstance(command, click.Group) else (command,):
            if _OUTPUT[0] not in own.params:
                own.params.extend(_OUTPUT)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            ctx.fail(f"no such command: {name!r}{instead_of_command(name, COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's callback signature
    if value:
        from vmcoretool.cli.versions import version_text  # noqa: PLC0415 - looks for programs

        emit(version_text())
        ctx.exit(0)


def _be_quiet(_: click.Context, __: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's callback signature
    settings.quiet = value


def _be_verbose(_: click.Context, __: click.Parameter, value: int) -> None:
    settings.verbose = value
    if value >= _TRACEBACK:
        from vmcoretool.cli.tracing import start  # noqa: PLC0415 - only where it is asked for

        start()


def _be_colourful(_: click.Context, __: click.Parameter, value: str) -> None:
    settings.colour = value


# every command has them; inspect says more under -v, and less under -q
_OUTPUT: Final = (
    click.Option(
        ["-q", "--quiet"],
        is_flag=True,
        expose_value=False,
        callback=_be_quiet,
        help="Only the answer, or why there is none: no remarks, no progress.",
    ),
    click.Option(
        ["-v", "--verbose"],
        count=True,
        expose_value=False,
        callback=_be_verbose,
        help="Say more: inspect shows each step of the proof. -vv: what was tried, too.",
    ),
    click.Option(
        ["--color"],
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        expose_value=False,
        callback=_be_colourful,
        help="Colour; auto: on a terminal.",
    ),
)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and the optional parts found.",
)
def group() -> None:
    """Find, prove and use the hypervisor's address in a crash dump of a Xen host.

    \b
    Exit codes:
        0  the address is proved
        1  it is not, or an error was found
        2  wrong usage
        3  not a dump, or too damaged
        4  recognised, but not read
        5  refused by the system
        6  a dump, but not of a Xen host
       70  a fault in vmcoretool itself
      130  interrupted
    """  # noqa: D301 - \b keeps click from wrapping the paragraph


@click.command("help")
@click.argument("words", metavar="[COMMAND]...", nargs=-1)
@click.pass_context
def _help(context: click.Context, words: tuple[str, ...]) -> None:
    """Print the help of a command, as --help does."""
    shown = context.find_root()
    for word in words:
        above = shown.command
        command = above.get_command(shown, word) if isinstance(above, click.Group) else None
        if command is None:
            known = above.list_commands(shown) if isinstance(above, click.Group) else []
            context.fail(f"no such command: {word!r}{did_you_mean(word, known)}")
        shown = click.Context(command, parent=shown, info_name=word)
    emit(shown.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; every failure is one line on stderr.

    All output is flushed when it returns, whatever ended the command.
    """
    settings.reset()
    words = list(arguments)
    as_json = "--json" in words[: words.index("--") if "--" in words else None]
    try:
        code = _guarded(words, as_json=as_json)
        flush()
    except BrokenPipeError:
        # the reader (| head) has enough: not a failure, and nothing more may be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.PROVED
    except (OSError, KeyboardInterrupt) as error:
        return _say(failure_of(error))
    return code


def _guarded(words: list[str], *, as_json: bool) -> int:
    failure: Failure | None = None
    try:
        code = _call(words)
    except BrokenPipeError:
        raise
    except BaseException as error:  # noqa: BLE001 - the one place where all that ends a command ends
        failure = failure_of(error)
        code = _say(failure, error)
    if as_json and code and not settings.answered:
        failure = failure or without_answer(code, settings.reasons)
        emit_json({"schema": "vmcoretool/error/1", "error": failure.as_object()})
    return code


def _call(words: list[str]) -> int:
    if "_VMCORETOOL_COMPLETE" in os.environ:
        return int(group.main(words, prog_name="vmcoretool", standalone_mode=False) or 0)
    try:
        with group.make_context("vmcoretool", words) as context:
            return int(group.invoke(context) or 0)
    except click.exceptions.Exit as error:
        return error.exit_code
    except _NO_ARGUMENTS as error:
        explain_usage(error.format_message())
        return Exit.USAGE


def _say(failure: Failure, error: BaseException | None = None) -> int:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        explain_usage(error.ctx.get_usage())
    complain(failure.sentence)
    if failure.exit is Exit.BUG and error is not None and settings.verbose >= _TRACEBACK:
        import traceback  # noqa: PLC0415 - only for who looks for our fault

        explain_usage("".join(traceback.format_exception(error)))
    return failure.exit
