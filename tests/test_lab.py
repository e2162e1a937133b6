"""One real crash, made now: see docs/lab.md.  Without what it needs the test says so."""

from __future__ import annotations

import json
import socket
import urllib.parse
from typing import TYPE_CHECKING

import pytest

from tests.lab import boots, checks, packages, scenarios
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


BOOTED = """[  OK  ] Reached target
LAB-UNIT
Result=success
ExecMainStatus=0
ExecMainExitTimestampMonotonic=60000000
ActiveEnterTimestampMonotonic=20000000
exposure: -> Overall exposure level for vmcoretool-report.service: 1.6 OK
LAB-JOURNAL
/var/crash/{one}: vmcore: Xen 4.17.7, xen_phys_start 0x27800000 verified; Kernel panic
/var/crash/{two}: vmcore: Xen 4.8.5, xen_phys_start 0x27a00000 verified; Hardware Dom0 crashed
LAB-FILES
-rw-------    1 0        0             8405 Nov 25 19:35 {one}/vmcoretool.json
-rw-------    1 0        0             4238 Nov 25 19:35 {one}/vmcoretool.txt
-rw-------    1 0        0             7389 Nov 25 19:36 {two}/vmcoretool.json
-rw-------    1 0        0             3618 Nov 25 19:36 {two}/vmcoretool.txt
LAB-REPORT {one}/vmcoretool.json {first}
LAB-REPORT {two}/vmcoretool.json {second}
LAB-DONE
"""


@pytest.mark.parametrize(
    ("was", "becomes", "wrong"),
    [
        ("", "", 0),
        ("success", "exit-code", 1),
        ("Status=0", "Status=1", 1),
        (": 1.6", ": 3.1", 1),
        ("-rw-------", "-rw-r--r--", 4),
        ("0x27a00000", "0x27c00000", 2),
        ("verified", "reported", 4),
        ("LAB-REPORT", "", 3),
        ("vmcoretool.txt", "else.txt", 2),
        ("=2000", "=7000", 1),
        ("LAB-UNIT", "", 12),
    ],
)
def test_what_the_unit_left_after_boot_is_held_to_the_truth(
    was: str, becomes: str, wrong: int
) -> None:
    one, two = boots.DUMPS
    first, second = (
        json.dumps({"relocation": {"status": "verified", "xen_phys_start": base}})
        for base in ("0x27800000", "0x27a00000")
    )
    log = BOOTED.format(one=one, two=two, first=first, second=second)
    rows = list(boots.check(log.replace(was, becomes) if was else log))
    assert len(rows) == 12
    assert sum(not row.right for row in rows) == wrong
