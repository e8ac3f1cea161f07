"""The filter of system calls (seccomp): what a confined process may ask of the kernel. Linux on x86_64 and aarch64.

1. What is not named here fails with EPERM; no process is killed, so that a library that tries something can go on without it.
2. clone3, and what is newer than this list, fails with ENOSYS: the C library then uses the older call, whose arguments a filter
   can see.
3. A call of another architecture, or of x32, fails with EPERM: its numbers mean something else.
4. No process: clone only makes threads. No program, no file, no signal to another process, no new executable memory.
5. Sockets are TCP over IPv4 or IPv6. None listens.
6. The process that looks up names (``NAMES``) may also read files and load libraries, and use UDP, netlink and local sockets:
   that is what the C library's resolver does (nsswitch.conf, hosts, resolv.conf, nscd, sssd).
7. For a program that is not ours (``PROGRAM``: rsync), and a process that starts one (``STARTER``), the list is the other way
   round: refused is what gives power over other processes, keys, namespaces, devices and the kernel. A program cannot leave
   its group of processes either, so that all of it can be ended.
"""
import ctypes
import errno
import os
import platform
import socket
import struct
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

NETWORK, NAMES, STARTER, PROGRAM = "network", "names", "starter", "program"  # the kinds of confined processes

# An argument of a call: (index, mask, value) holds if its lower 32 bits under the mask are the value. A call passes if all
# conditions of one of its alternatives hold.
_Conditions = Sequence[Tuple[int, int, int]]
_Numbers = Tuple[Optional[int], Optional[int]]  # on x86_64 and on aarch64; None: there is no such call
_ALL = 0xFFFFFFFF
_CLONE_THREAD, _CLONE_NEW = 0x00010000, 0x7E020000  # sched.h; the second: every namespace
_PROT_EXEC = 4
_WRITES = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
_FIONREAD, _FIONBIO, _FIOCLEX, _SIOCGIFINDEX = 0x541B, 0x5421, 0x5451, 0x8933
_NEWEST = 450  # the last system call when this list was written

