"""Which machine the dump is of."""

from __future__ import annotations

from typing import NamedTuple


class HostMachine(NamedTuple):
    """A machine; what is not known is None.

    Attributes:
        hardware: vendor and product, as dom0's log has them from the firmware.
        bios: its version and date.
        hostname: of dom0; "" where dom0's kernel was given none.
    """

    hardware: str | None = None
    bios: str | None = None
    hostname: str | None = None
