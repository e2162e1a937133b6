"""``vmcoretool vmcoreinfo``."""

from __future__ import annotations

import click

from vmcoretool.cli.options import check_format
from vmcoretool.cli.output import complain, emit
from vmcoretool.cli.progress import Watch
from vmcoretool.printable import printable
from vmcoretool.vmcore import open_vmcore


@click.command("vmcoreinfo")
@click.argument("vmcore", nargs=-1, required=True)
@click.option(
    "--source",
    type=click.Choice(["xen", "linux"]),
    help="Whose text; default: Xen's, else Linux's.",
)
@click.option("--get", "key", metavar="KEY", help="Only the value of this key.")
@click.option("--format", "format_name", metavar="NAME", help="Force a container format.")
@click.option("--json", "as_json", is_flag=True, help="The entries as a JSON object.")
def command(
    vmcore: tuple[str, ...],
    source: str | None,
    key: str | None,
    format_name: str | None,
    *,
    as_json: bool,
) -> int:
    """Print the VMCOREINFO text, as makedumpfile -i accepts it."""
    check_format(format_name)
    with Watch() as watch, open_vmcore(*vmcore, format_name=format_name, watch=watch) as opened:
        found = {"xen": opened.vmcoreinfo_xen, "linux": opened.vmcoreinfo_linux}
    names = [source] if source else ["xen", "linux"]
    info = next((found[name] for name in names if found[name]), None)
    if info is None:
        wanted = " or ".join({"xen": "VMCOREINFO_XEN", "linux": "VMCOREINFO"}[n] for n in names)
        complain(f"{printable(vmcore[0])}: the headers carry no {wanted}")
        return 1
    if key is not None and key not in info.entries:
        complain(f"{printable(vmcore[0])}: no key {printable(key)}")
        return 1
    if as_json:
        import json  # noqa: PLC0415 - only then

        emit(json.dumps(info.entries[key] if key is not None else dict(info.entries)))
    elif key is not None:
        emit(info.entries[key])
    else:
        lines = info.raw.removesuffix(b"\n").split(b"\n")
        emit("\n".join(printable(line) for line in lines))
    return 0
