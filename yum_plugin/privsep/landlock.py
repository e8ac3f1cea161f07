"""Landlock (Linux 5.13 and newer): which files a confined process may reach, beside the filter of system calls.

1. The process that talks to servers reaches no file at all; the one that looks up names may read below a few folders.
2. Neither listens on a TCP port (Linux 6.7), connects to an abstract local socket or signals a process outside (6.12).
"""
import ctypes
import os
import struct
from typing import Sequence

# The same numbers on all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
_READ = 1 << 2 | 1 << 3  # linux/landlock.h: LANDLOCK_ACCESS_FS_READ_FILE, _READ_DIR
_FILE_RIGHTS = (13, 14, 15, 15, 16)  # how many LANDLOCK_ACCESS_FS_... versions 1 to 5 know
_BIND_TCP = 1
_SCOPES = 3  # abstract local sockets, signals
_FROM_NET, _FROM_SCOPES = 4, 6  # the versions that brought them


def install(readable: Sequence[str]) -> int:
    """Limit the files of this process, which must have no other thread and no new privileges, for good.

    Args:
        readable: folders that it may read below; missing ones are left out.

    Returns:
        The version of the kernel's Landlock; 0: it has none.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    if version < 1:
        return 0
    rights = (1 << _FILE_RIGHTS[min(version, len(_FILE_RIGHTS)) - 1]) - 1
    fields = [rights] + [_BIND_TCP] * (version >= _FROM_NET) + [_SCOPES] * (version >= _FROM_SCOPES)
    attributes = struct.pack("={}Q".format(len(fields)), *fields)
    rules = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if rules < 0:
        return 0
    try:
        for path in filter(os.path.isdir, readable):
            folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
            libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", _READ, folder), ctypes.c_uint32(0))
            os.close(folder)
        return 0 if libc.syscall(_RESTRICT_SELF, rules, ctypes.c_uint32(0)) else int(version)
    finally:
        os.close(rules)
