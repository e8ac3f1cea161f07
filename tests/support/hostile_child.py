"""A child in an attacker's hands: its own code is replaced before it starts, and it runs this module's in its place.

Everything here runs in the confined process: nothing may be imported late.
"""
import ctypes
import errno
import fcntl
import json
import os
import platform
import signal
import socket
import threading

from yum_plugin.privsep import process

_COLUMN = ("x86_64", "aarch64").index(platform.machine()) if platform.machine() in ("x86_64", "aarch64") else None
# On x86_64 and aarch64; None: there is no such call.
_NUMBERS = {
    "open": (2, None), "openat": (257, 56), "openat2": (437, 437), "creat": (85, None), "fork": (57, None), "vfork": (58, None), "clone": (56, 220),
    "clone3": (435, 435), "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "unshare": (272, 97),
    "setns": (308, 268), "io_uring_setup": (425, 425), "socketpair": (53, 199), "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "bpf": (321, 280),
    "mount": (165, 40), "rename": (82, None), "renameat2": (316, 276), "unlink": (87, None), "unlinkat": (263, 35), "mkdirat": (258, 34), "linkat": (265, 37),
    "symlinkat": (266, 36), "fchmodat": (268, 53), "memfd_create": (319, 279), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "listen": (50, 201), "prctl": (157, 167), "setresuid": (117, 147), "setsid": (112, 157), "setrlimit": (160, 164), "chroot": (161, 51),
    "seccomp": (317, 277), "mmap": (9, 222), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "init_module": (175, 105),
    "inotify_init1": (294, 26), "shmget": (29, 194), "msgget": (68, 186), "socket": (41, 198), "ioctl": (16, 29), "fcntl": (72, 25), "bind": (49, 200),
}
_AT_FDCWD, _TIOCSTI = -100, 0x5412
FAR = 1000000  # a number that no call has yet
PROCESS, CLONE_NEWUSER = signal.SIGCHLD, 0x10000000


def call(name, *arguments):
    """Make a system call; return its errno, 0 if it went through."""
    number = name if isinstance(name, int) else _NUMBERS[name][_COLUMN]
    if number is None:
        return errno.EPERM
    libc = ctypes.CDLL(None, use_errno=True)
    values = [ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.c_long(value) for value in arguments]
    result = libc.syscall(ctypes.c_long(number), *values + [ctypes.c_long(0)] * (6 - len(values)))
    if result == 0 and name in ("fork", "vfork", "clone"):
        os._exit(0)
    return ctypes.get_errno() if result == -1 else 0


def forbidden(others):
    """Try everything that no confined process may do; return the errno of each.

    Args:
        others: processes that it must not signal.
    """
    tried = {name: call(name) for name in (
        "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev", "keyctl", "add_key", "request_key", "setns", "io_uring_setup", "bpf",
        "mount", "memfd_create", "perf_event_open", "userfaultfd", "listen", "setsid", "chroot", "seccomp", "name_to_handle_at", "open_by_handle_at",
        "init_module", "inotify_init1", "shmget", "msgget", "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "setresuid", "setrlimit")}
    tried.update({
        "execve /bin/sh": call("execve", b"/bin/sh"), "execveat": call("execveat", _AT_FDCWD, b"/bin/sh"),
        "clone a process": call("clone", PROCESS), "a user namespace": call("unshare", CLONE_NEWUSER), "clone a namespace": call("clone", CLONE_NEWUSER | PROCESS),
        "write a file": call("openat", _AT_FDCWD, b"/tmp/x", os.O_WRONLY | os.O_CREAT, 0o600), "creat": call("creat", b"/tmp/x", 0o600),
        "truncate a file": call("openat", _AT_FDCWD, b"/etc/hosts", os.O_TRUNC), "open to write": call("open", b"/etc/hosts", os.O_RDWR),
        "openat2": call("openat2", _AT_FDCWD, b"/etc/hosts"), "rename": call("rename", b"/tmp/x", b"/tmp/y"),
        "renameat2": call("renameat2", _AT_FDCWD, b"/tmp/x", _AT_FDCWD, b"/tmp/y"), "unlink": call("unlink", b"/tmp/x"),
        "unlinkat": call("unlinkat", _AT_FDCWD, b"/tmp/x"), "mkdirat": call("mkdirat", _AT_FDCWD, b"/tmp/x"),
        "linkat": call("linkat", _AT_FDCWD, b"/tmp/x", _AT_FDCWD, b"/tmp/y"), "symlinkat": call("symlinkat", b"x", _AT_FDCWD, b"/tmp/y"),
        "fchmodat": call("fchmodat", _AT_FDCWD, b"/tmp/x", 0o777), "socketpair": call("socketpair", socket.AF_UNIX, socket.SOCK_STREAM),
        "packets": call("socket", socket.AF_PACKET, socket.SOCK_RAW), "virtual sockets": call("socket", 40, socket.SOCK_STREAM),
        "all processes": call("kill", -1, 0), "its group": call("kill", 0, 0), "tkill": call("tkill", os.getpid(), 0),
        "type into the terminal": call("ioctl", 0, _TIOCSTI, b"x"), "outlive the parent": call("prctl", 1, 0), "be looked into": call("prctl", 4, 1),
        "have a signal sent": call("fcntl", 0, fcntl.F_SETOWN, os.getppid()),
    })
    if platform.machine() == "x86_64":
        tried["x32"] = call(0x40000000 + 39)
    for number, other in enumerate(others):
        tried.update({"kill {}".format(number): call("kill", other, 0), "tgkill {}".format(number): call("tgkill", other, other, 0),
                      "rt_sigqueueinfo {}".format(number): call("rt_sigqueueinfo", other, 0)})
    return tried


def forbidden_to_the_network(others):
    """Try what only the process that looks up names may do, too."""
    return dict(forbidden(others), **{
        "read a file": call("openat", _AT_FDCWD, b"/etc/passwd", os.O_RDONLY), "open a file": call("open", b"/etc/passwd", os.O_RDONLY),
        "/dev/tty": call("openat", _AT_FDCWD, b"/dev/tty", os.O_RDWR), "local sockets": call("socket", socket.AF_UNIX, socket.SOCK_STREAM),
        "netlink": call("socket", socket.AF_NETLINK, socket.SOCK_RAW), "udp": call("socket", socket.AF_INET, socket.SOCK_DGRAM),
        "raw": call("socket", socket.AF_INET, socket.SOCK_RAW, 1), "another protocol": call("socket", socket.AF_INET, socket.SOCK_STREAM, 262),
        "new code": call("mmap", 0, 4096, 7, 0x22, -1), "bind": call("bind")})


def allowed():
    """Try what it needs; return what went wrong."""
    ran = threading.Event()
    thread = threading.Thread(target=ran.set)
    thread.start()
    thread.join()
    return [] if ran.is_set() and call("kill", os.getpid(), 0) == 0 else ["no thread, or no signal to itself"]


def tell(port, found):
    """Send what was found to the test."""
    with socket.socket() as sock:
        sock.connect(("127.0.0.1", port))
        sock.sendall(json.dumps(found).encode("ascii"))


def report(port, try_all):
    """Run a table of attempts and tell the test."""
    try:
        found = {"tried": try_all((os.getppid(), 1)), "allowed": allowed(), "clone3": call("clone3"), "newer": call(FAR),
                 "environment": dict(os.environ)}
    except Exception as error:
        found = {"died": repr(error)}
    tell(port, found)


def patched(patch):
    """Return the first program of a child whose code this text changes, before it starts."""
    return process.BOOT.replace("\nmain(", "\n" + patch + "\nmain(")
