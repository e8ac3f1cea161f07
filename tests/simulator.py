"""A host, its redirector, its mirrors and the origin: in memory, on virtual time, so that a refresh takes a millisecond.

After python-tuf's RepositorySimulator: one object whose attributes a test edits at any time, and which serves what they say.
All of the product runs as it is, signatures and parsers included; only ``Session``, ``TaskPool`` and the clock are others.

Real behaviours that are copied:
    * ``Session``: a status that is not accepted is an error, a redirect another one; nothing larger than the limit arrives;
      connecting and each answer end at their time-outs, the whole session at its deadline; a range is answered by 206.
    * Servers: each request takes a mirror's ``seconds``. mirrorbits' pages and JSON are the lab's (tests/lab/pages.py).
    * Metadata is signed by real keys (tests/support/craft.py), once a process.
Not copied: names, addresses, TLS, proxies, credentials, the bytes of a range, bandwidth. The lab has those.
"""
import hashlib
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import urlsplit

from tests.lab import pages
from tests.support import craft
from tests.support.virtual_time import VirtualClock, VirtualTasks
from tests.support.world import DAY, DEFAULTS, NOW
from yum_plugin.errors import FetchError
from yum_plugin.model import REPOMD, Repository, Snapshot
from yum_plugin.net.fetch import FetchLimits, Response, Session, Stream
from yum_plugin.net.translate import status_error
from yum_plugin.privsep.gateway import Gateway, ask_list
from yum_plugin.resolve.refresh import accept, refresh
from yum_plugin.resolve.resolution import NO_CANDIDATES, Resolution, is_refusal
from yum_plugin.resolve.resolver import ResolveOptions
from yum_plugin.sources.redirector import ask_digest
from yum_plugin.state.memory import Memory, SnapshotPin
from yum_plugin.state.snapshot_pin import folder_of
from yum_plugin.state.store import State
from yum_plugin.trust.repomd import MAX_REPOMD_BYTES
from yum_plugin.util.files import write_whole

SIGNATURE = REPOMD + ".asc"
BEGIN = NOW - 30 * DAY  # of version 0; each version is a day newer
PUBLISHED = 10
FUTURE = 60  # a version a month ahead, signed today
MIRROR_SECONDS = 0.02  # a request
REDIRECTOR_SECONDS = 0.05
RELEASE = "8/8.3/"
ORIGIN_ROOT = "https://updates.test/"
REDIRECTOR = "mirrors.test"


# What is published.


class SignedRepomd(NamedTuple):
    """The metadata of one version of one repository."""

    repomd: bytes
    signature: bytes
    primary: str  # the path of the list of packages

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.repomd).hexdigest()


_REPOMD_TEXT = """<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>{stamp}</revision>
<data type="primary"><checksum type="sha256">{sha256}</checksum><location href="{primary}"/>
<timestamp>{stamp}</timestamp><size>4096</size></data></repomd>
"""


def stamp_of(version: int) -> int:
    """Revision and data timestamp of a version, which are one number."""
    return BEGIN + version * DAY


@lru_cache(maxsize=None)
def signed(repository: str, version: int, key: str = "pinned", signed_at: Optional[int] = None, digest: str = "sha256",
           kind: int = 0, lifetime: Optional[int] = None, spoilt: bool = False) -> SignedRepomd:
    """Make a version.

    Args:
        repository: "base" or "updates".
        version: PUBLISHED is the newest at first.
        key: of ``craft.rsa_key``.
        signed_at: seconds since 1970; a minute after the stamp if left out, but not later than NOW.
        digest, kind: of the signature.
        lifetime: of the signature in seconds.
        spoilt: a bit of its number is another one.
    """
    stamp = stamp_of(version)
    sha256 = hashlib.sha256("{} {}".format(repository, version).encode()).hexdigest()
    primary = "repodata/{}-primary.xml.gz".format(sha256)
    repomd = _REPOMD_TEXT.format(stamp=stamp, sha256=sha256, primary=primary).encode()
    pair = craft.rsa_key(key)
    hashed = craft.created(min(stamp + 60, NOW) if signed_at is None else signed_at) + craft.issuer_fingerprint(pair)
    if lifetime is not None:
        hashed += craft.subpacket(3, craft.u32(lifetime))
    packet = craft.signature(pair, document=repomd, hashed=hashed, digest=digest, kind=kind)
    return SignedRepomd(repomd, craft.armor(packet[:-1] + bytes([packet[-1] ^ spoilt])), primary)


