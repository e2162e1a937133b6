"""Addresses and address spaces as arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vmcoretool.host.spaces import NAMES, is_space

if TYPE_CHECKING:
    from click import Context, Parameter


def parse_address(_: Context, __: Parameter, value: str) -> int:
    """A 64-bit number in hexadecimal, with 0x."""
    try:
        number = int(value, 16) if value.lower().startswith("0x") else -1
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 64:
        raise click.BadParameter(f"{value!r}: write it in hexadecimal, such as 0xffff82d040200000")
    return number


def check_space(_: Context, __: Parameter, value: str) -> str:
    """One of the names."""
    if not is_space(value):
        raise click.BadParameter(f"{value!r} is none of: {NAMES}")
    return value
