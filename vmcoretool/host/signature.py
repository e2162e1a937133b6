"""A name for a crash: the same for two dumps of one crash, whatever the base and the CPU."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

try:  # as the standard library's random does: hashlib loads all of OpenSSL
    from _sha2 import sha256
except ImportError:
    try:
        from _sha256 import sha256  # Python 3.11 and older
    except ImportError:  # a Python built without its own
        from hashlib import sha256

if TYPE_CHECKING:
    from vmcoretool.host.host import Host
    from vmcoretool.host.identity import XenIdentity

# what differs between two instances of one crash, and what stands for it
_VARYING: Final = (
    (r"\b0x[0-9a-fA-F]+\b", "#"),
    (r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,16}\b", "#"),
    (r"(?i)\b(cpu|pcpu|pid|vcpu)([ =:#]?)\d+", r"\1\2#"),
    (r"\bd\d+v\d+\b", "d#v#"),
    (r"(?i)\b([gmp]fn)([ =:]?)[0-9a-f]+\b", r"\1\2#"),
)
_ID_LENGTH: Final = 16


class Signature(NamedTuple):
    """What tells one crash from another.

    Attributes:
        panic: the headline without addresses, CPU numbers and process ids, or None.
        version: of Xen, or None.
        build_id: of the hypervisor, or None.
        rip_offset: where the hypervisor was, from its XEN_VIRT_START on: where it faulted if its
            console says so, else where the crashed CPU was saved; None where nothing tells.
    """

    panic: str | None
    version: str | None
    build_id: str | None
    rip_offset: int | None

    @property
    def id(self) -> str:
        """A short name made of all of it."""
        # by name: a field added later must not change what a crash is called
        parts = (self.panic, self.version, self.build_id, self.rip_offset)
        text = "\0".join("-" if part is None else str(part) for part in parts)
        return str(sha256(text.encode()).hexdigest())[:_ID_LENGTH]


def find_signature(host: Host, xen: XenIdentity) -> Signature | None:
    """The signature; None where neither a headline nor an instruction pointer is known."""
    crash = host.crash
    panic = normalised(crash.panic) if crash.panic is not None else None
    rip = crash.rip
    if rip is None:
        rip = next(
            (
                use.state.registers.get("rip")
                for use in host.cpus
                if use.state.cpu == crash.cpu and use.context == "hypervisor"
            ),
            None,
        )
    image = host.image
    offset = None
    if rip is not None and image is not None and image.maddr_of(rip) is not None:
        offset = rip - image.layout.virt_start
    if panic is None and offset is None:
        return None
    version = xen.version.text if xen.version else None
    return Signature(panic, version, xen.build_id, offset)


def normalised(text: str) -> str:
    """A message without what differs from one instance of it to the next."""
    for pattern, stand_in in _VARYING:
        text = re.sub(pattern, stand_in, text)
    return " ".join(text.split())
