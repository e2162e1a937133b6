"""What is installed on which system: files, and lines in kdump's own configuration.

Everything can be taken away again: files carry a mark, lines stand between two marks, and what was
there before is never changed.  Where a setting is taken already, the line to add is said instead.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from importlib.resources import files
from typing import Final, NamedTuple

from vmcoretool.hooks.files import read, under

MARK: Final = "vmcoretool"
SYSTEMS: Final = ("rhel", "suse", "debian", "xcp-ng")
# ID and ID_LIKE of os-release; XCP-ng and XenServer are like centos, and yet another system
_ALIKE: Final = {
    "fedora": "rhel",
    "centos": "rhel",
    "rocky": "rhel",
    "almalinux": "rhel",
    "ol": "rhel",
    "sles": "suse",
    "sled": "suse",
    "opensuse": "suse",
    "opensuse-leap": "suse",
    "opensuse-tumbleweed": "suse",
    "ubuntu": "debian",
    "xenenterprise": "xcp-ng",
    "xenserver": "xcp-ng",
}
_OS_RELEASE: Final = ("/etc/os-release", "/usr/lib/os-release")
UNIT: Final = "/etc/systemd/system/vmcoretool-report.service"
_WANTS: Final = "/etc/systemd/system/multi-user.target.wants/vmcoretool-report.service"
CAPTURE: Final = "/usr/lib/vmcoretool/capture.sh"
_TOOLS: Final = "/usr/bin/dd /usr/bin/od"
DIRECTORY: Final = "/var/crash"
"""Where dumps are on all systems, unless they are told otherwise."""
_PROGRAM: Final = "# vmcoretool, as --exec names it: "
_CALLED: Final = "@system-service"
# dom0's systemd 219 knows no groups: of a list of what is allowed, nothing would be left
_NOT_CALLED: Final = "~@clock @cpu-emulation @debug @module @mount @obsolete @raw-io @reboot @swap"
_UNPACKED: Final = """\
Environment=SHIV_ROOT=/var/cache/vmcoretool
CacheDirectory=vmcoretool
CacheDirectoryMode=0700
"""
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
    """All changes of one system, what the administrator does afterwards, what the unit runs."""

    system: str
    changes: tuple[Change, ...]
    afterwards: tuple[str, ...]
    program: str | None = None


def system_named(name: str) -> str | None:
    """The system that a distribution's name stands for: one of :data:`SYSTEMS`, or None."""
    return name if name in SYSTEMS else _ALIKE.get(name)


def system_under(root: str) -> str | None:
    """The system whose root this is, by its os-release; None: it does not say."""
    facts: dict[str, str] = {}
    for path in reversed(_OS_RELEASE):  # the first has the last word
        with suppress(OSError):
            text = read(under(root, path))  # where the first is a link, it is one to the second
            facts.update(re.findall(r"^(ID|ID_LIKE)=[\"']?([^\"'\n]*)", text, re.MULTILINE))
    names = [facts.get("ID", ""), *facts.get("ID_LIKE", "").split()]
    return next(filter(None, map(system_named, names)), None)


def plan_of(system: str, directory: str | None = None, program: str | None = None) -> Plan:
    """What installing on a system means.

    Args:
        system: one of :data:`SYSTEMS`.
        directory: where its dumps are, if not in the usual place.
        program: what the unit runs, if not this very vmcoretool.
    """
    crash = directory or DIRECTORY
    after: tuple[Change, ...] = (
        PutFile(UNIT, unit(crash, program, _NOT_CALLED if system == "xcp-ng" else _CALLED), 0o644),
        PutLink(_WANTS, "../vmcoretool-report.service"),
    )
    reload_units = "systemctl daemon-reload"
    if system == "debian":
        return Plan(system, after, (reload_units,), program)
    if system == "rhel":
        hook = PutFile("/etc/kdump/post.d/90-vmcoretool.sh", capture_script(), 0o755)
        # kdump refuses a configuration that has the option twice
        merge = f"add to the end of its extra_bins line, which must stay one line: {_TOOLS}"
        lines: tuple[str, ...] = (f"extra_bins {_TOOLS}",)
        words = "".join(rf"(?=[^#\n]*\s{tool}(?!\S))" for tool in _TOOLS.split())
        done: tuple[str, ...] = (rf"^\s*extra_bins{words}",)
        bins = PutLines("/etc/kdump.conf", lines, r"^\s*extra_bins\s", merge, done)
        told: tuple[str, ...] = (reload_units, "kdumpctl rebuild", "kdumpctl restart")
        return Plan(system, (hook, bins, *after), told, program)
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
        return Plan(system, (capture, settings, *after), told, program)
    wrapper = PutFile("/usr/lib/vmcoretool/xca", wrapper_script(), 0o755)
    taken = rf"^\s*XCA=(?![\"']?{re.escape(_ANALYSER)}[\"']?\s*$)"
    merge = f"have the program that its XCA names run this first: {CAPTURE} DIR"
    settings = PutLines("/etc/sysconfig/kdump", (f"XCA={wrapper.path}",), taken, merge, ())
    return Plan(system, (capture, wrapper, settings, *after), (reload_units,), program)


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


