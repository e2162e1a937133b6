"""Installing the hooks, giving everything back, and what root is not made to run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import zipapp
from pathlib import Path
from typing import Any

import click
import pytest

from tests.hook_parts import HOOK, SAMPLE, tree
from tests.support import ROOT, tool
from vmcoretool.cli.main import run as run_command_line
from vmcoretool.hooks import files, install, selftest, systems, trust
from vmcoretool.hooks.report import is_done

CONFIGURED = {
    "etc/kdump.conf": "path /var/crash\ncore_collector makedumpfile -l --message-level 7 -d 31\n",
    "etc/sysconfig/kdump": 'KDUMP_POSTSCRIPT=""\nKDUMP_REQUIRED_PROGRAMS=""\nXCA='
    "/usr/lib64/xen/bin/xen-crashdump-analyser\nCRASH_COREDUMP=no",
}


@pytest.mark.parametrize("system", systems.SYSTEMS)
def test_install_is_idempotent_and_uninstall_restores(tmp_path: Path, system: str) -> None:
    for name, text in CONFIGURED.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o640)
    before = tree(tmp_path)
    words = ("--system", system, "--root", str(tmp_path))
    shown = tool("hook", "install", "--dry-run", *words)
    assert tree(tmp_path) == before
    assert tool("hook", "status", *words).returncode == 1
    assert tool("hook", "install", *words).returncode == 0
    installed = tree(tmp_path)
    for name, (_, content) in installed.items():
        if name not in before and content.startswith(b"#!"):
            assert content.rstrip(b"\n") in shown.stdout
    assert tool("hook", "install", *words).returncode == 0
    assert tree(tmp_path) == installed
    assert tool("hook", "status", *words).returncode == 0
    assert tool("hook", "uninstall", *words).returncode == 0
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("system", "name", "text"),
    [
        ("rhel", "etc/kdump.conf", "extra_bins /usr/bin/lspci\n"),
        ("suse", "etc/sysconfig/kdump", 'KDUMP_POSTSCRIPT="/root/mine.sh"\n'),
        ("suse", "etc/sysconfig/kdump", 'KDUMP_TRANSFER="scp"\n'),
        ("xcp-ng", "etc/sysconfig/kdump", "XCA=/root/my-analyser\n"),
    ],
)
def test_what_is_set_already_is_not_edited(
    tmp_path: Path, system: str, name: str, text: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    done = tool("hook", "install", "--system", system, "--root", str(tmp_path))
    assert done.returncode == 1
    assert path.read_text() == text
    assert b"by hand" in done.stderr
    assert text.strip().encode() in done.stdout  # the whole line


def test_line_merged_by_hand_is_installed(tmp_path: Path) -> None:
    path = tmp_path / "etc/kdump.conf"
    path.parent.mkdir(parents=True)
    text = "extra_bins /usr/bin/lspci\n"
    path.write_text(text)
    words = ("--system", "rhel", "--root", str(tmp_path))
    done = tool("hook", "install", *words)
    tools = done.stderr.decode().rpartition("one line: ")[2].strip()
    path.write_text(merged := f"{text.strip()} {tools}\n")
    assert tool("hook", "status", *words).returncode == 0
    assert tool("hook", "uninstall", *words).returncode == 0
    assert path.read_text() == merged


CAPTURE = systems.CAPTURE
SUSE = (
    f"KDUMP_POSTSCRIPT='/bin/y; {CAPTURE} \"$DIR\"'\n"
    f'KDUMP_REQUIRED_PROGRAMS="/bin/y {CAPTURE} /usr/bin/dd"\n'
)


@pytest.mark.parametrize(
    ("system", "name", "text", "status"),
    [
        ("rhel", "etc/kdump.conf", "extra_bins /usr/bin/od /usr/bin/lspci /usr/bin/dd\n", 0),
        ("rhel", "etc/kdump.conf", "extra_bins /usr/bin/ddrescue /usr/bin/odd\n", 1),
        ("rhel", "etc/kdump.conf", "extra_bins /bin/x # /usr/bin/dd /usr/bin/od\n", 1),
        ("suse", "etc/sysconfig/kdump", SUSE, 0),
        ("suse", "etc/sysconfig/kdump", f'KDUMP_TRANSFER="scp"\n{SUSE}', 0),
        ("suse", "etc/sysconfig/kdump", SUSE.partition("\n")[0] + "\n", 1),
        ("suse", "etc/sysconfig/kdump", f'KDUMP_POSTSCRIPT="/bin/y" # not {CAPTURE}\n', 1),
        ("xcp-ng", "etc/sysconfig/kdump", f"XCA=/root/mine # {CAPTURE}\n", 1),
    ],
)
def test_what_was_merged_by_hand_is_told(
    tmp_path: Path, system: str, name: str, text: str, status: int
) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    words = ("--system", system, "--root", str(tmp_path))
    assert tool("hook", "install", *words).returncode == status
    assert tool("hook", "status", *words).returncode == status
    done = tool("hook", "uninstall", *words)
    assert path.read_text() == text
    assert (b"take out by hand" in done.stderr) == (status == 0)


def test_directory_of_the_installed_unit_is_kept(tmp_path: Path) -> None:
    words = ("--system", "debian", "--root", str(tmp_path))
    assert tool("hook", "install", *words, "--directory", "/srv/50% full").returncode == 0
    assert tool("hook", "status", *words).returncode == 0
    assert tool("hook", "install", *words).returncode == 0
    assert "/srv/50%% full" in (tmp_path / systems.UNIT.lstrip("/")).read_text()
    assert tool("hook", "install", *words, "--directory", "crash").returncode == 2
    assert tool("hook", "install", "--system", "debian", "--root", "/nonexistent/x").returncode == 2
    assert not Path("/nonexistent").exists()


def test_system_without_kdump_is_said(tmp_path: Path) -> None:
    done = tool("hook", "install", "--system", "suse", "--root", str(tmp_path))
    assert b"etc/sysconfig/kdump was not there" in done.stderr


UNPACKING = """import os, sys, zipfile
archive = os.path.dirname(os.path.abspath(__file__))
place = os.environ.get("SHIV_ROOT", {home!r}) + "/.unpacked"
zipfile.ZipFile(archive).extractall(place)
sys.path.insert(0, place)
from vmcoretool.cli.entry import main
main()
"""


@pytest.mark.parametrize("unpacks", [False, True])  # as zipapp makes it; as shiv does
def test_unit_of_an_archive_runs_the_archive(tmp_path: Path, *, unpacks: bool) -> None:
    folder = tmp_path / "app"
    shutil.copytree(ROOT / "vmcoretool", folder / "vmcoretool")
    site = Path(click.__file__).parent
    shutil.copytree(site, folder / "click")
    app = tmp_path / "vmcoretool.pyz"
    main = None if unpacks else "vmcoretool.cli.entry:main"
    if unpacks:
        (folder / "__main__.py").write_text(UNPACKING.format(home=str(tmp_path / "home")))
    zipapp.create_archive(folder, app, main=main)
    root = tmp_path / "root"
    root.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def python(*words: object) -> None:
        command = [sys.executable, *map(str, words)]
        subprocess.run(command, check=True, capture_output=True, cwd="/", env=environment)

    crash = tmp_path / "crash/2026-11-25"
    crash.mkdir(parents=True)
    shutil.copy(SAMPLE, crash / "vmcore")
    python(app, "hook", "run", crash.parent)
    assert b"VERIFIED" in (crash / "vmcoretool.txt").read_bytes()
    (crash / "vmcoretool.json").unlink()
    python(app, "hook", "install", "--system", "debian", "--root", root)
    text = (root / systems.UNIT.lstrip("/")).read_text()
    line = re.search("^ExecStart=(.*)$", text, re.MULTILINE)
    assert line
    # the unit cannot write to root's home, and others can write to /var/tmp
    assert "SHIV_ROOT=/var/cache/vmcoretool\nCacheDirectory=vmcoretool\n" in text
    python(*shlex.split(line[1])[1:-1], crash.parent)
    assert (crash / "vmcoretool.json").exists()
    assert "SHIV_ROOT" not in systems.unit("/var/crash")


def test_foreign_file_in_the_place_of_ours_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "etc/kdump/post.d/90-vmcoretool.sh"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\necho mine\n")
    assert tool("hook", "install", "--system", "rhel", "--root", str(tmp_path)).returncode == 1
    tool("hook", "uninstall", "--system", "rhel", "--root", str(tmp_path))
    assert path.read_text() == "#!/bin/sh\necho mine\n"


def test_older_files_of_ours_are_brought_up_to_date(tmp_path: Path) -> None:
    plan = systems.plan_of("suse")
    install.install(install.look(plan, str(tmp_path)))
    hook = tmp_path / systems.CAPTURE.lstrip("/")
    hook.write_text(hook.read_text() + "# older\n")
    assert {step.state for step in install.look(plan, str(tmp_path))} == {"installed", "changed"}
    install.install(install.look(plan, str(tmp_path)))
    assert hook.read_text() == HOOK.read_text()


@pytest.mark.parametrize(
    "content",
    [
        *(None, b"", b"\n", b"a", b"\xff\xfe\n", b"a\n\n", b"\xef\xbb\xbfa\n", b"a\0b"),
        *(b"path /data\r\nxfs /dev/sda1\r\n", b"path /data\r\nxfs /dev/sda1", b"a\r", b"a\r\n\r\n"),
    ],
)
def test_configuration_is_given_back_byte_for_byte(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "etc/kdump.conf"
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)
    plan = systems.plan_of("rhel")
    install.install(install.look(plan, str(tmp_path)))
    install.install(install.look(plan, str(tmp_path)))
    assert path.read_bytes().startswith(content or b"")
    assert path.read_bytes().endswith(b"end\n")
    written = path.read_bytes()
    path.write_bytes(written + b"added since\n")
    install.uninstall(install.look(plan, str(tmp_path)))
    own = content + b"\n" if content and not content.endswith(b"\n") else content or b""
    assert path.read_bytes() == own + b"added since\n"
    path.write_bytes(written.replace(b"bins ", b"bins  "))  # the lines of another version
    install.install(install.look(plan, str(tmp_path)))
    assert path.read_bytes() == written
    install.uninstall(install.look(plan, str(tmp_path)))
    assert (path.read_bytes() if path.exists() else None) == content


def test_cr_lf_is_kept_and_told(tmp_path: Path) -> None:
    path = tmp_path / "etc/kdump.conf"
    path.parent.mkdir()
    path.write_bytes(content := b"path /data\r\nxfs /dev/sda1\r\n")
    words = ("--system", "rhel", "--root", str(tmp_path))
    done = tool("hook", "install", *words)
    assert done.returncode == 0
    assert b"kdump.conf: its lines end in CR LF" in done.stderr
    written = path.read_bytes()
    assert written.startswith(content)
    assert b"\r" not in written[len(content) :]  # kdump would take it for a part of a name
    path.write_bytes(written.replace(b"\n", b"\r\n"))  # an editor changed ours, too
    changed = tool("hook", "install", *words)
    assert (changed.returncode, b"edited by hand" in changed.stdout) == (1, True)
    path.write_bytes(written)
    assert tool("hook", "uninstall", *words).returncode == 0
    assert path.read_bytes() == content


def test_configuration_of_nearly_one_mib_is_given_back_or_not_edited(tmp_path: Path) -> None:
    path = tmp_path / "etc/kdump.conf"
    path.parent.mkdir()
    plan = systems.plan_of("rhel")
    states = []
    for size in range(files.MAX_FILE - 250, files.MAX_FILE + 1, 25):
        path.write_bytes(content := (b"# x\n" * (size // 4 + 1))[:size])
        steps = install.look(plan, str(tmp_path))
        states.append(steps[1].state)
        install.install(steps)
        assert (path.read_bytes() == content) == (states[-1] == "refused")
        install.uninstall(install.look(plan, str(tmp_path)))
        assert path.read_bytes() == content
    assert (states[0], states[-1]) == ("absent", "refused")


def test_configuration_over_one_mib_is_not_edited(tmp_path: Path) -> None:
    path = tmp_path / "etc/kdump.conf"
    path.parent.mkdir()
    path.write_bytes(content := b"# x\n" * (1 << 18) + b"path /data\n")
    words = ("--system", "rhel", "--root", str(tmp_path))
    done = tool("hook", "install", *words)
    assert done.returncode == 1
    assert b"larger than 1 MiB" in done.stdout
    assert path.read_bytes() == content
    assert tool("hook", "uninstall", *words).returncode == 0
    assert path.read_bytes() == content


@pytest.mark.parametrize("target", ["{}/elsewhere", "../../elsewhere"])
def test_links_out_of_the_root_are_not_followed(tmp_path: Path, target: str) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    (root / "etc").mkdir(parents=True)
    elsewhere.mkdir()
    (root / "etc/systemd").symlink_to(target.format(tmp_path))
    done = tool("hook", "install", "--system", "debian", "--root", str(root))
    assert done.returncode == 1
    assert b"leads out of" in done.stdout
    assert list(elsewhere.iterdir()) == []
    (root / "etc/systemd").unlink()
    (root / "lib").mkdir()
    (root / "etc/systemd").symlink_to("../lib")
    assert tool("hook", "install", "--system", "debian", "--root", str(root)).returncode == 0
    assert (root / "lib/system/vmcoretool-report.service").is_file()


def test_configuration_keeps_label_owner_and_mode_through_both(tmp_path: Path) -> None:
    path = tmp_path / "etc/kdump.conf"
    path.parent.mkdir()
    path.write_text("path /var/crash\n")
    path.chmod(0o640)
    label = b"system_u:object_r:kdump_etc_t:s0\0"
    try:
        os.setxattr(path, "security.selinux", label)
        os.chown(path, 0, 12345)
    except OSError as error:
        pytest.skip(f"labels and owners cannot be set here: {error}")
    words = ("--system", "rhel", "--root", str(tmp_path))
    for command in ("install", "uninstall"):
        assert tool("hook", command, *words).returncode == 0
        assert os.getxattr(path, "security.selinux") == label
        status = path.stat()
        assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o640, 12345)


def test_configuration_keeps_its_selinux_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "etc/kdump.conf"
    path.parent.mkdir()
    path.write_text("path /var/crash\n")
    labels = {path.stat().st_ino: b"system_u:object_r:kdump_etc_t:s0\0"}
    monkeypatch.setattr(os, "getxattr", lambda place, _, **__: labels[Path(place).stat().st_ino])
    monkeypatch.setattr(
        os, "setxattr", lambda place, _, label: labels.update({os.fstat(place).st_ino: label})
    )
    old = path.stat().st_ino
    install.install(install.look(systems.plan_of("rhel"), str(tmp_path)))
    assert labels[path.stat().st_ino] == labels[old]


@pytest.mark.parametrize(
    ("text", "system"),
    [
        ("ID=fedora\n", b"rhel"),
        ('NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\n', b"rhel"),
        ('ID="xenenterprise"\nID_LIKE="centos rhel fedora"\n', b"xcp-ng"),
        ("ID=linuxmint\nID_LIKE='ubuntu debian'\n", b"debian"),
        ('ID="sle-micro"\nID_LIKE="suse"\n', b"suse"),
    ],
)
def test_system_is_known_by_its_os_release(tmp_path: Path, text: str, system: bytes) -> None:
    place = tmp_path / "usr/lib/os-release"
    place.parent.mkdir(parents=True)
    place.write_text(text)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").symlink_to("../usr/lib/os-release")
    done = tool("hook", "install", "--dry-run", "--root", str(tmp_path))
    assert done.stdout.startswith(b"system: " + system)
    name = text.partition("ID=")[2].partition("\n")[0].strip('"')
    if name in ("fedora", "rocky"):
        named = tool("hook", "install", "--dry-run", "--root", str(tmp_path), "--system", name)
        assert done.stdout.partition(b"\n")[2] == named.stdout
    place.write_text("ID=plan9\n")
    unknown = tool("hook", "install", "--root", str(tmp_path))
    assert unknown.returncode == 2
    assert b"rhel, suse, debian, xcp-ng" in unknown.stderr
    assert not (tmp_path / "etc/systemd").exists()


def test_program_that_the_unit_runs_is_chosen_and_kept(tmp_path: Path) -> None:
    words = ("--system", "debian", "--root", str(tmp_path))
    program = "/opt/50% of it/vmcoretool"
    assert tool("hook", "install", *words, "--exec", program).returncode == 0
    text = (tmp_path / systems.UNIT.lstrip("/")).read_text()
    assert 'ExecStart="/opt/50%% of it/vmcoretool" hook run /var/crash\n' in text
    assert tool("hook", "status", *words).returncode == 0
    assert tool("hook", "install", *words).returncode == 0
    assert (tmp_path / systems.UNIT.lstrip("/")).read_text() == text
    assert tool("hook", "install", *words, "--exec", "bin/vmcoretool").returncode == 2


def test_what_others_can_change_is_not_run_as_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid():
        pytest.skip("needs root")
    program = tmp_path / "bin/vmcoretool"
    program.parent.mkdir()
    program.write_text("#!/usr/bin/env python3\n")
    assert trust.not_roots_alone(str(program)) is None
    program.parent.chmod(0o777)
    assert trust.not_roots_alone(str(program)) == (
        str(program.parent),
        "may be written to by everybody",
    )
    program.parent.chmod(0o755)
    (tmp_path / "python").touch()
    os.chown(tmp_path / "python", 1000, 1000)
    (tmp_path / "link").symlink_to("python")
    program.write_text(f"#!{tmp_path}/link\n")
    assert trust.not_roots_alone(str(program)) == (str(tmp_path / "python"), "belongs to user 1000")
    monkeypatch.setattr("vmcoretool.hooks.install.install", lambda steps: steps)
    monkeypatch.setattr("vmcoretool.hooks.install.look", lambda *_: ())
    words = ["hook", "install", "--system", "debian", "--exec", str(program)]
    assert run_command_line(words) == 1
    assert "belongs to user 1000, and the unit would run it as root" in capsys.readouterr().err
    assert run_command_line([*words, "--trust-this-python"]) == 0
    assert run_command_line([*words, "--dry-run"]) == 0


def test_refusal_prints_the_line_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (ROOT / "README.md").read_text()
    monkeypatch.setattr(trust, "not_roots_alone", lambda _: ("/home/me", "belongs to user 1000"))
    written: list[int] = []
    monkeypatch.setattr("vmcoretool.hooks.install.look", lambda *_: ())
    monkeypatch.setattr("vmcoretool.hooks.install.install", lambda _: written.append(1))
    words = ["hook", "install", "--system", "debian"]
    assert run_command_line([*words, "--json"]) == 1
    out, err = capsys.readouterr()
    why = "/home/me belongs to user 1000, and the unit would run it as root at each boot"
    assert json.loads(out)["trouble"] == why
    assert err.splitlines() == [
        f"vmcoretool: {why}",
        f"vmcoretool: install vmcoretool where only root can write: {trust.roots_own()}",
        "vmcoretool: nothing was installed; --trust-this-python goes on all the same",
    ]
    assert written == []
    assert run_command_line([*words, "--trust-this-python"]) == 0
    assert written == [1]
    monkeypatch.setattr(sys, "version_info", (3, 11, 2))
    for version in ("python3.11", "python3.9"):  # as in Debian 12, and in RHEL 9
        (tmp_path / version).touch()
        (tmp_path / "python3").unlink(missing_ok=True)
        (tmp_path / "python3").symlink_to(version)
        assert f"`{trust.roots_own(str(tmp_path / 'python3'))}`" in readme


def root_owned(place: Path) -> Path:
    if os.geteuid():
        pytest.skip("needs root")
    (place / "bin").mkdir(parents=True)
    (place / "bin/python3").symlink_to("/bin/sh")
    (place / "pyvenv.cfg").write_text("home = /usr/bin\n")
    packages = place / "lib/python3.11/site-packages"
    (packages / "click").mkdir(parents=True)
    (packages / "click/core.py").touch()
    program = place / "bin/vmcoretool"
    program.write_text(f"#!{place}/bin/python3\n")
    return packages


@pytest.mark.parametrize(
    "name",
    ["pyvenv.cfg", "lib/python3.11/site-packages", "lib/python3.11/site-packages/click/core.py"],
)
def test_all_that_a_program_imports_is_looked_at(tmp_path: Path, name: str) -> None:
    root_owned(tmp_path / "v")
    program = str(tmp_path / "v/bin/vmcoretool")
    assert trust.not_roots_alone(program) is None
    os.chown(tmp_path / "v" / name, 1000, 1000)
    assert trust.not_roots_alone(program) == (str(tmp_path / "v" / name), "belongs to user 1000")


def test_all_that_this_python_imports_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = root_owned(tmp_path / "v")
    monkeypatch.setattr(trust, "own_command", lambda: ("/bin/sh",))
    monkeypatch.setattr(sys, "path", ["/", "zip", str(packages)])
    assert trust.not_roots_alone(None) is None
    os.chown(packages / "click/core.py", 1000, 1000)
    assert trust.not_roots_alone(None) == (f"{packages}/click/core.py", "belongs to user 1000")
    os.chown(packages / "click/core.py", 0, 0)
    # in a sticky folder nobody can exchange root's files, but everybody can add a click.py
    common = tmp_path / "common"
    common.mkdir()
    common.chmod(0o1777)
    (common / "in").mkdir()
    monkeypatch.setattr(sys, "path", [str(common / "in")])
    assert trust.not_roots_alone(None) is None
    monkeypatch.setattr(sys, "path", [str(common)])
    assert trust.not_roots_alone(None) == (str(common), "may be written to by everybody")


def test_current_folder_of_python_m_is_not_the_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o777)
    if os.geteuid():
        pytest.skip("needs root")
    done = tool("hook", "install", "--dry-run", "--system", "debian", cwd=tmp_path)
    assert b"may be written to" not in done.stderr


def test_what_an_archive_unpacked_is_not_what_the_unit_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = root_owned(tmp_path / "v")
    archive = tmp_path / "v/vmcoretool.pyz"
    archive.touch()
    monkeypatch.setattr(trust, "own_command", lambda: ("/bin/sh", str(archive)))
    monkeypatch.setattr(trust, "own_archive", lambda: str(archive))
    monkeypatch.setattr(trust, "_PACKAGE", str(packages / "vmcoretool"))
    monkeypatch.setattr(sys, "path", [str(packages)])
    os.chown(packages, 1000, 1000)  # in the home of who called sudo
    assert trust.not_roots_alone(None) is None
    os.chown(archive, 1000, 1000)
    assert trust.not_roots_alone(None) == (str(archive), "belongs to user 1000")


def test_writing_without_root_is_refused_with_the_cure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    words = ["--system", "debian", "--root", str(tmp_path)]
    assert run_command_line(["hook", "install", *words]) == 5
    said = capsys.readouterr().err
    assert said.endswith("vmcoretool-report.service: Permission denied; writing there needs root\n")


def test_unit_for_an_old_systemd_names_no_calls_that_are_allowed() -> None:
    # 219 knows no groups of calls: it would take the list for an empty one, and allow nothing
    for system in systems.SYSTEMS:
        text = next(
            change.text
            for change in systems.plan_of(system).changes
            if isinstance(change, systems.PutFile) and change.path == systems.UNIT
        )
        (calls,) = re.findall("^SystemCallFilter=(.*)$", text, re.MULTILINE)
        assert calls.startswith("~") == (system == "xcp-ng")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("directory", ["/var/crash", "/srv/100% of it/crash"])
@pytest.mark.parametrize("program", [None, "/usr/bin/env"])
@pytest.mark.parametrize("system", ["debian", "xcp-ng"])
def test_unit_as_installed_is_valid_and_little_exposed(
    tmp_path: Path, directory: str, program: str | None, system: str
) -> None:
    words = ["--system", system, "--root", str(tmp_path), "--directory", directory]
    words += ["--exec", program] if program else []
    assert tool("hook", "install", *words).returncode == 0
    unit = tmp_path / systems.UNIT.lstrip("/")
    # else the boot would not be over before the last dump is inspected
    assert re.search(r"^After=.*\bmulti-user\.target$", unit.read_text(), re.MULTILINE)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "vmcoretool" not in done.stderr
    if "--offline" not in tool_help("systemd-analyze"):
        pytest.skip("this systemd scores running units alone")
    words = ["systemd-analyze", "security", "--offline=true", "--threshold=30", str(unit)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (score,) = re.findall("Overall exposure level for [^:]*: ([0-9.]+)", done.stdout)
    assert float(score) <= 3.0


def tool_help(name: str) -> str:
    return subprocess.run([name, "--help"], capture_output=True, text=True, check=False).stdout


def test_selftest() -> None:
    done = tool("hook", "selftest")
    assert done.returncode == 0, done.stdout
    assert b"the hook in sh: " in done.stdout
    assert sys.executable in systems.unit("/var/crash")


def test_selftest_tells_what_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "SHELLS", (("sh",), ("no-such-shell",)))
    monkeypatch.setattr(selftest, "capture_script", lambda: "echo broken >&2\nexit 3\n")
    trials = {trial.name: trial for trial in selftest.selftest()}
    assert trials["the hook in sh"] == ("the hook in sh", "status 3: broken", False)
    assert trials["the dump itself"].right
    assert "the hook in no-such-shell" not in trials
    monkeypatch.setattr(selftest, "SECONDS", 0.2)
    monkeypatch.setattr(selftest, "capture_script", lambda: "exec sleep 60\n")
    trials = {trial.name: trial for trial in selftest.selftest()}
    assert trials["the hook in sh"][1:] == ("did not end within 0.2 s", False)
    monkeypatch.setattr(selftest, "capture_script", lambda: "exit 0\n")  # but nothing captured
    trials = {trial.name: trial for trial in selftest.selftest()}
    assert trials["the hook in sh"][1:] == ("status 0: ", False)


def test_selftest_names_tools_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(selftest, "SHELLS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_command_line(["hook", "selftest"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "FAIL dd: is not installed" in lines
    assert "ok   sleep: is not installed" in lines  # one does without


@pytest.mark.parametrize(
    ("mode", "owner", "why"),
    [
        (0o644, 0, ""),
        (0o664, 0, ""),
        (0o664, 1000, "may be written to by group 1000"),
        (0o666, 0, "may be written to by everybody"),
    ],
)
def test_who_may_change_a_file(tmp_path: Path, mode: int, owner: int, why: str) -> None:
    if os.geteuid():
        pytest.skip("needs root")
    path = tmp_path / "program"
    path.touch()
    os.chown(path, 0, owner)
    path.chmod(mode)
    assert trust._open_to(str(path), sticky=True) == why


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    chain = list(trust._chain(str(tmp_path / "a")))
    assert {str(tmp_path / "a"), str(tmp_path / "b"), "/"} <= set(chain)
    assert trust._open_to(str(tmp_path / "missing"), sticky=True) == (
        "cannot be looked at (No such file or directory)"
    )
    assert list(trust._of_program(str(tmp_path / "missing"))) == [str(tmp_path / "missing")]


def test_systems_files_are_read_and_replaced_with_care(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kdump"
    path.write_bytes(b"a\r\n\xff")
    text = files.read(str(path))
    files.write(str(path), text, 0o640)
    assert path.read_bytes() == b"a\r\n\xff"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    handles = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="no regular file"):
        files.read(str(tmp_path))
    (tmp_path / "vmcoretool.json").mkdir()
    assert not is_done(str(path))
    (tmp_path / "vmcoretool.json").rmdir()
    assert len(list(Path("/proc/self/fd").iterdir())) == handles
    monkeypatch.setattr(files, "MAX_FILE", 3)
    with pytest.raises(OSError, match="larger than"):
        files.read(str(path))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write(str(path), "new", 0o600)
    assert [entry.name for entry in tmp_path.iterdir()] == ["kdump"]
    assert path.read_bytes() == b"a\r\n\xff"
    with pytest.raises(FileNotFoundError) as caught:
        files.write(str(tmp_path / "missing/kdump"), "new", 0o600)
    assert caught.value.filename == str(tmp_path / "missing/kdump")