# The most frequent ones first: the kernel goes through them one by one.
_ALLOWED: Dict[str, _Numbers] = {
    "recvfrom": (45, 207), "read": (0, 63), "futex": (202, 98), "poll": (7, None), "sendto": (44, 206), "write": (1, 64),
    "close": (3, 57), "recvmsg": (47, 212), "sendmsg": (46, 211), "clock_gettime": (228, 113), "epoll_wait": (232, None),
    "epoll_pwait": (281, 22), "epoll_ctl": (233, 21), "ppoll": (271, 73), "munmap": (11, 215), "madvise": (28, 233),
    "brk": (12, 214), "mremap": (25, 216), "connect": (42, 203), "shutdown": (48, 210), "getsockname": (51, 204),
    "getpeername": (52, 205), "getsockopt": (55, 209), "dup": (32, 23), "dup3": (292, 24), "fstat": (5, 80),
    "newfstatat": (262, 79), "lseek": (8, 62), "pread64": (17, 67), "readv": (19, 65), "writev": (20, 66),
    "epoll_create": (213, None), "epoll_create1": (291, 20), "select": (23, None), "pselect6": (270, 72),
    "sendmmsg": (307, 269), "recvmmsg": (299, 243), "sched_yield": (24, 124), "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115), "clock_getres": (229, 114), "gettimeofday": (96, 169), "time": (201, None),
    "times": (100, 153), "getrandom": (318, 278), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139), "sigaltstack": (131, 132), "restart_syscall": (219, 128), "set_robust_list": (273, 99),
    "rseq": (334, 293), "membarrier": (324, 283), "sched_getaffinity": (204, 123), "getcpu": (309, 168), "getpid": (39, 172),
    "gettid": (186, 178), "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176),
    "getegid": (108, 177), "getrlimit": (97, 163), "getrusage": (98, 165), "sysinfo": (99, 179), "uname": (63, 160),
    "exit": (60, 93), "exit_group": (231, 94),
}
_CONDITIONAL: Dict[str, Tuple[_Numbers, Sequence[_Conditions]]] = {
    "socket": ((41, 198), [[(0, _ALL, family), (1, 0xF, socket.SOCK_STREAM), (2, _ALL, protocol)]
                           for family in (socket.AF_INET, socket.AF_INET6) for protocol in (0, socket.IPPROTO_TCP)]),
    "setsockopt": ((54, 208), [[(1, _ALL, socket.IPPROTO_TCP), (2, _ALL, socket.TCP_NODELAY)]]),
    "mmap": ((9, 222), [[(2, _PROT_EXEC, 0)]]),
    "mprotect": ((10, 226), [[(2, _PROT_EXEC, 0)]]),
    "clone": ((56, 220), [[(0, _CLONE_THREAD | _CLONE_NEW, _CLONE_THREAD)]]),
    "ioctl": ((16, 29), [[(1, _ALL, request)] for request in (_FIONBIO, _FIONREAD, _FIOCLEX)]),
    # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC; F_SETOWN could have the kernel signal another process.
    "fcntl": ((72, 25), [[(1, _ALL, command)] for command in (0, 1, 2, 3, 4, 1030)]),
    "prlimit64": ((302, 261), [[(0, _ALL, 0)]]),
}
_SIGNALS: Dict[str, _Numbers] = {"kill": (62, 129), "tgkill": (234, 131)}  # to this process only
_ALLOWED_FOR_NAMES: Dict[str, _Numbers] = {
    "mmap": (9, 222), "mprotect": (10, 226), "setsockopt": (54, 208), "bind": (49, 200), "stat": (4, None), "lstat": (6, None),
    "statx": (332, 291), "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439), "readlink": (89, None),
    "readlinkat": (267, 78), "getdents64": (217, 61), "getcwd": (79, 17), "statfs": (137, 43), "fstatfs": (138, 44),
    "eventfd2": (290, 19),
}
_CONDITIONAL_FOR_NAMES: Dict[str, Tuple[_Numbers, Sequence[_Conditions]]] = {
    "open": ((2, None), [[(1, _WRITES, 0)]]),
    "openat": ((257, 56), [[(2, _WRITES, 0)]]),
    "socket": ((41, 198), [[(0, _ALL, family)] for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6,
                                                             socket.AF_NETLINK)]),
    "ioctl": ((16, 29), [[(1, _ALL, request)] for request in (_FIONBIO, _FIONREAD, _FIOCLEX, _SIOCGIFINDEX)]),
}
# Refused to programs: of other processes, keys, namespaces and mounts, the kernel, and what many of its flaws were in.
_REFUSED: Dict[str, _Numbers] = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "process_madvise": (440, 440),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "memfd_create": (319, 279), "fanotify_init": (300, 262),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
    "syslog": (103, 116), "settimeofday": (170, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "clock_adjtime": (305, 266), "personality": (135, 92), "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190),
    "listen": (50, 201),
}
_REFUSED_TO_PROGRAM: Dict[str, _Numbers] = {"setsid": (112, 157), "setpgid": (109, 154)}
_CONDITIONAL_FOR_PROGRAMS: Dict[str, Tuple[_Numbers, Sequence[_Conditions]]] = {
    "socket": ((41, 198), [[(0, _ALL, family)] for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6,
                                                             socket.AF_NETLINK)]),
    "clone": ((56, 220), [[(0, _CLONE_NEW, 0)]]),
}
_CLONE3 = 435  # on both
_X32 = 0x40000000


class _Machine(NamedTuple):
    """An architecture."""

    column: int  # of the tables above
    audit: int  # linux/audit.h: AUDIT_ARCH_...


