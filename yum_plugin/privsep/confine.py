"""How a process gives up root for good, and its limits from then on. Linux only."""
import ctypes
import os
import pwd
import resource
import signal
from typing import NamedTuple, Tuple

USER = "nobody"  # every distribution has it; a user of our own would remain after the package is removed
NOBODY = 65534  # its number if the user database lacks it
# prctl(2), mallopt(3)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_M_ARENA_MAX = -8
_ARENAS = 2  # of malloc: each reserves 64 MiB of addresses, and by default there are up to eight for each CPU


class ResourceLimits(NamedTuple):
    """The limits of a confined process."""

    cpu_seconds: int
    more_address_bytes: int = 1024 * 1024 * 1024  # in addition to those at the beginning; for the stacks of all threads, too
    files: int = 4096  # open at once: three for each session, and the commands ask all mirrors of all repositories together


def confine(limits: ResourceLimits, parent: int) -> None:
    """Give up root and limit this process, which must have no other thread.

    Args:
        limits: see there; in addition it can write no file, and leaves no core dump.
        parent: process id of the parent: this process is killed when that one ends.

    Raises:
        OSError: the kernel refuses a step; the process must not go on.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mallopt(_M_ARENA_MAX, _ARENAS)
    _limit(limits)
    user, group = _nobody()
    os.setgroups([])  # groups first: without the user root they cannot be changed any more
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    # After the change of user, which clears PDEATHSIG and resets DUMPABLE (prctl(2)).
    for option, value in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_DUMPABLE, 0), (_PR_SET_PDEATHSIG, signal.SIGKILL)):
        if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl {}".format(option))
    # A parent that ended before PDEATHSIG was set sends no signal.
    if os.getppid() != parent or 0 in os.getresuid() + os.getresgid():
        raise OSError("the parent is gone, or root is not")


def _nobody() -> Tuple[int, int]:
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        return NOBODY, NOBODY
    return entry.pw_uid, entry.pw_gid


def _limit(limits: ResourceLimits) -> None:
    """Set the limits of setrlimit(2), hard and soft."""
    with open("/proc/self/statm", "rb") as stream:  # proc(5): first the size of the address space, in pages
        address_bytes = int(stream.read().split()[0]) * resource.getpagesize()
    values = {resource.RLIMIT_AS: address_bytes + limits.more_address_bytes, resource.RLIMIT_CPU: limits.cpu_seconds,
              resource.RLIMIT_FSIZE: 0, resource.RLIMIT_NOFILE: limits.files, resource.RLIMIT_CORE: 0}
    for name, most in values.items():
        hard = resource.getrlimit(name)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(name, (value, value))
