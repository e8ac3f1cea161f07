"""A real web server on free loopback ports: Debian's nginx, started by a test and stopped by its process id."""
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Sequence

import pytest

START_SECONDS = 10.0
STOP_SECONDS = 10.0
WAIT_SECONDS = 0.2
ATTEMPTS = 5  # a free port may be taken by another before nginx has it
_CONFIG = """\
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 256; }}
http {{
  access_log {folder}/access.log;
  types {{ text/xml xml; application/x-rpm rpm; }}
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
{sites}
}}
"""


def site(root: Any, listen: Sequence[str], pem: Any = "", more: str = "") -> str:
    """A server block.

    Args:
        root: the folder to serve.
        listen: ADDRESS:PORT, also with " ssl".
        pem: key and chain of the certificate.
        more: other directives.
    """
    lines = ["listen {};".format(each) for each in listen] + ["root {};".format(root), more]
    if pem:
        lines += ["ssl_certificate {0}; ssl_certificate_key {0};".format(pem)]
    return "server {{ {} }}".format(" ".join(lines))


class Nginx:
    """A running nginx; a context manager.

    Args:
        folder: for its own files.
        sites: a function from the ports of http and https to server blocks.
    """

    def __init__(self, folder: Path, sites: Callable[[int, int], str]) -> None:
        path = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if path is None:
            pytest.skip("not installed: nginx")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._user = "user root;" if os.geteuid() == 0 else ""
        for _ in range(ATTEMPTS):
            self.http_port, self.https_port = free_port(), free_port()
            if self._start(path, sites(self.http_port, self.https_port)):
                return
        raise AssertionError("nginx does not start: {}".format((folder / "nginx.log").read_text()))

    def _start(self, path: str, sites: str) -> bool:
        config = self._folder / "nginx.conf"
        config.write_text(_CONFIG.format(folder=self._folder, user=self._user, sites=sites))
        self._process = subprocess.Popen([path, "-p", str(self._folder), "-c", str(config)], stdin=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL)
        ends_at = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < ends_at:
            if (self._folder / "nginx.pid").exists():  # written when it listens everywhere
                return True
            time.sleep(0.01)
        self.__exit__()
        return False

    def __enter__(self) -> "Nginx":
        return self

    def __exit__(self, *ignored: object) -> None:
        """A signal that comes before the master waits for signals only sets its flag: the next one wakes it up."""
        for _ in range(int(STOP_SECONDS / WAIT_SECONDS)):
            self._process.terminate()
            try:
                self._process.wait(WAIT_SECONDS)
                return
            except subprocess.TimeoutExpired:
                continue
        raise AssertionError("nginx does not end")

    @property
    def requests(self) -> str:
        """The access log."""
        return (self._folder / "access.log").read_text()


def free_port() -> int:
    """A port that is free on 127.0.0.1 and ::1."""
    with socket.socket() as four, socket.socket(socket.AF_INET6) as six:
        four.bind(("127.0.0.1", 0))
        port = int(four.getsockname()[1])
        try:
            six.bind(("::1", port))
        except OSError:
            return free_port()
        return port
