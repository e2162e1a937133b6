"""CPU state in notes: NT_PRSTATUS, XEN_ELFNOTE_CRASH_REGS, QEMU's CPU state, the obsolete CR3.

Xen writes for each physical CPU an NT_PRSTATUS and, directly behind it, a CRASH_REGS note
(xen/common/kexec.c); QEMU writes all NT_PRSTATUS first and then all its own notes
(target/i386/arch_dump.c).  ``pr_pid`` means nothing in a Xen dump and is not read.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vmcoretool.notes.elf_note import (
    NT_PRSTATUS,
    NT_XEN_KDUMP_CR3,
    XEN_ELFNOTE_CRASH_REGS,
    Note,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# pr_reg, in the order of xen/include/asm-x86/x86_64/elf.h and x86_32/elf.h: offset of pr_reg,
# width of a register, names.  The word behind it, pr_fpvalid, is padded or left out by some.
_PRSTATUS: Final = (
    (
        112,
        8,
        (
            "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs rflags "
            "rsp ss fs_base gs_base ds es fs gs"
        ),
    ),
    (72, 4, "ebx ecx edx esi edi ebp eax ds es fs gs orig_eax eip cs eflags esp ss"),
)
# QEMUCPUState, QEMU target/i386/arch_dump.c: version, size, 16 registers, rip, rflags, ten
# segments of 24 bytes, cr0 to cr4, and since 2.13 kernel_gs_base.
_QEMU_REGISTERS: Final = "rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags"
_QEMU_SIZES: Final = (432, 440)
_QEMU_CR_OFFSET: Final = 392


class CpuState(NamedTuple):
    """What the notes saved of one CPU.

    Attributes:
        cpu: index in note order, which is Xen's physical CPU index.
        registers: upstream register names to values; empty when no PRSTATUS was readable.
        cr0, cr2, cr3, cr4: control registers as saved, or None where no note holds them.
        notes: the notes this state came from.
    """

    cpu: int
    registers: Mapping[str, int]
    cr0: int | None
    cr2: int | None
    cr3: int | None
    cr4: int | None
    notes: tuple[Note, ...]

    @property
    def saved(self) -> bool:
        """False when the CPU never answered: its block is still zero (cr3 included)."""
        return bool(self.cr3) or any(self.registers.values())


class _Control(NamedTuple):
    registers: Mapping[str, int]
    cr0: int
    cr2: int
    cr3: int
    cr4: int


def cpu_states(notes: Iterable[Note], byte_order: Literal["little", "big"]) -> tuple[CpuState, ...]:
    """The CPUs in note order; a payload of unknown size costs only its own part."""
    order = "<" if byte_order == "little" else ">"
    blocks: list[list[Note]] = []
    qemu: list[Note] = []
    for note in notes:
        if (note.owner, note.type) == ("CORE", NT_PRSTATUS):
            blocks.append([note])
        elif (note.owner, note.type) == ("Xen", XEN_ELFNOTE_CRASH_REGS):
            if not blocks or blocks[-1][-1].type == XEN_ELFNOTE_CRASH_REGS:
                blocks.append([])
            blocks[-1].append(note)
        elif (note.owner, note.type) == ("QEMU", 0):
            qemu.append(note)
    for index, note in enumerate(qemu):
        if index >= len(blocks):
            blocks.append([])
        blocks[index].append(note)
    return tuple(_state(cpu, block, order) for cpu, block in enumerate(blocks))


def obsolete_cr3(notes: Iterable[Note], byte_order: Literal["little", "big"]) -> int | None:
    """The one word of the first NT_XEN_KDUMP_CR3 note of 2006's vendor kernels, or None."""
    for note in notes:
        if note.type == NT_XEN_KDUMP_CR3 and note.owner in ("Xen", "XEN CORE"):
            return int.from_bytes(note.desc[:8], byte_order) or None
    return None


def _state(cpu: int, block: list[Note], order: str) -> CpuState:
    registers: Mapping[str, int] = {}
    control: _Control | None = None
    for note in block:
        if note.owner == "CORE":
            registers = _prstatus(note.desc, order)
        elif note.owner == "QEMU":
            control = _qemu_state(note.desc)
            registers = registers or (control.registers if control else {})
        else:
            control = _crash_regs(note.desc, order)
    return CpuState(
        cpu=cpu,
        registers=registers,
        cr0=control.cr0 if control else None,
        cr2=control.cr2 if control else None,
        cr3=control.cr3 if control else None,
        cr4=control.cr4 if control else None,
        notes=tuple(block),
    )


def _prstatus(desc: bytes, order: str) -> Mapping[str, int]:
    for offset, width, text in _PRSTATUS:
        names = text.split()
        behind = len(desc) - (offset + width * len(names))
        if behind in (0, 4, 8):
            letter = "Q" if width == 8 else "I"
            values = struct.unpack_from(f"{order}{len(names)}{letter}", desc, offset)
            return dict(zip(names, values, strict=True))
    return {}


def _crash_regs(desc: bytes, order: str) -> _Control | None:
    # cr0, cr2, cr3, cr4 of the hypervisor's word size (asm-x86/elf.h); ia64 has another image.
    if len(desc) not in (16, 32):
        return None
    return _Control({}, *struct.unpack(f"{order}4{'Q' if len(desc) == 32 else 'I'}", desc))


def _qemu_state(desc: bytes) -> _Control | None:
    if len(desc) not in _QEMU_SIZES or struct.unpack_from("<II", desc) != (1, len(desc)):
        return None
    values = struct.unpack_from("<18Q", desc, 8)
    cr0, _cr1, cr2, cr3, cr4 = struct.unpack_from("<5Q", desc, _QEMU_CR_OFFSET)
    names = _QEMU_REGISTERS.split()
    return _Control(dict(zip(names, values, strict=True)), cr0, cr2, cr3, cr4)