def snapshot_of(version: int, repository: str = "updates") -> Snapshot:
    """The proven form of a version."""
    made, stamp = signed(repository, version), stamp_of(version)
    return Snapshot(made.sha256, len(made.repomd), stamp, stamp, min(stamp + 60, NOW))


# The servers.


class Request(NamedTuple):
    """What a server was asked."""

    at: float  # steady seconds
    server: str
    path: str  # below the server's root
    query: str
    accept: str
    limits: FetchLimits
    headers: Mapping[str, str] = {}  # of the request

    @property
    def file(self) -> str:
        """"repomd.xml", "repomd.xml.asc", "primary", or the query of a redirector."""
        name = self.path.rpartition("/")[2]
        return self.query or ("primary" if name.endswith("-primary.xml.gz") else name)


class Reply(NamedTuple):
    """What comes of a request, after some seconds."""

    seconds: float
    body: bytes = b""
    status: int = 200
    error: Optional[FetchError] = None
    headers: Mapping[str, str] = {}
    links: Tuple[str, ...] = ()


class SimulatedMirror:
    """A mirror; every attribute may be changed at any time.

    Args:
        simulator: whose.
        name: the host is NAME.test.
        fault: a key of FAULTS.
        attributes: see the body.
    """

    def __init__(self, simulator: "Simulator", name: str, fault: str = "", **attributes: Any) -> None:
        self.name = name
        self.fault = fault
        self.scheme = "https"
        self.seconds = MIRROR_SECONDS  # a request
        self.version: Optional[int] = None  # that it serves; None: what is published
        self.signed_at: Optional[int] = None  # when its metadata was signed; None: as ``signed`` has it
        self.serves = ""  # the repository that it serves in the place of every other, signed by the same key; "": each its own
        self.ahead = 0.0  # seconds by which its clock is ahead of the right time
        self.country = ""
        # What the redirector says of it:
        self.listed = True
        self.weight = 0  # percent
        self.excluded = ""  # its reason
        self._simulator = simulator
        for attribute, value in attributes.items():
            getattr(self, attribute)  # a misspelt one
            setattr(self, attribute, value)

    @property
    def url(self) -> str:
        return "{}://{}.test/".format(self.scheme, self.name)

    def metadata(self, path: str, version: Optional[int] = None, **form: Any) -> SignedRepomd:
        """What it serves of the repository that a path is in."""
        if version is None:
            version = self._simulator.version if self.version is None else self.version
        if self.signed_at is not None:
            form.setdefault("signed_at", self.signed_at)
        return signed(self.serves or path[len(RELEASE):].partition("/")[0], version, **form)

    def count(self, file: str) -> int:
        """How often a file was asked for, this time included."""
        return len([request for request in self._simulator.log if (request.server, request.file) == (self.name, file)])

    def answer(self, request: Request) -> Reply:
        """Serve a file as the fault would have it."""
        faulty = FAULTS[self.fault].reply(self, request) if self.fault else None
        return faulty or self.serve(request, self.metadata(request.path))

    def serve(self, request: Request, metadata: SignedRepomd) -> Reply:
        """Serve a file of some metadata."""
        base = request.path[:request.path.index("repodata/")]
        content = {REPOMD: metadata.repomd, SIGNATURE: metadata.signature, metadata.primary: b"x" * 4096}
        body = content.get(request.path[len(base):])
        date = formatdate(NOW + request.at - self._simulator.clock.began + self.ahead, usegmt=True)
        return Reply(self.seconds, body, headers={"date": date}) if body is not None else self.status(404)

    def status(self, status: int) -> Reply:
        return Reply(self.seconds, status=status)


