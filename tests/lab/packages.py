"""Debian packages of any suite, unpacked and not installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CACHE: Final = Path(os.environ.get("LAB_CACHE", "~/.cache/vmcoretool-lab")).expanduser()
MIRROR: Final = os.environ.get("LAB_MIRROR", "http://deb.debian.org/debian")
KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
TOOLS: Final = {
    "qemu-system-x86_64": "qemu-system-x86",
    "makedumpfile": "makedumpfile",
    "crash": "crash",
    "busybox": "busybox-static",
    "depmod": "kmod",
    "cpio": "cpio",
    "zstd": "zstd",
    "nm": "binutils",
    "apt-get": "apt",
    "dpkg": "dpkg",
}
EXTRA_TOOLS: Final = {
    "grub": {
        "grub-mkrescue": "grub-common grub-pc-bin",
        "xorriso": "xorriso",
        "mformat": "mtools",
    },
    "efi": {},
    "kernel": {},
}
"""What one way of booting needs besides."""
OVMF: Final = (Path("/usr/share/OVMF/OVMF_CODE.fd"), Path("/usr/share/ovmf/OVMF.fd"))


class LabError(Exception):
    """The lab cannot go on; the message says what is missing."""


def missing_tools(tools: dict[str, str]) -> list[str]:
    """The packages whose programs are not on PATH."""
    path = os.environ.get("PATH", "") + ":/sbin:/usr/sbin"
    return [package for tool, package in tools.items() if not shutil.which(tool, path=path)]


def missing_for(boot: str) -> list[str]:
    """The packages that a way of booting needs and the host lacks."""
    firmware = boot != "efi" or any(path.exists() for path in OVMF)
    return missing_tools(EXTRA_TOOLS[boot]) + ([] if firmware else ["ovmf"])


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    """A command that must succeed; its output is in the error when it does not."""
    done = subprocess.run(  # type: ignore[call-overload]
        [str(word) for word in command], capture_output=True, text=True, check=False, **options
    )
    if done.returncode:
        raise LabError(f"{command[0]} failed: {done.stdout[-800:]}{done.stderr[-800:]}")
    result: subprocess.CompletedProcess[str] = done
    return result


@dataclass(frozen=True)
class Suite:
    """One Debian release, with an apt state of its own that needs no root."""

    name: str

    @property
    def folder(self) -> Path:
        """Where everything of this suite is kept."""
        return CACHE / self.name

    def prepare(self) -> None:
        """Fetch the package lists, once."""
        if (self.folder / "ready").exists():
            return
        for part in ("state/lists/partial", "cache/archives/partial", "debs", "roots"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        signed = f"[signed-by={KEYRING}] " if Path(KEYRING).exists() else ""
        (self.folder / "state" / "status").touch()
        (self.folder / "sources.list").write_text(f"deb {signed}{MIRROR} {self.name} main\n")
        # without this, lists that could not be fetched are a warning, and no list is "ready"
        strict = ("-o", "APT::Update::Error-Mode=any")
        run("apt-get", *self._options(), *strict, "update", "-q")
        (self.folder / "ready").touch()

    def root(self, package: str) -> Path:
        """The folder a package is unpacked in; fetched and unpacked on first use."""
        self.prepare()
        place = self.folder / "roots" / package
        if place.exists():
            return place
        self._unpack(self._download(package), place)
        return place

    def closure(self, *packages: str) -> Path:
        """A folder with these packages and all they depend on."""
        self.prepare()
        place = self.folder / "roots" / "+".join(packages)
        if place.exists():
            return place
        install = ("install", "-y", "-q", "--no-install-recommends", "--download-only")
        archives = self.folder / "cache" / "archives"
        for old in archives.glob("*.deb"):
            old.unlink()
        run("apt-get", *self._options(), *install, *packages)
        partial = place.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        for deb in sorted(archives.glob("*.deb")):
            run("dpkg", "-x", deb, partial)
        partial.rename(place)
        return place

    def resolve(self, package: str) -> str:
        """The first package that a meta package depends on."""
        self.prepare()
        text = run("apt-cache", *self._options(), "depends", package).stdout
        found = re.search(r"Depends: (\S+)", text)
        if not found:
            raise LabError(f"{package} of {self.name} depends on nothing")
        return found.group(1)

    def _download(self, package: str) -> Path:
        # apt-get writes under the final name from the first byte on, and goes on with half a file
        folder = self.folder / "debs"
        found = sorted(folder.glob(f"{package}_*.deb"))
        if not found:
            partial = folder / "partial"
            partial.mkdir(exist_ok=True)
            run("apt-get", *self._options(), "download", "-q", package, cwd=partial)
            for deb in partial.glob(f"{package}_*.deb"):
                found.append(deb.rename(folder / deb.name))
        return found[-1]

    def _unpack(self, deb: Path, place: Path) -> None:
        # renamed when whole: a rerun trusts only what is
        partial = place.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        run("dpkg", "-x", deb, partial)
        partial.rename(place)

    def _options(self) -> list[str]:
        settings = {
            "Dir::State": self.folder / "state",
            "Dir::Cache": self.folder / "cache",
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": "/nonexistent",
            "Dir::State::status": self.folder / "state" / "status",
            "APT::Sandbox::User": "",
        }
        return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


BOOKWORM: Final = Suite("bookworm")
BULLSEYE: Final = Suite("bullseye")
TRIXIE: Final = Suite("trixie")
XEN: Final = {"4.14": BULLSEYE, "4.17": BOOKWORM, "4.20": TRIXIE}


def hypervisor(version: str) -> Path:
    """Xen as QEMU's -kernel takes it: the unpacked ELF file, or what LAB_XEN names."""
    if os.environ.get("LAB_XEN"):
        return Path(os.environ["LAB_XEN"])
    root = XEN[version].root(f"xen-hypervisor-{version}-amd64")
    plain = XEN[version].folder / f"xen-{version}.elf"
    if not plain.exists():
        packed = root / "boot" / f"xen-{version}-amd64.gz"
        partial = plain.with_suffix(".partial")
        with partial.open("wb") as out:
            subprocess.run(["zcat", str(packed)], stdout=out, check=True)
        partial.rename(plain)
    return plain


