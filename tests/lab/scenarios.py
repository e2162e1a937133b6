"""What is booted, how it crashes, and how its memory gets into a file."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from elftools.elf.elffile import ELFFile

from tests.lab import images
from tests.lab.machine import Machine
from tests.lab.packages import (
    BOOKWORM,
    BULLSEYE,
    CACHE,
    OVMF,
    XEN,
    LabError,
    hypervisor,
    kernel,
    run,
)
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

CTRL_A: Final = b"\x01\x01\x01"
DISK_SIZE: Final = 8 << 30
CAPTURED: Final = "captured.elf"
"""What the capture hook wrote inside the crash kernel."""
CAPTURED_SIZE: Final = 1 << 20


@dataclass(frozen=True)
class Scenario:
    """One crash.

    Attributes:
        name: as on the command line.
        xen: version of the stock package; None is native Linux.
        trigger: how it crashes, once dom0 is ready.
        boot: "kernel" (QEMU's loader), "grub" (multiboot2, BIOS) or "efi" (xen.efi, OVMF).
        memory: MiB of the machine.
        dom0_memory: MiB of dom0.
        cpus: of the machine.
        options: of Xen.
        guests: type of each guest, "pv" or "pvh".
        processor: QEMU's CPU model.
        crash: what Xen's log says of the crash.
        dom0_then: what dom0's init does when all is ready.
        save: "kdump", or the command of QEMU's monitor that saves it.
        limit: seconds for a step.
        extra: more scripts of the crash kernel, by place.
    """

    name: str
    trigger: Callable[[Machine], None]
    crash: str
    xen: str | None = "4.17"
    boot: str = "kernel"
    memory: int = 640
    dom0_memory: int = 200
    cpus: int = 2
    processor: str = "qemu64"
    options: str = ""
    guests: tuple[str, ...] = ()
    dom0_then: str = "read go < /dev/console; echo c > /proc/sysrq-trigger"
    save: str = "kdump"
    limit: int = 240
    extra: dict[str, str] = field(default_factory=dict)


def press_enter(machine: Machine) -> None:
    """dom0's init waits for a line before it panics."""
    machine.type(b"\n")


def key_crash(machine: Machine) -> None:
    """The debug key that makes Xen execute its kexec image."""
    machine.type(CTRL_A + b"C")


def nmi(machine: Machine) -> None:
    """The front panel's button."""
    machine.monitor("nmi")


def wrap_ring(machine: Machine) -> None:
    """Debug keys until Xen has said several times what its ring holds."""
    machine.type(CTRL_A)
    for times in range(1, 41):
        machine.type(b"h")
        machine.wait_for("showing installed handlers", 10, times)
    machine.type(CTRL_A)
    press_enter(machine)


def nothing(machine: Machine) -> None:
    """A dump of a machine that did not crash."""
    del machine


_PANIC: Final = "Hardware Dom0 crashed"
_KEY: Final = "'C' pressed -> triggering crashdump"
SCENARIOS: Final[tuple[Scenario, ...]] = (
    Scenario("dom0-panic", press_enter, _PANIC),
    Scenario("key-C", key_crash, _KEY),
    Scenario("nmi-fatal", nmi, "FATAL TRAP", options="nmi=fatal"),
    Scenario("four-cpus", press_enter, _PANIC, cpus=4),
    Scenario("above-4-GiB", press_enter, _PANIC, memory=5120),
    Scenario(
        "two-pv-domus", press_enter, _PANIC, memory=1024, dom0_memory=280, guests=("pv", "pv")
    ),
    Scenario(
        "pv-and-pvh",
        press_enter,
        _PANIC,
        memory=1024,
        dom0_memory=280,
        guests=("pv", "pvh"),
        processor="qemu64,+npt",
    ),
    Scenario("ring-wrapped", wrap_ring, _PANIC),
    Scenario("grub-multiboot2", press_enter, _PANIC, boot="grub", memory=700),
    Scenario("xen-efi", press_enter, _PANIC, boot="efi", memory=900),
    Scenario("qemu-elf", nothing, "", save="dump-guest-memory"),
    Scenario("qemu-paging", nothing, "", save="dump-guest-memory -p"),
    Scenario("qemu-kdump", nothing, "", save="dump-guest-memory -z"),
    Scenario("linux-panic", press_enter, "", xen=None),
    Scenario("xen-4.14", press_enter, _PANIC, xen="4.14"),
    Scenario("xen-4.20", press_enter, _PANIC, xen="4.20"),
)
WITH_VARIANTS: Final = ("dom0-panic", "xen-4.14", "xen-4.20")
WITH_LINUX: Final = ("dom0-panic", "key-C", "two-pv-domus")
"""Scenarios whose guests are opened in crash, where that is asked for."""
"""Dumps that are also checked with other notes and through makedumpfile."""


def make(scenario: Scenario, folder: Path) -> None:
    """Boot, crash and save: leaves ``vmcore`` and ``boot.log`` in ``folder``.

    Raises:
        LabError: it does not boot, crash or save; the message has the end of the serial line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    disk = folder / "vmcore.partial"
    disk.unlink(missing_ok=True)
    with disk.open("wb") as file:
        file.truncate(DISK_SIZE)
    arguments = ["-m", str(scenario.memory), "-smp", str(scenario.cpus)]
    arguments += ["-cpu", scenario.processor, *_boot(scenario, folder)]
    arguments += ["-drive", f"file={disk},format=raw,if=virtio"]
    captured = folder / "captured.partial"
    captured.write_bytes(bytes(CAPTURED_SIZE))
    arguments += ["-drive", f"file={captured},format=raw,if=virtio"]
    with Machine(arguments, folder) as machine:
        machine.wait_for("LAB-READY", scenario.limit)
        created = machine.log.count(" created\n")
        if created != len(scenario.guests):
            raise LabError(f"{created} of {len(scenario.guests)} guests: ...{machine.log[-1500:]}")
        scenario.trigger(machine)
        if scenario.save == "kdump":
            machine.wait_for("LAB-SAVED", scenario.limit)
            machine.wait_for_end(60)
        else:
            disk.unlink()
            answer = machine.monitor(f"{scenario.save} {disk}")
            if not disk.exists() or "rror" in answer:
                raise LabError(f"QEMU saved nothing: {answer!r}")
        log = machine.log
    _cut(disk)
    if captured.read_bytes()[:4] == b"\x7fELF":
        captured.rename(folder / CAPTURED)
    captured.unlink(missing_ok=True)
    (folder / "boot.log").write_text(log, errors="replace")
    (folder / "boot.log.partial").unlink()
    disk.rename(folder / "vmcore")


def _cut(disk: Path) -> None:
    # the disk holds the ELF file and then nothing
    with disk.open("rb+") as file:
        if file.read(4) == b"\x7fELF" and disk.stat().st_size == DISK_SIZE:
            segments = ELFFile(file).iter_segments()
            file.truncate(max(one["p_offset"] + one["p_filesz"] for one in segments))
        elif disk.stat().st_size == DISK_SIZE:
            raise LabError("what was saved is not an ELF file")
    run("fallocate", "--dig-holes", disk)


def _boot(scenario: Scenario, folder: Path) -> list[str]:
    root, release = kernel()
    vmlinuz = root / "boot" / f"vmlinuz-{release}"
    initrd = folder / "dom0.img"
    _dom0_image(scenario, vmlinuz, initrd)
    if scenario.xen is None:
        line = "console=ttyS0 panic=10 crashkernel=160M"
        return ["-M", "pc", "-kernel", str(vmlinuz), "-append", line, "-initrd", str(initrd)]
    options = (
        "console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all crashkernel=160M "
        f"dom0_mem={scenario.dom0_memory}M,max:{scenario.dom0_memory}M {scenario.options}"
    ).strip()
    if scenario.boot == "grub":
        iso = folder / "boot.iso"
        images.grub_image(iso, hypervisor(scenario.xen), options, vmlinuz, initrd)
        return ["-M", "pc", "-cdrom", str(iso), "-boot", "d"]
    if scenario.boot == "efi":
        drive = folder / "esp"
        efi = XEN[scenario.xen].root(f"xen-hypervisor-{scenario.xen}-amd64") / "boot"
        program = efi / f"xen-{scenario.xen}-amd64.efi"
        images.efi_folder(drive, program, options, vmlinuz, initrd)
        firmware = next(path for path in OVMF if path.exists())
        return [
            *("-M", "q35", "-drive", f"if=pflash,format=raw,readonly=on,file={firmware}"),
            *("-drive", f"file=fat:rw:{drive},format=raw,if=ide"),
        ]
    arguments = "console=hvc0 earlyprintk=xen panic=10"
    return [
        *("-M", "pc", "-kernel", str(hypervisor(scenario.xen)), "-append", options),
        *("-initrd", f"{vmlinuz} {arguments},{initrd}"),
    ]


def _dom0_image(scenario: Scenario, vmlinuz: Path, target: Path) -> None:
    crash = target.with_name("crash.img")
    tree = images.Tree()
    tree.script("init", images.CRASH_INIT)
    tree.add(ROOT / "vmcoretool/hooks/capture.sh", "capture.sh")
    tree.modules(("virtio_pci", "virtio_blk"))
    for place, text in scenario.extra.items():
        tree.script(place, text)
    tree.pack(crash)
    tree = images.Tree()
    suite = XEN[scenario.xen or "4.17"]
    # bullseye's kexec knows nothing of Xen
    tree.programs((BOOKWORM if suite is BULLSEYE else suite).closure("kexec-tools"), ["kexec"])
    if suite is BULLSEYE:
        # what kexec asks of the hypervisor is bound to its version: give it that version's library
        library = next(BULLSEYE.closure("libxenmisc4.14").rglob("libxenctrl.so.4.14*"))
        tree.program(BOOKWORM.closure("kexec-tools"), library, "lib/libxenctrl.so.4.17")
    modules = ["xen-privcmd", "xenfs", "xen-evtchn", "xen-gntdev", "xen-gntalloc"]
    tree.modules(modules if scenario.xen else [])
    tree.add(vmlinuz, "vmlinuz")
    tree.add(crash, "crash.img")
    loading = ""
    if scenario.guests:
        tree.programs(
            suite.closure(f"xen-utils-{scenario.xen}", "xenstore-utils"),
            ["xl", "xenstored", "xenconsoled", "xen-init-dom0"],
        )
        guest = target.with_name("guest.img")
        inner = images.Tree()
        inner.script("init", images.GUEST_INIT)
        inner.pack(guest)
        tree.add(guest, "guest.img")
        loading = _start_guests(scenario.guests)
        for number, kind in enumerate(scenario.guests, 1):
            tree.script(f"guest{number}.cfg", _guest_config(number, kind))
    tree.script("init", _dom0_init(scenario, loading))
    tree.pack(target)


def _guest_config(number: int, kind: str) -> str:
    return (
        f'name="{kind}{number}"\ntype="{kind}"\nmemory=112\nvcpus=1\n'
        'kernel="/vmlinuz"\nramdisk="/guest.img"\nextra="console=hvc0"\n'
    )


def _start_guests(guests: tuple[str, ...]) -> str:
    lines = [
        "mkdir -p /dev/pts; mount -t devpts devpts /dev/pts",
        "mkdir -p /var/lib/xenstored /var/run/xenstored /var/run/xen /run/xen /var/lock /run/lock",
        "mkdir -p /var/lib/xen /var/log/xen /etc/xen /run/xenstored",
        "touch /etc/xen/xl.conf",
        "xenstored --pid-file /run/xenstored.pid",
        "sleep 1; xen-init-dom0; xenconsoled --pid-file=/run/xenconsoled.pid",
    ]
    lines += [
        f"xl create /guest{number}.cfg && echo LAB guest{number} created"
        for number in range(1, len(guests) + 1)
    ]
    lines.append("sleep 15; echo LAB-LIST; xl list; echo LAB-LIST-END")
    return "\n".join(lines)


def _dom0_init(scenario: Scenario, loading: str) -> str:
    xen = (
        "modprobe xen-privcmd; modprobe xenfs; modprobe xen-evtchn; "
        "modprobe xen-gntdev; modprobe xen-gntalloc\n"
        "mount -t xenfs xenfs /proc/xen\n"
    )
    line = "console=ttyS0 irqpoll nr_cpus=1 reset_devices panic=5"
    load = f'kexec -p /vmlinuz --initrd=/crash.img --append="{line}" && echo LAB kexec loaded\n'
    parts = [images._HEAD, xen if scenario.xen else "", load if scenario.save == "kdump" else ""]
    parts += [loading, "\necho LAB-READY\n", scenario.dom0_then, "\nwhile true; do sleep 9; done\n"]
    return "".join(parts)


def remove_working_files(folder: Path) -> None:
    """What is only needed while the machine runs."""
    for name in ("dom0.img", "crash.img", "guest.img", "boot.iso"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "esp", ignore_errors=True)


def output_folder() -> Path:
    """Where dumps go: ``LAB_OUT``, by default a folder in the package cache."""
    return Path(os.environ.get("LAB_OUT") or CACHE / "dumps").expanduser()
