"""What the tests of the kdump hooks share."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING

from tests.support import ROOT
from vmcoretool import inspect_vmcore, open_vmcore

if TYPE_CHECKING:
    from pathlib import Path

HOOK = ROOT / "vmcoretool/hooks/capture.sh"
SAMPLE = ROOT / "samples/xen-4.17-dom0-panic/vmcore"
CAPTURED = "vmcoretool-notes.elf"
SHELLS = [shell for shell in (["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(shell[0])]


def capture(
    place: Path | str,
    dump: Path = SAMPLE,
    shell: list[str] | None = None,
    variables: dict[str, str] | None = None,
) -> str:
    """Run the hook; its status is always 0, and the dump is as it was."""
    before = (dump.read_bytes(), dump.stat().st_mtime_ns) if dump.is_file() else None
    with tempfile.TemporaryFile("w+") as said:
        # not a pipe: what hangs behind may hold it open
        done = subprocess.run(
            [*(shell or ["sh"]), str(HOOK), str(place)],
            env={**os.environ, "VMCORE": str(dump), **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            check=False,
            timeout=60,
        )
        said.seek(0)
        text = said.read()
    assert done.returncode == 0, text
    if before:
        assert (dump.read_bytes(), dump.stat().st_mtime_ns) == before
    return text


def verdict(path: Path) -> tuple[str, int | None]:
    with open_vmcore(path) as vmcore:
        found = inspect_vmcore(vmcore).verdict
        return found.status, found.xen_phys_start


def crash_folder(place: Path, name: str = "2026-11-25-03-00", dump: str = "vmcore") -> Path:
    folder = place / name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(SAMPLE, folder / dump)
    return folder


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            str(path.readlink()).encode() if path.is_symlink() else path.read_bytes(),
        )
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }
