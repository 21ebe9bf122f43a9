"""A seccomp filter: after it, a process can make only the few system calls that decoding takes. Needs no privilege.

A list of what is allowed is short and holds against calls that no one thought of; all else fails with EPERM, which the
libraries in use take as "not here". Left out on purpose:

- paths (open, unlink, rename, chmod, mkdir, mount, ...): everything is loaded and the video is open already. The C
  library would open character-set converters for text in a video; without, the text stays as it is;
- sockets: nothing is to be reached;
- processes and threads (clone, fork, execve, ptrace, process_vm_*, pidfd_*, setpgid, ...): the decoder works in one;
- signals to others, and what makes the kernel send them (F_SETOWN, F_SETSIG, mq_notify): the worker may have our user;
- limits and priorities of others (prlimit64, sched_set*, ioprio_set): these end a process as well as a signal does;
- prctl: it would unbind us from the parent's death; ioctl, bpf, io_uring_*, userfaultfd, keyctl, perf_event_open,
  shared memory and queues: ways around the list or deep into the kernel.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

PR_SET_SECCOMP = 22
MODE_FILTER = 2

LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
"""The three instructions used: load a word of the call's record, compare it with a constant, answer."""
NUMBER_AT, MACHINE_AT, ARGUMENTS_AT = 0, 4, 16
"""Offsets in `struct seccomp_data`."""
ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | 1
"""With EPERM."""


class Machine(NamedTuple):
    """A kind of processor: the kernel's mark for it, and the column of its numbers in the tables below."""

    mark: int
    column: int


MACHINES = {"x86_64": Machine(0xC000003E, 0), "aarch64": Machine(0xC00000B7, 1)}

ALLOWED: dict[str, tuple[int | None, int | None]] = {
    # memory
    "brk": (12, 214),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "madvise": (28, 233),
    # what is open already; newfstatat is also how the C library asks about a descriptor
    "read": (0, 63),
    "readv": (19, 65),
    "pread64": (17, 67),
    "write": (1, 64),
    "writev": (20, 66),
    "lseek": (8, 62),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "close": (3, 57),
    "dup": (32, 23),
    # time and waiting
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "futex": (202, 98),
    "sched_yield": (24, 124),
    # questions about oneself and the machine; sorting asks how much memory there is
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getppid": (110, 173),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "sched_getaffinity": (204, 123),
    "getrandom": (318, 278),
    "getrlimit": (97, 163),
    "sysinfo": (99, 179),
    # the C library's and the interpreter's own housekeeping
    "membarrier": (324, 283),
    "rseq": (334, 293),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    # the end
    "exit": (60, 93),
    "exit_group": (231, 94),
}

ONESELF = -1
"""Stands for our own process id."""

ALLOWED_WITH: dict[str, tuple[tuple[int | None, int | None], int, tuple[int, ...]]] = {
    # number, position of an argument, the values it may have
    # `abort` signals itself
    "kill": ((62, 129), 0, (ONESELF,)),
    "tkill": ((200, 130), 0, (ONESELF,)),
    "tgkill": ((234, 131), 0, (ONESELF,)),
    # 0 is oneself
    "prlimit64": ((302, 261), 0, (0,)),
    # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC
    "fcntl": ((72, 25), 1, (0, 1, 2, 3, 1030)),
}


class Instruction(NamedTuple):
    """`struct sock_filter`: what to do, how far to jump when a comparison holds or fails, a constant."""

    code: int
    if_true: int
    if_false: int
    constant: int


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def give_up_calls(libc: ctypes.CDLL) -> bool:
    """Whether only the calls above are left to this thread and what it starts. Needs NO_NEW_PRIVS."""
    machine = MACHINES.get(os.uname().machine)
    if machine is None or sys.maxsize < 2**32:
        return False
    packed = b"".join(struct.pack("=HBBI", *one) for one in instructions(machine, os.getpid()))
    program = _Program(len(packed) // 8, packed)
    return bool(libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(MODE_FILTER), ctypes.byref(program), 0, 0) == 0)


def instructions(machine: Machine, pid: int) -> Iterator[Instruction]:
    """The filter. Calls of another kind of machine (32-bit ones on x86_64) have other numbers and are all refused."""
    yield Instruction(LOAD, 0, 0, MACHINE_AT)
    yield Instruction(JUMP_EQUAL, 1, 0, machine.mark)
    yield Instruction(RETURN, 0, 0, REFUSE)
    yield Instruction(LOAD, 0, 0, NUMBER_AT)
    for numbers in ALLOWED.values():
        if (number := numbers[machine.column]) is not None:
            yield Instruction(JUMP_EQUAL, 0, 1, number)
            yield Instruction(RETURN, 0, 0, ALLOW)
    for numbers, position, values in ALLOWED_WITH.values():
        if (number := numbers[machine.column]) is not None:
            # The load, two instructions a value and the refusal are skipped for another call.
            yield Instruction(JUMP_EQUAL, 0, 2 + 2 * len(values), number)
            # The lower half of an argument: all of these are 32 bits wide.
            yield Instruction(LOAD, 0, 0, ARGUMENTS_AT + 8 * position)
            for value in values:
                yield Instruction(JUMP_EQUAL, 0, 1, pid if value == ONESELF else value)
                yield Instruction(RETURN, 0, 0, ALLOW)
            yield Instruction(RETURN, 0, 0, REFUSE)
    yield Instruction(RETURN, 0, 0, REFUSE)
