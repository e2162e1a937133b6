"""Whatever a configuration of kdump holds, install and uninstall leave its bytes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vmcoretool.hooks import install, systems

PIECES = [
    *(b"path /data", b"#", b" ", b"\n", b"\n", b"\r", b"\r\n", b"\xff", b"\0", b"\xc2\x85"),
    *(b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"extra_bins /usr/bin/x", b"extra_bins /usr/bin/dd"),
    *(b'KDUMP_POSTSCRIPT=""', b"KDUMP_TRANSFER=scp", b"XCA=", b"/usr/bin/od"),
    *(install.BEGIN.encode(), install.END.encode(), b" with the file", b" with the newline before"),
]
CONTENTS = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=12).map(b"".join)


@pytest.mark.parametrize("system", ["rhel", "suse", "xcp-ng"])
@given(CONTENTS)
@example(b"")
@example(b"path /data\r\nxfs /dev/sda1")
def test_configuration_is_given_back(system: str, content: bytes) -> None:
    """What was there before is there again, and never anything else while it is installed."""
    plan = systems.plan_of(system)
    (settings,) = (change for change in plan.changes if isinstance(change, systems.PutLines))
    with tempfile.TemporaryDirectory() as root, mock.patch("os.fsync"):  # a disk's time, not ours
        path = Path(root) / settings.path.lstrip("/")
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        before = install.look(plan, root)
        state = {step.change: step.state for step in before}[settings]
        assert path.read_bytes() == content
        install.install(before)
        written = path.read_bytes()
        if state in ("installed", "refused"):
            assert written == content
        elif state == "absent":
            assert written.startswith(content)
            added = written[len(content) :].decode().lstrip("\n")
            assert added.startswith(install.BEGIN)
            assert added.endswith(f"{install.END}\n")
            assert all(f"\n{line}\n" in added for line in settings.lines)
        install.install(install.look(plan, root))
        assert path.read_bytes() == written
        install.uninstall(install.look(plan, root))
        if state == "absent":
            assert path.read_bytes() == content
