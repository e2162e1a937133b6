"""The virtual CPUs of a guest in ``xl dump-core`` files: an array of ``vcpu_guest_context``.

xen/include/public/arch-x86/xen.h, xen-x86_64.h and xen-x86_32.h.  The structure has had one layout
per word size since it became ABI in 3.0: 5168 bytes with 64-bit words, 2800 with 32-bit ones.  Only
virtual CPUs that are online are in the file, and none says which it is.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from vmcoretool.notes.registers import CpuState

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_VCPUS: Final = 8192
"""HVM_MAX_VCPUS is 128, MAX_VIRT_CPUS of a 64-bit PV guest 8192."""


class _Layout(NamedTuple):
    # size of the structure; user_regs: offset, format, names; offset and format of ctrlreg and
    # debugreg, which follow one another
    size: int
    user_regs: int
    registers: struct.Struct
    names: str
    control: int
    words: struct.Struct


_WIDE_NAMES: Final = (
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi rip cs rflags rsp ss es ds fs gs"
)
_NARROW_NAMES: Final = "ebx ecx edx esi edi ebp eax eip cs eflags esp ss es ds fs gs"
# error_code and entry_vector lie before the instruction pointer, saved_upcall_mask behind cs
_LAYOUTS: Final = {
    8: _Layout(
        size=5168,
        user_regs=520,
        registers=struct.Struct("<15Q8xQH6xQQH6xH6xH6xH6xH6x"),
        names=_WIDE_NAMES,
        control=4984,
        words=struct.Struct("<16Q"),
    ),
    4: _Layout(
        size=2800,
        user_regs=516,
        registers=struct.Struct("<7I4xIH2xIIH2xH2xH2xH2xH2x"),
        names=_NARROW_NAMES,
        control=2716,
        words=struct.Struct("<16I"),
    ),
}


def vcpu_states(data: bytes, word_size: int) -> Iterator[CpuState]:
    """The virtual CPUs in file order; a structure that the file's end cuts is left out.

    Args:
        data: the section ``.xen_prstatus``.
        word_size: 8 or 4, as the file's e_machine says.
    """
    layout = _LAYOUTS[word_size]
    for cpu in range(min(len(data) // layout.size, MAX_VCPUS)):
        at = cpu * layout.size
        values = layout.registers.unpack_from(data, at + layout.user_regs)
        words = layout.words.unpack_from(data, at + layout.control)
        registers = dict(zip(layout.names.split(), values, strict=True))
        registers |= {f"cr{number}": words[number] for number in (1, 5, 6, 7)}
        registers |= {f"dr{number}": words[8 + number] for number in range(8)}
        yield CpuState(
            cpu=cpu,
            registers=registers,
            cr0=words[0],
            cr2=words[2],
            cr3=words[3],
            cr4=words[4],
            notes=(),
        )


def context_size(word_size: int) -> int:
    """Bytes of one ``vcpu_guest_context``."""
    return _LAYOUTS[word_size].size
