"""A Debian with systemd that boots after a crash: the installed unit finds dumps and reports.

Packages are unpacked into a tree, the hooks are installed into it with ``hook install --root``,
real dumps are put below its /var/crash as kdump leaves them, and QEMU boots it.  When the unit has
ended, the machine prints what systemd says of it and the reports, and powers off.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from typing import TYPE_CHECKING, Final

from tests.lab import images
from tests.lab.checks import Row
from tests.lab.machine import Machine
from tests.lab.packages import BOOKWORM, kernel, run
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME: Final = "after-boot"
LIMIT: Final = 900
UNIT: Final = "vmcoretool-report.service"
MOST_EXPOSED: Final = 3.0
"""Of ``systemd-analyze security``, from 0 to 10."""
_PACKAGES: Final = ("systemd", "python3", "python3-click", "python3-construct")
_LEFT_OUT: Final = ("doc", "man", "locale", "perl5")
# where kdump of Debian and of RHEL (on a server of many nodes) leave them: a sample, and the
# crash that it is of
DUMPS: Final = {
    "202611250300": ("xen-4.17-dom0-panic", "xen-4.17-dom0-panic"),
    "node1/var/crash/10.0.0.5-2026-11-25-03:00:00": ("kdump-zlib", "xen-4.8-dom0-panic"),
}
_PROGRAM: Final = "#!/usr/bin/python3 -P\nfrom vmcoretool.cli.entry import main\n\nmain()\n"
# systemd is to have a root file system as any other: an initial RAM disk is none to it
_INIT: Final = """#!/bin/busybox sh
export PATH=/bin:/sbin
busybox mkdir -p /new
busybox mount -t tmpfs -o mode=755,size=80% root /new
for part in /*; do
    case $part in /new | /init | /proc | /sys | /dev) ;; *) busybox cp -a $part /new/ ;; esac
done
cd /new && busybox mkdir -p proc sys dev run var/tmp
busybox chmod 1777 tmp var/tmp
exec busybox switch_root /new /lib/systemd/systemd
"""
_END: Final = f"""#!/bin/sh
echo LAB-UNIT
systemctl show {UNIT} -p Result -p ExecMainStatus -p ExecMainExitTimestampMonotonic
systemctl show multi-user.target -p ActiveEnterTimestampMonotonic
echo "exposure: $(systemd-analyze security --offline=true --no-pager /etc/systemd/system/{UNIT} |
    busybox tail -n 1)"
echo LAB-JOURNAL
journalctl --no-pager -o cat -u {UNIT}
echo LAB-FILES
cd /var/crash && busybox find * -name 'vmcoretool.*' -exec busybox ls -ln {{}} +
for path in $(busybox find * -name vmcoretool.json); do
    echo "LAB-REPORT $path $(busybox cat "$path")"
done
echo LAB-DONE
"""
_END_UNIT: Final = f"""[Unit]
After=multi-user.target {UNIT}
[Service]
Type=oneshot
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
ExecStart=/bin/sh /usr/bin/lab-end
ExecStart=systemctl poweroff -ff
"""
_ETC: Final = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="lab"\n',
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/hostname": "lab\n",
    "etc/fstab": "",
    "etc/systemd/system/lab-end.service": _END_UNIT,
}


def ensure(folder: Path, *, fresh: bool = False) -> Path:
    """The log of a machine that was booted, now unless a whole one is there.

    Raises:
        LabError: it could not be booted.
    """
    log = folder / "boot.log"
    if fresh or not log.exists():
        log.unlink(missing_ok=True)
        make(folder)
    return log


def check(log: str) -> Iterator[Row]:
    """What the unit did, against what is true of the dumps that it found."""
    end = log.partition("LAB-UNIT\n")[2]
    told = (_first(end, rf"^{key}=(.*)$") for key in ("Result", "ExecMainStatus"))
    yield Row(NAME, "the unit ended with", "success 0", " ".join(map(str, told)))
    over, done = (
        int(_first(end, rf"^{name}TimestampMonotonic=(\d+)$") or -1)
        for name in ("ActiveEnter", "ExecMainExit")
    )
    yield Row(NAME, "the boot was over", "before", "before" if 0 <= over < done else "after")
    exposure = _first(end, r"exposure level for \S+: ([0-9.]+)")
    right = exposure is not None and float(exposure) <= MOST_EXPOSED
    yield Row(NAME, "its exposure", exposure if right else f"<= {MOST_EXPOSED}", exposure)
    reports = dict(re.findall(r"^LAB-REPORT (\S+)/\S+ (\{.*\})$", end, re.MULTILINE))
    yield Row(NAME, "folders with a report", sorted(DUMPS), sorted(reports))
    for place, (sample, crash) in DUMPS.items():
        truth = json.loads((ROOT / "samples" / crash / "truth.json").read_text())
        found = json.loads(reports.get(place, "{}")).get("relocation") or {}
        address = f"{found.get('xen_phys_start')} {found.get('status')}"
        yield Row(NAME, f"{sample}, address", f"{truth['xen_phys_start']} verified", address)
        for name in ("vmcoretool.json", "vmcoretool.txt"):
            # mode, links, owner and group
            listed = _first(end, rf"^(\S+ +\d+ \d+ +\d+) .* {re.escape(place)}/{name}$") or ""
            yield Row(NAME, f"{sample}, {name}", "-rw------- 1 0 0", " ".join(listed.split()))
        said = _first(end, rf"^/var/crash/{re.escape(place)}: .*xen_phys_start (\S+ \w+); ")
        yield Row(NAME, f"{sample}, journal", f"{truth['xen_phys_start']} verified", said)


def _first(text: str, pattern: str) -> str | None:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else None


def make(folder: Path) -> None:
    """Boot, and wait for the end: leaves ``boot.log`` in the folder.

    Raises:
        LabError: it does not boot, or the unit does not end; the message has the log's end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    image = folder / "root.img"
    _image(image)
    root, release = kernel()
    line = "console=ttyS0 panic=1 systemd.show_status=no systemd.log_color=no"
    arguments = ["-M", "pc", "-m", "1024", "-smp", "2", "-cpu", "qemu64"]
    arguments += ["-kernel", str(root / "boot" / f"vmlinuz-{release}"), "-append", line]
    arguments += ["-initrd", str(image)]
    try:
        with Machine(arguments, folder) as machine:
            machine.wait_for("LAB-DONE", LIMIT)
            log = machine.log
    finally:
        image.unlink(missing_ok=True)
    (folder / "boot.log").write_text(log, errors="replace")
    (folder / "boot.log.partial").unlink()


def _image(target: Path) -> None:
    tree = images.Tree()
    for applet in (tree.path / "bin").iterdir():
        if applet.is_symlink() and applet.name != "sh":
            applet.unlink()  # a copied program would be written through it
    left_out = shutil.ignore_patterns(*_LEFT_OUT)
    packages = BOOKWORM.closure(*_PACKAGES)
    shutil.copytree(packages, tree.path, symlinks=True, dirs_exist_ok=True, ignore=left_out)
    for place, text in _ETC.items():
        _write(tree.path / place, text)
    _write(tree.path / "init", _INIT, 0o755)
    _write(tree.path / "usr/bin/lab-end", _END, 0o755)
    _write(tree.path / "usr/bin/vmcoretool", _PROGRAM, 0o755)
    # nobody logs in, and there is no udev that would announce the terminals
    shutil.rmtree(tree.path / "lib/systemd/system/getty.target.wants")
    (tree.path / "lib/systemd/system-generators/systemd-getty-generator").unlink()
    system = tree.path / "etc/systemd/system"
    (system / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
    (system / "multi-user.target.wants").mkdir(exist_ok=True)
    (system / "multi-user.target.wants/lab-end.service").symlink_to("../lab-end.service")
    package = tree.path / "usr/lib/python3/dist-packages/vmcoretool"
    shutil.copytree(ROOT / "vmcoretool", package, ignore=shutil.ignore_patterns("__pycache__"))
    for place, (sample, _) in DUMPS.items():
        dump = tree.path / "var/crash" / place / "vmcore"
        dump.parent.mkdir(parents=True)
        shutil.copyfile(ROOT / "samples" / sample / "vmcore", dump)
    words = ("hook", "install", "--root", tree.path, "--exec", "/usr/bin/vmcoretool")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run(sys.executable, "-m", "vmcoretool", *words, env=environment)
    tree.pack(target)


def _write(place: Path, text: str, mode: int = 0o644) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    place.chmod(mode)
