"""Mirrors as they are in the world: nginx behind TLS, with kept connections, at the end of a line of some round-trip time.

The redirector is the lab's own Python server, which keeps connections alive, too. Stock and ours see the same. A line of
length 0 is no line: clients connect to the servers themselves.
"""
import contextlib
import os
import time
from pathlib import Path
from typing import Iterator, List, NamedTuple, Tuple

from tests.lab.host import Host
from tests.lab.lab import BASE, ORIGIN_ADDRESS, REDIRECTOR_ADDRESS
from tests.lab.pages import Listed
from tests.lab.plugin import install_plugin
from tests.lab.relay import Relay
from tests.support.nginx import Nginx, site
from yum_plugin.net.fetch import USER_AGENT

from .stage import Stage

MIRRORS = 6
# At the end of a request; with its length that is when it came. Fields that may hold a space come last, divided by tabs.
_LOG_FORMAT = ("log_format line '$msec\t$request_time\t$server_name\t$connection\t$status\t$bytes_sent\t$request_uri\t"
               "$http_user_agent';\nssl_protocols TLSv1.2 TLSv1.3;\n")


class Asked(NamedTuple):
    """A request, as a server saw it."""

    at: float  # when its header was complete, in seconds since 1970
    server: str
    connection: str  # one name for each TCP connection
    status: int
    bytes: int
    path: str  # with the query
    agent: str

    @property
    def by_us(self) -> bool:
        """Whether our engine has asked, and not dnf itself."""
        return self.agent == USER_AGENT


class Line:
    """Six good mirrors, the origin and the redirector at the end of a line; use ``laid``.

    Args:
        stage: whose lab has the files and the redirector.
        relay: carries what is asked.
        nginx: serves mirrors and origin.
    """

    def __init__(self, stage: Stage, relay: Relay, nginx: Nginx) -> None:
        self._stage, self._relay, self._nginx = stage, relay, nginx
        self._access_log = os.path.join(stage.folder, "line", "line.log")
        self._seen_bytes = 0
        self._since = 0.0
        redirector, lab = stage.lab.redirector.server, stage.lab
        self.redirector = self._end(REDIRECTOR_ADDRESS, redirector.port)
        self._origin_http, self._origin = (self._end(ORIGIN_ADDRESS, port) for port in (nginx.http_port, nginx.https_port))
        urls = ["https://{}{}".format(self._end(_address(number), nginx.https_port), BASE) for number in range(1, MIRRORS + 1)]
        lab.redirector.mirrors = [Listed(number, "mirror{}".format(number), url, "mirror{}".format(number), "FR")
                                  for number, url in enumerate(urls, 1)]
        lab.redirector.fallbacks = [Listed(0, "fallback0", "https://{}/".format(self._origin), "fallback0", "FR")]

    def _end(self, address: str, port: int) -> str:
        """Return where clients reach a server: host and port."""
        return "{}:{}".format(address, self._relay.open(address, (address, port)) if self._relay.rtt_seconds else port)

    def host(self, plugin: bool) -> Host:
        """Make a host whose repositories are at the end of the line, with our plugin or without any."""
        stage = self._stage
        host, lab = stage.host(plugin=False), stage.lab
        path = os.path.join(host.repos, "xcp-ng.repo")
        with open(path) as stream:
            text = stream.read()
        text = text.replace(lab.redirector.authority, self.redirector).replace(lab.origin.server.authority, self._origin_http)
        with open(path, "w") as stream:
            stream.write(text)
        if plugin:
            install_plugin(host, lab, redirectors=self.redirector, fallbacks="https://{}/".format(self._origin))
        return host

    def forget(self) -> None:
        """Let ``asked`` return what is asked from now on."""
        self._stage.lab.log.clear()
        self._since = time.time()
        self._seen_bytes = os.path.getsize(self._access_log)

    def asked(self) -> List[Asked]:
        """Return all requests since ``forget`` in their order; nginx writes one down when it has sent the answer."""
        log = self._stage.lab.log
        began = time.time() - log.seconds()
        found = [Asked(began + entry.seconds, entry.server, "r{}".format(entry.connection.number), entry.status, entry.bytes,
                       entry.target, entry.headers.get("user-agent", "")) for entry in log.requests()]
        with open(self._access_log) as stream:
            stream.seek(self._seen_bytes)
            for text in stream:
                ended, seconds, server, connection, status, size, path, agent = text.rstrip("\n").split("\t")
                found.append(Asked(float(ended) - float(seconds), server, "n" + connection, int(status), int(size), path, agent))
        return sorted(found)

    def waterfall(self) -> str:
        """Return a line for each request since ``forget``: when it came, how many on its connection, and whose it was."""
        before: List[str] = []
        lines = []
        for each in self.asked():
            before.append(each.connection)
            lines.append("{:7.3f} s  {:<10} {:>5}.{:<3} {} {:>8} B  {:<5} {}".format(
                each.at - self._since, each.server, each.connection, before.count(each.connection), each.status, each.bytes,
                "ours" if each.by_us else "dnf", each.path))
        return "\n".join(lines)


@contextlib.contextmanager
def laid(stage: Stage, rtt_ms: int) -> Iterator[Line]:
    """Lay a line of a round-trip time to good mirrors; hosts of before are gone."""
    stage.set_mirrors(())
    folder = Path(stage.folder, "line")
    with Nginx(folder, lambda http, https: _sites(stage, folder, http, https)) as nginx, Relay(rtt_ms / 1000) as relay:
        yield Line(stage, relay, nginx)


def _sites(stage: Stage, folder: Path, http_port: int, https_port: int) -> str:
    """Return the server blocks; each has an address of its own, as mirrors do, and its own certificate."""
    lab, tree = stage.lab, stage.lab.trees.path()
    servers = [("mirror{}".format(number), _address(number), BASE) for number in range(1, MIRRORS + 1)]
    blocks = [_LOG_FORMAT]
    for name, address, base in servers + [("origin", ORIGIN_ADDRESS, "/")]:
        lab.ca.context(address)  # writes key and chain
        listen = ["{}:{} ssl".format(address, https_port)] + (["{}:{}".format(address, http_port)] if base == "/" else [])
        more = "server_name {}; access_log {}/line.log line; location {} {{ alias {}/; }}".format(name, folder, base, tree)
        blocks.append(site(folder, listen, os.path.join(lab.ca.folder, "good-{}.pem".format(address)), more))
    return "\n".join(blocks)


def _address(number: int) -> str:
    return "127.0.1.{}".format(number)


def connections(asked: List[Asked]) -> Tuple[int, int]:
    """Count the connections of our engine and of dnf itself."""
    ours = {(each.server, each.connection) for each in asked if each.by_us}
    others = {(each.server, each.connection) for each in asked if not each.by_us}
    return len(ours), len(others)
