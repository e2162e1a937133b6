"""``vmcoretool read``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from vmcoretool.addresses import MIB
from vmcoretool.cli.options import ask_host, dump_options, json_option
from vmcoretool.cli.output import complain, emit, emit_bytes, emit_json, is_terminal
from vmcoretool.cli.space import check_space, located, parse_address
from vmcoretool.errors import AddressError, NamelistError, SpaceError
from vmcoretool.host.spaces import MACHINE, read_pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmcoretool.cli.options import Request
    from vmcoretool.host.host import Host
    from vmcoretool.host.names import Named

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
@click.option("--physical", is_flag=True, help="The same as --space machine.")
@click.option("--raw", is_flag=True, help="The bytes as they are; not to a terminal.")
def command(
    request: Request,
    address: int | Named,
    size: int,
    name: str,
    *,
    physical: bool,
    as_json: bool,
    raw: bool,
) -> int:
    """Print memory as a hexdump, or the bytes themselves.

    ADDRESS is hexadecimal, or a name: idle_pg_table, kexec_crash+0x42.
    """
    if raw and is_terminal():
        raise click.UsageError("--raw is for files and pipes: the bytes could steer a terminal")
    if as_json and (raw or size > MIB):
        raise click.UsageError("--json is for pieces of up to 1 MiB")
    name = MACHINE if physical else name

    def answer(host: Host) -> int:
        data = b""
        try:
            start = located(host, name, address)
            for at, piece in read_pieces(host, name, start, size):
                if raw:
                    emit_bytes(piece)
                elif as_json:
                    data += piece
                else:
                    emit("\n".join(_rows(at, piece)))
        except (AddressError, NamelistError, SpaceError) as error:
            complain(f"{name}: {error}")
            return 1
        if as_json:
            emit_json({"space": name, "address": f"{start:#x}", "bytes": data.hex()})
        return 0

    return ask_host(request, answer)


def _rows(address: int, data: bytes) -> Iterator[str]:
    for at in range(0, len(data), _ROW):
        row = data[at : at + _ROW]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{address + at:016x}  {row.hex(' '):<{3 * _ROW}} |{text}|"
