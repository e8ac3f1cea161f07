"""The lab: keys, trees, certificates, redirector, origin and mirrors, tied together."""
import json
import os
import shutil
import time
from types import TracebackType
from typing import Any, Dict, List, Mapping, Optional, Sequence, Type

from .accesslog import AccessLog
from .ca import GOOD, CertificateAuthority
from .faults import faults_named
from .host import Host
from .keys import OTHER, REPOSITORY, KeyRing
from .mirror import Mirror
from .pages import Listed
from .redirector import Redirector
from .repositories import DAY, DEFAULT_SIZES, STATES, Trees, repository_path
from .tools import locked
from .wire import Request

REDIRECTOR_ADDRESS = "127.0.0.2"
ORIGIN_ADDRESS = "127.0.0.3"
PLAIN_ADDRESS = "127.0.0.4"
ALLOWED = "127.0.0.0/8 ::1/128"  # allow_networks= of the lab's hosts: its mirrors are listed by their addresses
BASE = "/pub/xcp-ng/"
MAX_CACHE_AGE_SECONDS = DAY // 2
_REPOSITORY = """\
[xcp-ng-{name}]
name=XCP-ng {name} repository of the lab
baseurl={base_urls}
enabled=1
gpgcheck=1
repo_gpgcheck=1
gpgkey=file://{key_file}
sslcacert={ca_bundle}
{extra}
"""