class Fault(NamedTuple):
    """A way in which a mirror can be bad."""

    reference: str  # of the rejection; "ok" if it does no harm
    reply: Callable[[SimulatedMirror, Request], Optional[Reply]]  # None: as a good mirror


def _error(reference: str, seconds: Optional[float] = None) -> Fault:
    """Every request ends in an error, after the connect time-out if the seconds are left out."""
    def reply(mirror: SimulatedMirror, request: Request) -> Reply:
        after = request.limits.connect_seconds if seconds is None else seconds
        return Reply(after, error=FetchError(reference, "as simulated", where=mirror.url))

    return Fault(reference, reply)


def _other(reference: str, **form: Any) -> Fault:
    """Other metadata than the published one is served: another version, or signed in another way."""
    return Fault(reference, lambda mirror, request: mirror.serve(request, mirror.metadata(request.path, **form)))


def _only(file: str, reply: Callable[[SimulatedMirror, Request], Reply]) -> Callable[[SimulatedMirror, Request], Optional[Reply]]:
    return lambda mirror, request: reply(mirror, request) if request.file == file else None


def _tampered(mirror: SimulatedMirror, request: Request) -> Reply:
    return Reply(mirror.seconds, mirror.metadata(request.path).repomd.replace(b"4096", b"4097"))


def _other_repository(mirror: SimulatedMirror, request: Request) -> Reply:
    return mirror.serve(request, signed("base", PUBLISHED - 1))


def _mid_sync(mirror: SimulatedMirror, request: Request) -> Optional[Reply]:
    """Its sync comes between the first two requests: an old repomd.xml, then the new signature."""
    old = mirror.metadata(request.path, PUBLISHED - 1)
    return mirror.serve(request, old) if request.file == "repomd.xml" and mirror.count("repomd.xml") == 1 else None


# By the lab's names, where the lab has the same (tests/lab/faults.py).
FAULTS: Dict[str, Fault] = {
    # Lies and damage: what arrives is not to be believed.
    "tampered": Fault("signature-invalid", _only("repomd.xml", _tampered)),
    "bad-signature": _other("signature-invalid", spoilt=True),
    "asc-of-another": Fault("out-of-step", _only("repomd.xml.asc", lambda mirror, request: mirror.serve(
        request, mirror.metadata(request.path, PUBLISHED - 1)))),
    "no-asc": Fault("signature-missing", _only("repomd.xml.asc", lambda mirror, request: mirror.status(404))),
    "captive": Fault("signature-missing", lambda mirror, request: Reply(mirror.seconds, b"<html>Welcome</html>")),
    "other-key": _other("unknown-key", key="other"),
    "weak-digest": _other("weak-digest", digest="sha1"),
    "text-signature": _other("wrong-signature-type", kind=1),
    "signature-expired": _other("signature-expired", lifetime=60),
    "fast-forward": _other("wrong-repository", version=FUTURE),
    # Behind, or on the way.
    "stale": _other("stale", version=PUBLISHED - 1),
    "other-repository": Fault("stale", _other_repository),
    "half-synced": Fault("http-status", _only("primary", lambda mirror, request: mirror.status(404))),
    "mid-sync": Fault("ok", _mid_sync),
    # Nothing usable arrives.
    "http-503": Fault("http-status", lambda mirror, request: mirror.status(503)),
    "redirect-loop": Fault("redirect-refused", lambda mirror, request: mirror.status(302)),
    "endless-repomd": Fault("too-large", _only("repomd.xml", lambda mirror, request: Reply(
        mirror.seconds, b" " * (MAX_REPOMD_BYTES + 1)))),
    "refused": _error("unreachable", seconds=0.001),
    "blackhole": _error("timed-out"),
    "mute": Fault("timed-out", lambda mirror, request: Reply(1e6)),
    "expired-certificate": _error("tls-expired", seconds=0.05),
    "wrong-host-certificate": _error("tls-hostname", seconds=0.05),
    "self-signed-certificate": _error("tls-untrusted", seconds=0.05),
    "incomplete-chain": _error("tls-incomplete", seconds=0.05),
    "truncated": _error("truncated", seconds=0.05),
    "gzip-bomb": _error("bad-answer", seconds=0.05),
}


