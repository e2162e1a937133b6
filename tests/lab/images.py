"""Initial RAM disks: dom0's, the crash kernel's, a guest's; and boot media."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from tests.lab.packages import LabError, kernel, run

if TYPE_CHECKING:
    from collections.abc import Iterable

_APPLETS: Final = [
    "sh",
    "touch",
    "mount",
    "mkdir",
    "echo",
    "cat",
    "dd",
    "ls",
    "sleep",
    "poweroff",
    "reboot",
    "insmod",
    "modprobe",
    "mknod",
    "sync",
    "grep",
    "ifconfig",
    "seq",
    "head",
    "tail",
    "ps",
    "kill",
    "date",
    "dmesg",
    "od",
    "mv",
    "rm",
]
_HEAD: Final = """#!/bin/sh
export PATH=/bin:/sbin:/usr/sbin:/usr/bin:/usr/lib/xen/bin LD_LIBRARY_PATH=/lib
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
"""
CRASH_INIT: Final = (
    _HEAD
    + """
modprobe virtio_pci; modprobe virtio_blk
for i in $(seq 50); do [ -b /dev/vda ] && break; sleep 0.2; done
echo "LAB saving $(ls -l /proc/vmcore)"
mkdir /captured; sh /capture.sh /captured; echo "LAB hook $?"
[ -b /dev/vdb ] && dd if=/captured/vmcoretool-notes.elf of=/dev/vdb bs=512 conv=sync,fsync
dd if=/proc/vmcore of=/dev/vda bs=1M conv=fsync && echo LAB-SAVED
sync; poweroff -f
"""
)
GUEST_INIT: Final = (
    _HEAD
    + """
echo "LAB guest up"
while true; do sleep 60; done
"""
)


class Tree:
    """A folder that becomes an initial RAM disk."""

    def __init__(self) -> None:
        self._holder = tempfile.TemporaryDirectory(prefix="vmcoretool-lab-")
        self.path = Path(self._holder.name)
        for name in ("bin", "proc", "sys", "dev", "lib", "etc", "run", "tmp", "var/run", "var/lib"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        busybox = shutil.which("busybox")
        if not busybox:
            raise LabError("busybox is missing: apt-get install busybox-static")
        self.add(Path(busybox), "bin/busybox")
        for applet in _APPLETS:
            (self.path / "bin" / applet).symlink_to("busybox")

    def add(self, source: Path, place: str, mode: int = 0o755) -> None:
        """Copy a file to a place."""
        target = self.path / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(mode)

    def script(self, place: str, text: str) -> None:
        """Write an executable text file."""
        target = self.path / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(0o755)

    def modules(self, names: Iterable[str]) -> None:
        """Kernel modules with what they need, and modprobe's tables for them."""
        root, release = kernel()
        base = root / "lib" / "modules" / release
        if not (base / "modules.dep.bin").exists():
            run("/sbin/depmod", "-b", root, release)
        needs = dict(line.split(":", 1) for line in (base / "modules.dep").read_text().splitlines())
        by_name = {Path(path).name.split(".")[0].replace("-", "_"): path for path in needs}
        wanted: set[str] = set()
        for name in names:
            path = by_name.get(name.replace("-", "_"))
            if path:  # else built in
                wanted |= {path, *needs[path].split()}
        for path in wanted:
            self.add(base / path, f"lib/modules/{release}/{path}", 0o644)
        (self.path / "lib/modules" / release).mkdir(parents=True, exist_ok=True)
        for table in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
            if (base / table).exists():
                self.add(base / table, f"lib/modules/{release}/{table}", 0o644)
        run("/sbin/depmod", "-b", self.path, release)

    def programs(self, root: Path, names: Iterable[str]) -> None:
        """Programs of an unpacked root, with the libraries they load."""
        for name in names:
            found = [path for path in sorted(root.rglob(name)) if path.is_file() and _is_elf(path)]
            if not found:
                raise LabError(f"{name} is in no package under {root}")
            self.program(root, found[0], f"usr/sbin/{name}")

    def program(self, root: Path, source: Path, place: str) -> None:
        """One program or library, with the libraries of ``root`` that it loads."""
        libraries = {path.name: path for path in sorted(root.rglob("*.so*")) if path.exists()}
        self.add(source, place)
        queue = [source]
        while queue:
            # libgcc_s is loaded when a thread ends, and named nowhere
            for needed in (*_needed(queue.pop()), "libgcc_s.so.1", "ld-linux-x86-64.so.2"):
                target = f"lib64/{needed}" if needed.startswith("ld-") else f"lib/{needed}"
                if needed in libraries and not (self.path / target).exists():
                    self.add(libraries[needed], target)
                    queue.append(libraries[needed])

    def pack(self, target: Path) -> None:
        """Write the compressed cpio archive."""
        names = "\0".join(str(path.relative_to(self.path)) for path in sorted(self.path.rglob("*")))
        archive = subprocess.run(
            ["cpio", "-o", "-0", "-H", "newc", "-R", "0:0", "--quiet"],
            cwd=self.path,
            input=names.encode(),
            capture_output=True,
            check=True,
        ).stdout
        partial = target.with_suffix(".partial")
        partial.write_bytes(gzip.compress(archive, 1))
        partial.rename(target)
        self._holder.cleanup()


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _needed(path: Path) -> list[str]:
    with path.open("rb") as file:
        dynamic = ELFFile(file).get_section_by_name(".dynamic")
        if not isinstance(dynamic, DynamicSection):
            return []
        return [str(tag.needed) for tag in dynamic.iter_tags("DT_NEEDED")]  # type: ignore[attr-defined]


def grub_image(target: Path, xen: Path, options: str, kernel_file: Path, initrd: Path) -> None:
    """A bootable ISO that starts Xen by multiboot2, as a real host's GRUB does."""
    with tempfile.TemporaryDirectory(prefix="vmcoretool-lab-") as name:
        boot = Path(name) / "boot"
        (boot / "grub").mkdir(parents=True)
        for source, place in ((xen, "xen"), (kernel_file, "vmlinuz"), (initrd, "dom0.img")):
            shutil.copyfile(source, boot / place)
        (boot / "grub" / "grub.cfg").write_text(
            "set timeout=0\nserial --unit=0 --speed=115200\n"
            "menuentry xen {\n"
            f"  multiboot2 /boot/xen {options}\n"
            "  module2 /boot/vmlinuz console=hvc0 earlyprintk=xen panic=10\n"
            "  module2 /boot/dom0.img\n}\n"
        )
        run("grub-mkrescue", "-o", target, name, env={**os.environ, "LC_ALL": "C"})


def efi_folder(target: Path, xen_efi: Path, options: str, kernel_file: Path, initrd: Path) -> None:
    """A folder that OVMF boots Xen's own EFI program from."""
    boot = target / "EFI" / "BOOT"
    boot.mkdir(parents=True, exist_ok=True)
    places = ((xen_efi, "BOOTX64.EFI"), (kernel_file, "vmlinuz"), (initrd, "dom0.img"))
    for source, place in places:
        shutil.copyfile(source, boot / place)
    (boot / "BOOTX64.cfg").write_text(
        "[global]\ndefault=xen\n[xen]\n"
        f"options={options}\n"
        "kernel=vmlinuz console=hvc0 earlyprintk=xen panic=10\n"
        "ramdisk=dom0.img\n"
    )
