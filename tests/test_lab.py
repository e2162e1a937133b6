"""One real crash, made now: see docs/lab.md.  Without what it needs the test says so."""

from __future__ import annotations

import socket
import urllib.parse
from typing import TYPE_CHECKING

import pytest

from tests.lab import checks, packages, scenarios
from tests.lab.__main__ import ensure, variants_of

if TYPE_CHECKING:
    from pathlib import Path

DOM0_PANIC = next(one for one in scenarios.SCENARIOS if one.name == "dom0-panic")


def mirror_answers() -> bool:
    host = urllib.parse.urlsplit(packages.MIRROR).hostname or ""
    try:
        with socket.create_connection((host, 80), timeout=5):
            return True
    except OSError:
        return False


def test_hypervisor_that_panicked_a_minute_ago() -> None:
    missing = packages.missing_tools(packages.TOOLS)
    if missing:
        pytest.skip(f"the lab needs: apt-get install {' '.join(missing)}")
    made = scenarios.output_folder() / DOM0_PANIC.name / "truth.json"
    if not made.exists() and not mirror_answers():
        pytest.skip(f"the lab cannot fetch packages from {packages.MIRROR}")
    folder = ensure(DOM0_PANIC)
    rows = [*checks.check(DOM0_PANIC, folder), *variants_of(DOM0_PANIC, folder)]
    print(f"lab: {len(rows)} facts of {folder / 'vmcore'}")
    assert len(rows) > 40
    assert [row for row in rows if not row.right] == []


def test_killed_half_way_leaves_nothing_to_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_OUT", str(tmp_path))

    def interrupted(scenario: scenarios.Scenario, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "vmcore.partial").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(scenarios, "make", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure(DOM0_PANIC)
    assert not (tmp_path / "dom0-panic" / "truth.json").exists()
    made = []
    monkeypatch.setattr(scenarios, "make", lambda scenario, folder: made.append(folder))
    with pytest.raises(OSError, match=r"boot\.log"):
        ensure(DOM0_PANIC)
    assert made