class SimulatedRedirector:
    """mirrorbits; every attribute may be changed at any time.

    Args:
        simulator: it lists its mirrors in the order in which they were added.
    """

    def __init__(self, simulator: "Simulator") -> None:
        self.seconds = REDIRECTOR_SECONDS
        self.page_seconds = 0.0  # more of them for the list page
        self.digests = True  # False: it knows no ``?sha256``, and answers as without it
        self.list_page = True  # the forms can be switched off
        self.json = True
        self.redirect = True
        self.http_only = False
        self.secure_fault = ""  # of https alone: "refused" or "mute"
        self.fault = ""  # "refused", "mute", "http-503" or "captive"
        self.digest: Optional[str] = None  # that it names; None: of what the origin has, "": none
        self.override: Optional[Callable[[Request], Optional[bytes]]] = None  # asked first for each body
        self._simulator = simulator

    def answer(self, request: Request, scheme: str) -> Reply:
        """Answer as mirrorbits does."""
        if scheme == "https" and self.http_only:
            return Reply(self.seconds, error=FetchError("unreachable", "it has no https"))
        fault = self.fault or (self.secure_fault if scheme == "https" else "")
        if fault:
            return {"refused": Reply(0.001, error=FetchError("unreachable", "refused")), "mute": Reply(1e6),
                    "http-503": Reply(self.seconds, status=503),
                    "captive": Reply(self.seconds, b"<html><title>Welcome</title></html>")}[fault]
        body = self.override(request) if self.override else None
        if request.query == "sha256" and self.digests:
            named = self.selection(request).file.sha256
            reply = Reply(self.seconds, body or pages.digest_line(request.path, named)) if named != "N/A" else Reply(
                self.seconds, status=404)
        elif request.query == "mirrorlist":
            reply = Reply(self.seconds + self.page_seconds, body or self._page(request), 200 if self.list_page else 404)
        elif self.json:
            reply = Reply(self.seconds, body or pages.as_json(self.selection(request), "127.0.0.1"))
        elif self.redirect:
            urls = [mirror.url + request.path for mirror in self.selection(request).mirrors]
            links = ("{}; rel=duplicate; pri={}".format("<{}>".format(url), rank) for rank, url in enumerate(urls[1:], 2))
            reply = Reply(self.seconds, status=302, headers={"location": urls[0]}, links=tuple(links))
        else:
            reply = Reply(self.seconds, status=404)
        return reply

    def _page(self, request: Request) -> bytes:
        selection = self.selection(request)
        weights = {mirror.url: mirror.weight for mirror in self._simulator.mirrors.values()}
        return pages.list_page(selection, "127.0.0.1", [weights.get(mirror.url, 0) for mirror in selection.mirrors])

    def selection(self, request: Request) -> pages.Selection:
        """What it answers from."""
        repository = request.path[len(RELEASE):].partition("/")[0]
        digest = signed(repository, self._simulator.version).sha256 if self.digest is None else self.digest
        mirrors = [mirror for mirror in self._simulator.mirrors.values() if mirror.listed]
        listed = [pages.Listed(rank, mirror.name, mirror.url, mirror.name, mirror.country, mirror.excluded)
                  for rank, mirror in enumerate(mirrors, 1)]
        usable = [each for each in listed if not each.reason]
        fallback = [pages.Listed(99, "origin", ORIGIN_ROOT, "", "")]
        return pages.Selection(pages.FileInfo("/" + request.path, 3000, BEGIN, "0" * 40, digest or "N/A"), usable or fallback,
                               len(usable), [each for each in listed if each.reason], fallback=not usable)


