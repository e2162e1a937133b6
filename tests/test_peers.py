"""Other projects' own test suites, where their sources are at hand."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.peers import libkdumpfile_suite

SOURCE = os.environ.get("LIBKDUMPFILE_SOURCE", "")


@pytest.mark.skipif(not SOURCE, reason="LIBKDUMPFILE_SOURCE names no checkout of libkdumpfile")
@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_libkdumpfile_containers(tmp_path: Path) -> None:
    source = Path(SOURCE)
    libkdumpfile_suite.build(source, tmp_path)
    failed = {
        script.name
        for script in libkdumpfile_suite.scripts(source)
        if script.name not in libkdumpfile_suite.PARTS
        and libkdumpfile_suite.run_script(script, tmp_path).returncode
    }
    assert failed == set(libkdumpfile_suite.LEFT_OUT)
