"""``vmcoretool crash``."""

from __future__ import annotations

import os

import click

from vmcoretool.cli.inspect import exit_code
from vmcoretool.cli.options import Request, check_format, dump_options, inspect
from vmcoretool.cli.output import complain, emit, is_terminal
from vmcoretool.cli.progress import Watch
from vmcoretool.vmcore import open_vmcore


@click.command("crash")
@click.argument("vmcore", nargs=-1, required=True)
@dump_options
@click.option("--target", metavar="hypervisor|dom0|domN", help="Only this session.")
@click.option("--run", is_flag=True, help="Replace this process by crash.")
@click.option("--json", "as_json", is_flag=True, help="The commands as a JSON list.")
def command(
    vmcore: tuple[str, ...],
    format_name: str | None,
    vmlinux: str | None,
    xen_syms: str | None,
    xen_phys_start: int | None,
    scan: bool | None,  # noqa: FBT001 - click passes by keyword
    target: str | None,
    *,
    run: bool,
    as_json: bool,
) -> int:
    """Print the crash command lines, one per session, quoted for the shell."""
    check_format(format_name)
    request = Request(format_name, xen_syms, vmlinux, xen_phys_start, scan)
    with Watch() as watch, open_vmcore(*vmcore, format_name=format_name, watch=watch) as opened:
        inspection = inspect(opened, request, watch)
    commands = [one for one in inspection.commands if target in (None, one.target)]
    code = exit_code(inspection)
    if not commands:
        known = ", ".join(one.target for one in inspection.commands)
        why = f"there is {known}" if known else "this dump is not of a Xen host"
        complain(f"no command for {target or 'any session'}: {why}")
        return code or 1
    if run:
        _become(commands[0].argv)
    if as_json:
        from vmcoretool.render.json import inspection_object  # noqa: PLC0415 - only then

        shown = inspection_object(inspection)["commands"]
        import json  # noqa: PLC0415 - only then

        emit(json.dumps([one for one in shown if target in (None, one["target"])]))
        return code
    terminal = is_terminal()
    for one in commands:
        emit(one.display() if terminal else one.shell())
        for caveat in one.caveats:
            complain(f"{one.target}: {caveat}")
    return code


def _become(argv: tuple[str, ...]) -> None:
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - crash is what the user asked to become
    except FileNotFoundError as error:
        what = "not found on the PATH; install the package 'crash'"
        raise OSError(error.errno, what, argv[0]) from error
