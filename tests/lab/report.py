"""What a run found, as text for the terminal and as docs/lab.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.lab.checks import PENDING
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.lab.checks import Row
    from tests.lab.crashes import Session

PAGE: Final = ROOT / "docs/lab.md"
MARK: Final = "<!-- from here on written by python3 -m tests.lab --write-docs -->\n"


def facts_table(rows: Sequence[Row]) -> Iterator[str]:
    """Scenario x fact: the value where vmcoretool tells what is true."""
    facts = list(dict.fromkeys(row.fact for row in rows))
    yield f"| scenario | {' | '.join(facts)} |"
    yield f"|{'---|' * (len(facts) + 1)}"
    for name in dict.fromkeys(row.scenario for row in rows):
        told = {row.fact: row for row in rows if row.scenario == name}
        cells = [_cell(told[fact]) if fact in told else "" for fact in facts]
        yield f"| {name} | {' | '.join(cells)} |"


def _cell(row: Row) -> str:
    if not row.right:
        return f"**{row.told}, true is {row.true}**"
    if isinstance(row.told, (list, dict)):
        return "right"
    text = str(row.told)
    return text if len(text) < 20 else text[:8] + "…"


def crash_table(sessions: Sequence[Session]) -> Iterator[str]:
    """Scenario x crash version: opens, or the text it fails with."""
    versions = list(dict.fromkeys(one.crash for one in sessions))
    yield f"| command | {' | '.join(f'crash {version}' for version in versions)} |"
    yield f"|{'---|' * (len(versions) + 1)}"
    for label in dict.fromkeys(one.label for one in sessions):
        by_version = {one.crash: _outcome(one) for one in sessions if one.label == label}
        cells = [by_version.get(version, "") for version in versions]
        yield f"| {label} | {' | '.join(cells)} |"


def _outcome(session: Session) -> str:
    if session.right:
        return f"`{session.outcome}`"
    return f"**`{session.outcome}`, predicted was `{' or '.join(session.wanted)}`**"


def boot_table(rows: Sequence[Row]) -> Iterator[str]:
    """Fact by fact, one machine: what was found."""
    yield "| fact | what was found |"
    yield "|---|---|"
    for row in rows:
        yield f"| {row.fact} | {_cell(row)} |"


def text(
    rows: Sequence[Row],
    sessions: Sequence[Session],
    left_out: Iterable[str],
    booted: Sequence[Row] = (),
) -> str:
    """Everything, as markdown."""
    parts = []
    if booted:
        parts += ["## What the unit left after boot", "", *boot_table(booted), ""]
    if rows:
        parts += ["## What vmcoretool reported of each dump", ""]
        parts.append("Every value equals the truth; a **bold** one does not.")
        parts += ["", *facts_table(rows), ""]
        parts.append(f"Not told yet: {', '.join(PENDING) or 'nothing'}.")
    for reason in left_out:
        parts.append(f"Left out: {reason}.")
    if sessions:
        parts += ["", "## What crash made of it", "", *crash_table(sessions)]
    return "\n".join(parts) + "\n"


def write_page(body: str) -> None:
    """Replace the generated half of docs/lab.md."""
    head = PAGE.read_text().partition(MARK)[0]
    PAGE.write_text(head + MARK + "\n" + body)
