"""How a process gives up root for good, and what it may use from then on. Linux only."""
import ctypes
import os
import pwd
import resource
import signal
from typing import NamedTuple, Tuple

USER = "nobody"  # every distribution has it; a user of our own would outlive the package
NOBODY = 65534  # where the user database does not know it
# prctl(2), mallopt(3)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_M_ARENA_MAX = -8
_ARENAS = 2  # of malloc: each reserves 64 MiB of addresses, and there would be one a thread


class ResourceLimits(NamedTuple):
    """What a confined process may use."""

    cpu_seconds: int
    more_address_bytes: int = 1024 * 1024 * 1024  # beyond what it had at the beginning; the stacks of all threads are in it
    files: int = 4096  # open at once: three a session, and the commands ask all mirrors of all repositories together


def confine(bounds: ResourceLimits, parent: int) -> None:
    """Give up root and bound this process. It must have no other thread.

    Args:
        bounds: see there; it can write no file at all, and leaves no core dump.
        parent: process id: this process is killed when that one ends.

    Raises:
        OSError: something of it is refused; the process must not go on.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mallopt(_M_ARENA_MAX, _ARENAS)
    _limit(bounds)
    user, group = _nobody()
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    for option, value in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_DUMPABLE, 0), (_PR_SET_PDEATHSIG, signal.SIGKILL)):
        if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl {}".format(option))
    if os.getppid() != parent or 0 in os.getresuid() + os.getresgid():
        raise OSError("the parent is gone, or root is not")


def _nobody() -> Tuple[int, int]:
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        return NOBODY, NOBODY
    return entry.pw_uid, entry.pw_gid


def _limit(bounds: ResourceLimits) -> None:
    """Set the limits of setrlimit(2), hard as well as soft ones."""
    limits = {resource.RLIMIT_AS: _address_bytes() + bounds.more_address_bytes, resource.RLIMIT_CPU: bounds.cpu_seconds,
              resource.RLIMIT_FSIZE: 0, resource.RLIMIT_NOFILE: bounds.files, resource.RLIMIT_CORE: 0}
    for name, most in limits.items():
        hard = resource.getrlimit(name)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(name, (value, value))


def _address_bytes() -> int:
    """Return the size of the address space now (proc(5): statm)."""
    with open("/proc/self/statm", "rb") as stream:
        return int(stream.read().split()[0]) * resource.getpagesize()