class Lab:
    """A running lab; a context manager.

    Args:
        folder: everything lies in it: made if missing, used again if it was made by a lab with
            the same ``sizes`` less than half a day ago, else emptied of what a lab makes.
        sizes: repository -> package name -> bytes of payload.

    Attributes:
        log: the access log of all servers.
        keys, ca, trees: what the lab is made of, for tests that need more than the table of faults.
        redirector: the mirrorbits emulator; names in the access log: "redirector", "origin", the mirrors' own.
        origin: the fallback mirror, https, base "/" (None of the faults; it serves the published state).
        mirrors: name -> running mirror.
    """

    def __init__(self, folder: str, sizes: Mapping[str, Mapping[str, int]] = DEFAULT_SIZES) -> None:
        self.folder = os.path.abspath(folder)
        self.log = AccessLog()
        self.mirrors: Dict[str, Mirror] = {}
        self._hosts: List[Host] = []
        os.makedirs(self.folder, exist_ok=True)
        with locked(os.path.join(self.folder, "lab.lock")):
            self._prepare(sizes)
        self.origin = self._start("origin", ORIGIN_ADDRESS, tls=self.ca.context(ORIGIN_ADDRESS), plain_too=True)
        self.plain = self._start("plain", PLAIN_ADDRESS)
        self.redirector = self._start_redirector()

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], at: Optional[TracebackType]) -> None:
        self.close()

    def close(self) -> None:
        """End every server, connection and agent. The folder stays."""
        self._end_mirrors_and_hosts()
        self.plain.close()
        self.keys.close()

    def _end_mirrors_and_hosts(self) -> None:
        for mirror in [self.origin] + list(self.mirrors.values()):
            mirror.close()
        self.redirector.close()
        self.mirrors.clear()
        for host in self._hosts:
            host.close()
        self._hosts.clear()

    def _prepare(self, sizes: Mapping[str, Mapping[str, int]]) -> None:
        """Make keys, certificates and the old and the new state, or take those that are there."""
        present = self._cached(sizes) or self._emptied(sizes)
        self.keys = KeyRing(os.path.join(self.folder, "keys"), present - 1000 * DAY)
        self.ca = CertificateAuthority(os.path.join(self.folder, "ca"), present)
        self.trees = Trees(os.path.join(self.folder, "trees"), self.keys, present, sizes)
        for state in ("old", "new"):
            self.trees.path(state)
        for owner, path in ((REPOSITORY, self.key_file), (OTHER, self.other_key_file)):
            if not os.path.exists(path):
                with open(path, "wb") as stream:
                    stream.write(self.keys.public_key(owner))
        self.keys.close()  # no agent waits while the lab runs; the next signature starts one

    @property
    def _stamp(self) -> str:
        return os.path.join(self.folder, "lab.json")

    def _cached(self, sizes: Mapping[str, Mapping[str, int]]) -> int:
        """Return the present of the lab that the folder holds, 0 if it cannot be used again."""
        try:
            with open(self._stamp) as stream:
                stamp = json.load(stream)
        except FileNotFoundError:
            return 0
        fresh = time.time() - stamp["present"] < MAX_CACHE_AGE_SECONDS
        return int(stamp["present"]) if fresh and stamp["sizes"] == sizes else 0

    def _emptied(self, sizes: Mapping[str, Mapping[str, int]]) -> int:
        """Remove what an older lab made, and return a new present."""
        for name in ("keys", "ca", "trees"):
            shutil.rmtree(os.path.join(self.folder, name), ignore_errors=True)
        for path in (self.key_file, self.other_key_file):
            if os.path.exists(path):
                os.unlink(path)
        present = int(time.time())
        with open(self._stamp, "w") as stream:
            json.dump({"present": present, "sizes": sizes}, stream)
        return present

    @property
    def key_file(self) -> str:
        """The repository's public key."""
        return os.path.join(self.folder, "RPM-GPG-KEY-lab")

    @property
    def other_key_file(self) -> str:
        """Somebody else's public key."""
        return os.path.join(self.folder, "RPM-GPG-KEY-other")

    @property
    def key_fingerprint(self) -> str:
        """The repository key's fingerprint, 40 upper-case hex digits."""
        return self.keys.fingerprint()

    @property
    def ca_bundle(self) -> str:
        """The root certificate that every good certificate of the lab leads to."""
        return self.ca.bundle

    def _start(self, name: str, address: str, **options: Any) -> Mirror:
        return Mirror(name, self.trees, self.log, address, options.pop("tls", None), **options)

    def _start_redirector(self) -> Redirector:
        redirector = Redirector(self.trees, self.log, REDIRECTOR_ADDRESS, self.ca.context(REDIRECTOR_ADDRESS))
        redirector.fallbacks = [Listed(0, "fallback0", self.origin.url, "fallback0", "FR")]
        return redirector

    def add_mirror(
        self,
        name: str,
        fault: str = "",
        tree: str = "",
        scheme: str = "https",
        country: str = "FR",
        base: str = BASE,
        sponsor: str = "",
        address: str = "",
    ) -> Mirror:
        """Start a mirror and append it to the redirector's list.

        Args:
            name: unique in the lab.
            fault: a key of faults.FAULTS, several joined by "+", or "".
            tree: a key of repositories.STATES; "": whatever is published.
            scheme: "https" or "http".
            country: ISO 3166 code in upper case.
            base: path of the base URL, beginning and ending in "/".
            sponsor: the name on the list page; ``name`` if left out.
            address: to listen on; the next free one of 127.0.1.0/24 if left out.
        """
        if name in self.mirrors:
            raise ValueError("there is a mirror {} already".format(name))
        faults = faults_named(fault)
        address = address or "127.0.1.{}".format(len(self.mirrors) + 1)
        certificate = next((each.certificate for each in faults if each.certificate != GOOD), GOOD)
        tls = self.ca.context(address, certificate) if scheme == "https" else None
        options = {"faults": faults, "state": tree, "base": base, "country": country, "sponsor": sponsor}
        mirror = self._start(name, address, tls=tls, **options)
        mirror.elsewhere = self.plain.url
        # What a fault makes on first use, a state or a bomb, is made now and not while a client waits.
        mirror.answer(Request("GET", "", base + "elsewhere/repodata/repomd.xml", "", {}, tls=True))
        self.mirrors[name] = mirror
        self.redirector.mirrors.append(self._listed(name))
        return mirror

    def _listed(self, name: str, reason: str = "") -> Listed:
        mirror = self.mirrors[name]
        return Listed(list(self.mirrors).index(name) + 1, name, mirror.url, mirror.sponsor, mirror.country, reason)

    def set_order(self, names: Sequence[str]) -> None:
        """Let the redirector list these mirrors, in this order, and no other."""
        self.redirector.mirrors = [self._listed(name) for name in names]

    def exclude(self, name: str, reason: str) -> None:
        """Let the redirector move a mirror to its excluded ones, with these words."""
        self.redirector.mirrors = [mirror for mirror in self.redirector.mirrors if mirror.name != name]
        self.redirector.excluded.append(self._listed(name, reason))

    def alternate(self, names: Sequence[str]) -> None:
        """Let the redirector send each request to the next of these mirrors, round and round."""
        self.redirector.cycle = [self.mirrors[name].url for name in names]

    def publish(self, state: str) -> None:
        """Switch what the origin and all mirrors without a tree of their own serve.

        Raises:
            KeyError: there is no such state.
        """
        assert STATES[state]
        self.trees.path(state)
        self.trees.published = state

    def reset(self) -> None:
        """Remove mirrors and hosts, start redirector and origin afresh, publish the new state, empty the log."""
        self._end_mirrors_and_hosts()
        self.trees.published = "new"
        self.origin = self._start("origin", ORIGIN_ADDRESS, tls=self.ca.context(ORIGIN_ADDRESS), plain_too=True)
        self.redirector = self._start_redirector()
        self.log.clear()

    def base_urls(self, repository: str) -> List[str]:
        """Return the baseurls of a repository's section: the redirector, then the origin, both http as in the real file."""
        authorities = (self.redirector.authority, self.origin.server.authority)
        return ["http://{}/{}".format(authority, repository_path(repository)) for authority in authorities]

    def repo_file(self, folder: str, repositories: Sequence[str] = ("base", "updates"), extra: str = "") -> str:
        """Write ``xcp-ng.repo`` into a folder and return its path; ``extra`` is added to each section."""
        sections = [
            _REPOSITORY.format(
                name=name, base_urls=" ".join(self.base_urls(name)), key_file=self.key_file, ca_bundle=self.ca_bundle, extra=extra
            )
            for name in repositories
        ]
        path = os.path.join(folder, "xcp-ng.repo")
        with open(path, "w") as stream:
            stream.write("\n".join(sections))
        return path

    def installroot(self, folder: str, import_key: bool = True, extra: str = "", plugins: bool = True) -> Host:
        """Make an empty host that knows the lab's repositories.

        Args:
            folder: of the host.
            import_key: whether its rpmdb already trusts the repository's key.
            extra: more lines for [main] of its dnf.conf.
            plugins: whether dnf loads plugins.
        """
        host = Host(folder, [self.key_file] if import_key else [], extra, plugins)
        self.repo_file(host.repos)
        self._hosts.append(host)
        return host