_MACHINES = {"x86_64": _Machine(0, 0xC000003E), "aarch64": _Machine(1, 0xC00000B7)}
# linux/bpf_common.h and linux/seccomp.h
_LOAD, _AND, _JUMP_EQUAL, _JUMP_GREATER, _RETURN = 0x20, 0x54, 0x15, 0x25, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000  # the second: with this errno
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def install(role: str) -> bool:
    """Filter the system calls of this process, which must have no other thread, for good.

    Args:
        role: NETWORK, NAMES, STARTER or PROGRAM.

    Returns:
        False if this kernel has no such filter, or this machine is another one.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None or struct.calcsize("P") != 8:
        return False
    code = _assembled(role, machine)
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(program), 0, 0) == 0  # type: ignore[no-any-return]


def _assembled(role: str, machine: _Machine) -> bytes:
    """Return the filter's program."""
    code = [_instruction(_LOAD, _ARCHITECTURE), _instruction(_JUMP_EQUAL, machine.audit, 1, 0),
            _instruction(_RETURN, _FAIL | errno.EPERM), _instruction(_LOAD, _NUMBER)]
    code += _unless(_JUMP_GREATER, _X32 - 1, _FAIL | errno.EPERM) + _unless(_JUMP_EQUAL, _CLONE3, _FAIL | errno.ENOSYS)
    if role in (STARTER, PROGRAM):
        return b"".join(code + _refusals(role, machine.column) + [_instruction(_RETURN, _ALLOW)])
    for number, alternatives in _rules(role, machine.column).items():
        code += _rule(number, alternatives)
    code += _unless(_JUMP_GREATER, _NEWEST, _FAIL | errno.ENOSYS) + [_instruction(_RETURN, _FAIL | errno.EPERM)]
    return b"".join(code)


def _refusals(role: str, column: int) -> List[bytes]:
    """Return what a program is refused."""
    refused = dict(_REFUSED, **_REFUSED_TO_PROGRAM if role == PROGRAM else {})
    numbers = [number for number in (each[column] for each in refused.values()) if number is not None]
    code = [part for number in numbers for part in _unless(_JUMP_EQUAL, number, _FAIL | errno.EPERM)]
    for each, alternatives in _CONDITIONAL_FOR_PROGRAMS.values():
        code += _rule(each[column] or 0, alternatives)
    return code + _unless(_JUMP_GREATER, _NEWEST, _FAIL | errno.ENOSYS)


def _rules(role: str, column: int) -> Dict[int, Sequence[_Conditions]]:
    """Return the alternatives for each number of a call that may pass."""
    rules: Dict[str, Tuple[_Numbers, Sequence[_Conditions]]] = {name: (numbers, [[]]) for name, numbers in _ALLOWED.items()}
    rules.update(_CONDITIONAL)
    rules.update((name, (numbers, [[(0, _ALL, os.getpid())]])) for name, numbers in _SIGNALS.items())
    if role == NAMES:
        rules.update((name, (numbers, [[]])) for name, numbers in _ALLOWED_FOR_NAMES.items())
        rules.update(_CONDITIONAL_FOR_NAMES)
    found = {}
    for numbers, alternatives in rules.values():
        number = numbers[column]
        if number is not None:
            found[number] = alternatives
    return found


def _rule(number: int, alternatives: Sequence[_Conditions]) -> List[bytes]:
    body: List[bytes] = []
    for conditions in alternatives:
        left = 3 * len(conditions) + 1  # instructions to the end of this alternative
        for index, mask, value in conditions:
            left -= 3
            body += [_instruction(_LOAD, _ARGUMENTS + 8 * index), _instruction(_AND, mask),
                     _instruction(_JUMP_EQUAL, value, 0, left)]
        body.append(_instruction(_RETURN, _ALLOW))
    if all(alternatives):
        body.append(_instruction(_RETURN, _FAIL | errno.EPERM))
    return [_instruction(_JUMP_EQUAL, number, 0, len(body))] + body


def _unless(jump: int, value: int, result: int) -> List[bytes]:
    """Return the result if the number is (_JUMP_EQUAL) or exceeds (_JUMP_GREATER) the value."""
    return [_instruction(jump, value, 0, 1), _instruction(_RETURN, result)]


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """struct sock_filter; a jump skips so many instructions."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