# How it is reached.


class SimulatedStream(Stream):
    """A body that has arrived."""

    def __init__(self, reply: Reply) -> None:
        self.status, self.headers, self.links = reply.status, dict(reply.headers), reply.links
        self.first_byte_seconds = reply.seconds
        self._body = reply.body

    def __exit__(self, *_: object) -> None:
        return None

    def chunks(self) -> Iterator[bytes]:
        """See Stream."""
        yield self._body


class SimulatedSession(Session):
    """A session whose time is virtual.

    Args:
        simulator: who serves.
        seconds: after so long every call fails.
    """

    certificate_expires = None
    address = ""

    def __init__(self, simulator: "Simulator", seconds: float) -> None:
        self._simulator = simulator
        self._seconds = seconds
        self.spent = 0.0

    def __enter__(self) -> "SimulatedSession":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def abort(self) -> None:
        """See Session; a task has ended before anybody could call this."""

    def get(self, url: str, limits: FetchLimits, headers: Optional[Mapping[str, str]] = None,
            accept: Tuple[int, ...] = (200,)) -> Response:
        """See Session."""
        began = self.spent
        stream = self.open(url, limits, headers, accept)
        return Response(stream.status, stream.headers, stream.links, b"".join(stream.chunks()), stream.first_byte_seconds,
                        self.spent - began)

    def open(self, url: str, limits: FetchLimits, headers: Optional[Mapping[str, str]] = None,
             accept: Tuple[int, ...] = (200,)) -> Stream:
        """See Session."""
        asked = headers or {}
        reply = self._simulator.answer(url, self._simulator.clock.now + self.spent, asked, limits)
        if "Range" in asked and reply.status == 200:
            reply = reply._replace(status=206)
        late = reply.error is None and reply.seconds > limits.read_seconds
        self.spent += limits.read_seconds if late else reply.seconds
        if self.spent > self._seconds:
            self.spent = self._seconds
            raise FetchError("timed-out", "no complete answer before the deadline", where=url)
        if late:
            raise FetchError("timed-out", "no answer in time", where=url)
        if reply.error is not None:
            raise reply.error
        if reply.status not in accept:
            raise status_error(reply.status, url, reply.headers.get("retry-after", ""))
        if len(reply.body) > limits.max_bytes:
            raise FetchError("too-large", "more than the {} bytes that are allowed".format(limits.max_bytes), where=url)
        return SimulatedStream(reply)


# The host.


class Outcome:
    """What a refresh gave for one repository, in the words of the tests: all they know of the product's result types.

    Args:
        simulator: whose.
        result: an item of ``refresh``.
    """

    def __init__(self, simulator: "Simulator", result: Resolution) -> None:
        self.resolution = result
        self.repository: Repository = result.repository
        self.error: str = result.error.reference if result.error else ""
        self.message = str(result.error or "")
        self.refused = result.error is not None and is_refusal(result.error, simulator.settings)
        self.snapshot: Optional[Snapshot] = result.snapshot
        self.version = (result.snapshot.timestamp - BEGIN) // DAY if result.snapshot else None
        self.mirrors = [simulator.name_of(mirror.url) for mirror in result.mirrors]  # best first
        self.warnings = list(result.warnings)
        self.note = result.note
        self.reused = result.snapshot is not None and result.candidates is NO_CANDIDATES  # what another process found meanwhile
        self.probes: Dict[str, str] = {simulator.name_of(probe.mirror.url): probe.outcome for probe in result.probes}
        self.sources = {probe.mirror.source for probe in result.probes}
        self.rejected = {simulator.name_of(each.mirror.url): (each.reference, each.detail) for each in result.rejected}
        self.urls = [mirror.url for mirror in result.mirrors]


