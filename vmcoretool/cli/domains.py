"""``vmcoretool domains``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from vmcoretool.cli.options import ask_host, dump_options, json_option
from vmcoretool.cli.output import complain, emit, emit_json
from vmcoretool.errors import MemoryFault
from vmcoretool.inspection.as_json import domain_object
from vmcoretool.xen.frame_table import MAX_COUNTED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.cli.options import Request
    from vmcoretool.host.host import Host
    from vmcoretool.xen.domains import Domain

_MIB_SHIFT: Final = 8  # from pages to MiB
_GIB_SHIFT: Final = 18


@click.command("domains")
@dump_options
@json_option
def command(
    request: Request,
    *,
    as_json: bool,
) -> int:
    """List every domain: id, type, memory, p2m list, virtual CPUs, its Linux release."""

    def answer(host: Host) -> int:
        found = host.domain_list
        counts, doubt = _pages(host)
        rows = [
            _row(host, domain, counts.get(domain.id), exact=not doubt) for domain in found.domains
        ]
        _print(rows, as_json=as_json)
        if found.trouble:
            ending = "the list ended early" if rows else "no domain was found"
            complain(f"{request.vmcore[0]}: {ending}: {found.trouble}")
        if doubt:
            complain(f"memory was not counted, or too low (+): {doubt}")
        check = host.dom0_p2m
        if check and not check.agree:
            complain(f"dom0's p2m_mfn differs from the crash note's ({check.note:#x})")
        absent = [str(row["id"]) for row in rows if row["type"] == "pv" and not row["release"]]
        if absent:
            complain(f"no Linux was found in the dump's memory of domain {', '.join(absent)}")
        told = list(_troubles(host))
        for line in told:
            complain(f"{request.vmcore[0]}: {line}")
        return int(bool(found.trouble or told) or bool(check and not check.agree))

    return ask_host(request, answer)


def _print(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        emit_json(rows)
    elif rows:
        emit("  id type     memory  vcpus  max_pfn     p2m_mfn     Linux")
        for row in rows:
            emit(_line(row))


def _pages(host: Host) -> tuple[dict[int, int], str]:
    # machine pages each domain owns, or why they were not counted
    if not host.domains or host.frames is None:
        return {}, "no frame table was found" if host.domains else ""
    frames = host.memory.pages.end >> 12
    try:
        counts, missing = host.frames.count(frames)
    except MemoryFault as error:
        return {}, f"the frame table is not in the dump ({error})"
    doubts = [f"the entries of {missing} frames are not in the dump"] if missing else []
    if frames > MAX_COUNTED:
        doubts.append(f"only the first {MAX_COUNTED >> _GIB_SHIFT} GiB of memory were looked at")
    return counts, "; ".join(doubts)


def _troubles(host: Host) -> Iterator[str]:
    for domain in host.domains:
        if domain.type == "unknown":
            yield f"domain {domain.id}: its type and memory are unknown: {domain.basis}"
        known = len(domain.vcpus)
        if domain.max_vcpus and 0 < known < domain.max_vcpus:
            yield f"domain {domain.id}: {known} of its {domain.max_vcpus} virtual CPUs were found"
        trouble = host.p2m_trouble(domain)
        if trouble:
            yield f"domain {domain.id}: its p2m tree is damaged: {trouble}"


def _row(host: Host, domain: Domain, pages: int | None, *, exact: bool) -> dict[str, Any]:
    kernel = host.kernel(domain) if domain.type == "pv" else None
    return {
        **domain_object(domain),
        "memory_pages": pages if pages or exact else None,
        "memory_pages_exact": exact,
        "release": kernel.release if kernel else None,
    }


def _line(row: dict[str, Any]) -> str:
    more = "" if row["memory_pages_exact"] else "+"
    pages = row["memory_pages"]
    memory = "-" if pages is None else f"{pages >> _MIB_SHIFT}{more} MiB"
    pfn = "-" if row["max_pfn"] is None else f"{row['max_pfn']:#x}"
    return (
        f"{row['id']:>4} {row['type']:<7} {memory:>8} {row['vcpus'] or '-':>6}  {pfn:<11} "
        f"{row['p2m_mfn'] or '-':<11} {row['release'] or '-'}"
    )
