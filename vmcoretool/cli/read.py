"""``vmcoretool read``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from vmcoretool.addresses import MIB, PAGE_SIZE, Maddr
from vmcoretool.cli.options import ask_host, dump_options, json_option
from vmcoretool.cli.output import complain, emit
from vmcoretool.cli.space import (
    MACHINE,
    check_space,
    find_spaces,
    first_that_maps,
    parse_address,
)
from vmcoretool.errors import AddressError, SpaceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.cli.options import Request
    from vmcoretool.host.host import Host

_LIMIT: Final = 1 << 40
_ROW: Final = 16


def _size(_: click.Context, __: click.Parameter, value: str) -> int:
    try:
        number = int(value, 0)
    except ValueError:
        number = 0
    if not 0 < number <= _LIMIT:
        raise click.BadParameter(f"{value!r}: a number of bytes, such as 256 or 0x100")
    return number


@click.command("read")
@dump_options
@json_option
@click.argument("address", callback=parse_address)
@click.argument("size", callback=_size)
@click.option(
    "--space",
    "name",
    default="hypervisor",
    show_default=True,
    callback=check_space,
    help="hypervisor, dom0, domN, cpuN, or machine for machine addresses.",
)
@click.option("--raw", is_flag=True, help="The bytes as they are; not to a terminal.")
def command(
    request: Request,
    address: int,
    size: int,
    name: str,
    *,
    as_json: bool,
    raw: bool,
) -> int:
    """Print memory as a hexdump, or the bytes themselves."""
    if raw and sys.stdout is not None and sys.stdout.isatty():
        raise click.UsageError("--raw is for files and pipes: the bytes could steer a terminal")
    if as_json and (raw or size > MIB):
        raise click.UsageError("--json is for pieces of up to 1 MiB")

    def answer(host: Host) -> int:
        data = b""
        try:
            for at, piece in _pieces(host, name, address, size):
                if raw:
                    sys.stdout.flush()
                    sys.stdout.buffer.write(piece)
                elif as_json:
                    data += piece
                else:
                    emit("\n".join(_rows(at, piece)))
        except (AddressError, SpaceError) as error:
            complain(f"{name}: {error}")
            return 1
        if as_json:
            import json  # noqa: PLC0415 - only then

            emit(json.dumps({"space": name, "address": f"{address:#x}", "bytes": data.hex()}))
        return 0

    return ask_host(request, answer)


def _pieces(host: Host, name: str, address: int, size: int) -> Iterator[tuple[int, bytes]]:
    # page by page; AddressError where the first byte is that cannot be read
    spaces = [] if name == MACHINE else find_spaces(host, name, address)
    while size > 0:
        step = min(size, PAGE_SIZE - address % PAGE_SIZE)
        if spaces:
            yield address, first_that_maps(spaces, address).memory.read(address, step)
        else:
            yield address, host.memory.read(Maddr(address), step)
        address += step
        size -= step


def _rows(address: int, data: bytes) -> Iterator[str]:
    for at in range(0, len(data), _ROW):
        row = data[at : at + _ROW]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{address + at:016x}  {row.hex(' '):<{3 * _ROW}} |{text}|"