class Simulator:
    """A host and all that it can reach.

    Args:
        folder: for the key file and the state.
        faults: mirrors by name, in the redirector's order.
    """

    def __init__(self, folder: Any, **faults: str) -> None:
        self.clock = VirtualClock(NOW)
        self.version = PUBLISHED
        self.mirrors: Dict[str, SimulatedMirror] = {}
        self.origin = SimulatedMirror(self, "updates")
        self.redirector = SimulatedRedirector(self)
        self.log: List[Request] = []  # of all refreshes
        self.accepted: Dict[str, str] = {}  # repository id -> SHA-256 of what the package manager has loaded
        key = craft.rsa_key("pinned")
        self._key_file = "{}/key.asc".format(folder)
        write_whole(self._key_file, craft.armor(craft.key_packets(key), "PUBLIC KEY BLOCK"), durable=False)
        self.settings = DEFAULTS._replace(redirectors=(REDIRECTOR,), fallbacks=(ORIGIN_ROOT,), fingerprints=(key.fingerprint,),
                                          state_dir="{}/state".format(folder))
        self.state = State(self.settings.state_dir)
        self._began, self.began_at = 0, self.clock.now  # index into the log, and steady seconds: of the last refresh
        for name, fault in faults.items():
            self.add(name, fault)

    def add(self, name: str, fault: str = "", **attributes: Any) -> SimulatedMirror:
        """Add a mirror."""
        self.mirrors[name] = SimulatedMirror(self, name, fault, **attributes)
        return self.mirrors[name]

    def add_many(self, count: int, fault: str = "", **attributes: Any) -> List[SimulatedMirror]:
        """Add m1, m2, ..."""
        return [self.add("m{}".format(number), fault, **attributes) for number in range(1, count + 1)]

    def change(self, *names: str, **attributes: Any) -> None:
        """Change attributes of mirrors, of all if none is named."""
        for name in names or self.mirrors:
            for attribute, value in attributes.items():
                getattr(self.mirrors[name], attribute)
                setattr(self.mirrors[name], attribute, value)

    def configure(self, **changes: Any) -> None:
        """Change settings."""
        self.settings = self.settings._replace(**changes)

    def without_origin(self) -> None:
        """Leave no origin to fall back to."""
        self.configure(fallbacks=(), deny=self.settings.deny + ("updates.test",))

    def repository(self, name: str = "updates", **changes: Any) -> Repository:
        """A repository as its .repo file has it, with what the package manager has loaded of it."""
        path = "{}{}/x86_64/".format(RELEASE, name)
        urls = tuple("http://{}/{}".format(host, path) for host in (REDIRECTOR, "updates.test"))
        made = Repository("xcp-ng-" + name, urls, path, (self._key_file,), self.settings.fingerprints)
        return made._replace(cached_sha256=self.accepted.get(made.id, ""))._replace(**changes)

    def gateway(self) -> Gateway:
        """The gateway to the simulated network."""
        def none(*_: object) -> Any:
            raise AssertionError("not simulated")

        return Gateway(lambda network, seconds: SimulatedSession(self, seconds), ask_list, ask_digest,
                       lambda client, error, url, network, seconds: error, none, none)

    def refresh_all(self, repositories: Sequence[Repository], **options: Any) -> List[Outcome]:
        """Refresh repositories; options as of ResolveOptions."""
        self.later(seconds=1.0)  # else what an earlier refresh has found would count as another process's of meanwhile
        self._began, self.began_at = len(self.log), self.clock.now
        found = refresh(repositories, self.settings, self.state, ResolveOptions(**options), self.clock.as_clock(), self.gateway(),
                        lambda open_session: VirtualTasks(self.clock, open_session))
        self.log = [request for request in self.log if request.at <= self.clock.now]  # later ones were never sent
        return [Outcome(self, each) for each in found]

    def refresh(self, repository: Optional[Repository] = None, **options: Any) -> Outcome:
        """Refresh one repository."""
        return self.refresh_all([repository or self.repository()], **options)[0]

    def update(self, repository: Optional[Repository] = None, **options: Any) -> Outcome:
        """Refresh one repository, and let the package manager load what was found."""
        outcome = self.refresh(repository, **options)
        if outcome.snapshot is not None:
            accept([outcome.resolution], [outcome.repository.id], self.state, self.settings)
            self.accepted[outcome.repository.id] = outcome.snapshot.sha256
        return outcome

    def accept(self, snapshot: Snapshot, repository_id: str = "xcp-ng-updates") -> None:
        """Raise the mark, as the engine does when the package manager has loaded metadata."""
        place = self.repository(repository_id[len("xcp-ng-"):]).place
        self.state.update(repository_id, accepted=snapshot, place=place)
        self.accepted[repository_id] = snapshot.sha256

    def later(self, hours: float = 0.0, seconds: float = 0.0) -> None:
        """Let time pass."""
        self.clock.now += 3600.0 * hours + seconds

    def pin(self, version: int, hours: float = 24.0, repository: str = "updates") -> str:
        """Let the host hold a version of a repository, as ``pool/freeze.py`` does; return the folder of its files."""
        snapshot, name = snapshot_of(version, repository), "xcp-ng-" + repository
        folder = folder_of(self.state.load(name).folder, snapshot.sha256)
        made = signed(repository, version)
        for path, content in ((REPOMD, made.repomd), (SIGNATURE, made.signature)):
            write_whole("{}/{}".format(folder, path), content, durable=False)
        now = int(self.clock.wall())
        self.state.write_pin(name, SnapshotPin(snapshot, int(now + 3600 * hours), now))
        return folder

    def memory(self, repository_id: str = "xcp-ng-updates") -> Memory:
        """What the host remembers."""
        return self.state.load(repository_id).memory

    def urls(self, *names: str) -> Tuple[str, ...]:
        """The bases of the updates on some mirrors."""
        return tuple("{}{}updates/x86_64/".format(self.mirrors[name].url, RELEASE) for name in names)

    # What was asked.

    def answer(self, url: str, at: float, headers: Mapping[str, str], limits: FetchLimits) -> Reply:
        """Find the server of a URL and let it answer."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        name = {REDIRECTOR: "redirector", "updates.test": "origin"}.get(host, host.partition(".")[0])
        request = Request(at, name, parts.path.lstrip("/"), parts.query, headers.get("Accept", ""), limits, headers)
        self.log.append(request)
        if name == "redirector":
            return self.redirector.answer(request, parts.scheme)
        server = self.origin if name == "origin" else self.mirrors[name]
        return server.answer(request)

    def name_of(self, url: str) -> str:
        """The name of the server that a URL is on."""
        host = urlsplit(url).hostname or ""
        return "origin" if host == "updates.test" else host.partition(".")[0]

    @property
    def requests(self) -> List[Request]:
        """Of the last refresh."""
        return self.log[self._began:]

    @property
    def asked(self) -> List[str]:
        """The servers that the last refresh asked for a repomd.xml, in order, each once."""
        return list(self.asked_at)

    @property
    def asked_at(self) -> Dict[str, float]:
        """When the last refresh first asked each of them, in seconds after the first such request."""
        asked = sorted((request for request in self.requests if request.file == "repomd.xml"), key=lambda request: request.at)
        times: Dict[str, float] = {}
        for request in asked:
            times.setdefault(request.server, request.at - asked[0].at)
        return times

    def files_asked(self, name: str) -> List[str]:
        """What the last refresh asked of a server, in order."""
        return [request.file for request in self.requests if request.server == name]

    @property
    def took_seconds(self) -> float:
        """Of the last refresh."""
        return self.clock.now - self.began_at