NO_SYMBOLS: Final = ("4.14",)
"""Versions whose suite has no package of symbols: bullseye dropped it from its archive."""


def xen_syms(version: str) -> Path | None:
    """The package's symbol file, or for LAB_XEN the one LAB_XEN_SYMS names; None: there is none."""
    if os.environ.get("LAB_XEN"):
        return Path(os.environ["LAB_XEN_SYMS"])
    if version in NO_SYMBOLS:
        return None
    package = f"xen-hypervisor-{version}-amd64-dbg"
    found = sorted(XEN[version].root(package).rglob("xen-syms*"))
    found = [path for path in found if path.is_file() and not path.name.endswith(".map")]
    if not found:
        raise LabError(f"{package} holds no xen-syms")
    return found[0]


def efi_map(version: str) -> Path:
    """The symbols of the package's xen.efi, which is linked otherwise than xen-syms."""
    root = XEN[version].root(f"xen-hypervisor-{version}-amd64-dbg")
    return next(root.rglob(f"xen-{version}*.efi.map"))


def kernel() -> tuple[Path, str]:
    """The root of dom0's kernel package and the kernel's release."""
    package = BOOKWORM.resolve("linux-image-amd64")
    return BOOKWORM.root(package), package.removeprefix("linux-image-")


def dbg_vmlinux() -> Path:
    """The debug image of dom0's kernel: a package of 1 GB."""
    _, release = kernel()
    root = BOOKWORM.root(f"linux-image-{release}-dbg")
    return next(path for path in sorted(root.rglob("vmlinux*")) if path.is_file())
