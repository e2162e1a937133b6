"""The logs of a crashed host: its console and the Linux logs of its PV domains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmcoretool.errors import LogError

if TYPE_CHECKING:
    from vmcoretool.host.host import Host
    from vmcoretool.xen.console import Console

_WHY: Final = {
    True: "its memory is not in the dump, or it runs no Linux of 2.6.24 or later",
    False: "makedumpfile -X leaves guests out, or it runs no Linux of 2.6.24 or later",
}


def console_of(host: Host) -> Console:
    """The hypervisor's console.

    Raises:
        LogError: no console ring was found in the dump.
    """
    if host.console is None:
        raise LogError("no console ring was found in the dump")
    return host.console


def linux_log(host: Host, number: int) -> tuple[bytes, ...]:
    """The lines of a PV domain's Linux log, oldest first, with dmesg's time stamps.

    Raises:
        LogError: there is no such domain, or its log is not found, and why.
    """
    domain = host.domain(number)
    if domain is None:
        known = ", ".join(str(domain.id) for domain in host.domains) or "none"
        reason = host.domain_list.trouble
        raise LogError(f"no domain {number}; found: {known}{': ' * bool(reason)}{reason}")
    if domain.type == "hvm":
        raise LogError(
            f"domain {number} is HVM or PVH: its page tables are not found without symbols"
        )
    info = host.vmcore.vmcoreinfo_linux if number == 0 else None
    if info is None:
        chosen, candidates = host.linux_vmcoreinfo(number)
        if chosen is None:
            others = f", {len(candidates)} of other or unknown owners" if candidates else ""
            raise LogError(
                f"no VMCOREINFO of domain {number}'s Linux is in the dump's memory{others}: "
                f"{_WHY[number == 0]}"
            )
        info = chosen.info
    return host.kernel_log(domain, info)
