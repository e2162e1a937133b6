"""The command line: a click group whose commands are imported when they are called."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from vmcoretool.cli.failures import report
from vmcoretool.cli.output import complain, emit

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED: Final = 130
_OBJECTS: Final = 50_000

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
}


class _LazyGroup(click.Group):
    """Imports a command's module when it is called: a command costs only what it uses."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module: Any = importlib.import_module(f"vmcoretool.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's callback signature
    if value:
        from vmcoretool.cli.versions import version_text  # noqa: PLC0415 - looks for programs

        emit(version_text())
        ctx.exit(0)


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
    Exit codes: 0 address verified; 1 not, or an error was found; 2 usage; 3 not a dump or too
    damaged; 4 recognised but not read; 5 refused by the system; 6 not a Xen host; 130 interrupted.
    """  # noqa: D301 - \b keeps click from wrapping the paragraph


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; every failure is one line on stderr."""
    try:
        code = group.main(list(arguments), prog_name="vmcoretool", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted")
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # the latter is click's way out of the former
        # the reader (| head) has enough: not a failure, and nothing more may be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except Exception as error:
        code = report(error)
        if code is None:
            raise
    return code or 0


def main() -> None:
    """Run the command line of this process; never a traceback for what a dump or user can do."""
    # imports and an inspection make few cycles: the usual threshold costs 3 % of a run
    gc.set_threshold(_OBJECTS)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="surrogateescape")
    code = run(sys.argv[1:])
    if sys.stderr is not None:
        sys.stderr.flush()
    # All output is flushed and nothing is left to close: tearing the interpreter down would take
    # as long as the inspection itself.
    os._exit(code)
