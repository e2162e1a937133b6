"""``vmcoretool vmcoreinfo``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from vmcoretool.cli.exits import Exit
from vmcoretool.cli.nearly import did_you_mean
from vmcoretool.cli.options import check_format, open_watched
from vmcoretool.cli.output import complain, emit, emit_json, remark
from vmcoretool.cli.progress import Watch
from vmcoretool.inspection.inspect import locate
from vmcoretool.printable import printable

if TYPE_CHECKING:
    from vmcoretool.notes.vmcoreinfo import VmcoreInfo
    from vmcoretool.vmcore import Vmcore

DOM0: Final = 0


@click.command("vmcoreinfo")
@click.argument("vmcore", nargs=-1, required=True)
@click.option(
    "--source",
    type=click.Choice(["xen", "linux"]),
    help="Whose text; default: Xen's, else Linux's.",
)
@click.option(
    "--domain", default=0, show_default=True, help="Whose, where memory holds several of Linux."
)
@click.option("--get", "key", metavar="KEY", help="Only the value of this key.")
@click.option("--format", "format_name", metavar="NAME", help="Force a container format.")
@click.option("--json", "as_json", is_flag=True, help="The entries as a JSON object.")
def command(
    vmcore: tuple[str, ...],
    source: str | None,
    domain: int,
    key: str | None,
    format_name: str | None,
    *,
    as_json: bool,
) -> int:
    """Print the VMCOREINFO text, as makedumpfile -i accepts it.

    Under Xen the headers lack Linux's: --source linux then finds it in dom0's memory.
    """
    check_format(format_name)
    with Watch() as watch, open_watched(vmcore, format_name, watch) as opened:
        of_headers = opened.vmcoreinfo_linux if domain == DOM0 else None
        found = {"xen": opened.vmcoreinfo_xen, "linux": of_headers}
        if domain != DOM0:
            source = "linux"  # no other has domains
        names = [source] if source else ["xen", "linux"]
        info = next((found[name] for name in names if found[name]), None)
        if info is None and source == "linux":
            info = _from_memory(opened, domain)
            if info is None:
                if watch.stopped:  # what was not looked at may hold it
                    raise KeyboardInterrupt
                return 1
    if info is None:
        wanted = " or ".join({"xen": "VMCOREINFO_XEN", "linux": "VMCOREINFO"}[n] for n in names)
        complain(f"{vmcore[0]}: the headers carry no {wanted}")
        return 1
    if key is not None and key not in info.entries:
        close = did_you_mean(key, info.entries) or "; without --get all are printed"
        complain(f"{vmcore[0]}: no key {key}{close}")
        return 1
    if as_json:
        emit_json(info.entries[key] if key is not None else dict(info.entries))
    elif key is not None:
        emit(info.entries[key])
    else:
        lines = info.raw.removesuffix(b"\n").split(b"\n")
        emit("\n".join(printable(line) for line in lines))
    return Exit.INTERRUPTED if watch.stopped else 0


def _from_memory(vmcore: Vmcore, domain: int) -> VmcoreInfo | None:
    # What the headers lack is in the domain's own memory; where the text comes from is said.
    located = locate(vmcore)
    name = vmcore.paths[0]
    if located.kind != "xen-host":
        complain(f"{name}: the headers carry no VMCOREINFO")
        return None
    chosen, candidates = located.host().linux_vmcoreinfo(domain)
    if vmcore.budget.stopped and chosen is None:
        return None
    if chosen:
        remark(f"found in memory of domain {domain}, at machine address {chosen.maddr:#x}")
        return chosen.info
    for one in candidates:
        whose = "owner unknown" if one.owner is None else f"of domain {one.owner}"
        release = one.info.entries["OSRELEASE"]
        complain(f"candidate at machine address {one.maddr:#x}: {release}, {whose}")
    unknown = [one for one in candidates if one.owner is None]
    texts = {one.info.raw for one in unknown}
    if len(texts) == 1 and len(unknown) == len(candidates) and not vmcore.budget.cut_off:
        complain("every candidate has the same text: it is printed, whosever it is")
        return unknown[0].info
    why = "the dump holds none in memory" if not candidates else f"none is of domain {domain}"
    complain(f"{name}: no VMCOREINFO of Linux: {why}")
    return None
