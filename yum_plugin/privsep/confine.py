"""How a process gives up all that it does not need, for good. Linux only.

1. Its user is the package's own; nobody where that is missing. It has no other groups and no capabilities.
2. It gets no new privileges, cannot be looked into, and leaves no core dump.
3. It has limits: CPU time, memory, open files, threads; it can write to no file.
4. It has an own, empty keyring.
5. It is killed when its parent ends.
6. The kernel refuses what it does not need: seccomp.py, landlock.py.
7. What this kernel or container does not allow of 1 and 6 is told, and the process goes on with what is there. Without 2, 3 or 5,
   which every kernel has, it does not go on.
"""
import ctypes
import os
import platform
import resource
import signal
from typing import List, NamedTuple, Sequence, Tuple

from . import landlock, seccomp

USER = "xcpng-mirrors"  # rpm/xcpng-mirrors.spec makes it
NOBODY = 65534  # the number of "nobody" on every distribution
PASSWD = "/etc/passwd"
# prctl(2), mallopt(3), keyctl(2), capset(2)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 4, 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_M_ARENA_MAX = -8
_ARENAS = 2  # of malloc: each reserves 64 MiB of addresses, and by default there are up to eight for each CPU
_KEYCTL = {"x86_64": 250, "aarch64": 219}
_KEYCTL_JOIN_SESSION_KEYRING = 1
_CAPABILITY_VERSION_3 = 0x20080522
_MOST_CAPABILITIES = 64


class ResourceLimits(NamedTuple):
    """The limits of a confined process."""

    cpu_seconds: int
    more_address_bytes: int = 1024 * 1024 * 1024  # in addition to those at the beginning; for the stacks of all threads, too
    files: int = 4096  # open at once: three for each session, and the commands ask all mirrors of all repositories together
    threads: int = 4096  # of all processes of this user together: a second engine may run, too
    file_bytes: int = 0  # of a file that it writes; resource.RLIM_INFINITY: any


def confine(role: str, limits: ResourceLimits, parent: int, readable: Sequence[str] = (),
            ended_by: int = signal.SIGKILL) -> List[str]:
    """Confine this process, which must have no other thread.

    Args:
        role: one of seccomp.py.
        limits: see there.
        parent: process id of the parent.
        readable: folders that it may still read below.
        ended_by: the signal that it gets when its parent ends.

    Returns:
        What could not be done here, as texts for an admin.

    Raises:
        OSError: the kernel refuses a step that every kernel has; the process must not go on.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mallopt(_M_ARENA_MAX, _ARENAS)
    if platform.machine() in _KEYCTL:  # where there are no keyrings, there is nothing to leave
        libc.syscall(_KEYCTL[platform.machine()], _KEYCTL_JOIN_SESSION_KEYRING, None)
    _limit(limits)
    problems = _give_up_root(libc) if os.geteuid() == 0 else []
    _give_up_capabilities(libc)
    # After the change of user, which clears PDEATHSIG and resets DUMPABLE (prctl(2)).
    for option, value in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_DUMPABLE, 0), (_PR_SET_PDEATHSIG, ended_by)):
        if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl {}".format(option))
    if os.getppid() != parent:  # a parent that ended before PDEATHSIG was set sends no signal
        raise OSError("the parent is gone")
    if role in (seccomp.NETWORK, seccomp.NAMES):  # programs need files; their user may read what all may
        landlock.install(readable)
    if not seccomp.install(role):
        problems.append("this kernel has no filter for system calls (seccomp)")
    return problems


def _give_up_root(libc: ctypes.CDLL) -> List[str]:
    """Change the user; a container without CAP_SETUID, or a user namespace without that user, does not allow it."""
    for capability in range(_MOST_CAPABILITIES):  # it needs a capability itself; where that is lacking, there is less to give up
        libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)
    user, group, problems = user_in(PASSWD)
    try:
        os.setgroups([])  # groups first: without the user root they cannot be changed any more
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    except OSError as error:
        return ["no change of the user here ({}): it stays root, without privileges".format(error.strerror)]
    return problems


def user_in(passwd: str) -> Tuple[int, int, List[str]]:
    """Return number and group of the user, and what is wrong with it.

    Args:
        passwd: the file; other sources of users may need the network.
    """
    with open(passwd, "rb") as stream:
        fields = [line.split(b":") for line in stream.read().splitlines()]
    for words in fields:
        if words[0] == USER.encode("ascii") and len(words) > 3 and words[2].isdigit() and words[3].isdigit() and int(words[2]):
            return int(words[2]), int(words[3]), []
    return NOBODY, NOBODY, ["the user {} is missing: nobody is used, who may have other processes".format(USER)]


def _give_up_capabilities(libc: ctypes.CDLL) -> None:
    libc.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_PR_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0)  # before Linux 4.3 there are none
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())):
        raise OSError(ctypes.get_errno(), "capset")


def _limit(limits: ResourceLimits) -> None:
    """Set the limits of setrlimit(2), hard and soft."""
    with open("/proc/self/statm", "rb") as stream:  # proc(5): first the size of the address space, in pages
        address_bytes = int(stream.read().split()[0]) * resource.getpagesize()
    values = {resource.RLIMIT_AS: address_bytes + limits.more_address_bytes, resource.RLIMIT_CPU: limits.cpu_seconds,
              resource.RLIMIT_FSIZE: limits.file_bytes, resource.RLIMIT_NOFILE: limits.files, resource.RLIMIT_CORE: 0,
              resource.RLIMIT_NPROC: limits.threads}
    for name, most in values.items():
        hard = resource.getrlimit(name)[1]
        value = most if hard == resource.RLIM_INFINITY else hard if most == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(name, (value, value))
