"""What is installed on which system: files, and lines in kdump's own configuration.

Everything can be taken away again: files carry a mark, lines stand between two marks, and what was
there before is never changed.  Where a setting is taken already, the line to add is said instead.
"""

from __future__ import annotations

import os
import re
import sys
from importlib.resources import files
from typing import Final, NamedTuple

MARK: Final = "vmcoretool"
SYSTEMS: Final = ("rhel", "suse", "debian", "xcp-ng")
UNIT: Final = "/etc/systemd/system/vmcoretool-report.service"
_WANTS: Final = "/etc/systemd/system/multi-user.target.wants/vmcoretool-report.service"
CAPTURE: Final = "/usr/lib/vmcoretool/capture.sh"
_TOOLS: Final = "/usr/bin/dd /usr/bin/od"
DIRECTORY: Final = "/var/crash"
"""Where dumps are on all systems, unless they are told otherwise."""
_PLAIN: Final = re.compile(r"[\w/.+:%@$-]+")
_ANALYSER: Final = "/usr/lib64/xen/bin/xen-crashdump-analyser"


class PutFile(NamedTuple):
    """A file that is ours; its text carries the mark."""

    path: str
    text: str
    mode: int


class PutLines(NamedTuple):
    """Lines between two marks at the end of a configuration file.

    Attributes:
        path: the file.
        lines: what is added.
        taken: what in it says that the setting is in use already.
        merge: how the line that is there is made to do both.
        merged: lines by which the file shows that this was done; none: it does not show.
    """

    path: str
    lines: tuple[str, ...]
    taken: str
    merge: str
    merged: tuple[str, ...]


class PutLink(NamedTuple):
    """A symbolic link, as ``systemctl enable`` makes it."""

    path: str
    target: str


Change = PutFile | PutLines | PutLink


class Plan(NamedTuple):
    """All changes of one system, and what the administrator does afterwards."""

    system: str
    changes: tuple[Change, ...]
    afterwards: tuple[str, ...]


def plan_of(system: str, directory: str | None = None) -> Plan:
    """What installing on a system means.

    Args:
        system: one of :data:`SYSTEMS`.
        directory: where its dumps are, if not in the usual place.
    """
    crash = directory or DIRECTORY
    after: tuple[Change, ...] = (
        PutFile(UNIT, unit(crash), 0o644),
        PutLink(_WANTS, "../vmcoretool-report.service"),
    )
    reload_units = "systemctl daemon-reload"
    if system == "debian":
        return Plan(system, after, (reload_units,))
    if system == "rhel":
        hook = PutFile("/etc/kdump/post.d/90-vmcoretool.sh", capture_script(), 0o755)
        # kdump refuses a configuration that has the option twice
        merge = f"add to the end of its extra_bins line, which must stay one line: {_TOOLS}"
        lines: tuple[str, ...] = (f"extra_bins {_TOOLS}",)
        words = "".join(rf"(?=[^#\n]*\s{tool}(?!\S))" for tool in _TOOLS.split())
        done: tuple[str, ...] = (rf"^\s*extra_bins{words}",)
        bins = PutLines("/etc/kdump.conf", lines, r"^\s*extra_bins\s", merge, done)
        told: tuple[str, ...] = (reload_units, "kdumpctl rebuild", "kdumpctl restart")
        return Plan(system, (hook, bins, *after), told)
    capture = PutFile(CAPTURE, capture_script(), 0o755)
    if system == "suse":
        lines = (
            f"KDUMP_POSTSCRIPT='{CAPTURE} \"$DIR\"'",
            f'KDUMP_REQUIRED_PROGRAMS="$KDUMP_REQUIRED_PROGRAMS {CAPTURE} {_TOOLS}"',
        )
        taken = r"^\s*KDUMP_(?:POSTSCRIPT|TRANSFER)=[\"']?[^\"'\s]"
        merge = (
            "add to its KDUMP_POSTSCRIPT (with KDUMP_TRANSFER, to what that runs): "
            f'; {CAPTURE} "$DIR"; and to its KDUMP_REQUIRED_PROGRAMS: {CAPTURE} {_TOOLS}'
        )
        done = tuple(
            rf"^\s*KDUMP_{name}=[^#\n]*{CAPTURE}(?![\w.])"
            for name in ("(?:POSTSCRIPT|TRANSFER)", "REQUIRED_PROGRAMS")
        )
        settings = PutLines("/etc/sysconfig/kdump", lines, taken, merge, done)
        told = (reload_units, "systemctl restart kdump.service")
        return Plan(system, (capture, settings, *after), told)
    wrapper = PutFile("/usr/lib/vmcoretool/xca", wrapper_script(), 0o755)
    taken = rf"^\s*XCA=(?![\"']?{re.escape(_ANALYSER)}[\"']?\s*$)"
    merge = f"have the program that its XCA names run this first: {CAPTURE} DIR"
    settings = PutLines("/etc/sysconfig/kdump", (f"XCA={wrapper.path}",), taken, merge, ())
    return Plan(system, (capture, wrapper, settings, *after), (reload_units,))


def capture_script() -> str:
    """The capture hook."""
    return files("vmcoretool.hooks").joinpath("capture.sh").read_text("utf-8")


def wrapper_script() -> str:
    """Run in place of XCP-ng's analyser: keep the notes, then become the analyser."""
    return f"""#!/bin/sh
# vmcoretool: run by kdump in place of xen-crashdump-analyser, which it then becomes
folder=
want=
for word in "$@"; do
    [ "$want" = 1 ] && folder=$word
    want=
    [ "$word" = --outdir ] && want=1
done
[ -n "$folder" ] && {CAPTURE} "$folder"
[ -x {_ANALYSER} ] || exit 0
exec {_ANALYSER} "$@"
"""


def unit(directory: str) -> str:
    """The systemd unit that looks for new dumps once after each boot."""
    # a percent sign would be a specifier everywhere, a dollar sign a variable in a command
    path = directory.replace("%", "%%")
    place = _quoted(path)
    words = (word.replace("%", "%%").replace("$", "$$") for word in own_command())
    program = " ".join(map(_quoted, words))
    argument = _quoted(path.replace("$", "$$"))
    return f"""# vmcoretool: a report beside each new dump, once after boot
[Unit]
Description=vmcoretool: reports beside new crash dumps
After=local-fs.target remote-fs.target
ConditionDirectoryNotEmpty={path}

[Service]
Type=oneshot
ExecStart={program} hook run {argument}
Nice=19
IOSchedulingClass=idle
CPUQuota=50%
MemoryMax=1536M
TimeoutStartSec=2h
NoNewPrivileges=yes
PrivateNetwork=yes
PrivateTmp=yes
Environment=TMPDIR=/var/tmp
ProtectHome=read-only
ProtectSystem=strict
ReadWritePaths={place}
UMask=0077

[Install]
WantedBy=multi-user.target
"""


def directory_of(text: str) -> str | None:
    """The directory that an installed unit looks at."""
    found = re.search(r"^ConditionDirectoryNotEmpty=(.+)$", text, re.MULTILINE)
    return found[1].replace("%%", "%") if found else None


def own_command() -> tuple[str, ...]:
    """What starts this very vmcoretool again, from anywhere: a module, or a zipapp."""
    home = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
    if os.path.isfile(home):
        return sys.executable, home
    # -P (3.11): what lies in the current folder is not imported; callers run it in / besides
    safe = ("-P",) if sys.version_info >= (3, 11) else ()
    return (sys.executable, *safe, "-m", "vmcoretool")


def _quoted(word: str) -> str:
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
