"""The values that all parts exchange: immutable, without behaviour beyond their own fields."""
from typing import NamedTuple, Optional, Tuple

REPOMD = "repodata/repomd.xml"  # below the base of every repository (createrepo_c, yum, dnf)


class Reach(NamedTuple):
    """What the admin has named: where requests may go that a list asks for, and what they may show (net/reach.py)."""

    own: Tuple[str, ...] = ()  # scheme://host:port of each baseurl=: credentials and the client certificate belong there
    hosts: Tuple[str, ...] = ()  # of baseurl=, fallbacks=, prefer= and redirectors=, lower case
    redirectors: Tuple[str, ...] = ()  # their hosts
    networks: Tuple[str, ...] = ()  # of allow_networks=


class Network(NamedTuple):
    """How a repository's servers are reached: the settings of its .repo section or of [main]."""

    proxy: Optional[str] = None  # URL; "" = none at all; None = what the environment says, as curl does
    proxy_username: str = ""
    proxy_password: str = ""
    proxy_auth_method: str = ""  # as of dnf.conf(5); "": any
    username: str = ""  # for the .repo file's own baseurls only
    password: str = ""
    ssl_verify: bool = True
    ssl_ca_cert: str = ""  # path of a bundle; "" = the system's
    ssl_client_cert: str = ""
    ssl_client_key: str = ""
    ip_resolve: int = 0  # 4 or 6: that family only; 0: both
    reach: Optional[Reach] = None  # None: every URL is one that the admin has typed; nobody gets credentials


class Repository(NamedTuple):
    """One enabled repository of the package manager that the plugin takes care of."""

    id: str
    base_urls: Tuple[str, ...]  # as in the .repo file, variables replaced, each ending in "/"
    path: str  # below a mirror's root, "8/8.3/updates/x86_64/"; "" if no baseurl is on a redirector
    key_paths: Tuple[str, ...]
    fingerprints: Tuple[str, ...]  # full fingerprints of primary keys, 40 upper-case hex digits
    network: Network = Network()
    cached_sha256: str = ""  # of the repomd.xml in the package manager's cache, if it may be used; "": mirrors are asked anyway
    installs: bool = False  # the package manager is about to install from it, not only to look
    attended: bool = False  # somebody has typed the command, and waits for it at a terminal
    expire_seconds: float = 6 * 3600.0  # metadata_expire: after this time it would ask by itself; the default is yum's
    own_copy: str = ""  # why it is a copy that the admin has made on purpose (host/own_copy.py); "": it is none
    is_sampled: bool = True  # whether a mirror has to show that it has the files of its repomd.xml; needless before a fill

    @property
    def place(self) -> str:
        """What the high-water mark, the memory and a snapshot pin belong to: another release or base URL is another place."""
        return self.path or (self.base_urls[0] if self.base_urls else "")


class Mirror(NamedTuple):
    """A place that a repository can be fetched from."""

    url: str  # ends in "/"; whoever makes it says what it is the base of
    name: str = ""
    country: str = ""  # ISO 3166 code in upper case, "" if unknown
    source: str = ""  # list-page, json, redirect, plain, metalink, known, own, baseurl, origin
    rank: int = 0  # 1 = the source's first choice
    excluded: str = ""  # the redirector's own reason for not offering it now
    weight: int = 0  # percent of this host's requests that the redirector plans for it; 0: none, or unknown


class MirrorList(NamedTuple):
    """The mirrors that one source lists."""

    mirrors: Tuple[Mirror, ...]
    sha256: str = ""  # of the origin's file, 64 lower-case hex digits: advice, never proof
    dropped: Tuple[str, ...] = ()  # entries that were rejected, with the reason, for -v and the log


class Snapshot(NamedTuple):
    """A repomd.xml whose signature was proven."""

    sha256: str
    size: int  # bytes
    revision: int
    timestamp: int  # newest <data><timestamp>, seconds since 1970; without any the signing time
    signed_at: int  # seconds since 1970
    raw: bytes = b""
    signature: bytes = b""  # what repomd.xml.asc was when it proved this

    @property
    def data_key(self) -> Tuple[int, int]:
        """Sorts newer data after older."""
        return (self.timestamp, self.revision)

    @property
    def age_key(self) -> Tuple[int, int, int]:
        """Sorts newer snapshots after older ones (trust/freshness.py, rule 2)."""
        return (self.signed_at, self.timestamp, self.revision)


class Probe(NamedTuple):
    """The result of asking one mirror."""

    mirror: Mirror
    outcome: str  # "ok" or a reference of errors.py
    detail: str = ""
    seconds: float = 0.0
    first_byte_seconds: float = 0.0
    bytes: int = 0
    certificate_expires: Optional[int] = None  # seconds since 1970; None: http, or not seen
    snapshot: Optional[Snapshot] = None  # set if and only if outcome is "ok"
    address: str = ""  # of the server that answered; "" if not known, or behind a proxy
