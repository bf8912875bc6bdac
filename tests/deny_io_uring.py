"""Run a Python program under a seccomp filter that makes io_uring fail, as containers do.

    python deny_io_uring.py ERRNO PROGRAM

ERRNO is the name of the error that io_uring_setup, _enter and _register answer with; PROGRAM is the
text of the program. Source: seccomp(2), bpf(4) classic; no library, as none is in the stdlib.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

# The same on every architecture: setup, enter, register.
SYSCALLS = (425, 426, 427)
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NR_SECCOMP = {"x86_64": 317, "aarch64": 277}
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_RET_ALLOW = 0x7FFF0000
SECCOMP_RET_ERRNO = 0x00050000
BPF_LOAD_WORD = 0x20
BPF_JUMP_EQUAL = 0x15
BPF_RETURN = 0x06
OFFSET_NR = 0
OFFSET_ARCH = 4


class Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def instruction(code, value, if_true=0, if_false=0):
    return struct.pack("=HBBI", code, if_true, if_false, value)


def make_filter(number):
    """Return the filter: foreign architectures and other calls pass, ours fail with `number`."""
    lines = [
        instruction(BPF_LOAD_WORD, OFFSET_ARCH),
        instruction(BPF_JUMP_EQUAL, AUDIT_ARCH[platform.machine()], if_true=1),
        instruction(BPF_RETURN, SECCOMP_RET_ALLOW),
        instruction(BPF_LOAD_WORD, OFFSET_NR),
    ]
    for left, syscall in reversed(list(enumerate(reversed(SYSCALLS)))):
        # To the last line but for the calls that are still to be compared with.
        lines.append(instruction(BPF_JUMP_EQUAL, syscall, if_true=left + 1))
    lines.append(instruction(BPF_RETURN, SECCOMP_RET_ALLOW))
    lines.append(instruction(BPF_RETURN, SECCOMP_RET_ERRNO | number))
    return b"".join(lines)


def deny(number):
    """Install the filter in this process, for good, and for what it executes."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = make_filter(number)
    memory = ctypes.create_string_buffer(code, len(code))
    program = Program(len(code) // 8, ctypes.addressof(memory))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")
    syscall = NR_SECCOMP[platform.machine()]
    if libc.syscall(syscall, SECCOMP_SET_MODE_FILTER, 0, ctypes.byref(program)):
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    deny(getattr(errno, sys.argv[1]))
    os.execv(sys.executable, [sys.executable, "-W", "error", "-c", sys.argv[2]])
