"""A seccomp filter: the system calls that a decoder may still make once it is confined (seccomp(2))."""

import ctypes
import errno
import os
import platform
import struct
from typing import Final

_SYSCALLS: Final = {
    # name: (x86_64, aarch64)
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "gettimeofday": (96, 169),
    "clock_gettime": (228, 113),
    "futex": (202, 98),
    "restart_syscall": (219, 128),
    "getrandom": (318, 278),
}
_MEMORY_SYSCALLS: Final = {"mmap": (9, 222), "mprotect": (10, 226)}
"""Allowed unless they ask for executable memory."""

_ARCHITECTURES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, AUDIT_ARCH_*

_PROT_EXEC: Final = 4
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_REFUSE: Final = 0x00050000 | errno.EPERM
"""An error rather than death: a libc that tries a new system call and falls back keeps working."""

# Offsets in struct seccomp_data; of the third argument the lower half is enough for PROT_EXEC.
_NUMBER, _ARCHITECTURE, _THIRD_ARGUMENT = 0, 4, 32
_LOAD, _JUMP_EQUAL, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x45, 0x06


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install_filter() -> None:
    """Refuse every system call but computing and talking over sockets already open; it cannot be undone.

    The caller has set PR_SET_NO_NEW_PRIVS.

    Raises:
        OSError: the kernel, or a filter around this container, does not allow it.
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no filter for {machine}")
    code = _filter(*_ARCHITECTURES[machine])
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _filter(column: int, architecture: int) -> bytes:
    """The BPF program. A jump says how many instructions to skip: where true, where false."""
    code = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_JUMP_EQUAL, architecture, 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NUMBER),
    ]
    for numbers in _MEMORY_SYSCALLS.values():
        code += [
            _instruction(_JUMP_EQUAL, numbers[column], 0, 4),
            _instruction(_LOAD, _THIRD_ARGUMENT),
            _instruction(_JUMP_BITS, _PROT_EXEC, 1, 0),
            _instruction(_RETURN, _ALLOW),
            _instruction(_RETURN, _REFUSE),
        ]
    for numbers in _SYSCALLS.values():
        code += [_instruction(_JUMP_EQUAL, numbers[column], 0, 1), _instruction(_RETURN, _ALLOW)]
    return b"".join([*code, _instruction(_RETURN, _REFUSE)])


def _instruction(operation: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", operation, if_true, if_false, operand)
