"""The process without root, as its parent sees it: started anew, with nothing of this process but a socket."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from typing import Optional

# -I and -S: nothing of the caller's environment or folder is imported, and no site-packages are looked for: the parent's folders
# of modules come as an argument.
OPTIONS = ("-I", "-S", "-B", "-W", "ignore")
# requests loads one of two modules that guess charsets, and needs a tenth of its time for that; nothing here ever asks it to
# guess. What stands in their place has a version that every requests accepts.
BOOT = ("import json, sys; sys.path[:] = json.loads(sys.argv[1])\n"
        "for name, version in (('chardet', '4.0.0'), ('charset_normalizer', '2.0.0')):\n"
        "    sys.modules[name] = type(sys)(name); sys.modules[name].__version__ = version\n"
        "from yum_plugin.privsep.child import main\nmain(*map(int, sys.argv[2:5]))\n")
END_SECONDS = 5.0  # for the process to end
KEPT_VARIABLES = ("LC_ALL", "LC_CTYPE", "LANG")  # how paths are encoded


class ChildProcess:
    """A process that waits for its settings, see wire.py.

    Args:
        examines: it will examine certificates, and loads what that takes: it cannot do so later.
    """

    def __init__(self, examines: bool) -> None:
        if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:  # of a caller; the kernel would give its number to another process
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            words = [json.dumps(sys.path), str(theirs.fileno()), str(os.getpid()), str(int(examines))]
            kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
            self._process = subprocess.Popen(
                [sys.executable, *OPTIONS, "-c", BOOT, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, close_fds=True, pass_fds=(theirs.fileno(),), cwd="/", env=kept, start_new_session=True)

    def end(self) -> None:
        """Kill the process."""
        self.control.close()
        with contextlib.suppress(PermissionError):  # root without CAP_KILL; the end of the socket ends it, too
            self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)


def start_early() -> Optional[ChildProcess]:
    """Start the process while this one still loads its own modules; None where there is none, see ``parent.separated``."""
    return ChildProcess(examines=False) if can_separate() else None


def can_separate() -> bool:
    """Whether this process has something to give up."""
    return os.geteuid() == 0 and sys.platform.startswith("linux")