_UNIT: Final = """\
# vmcoretool: a report beside each new dump, once after boot
{chosen}[Unit]
Description=vmcoretool: reports beside new crash dumps
# after what it is wanted by, or the boot would not be finished before the last dump is
After=local-fs.target remote-fs.target multi-user.target
ConditionDirectoryNotEmpty={path}

[Service]
Type=oneshot
ExecStart={command} hook run {argument}
Nice=19
IOSchedulingClass=idle
CPUQuota=50%
MemoryMax=1536M
TimeoutStartSec=2h
NoNewPrivileges=yes
CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_FOWNER
LockPersonality=yes
MemoryDenyWriteExecute=yes
PrivateDevices=yes
PrivateNetwork=yes
PrivateTmp=yes
Environment=TMPDIR=/var/tmp
{unpacked}ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=read-only
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
ReadWritePaths={place}
RestrictAddressFamilies=none
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter={calls}
UMask=0077

[Install]
WantedBy=multi-user.target
"""


def unit(directory: str, program: str | None = None, calls: str = _CALLED) -> str:
    """The systemd unit that looks for new dumps once after each boot.

    Args:
        directory: where dumps are.
        program: what it runs, if not this very vmcoretool.
        calls: which system calls it may make.
    """
    # a percent sign would be a specifier everywhere, a dollar sign a variable in a command
    path = directory.replace("%", "%%")
    place = _quoted(path)
    words = (word.replace("%", "%%").replace("$", "$$") for word in command_of(program))
    command = " ".join(map(_quoted, words))
    argument = _quoted(path.replace("$", "$$"))
    chosen = f"{_PROGRAM}{program}\n" if program else ""
    # shiv unpacks itself, by itself to root's home, which the unit may only read
    unpacked = _UNPACKED if not program and own_archive() else ""
    return _UNIT.format(
        chosen=chosen,
        path=path,
        command=command,
        argument=argument,
        place=place,
        unpacked=unpacked,
        calls=calls,
    )


def directory_of(text: str) -> str | None:
    """The directory that an installed unit looks at."""
    found = re.search(r"^ConditionDirectoryNotEmpty=(.+)$", text, re.MULTILINE)
    return found[1].replace("%%", "%") if found else None


def program_of(text: str) -> str | None:
    """The program that an installed unit was told to run, if it was."""
    found = re.search(f"^{re.escape(_PROGRAM)}(.+)$", text, re.MULTILINE)
    return found[1] if found else None


def command_of(program: str | None) -> tuple[str, ...]:
    """The words that start vmcoretool: the program that was named, or this very one."""
    return (program,) if program else own_command()


def own_command() -> tuple[str, ...]:
    """What starts this very vmcoretool again, from anywhere: a module, or an archive of Python."""
    archive = own_archive()
    if archive:
        return sys.executable, archive
    # -P (3.11): what lies in the current folder is not imported; callers run it in / besides
    safe = ("-P",) if sys.version_info >= (3, 11) else ()
    return (sys.executable, *safe, "-m", "vmcoretool")


def own_archive() -> str | None:
    """The archive (zipapp, shiv) that was started, or None.

    Some unpack themselves before: then this package lies in a folder, and only the main module
    tells where it is from.
    """
    main = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    home = os.path.join(os.path.dirname(__file__), "..", "..")
    places = (os.path.abspath(home), os.path.dirname(os.path.abspath(main)))
    return next(filter(os.path.isfile, places), None)


def _quoted(word: str) -> str:
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
