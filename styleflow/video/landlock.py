"""Landlock (Linux 5.13 and later): a process takes from itself every right to a path. Needs no privilege.

The numbers are those of the kernel's `include/uapi/linux/landlock.h`. The system calls have the same number on every
machine, and no library wraps them.
"""

from __future__ import annotations

import ctypes
import os
import struct

CREATE_RULESET, RESTRICT_SELF = 444, 446
ASK_VERSION = 1

FIRST_RIGHTS = (1 << 13) - 1
"""Run, read, write and list; remove and make files, folders, links, sockets, pipes and devices."""
LATER_RIGHTS = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""By the version that brought them: move between folders, truncate, control devices."""
TCP_FROM, TCP_RIGHTS = 4, 0b11
"""Bind and connect."""
SCOPES_FROM, SCOPES = 6, 0b11
"""Connect to abstract UNIX sockets of others; signal others, directly or through a descriptor's owner."""


def give_up_paths(libc: ctypes.CDLL) -> bool:
    """Whether this process now has no right to any path; what is open stays open. Needs NO_NEW_PRIVS.

    Holds for this thread and what it starts. Also keeps it from tracing processes that did not do the same, and where
    the kernel can, from TCP and from signalling them.
    """
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ASK_VERSION)
    if version < 1:
        return False
    rules = ruleset(version)
    fd = libc.syscall(CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), 0)
    if fd < 0:
        return False
    try:
        return bool(libc.syscall(RESTRICT_SELF, fd, 0) == 0)
    finally:
        os.close(fd)


def ruleset(version: int) -> bytes:
    """`struct landlock_ruleset_attr` that forbids all that a kernel of this version can forbid.

    A kernel refuses a structure with more than it knows, so each version gets its own length.
    """
    rights = FIRST_RIGHTS
    for since, right in LATER_RIGHTS.items():
        rights |= right if version >= since else 0
    parts = [rights]
    if version >= TCP_FROM:
        parts.append(TCP_RIGHTS)
    if version >= SCOPES_FROM:
        parts.append(SCOPES)
    return struct.pack(f"={len(parts)}Q", *parts)
