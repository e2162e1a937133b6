"""``vmcoretool formats``."""

from __future__ import annotations

import click

from vmcoretool.cli.output import emit
from vmcoretool.containers import FORMATS


@click.command("formats")
@click.option("--json", "as_json", is_flag=True, help="As a JSON list.")
def command(*, as_json: bool) -> int:
    """List the formats that can be read, with their limits."""
    if as_json:
        import json  # noqa: PLC0415 - only then

        rows = [
            {"name": row.name, "title": row.title, "reference": row.reference, "limits": row.limits}
            for row in FORMATS
        ]
        emit(json.dumps(rows))
        return 0
    for row in FORMATS:
        emit(f"{row.name:<10} {row.title}")
        if row.limits:
            emit(f"{'':<10} not read: {row.limits}")
    return 0
