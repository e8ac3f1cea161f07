"""A real rsync daemon on a free port of 127.0.0.1, started and ended by the test that wants it."""
import os
import socket
import subprocess
import time
from typing import Any, Mapping

START_SECONDS = 20.0
_GLOBAL = "use chroot = no\npid file = {folder}/pid\nlog file = {folder}/log\nlock file = {folder}/lock\nmotd file = {folder}/motd\n"


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RsyncDaemon:
    """The daemon; a context manager.

    Args:
        folder: of its own files.
        modules: name -> folder that it serves.
        options: of every module, as rsyncd.conf(5) has them.
    """

    def __init__(self, folder: Any, modules: Mapping[str, Any], **options: str) -> None:
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        config = os.path.join(self.folder, "rsyncd.conf")
        with open(os.path.join(self.folder, "motd"), "w") as stream:
            stream.write("-rw-r--r--           1 2026/01/01 00:00:00 a-line-of-the-motd\n")
        with open(config, "w") as stream:
            stream.write(_GLOBAL.format(folder=self.folder))
            for name, path in modules.items():
                settings = dict({"path": str(path), "read only": "yes"}, **options)
                stream.write("[{}]\n{}".format(name, "".join("{} = {}\n".format(*item) for item in settings.items())))
        self.port, self._process = self._start(config)

    def _start(self, config: str) -> Any:
        """Start it; on another port if somebody was quicker to take this one."""
        ends_at = time.monotonic() + START_SECONDS
        while time.monotonic() < ends_at:
            port = free_port()
            process = subprocess.Popen(["rsync", "--daemon", "--no-detach", "--config=" + config, "--address=127.0.0.1",
                                        "--port={}".format(port)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None and time.monotonic() < ends_at:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    return port, process
                except OSError:
                    time.sleep(0.01)
            process.kill()
            process.wait()
        raise RuntimeError("rsync --daemon does not start")

    def url(self, path: str) -> str:
        """Return the address of MODULE[/PATH]."""
        return "rsync://127.0.0.1:{}/{}".format(self.port, path)

    def __enter__(self) -> "RsyncDaemon":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
