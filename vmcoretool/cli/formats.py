"""``vmcoretool formats``."""

from __future__ import annotations

import click

from vmcoretool.cli.output import emit, emit_folded, emit_json
from vmcoretool.formats.find import find_formats
from vmcoretool.formats.recognised import RECOGNISED, Recognised
from vmcoretool.sources.layers import LAYERS


@click.command("formats")
@click.option("--json", "as_json", is_flag=True, help="As a JSON list.")
def command(*, as_json: bool) -> int:
    """List the formats that can be read, with their limits."""
    if as_json:
        read = [
            {
                "name": row.name,
                "title": row.title,
                "reference": ", ".join(row.references),
                "limits": "; ".join(row.limitations),
            }
            for row in find_formats()
        ]
        layers = [{"name": row.name, "title": row.title} for row in LAYERS]
        named = [
            {"name": row.name, "writer": row.writer, "cure": row.cure} for row in _once(RECOGNISED)
        ]
        emit_json({"read": read, "layers": layers, "recognised": named})
        return 0
    emit("Read:")
    for row in find_formats():
        emit_folded(f"  {row.name:<13} {row.title}")
        if row.limitations:
            emit_folded(f"  {'':<13} limits: {'; '.join(row.limitations)}")
    emit("Taken off first, in any order:")
    for layer in LAYERS:
        emit_folded(f"  {layer.name:<13} {layer.title}")
    emit("Recognised, not read:")
    for known in _once(RECOGNISED):
        emit_folded(f"  {known.name} ({known.writer}): {known.cure}")
    return 0


def _once(rows: tuple[Recognised, ...]) -> list[Recognised]:
    # a format with several magics stands in several rows
    return list({(row.name, row.writer): row for row in rows}.values())
