"""Addresses and address spaces as arguments."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

from vmcoretool.host.spaces import NAMES, is_space

_BARE: Final = re.compile(r"[0-9a-fA-F]{8,16}")

if TYPE_CHECKING:
    from click import Context, Parameter

    from vmcoretool.host.host import Host
    from vmcoretool.host.names import Named


def parse_address(_: Context, __: Parameter, value: str) -> int | Named:
    """A 64-bit number in hexadecimal, with 0x; or a name, with an offset or without."""
    try:
        number = int(value, 16) if value.lower().startswith("0x") else -1
    except ValueError:
        number = -1
    if 0 <= number < 1 << 64:
        return number
    from vmcoretool.host.names import parse_named  # noqa: PLC0415 - few name a symbol

    named = parse_named(value)
    # Xen's console prints addresses without 0x
    if named is None or value[:1].isdigit() or _BARE.fullmatch(value):
        what = "write it in hexadecimal, such as 0xffff82d040200000, or as NAME or NAME+0xOFF"
        raise click.BadParameter(f"{value!r}: {what}")
    return named


def located(host: Host, space: str, address: int | Named) -> int:
    """The address as a number.

    Raises:
        MissingSymbolError: nothing known has its name.
        NamelistError, OSError: the symbol file cannot be read.
    """
    if isinstance(address, int):
        return address
    from vmcoretool.host.names import Names  # noqa: PLC0415 - few name a symbol

    return Names(host).address(space, address)


def check_space(_: Context, __: Parameter, value: str) -> str:
    """One of the names."""
    if not is_space(value):
        raise click.BadParameter(f"{value!r} is none of: {NAMES}")
    return value
