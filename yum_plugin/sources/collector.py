"""The common part of all parsers of mirror lists: entries are cleaned, collected and merged. Pure.

Every parser takes linear time, keeps at most MAX_MIRRORS entries and MAX_DROPPED reasons, and raises
FetchError("bad-answer") for an answer that is no list of mirrors at all. Callers limit the size of the answer before
(``redirector.MAX_LIST_BYTES``).
"""
import re
from typing import Dict, List, Sequence, Set
from urllib.parse import urlsplit

from ..model import Mirror, MirrorList
from ..util.urls import clean_base_url

MAX_MIRRORS = 256  # entries of one list that are used; the others are only counted
MAX_DROPPED = 32  # reasons kept
MAX_TEXT_CHARACTERS = 100  # of a name or a reason
MAX_RANK = 999999  # the last priority of RFC 5854 section 4.2.16
SOURCES = ("list-page", "json", "redirect", "plain", "metalink", "origin")  # the values of Mirror.source in a list
_SHA256_CHARACTERS = 64
_NUMBER = re.compile(r"^[0-9]{1,6}\Z")
_PERCENT = re.compile(r"^<?(100|[0-9]{1,2})%\Z")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def clean_text(text: str) -> str:
    """Make a server's text safe for a terminal and a log: one line, printable, not long."""
    return "".join(character if character.isprintable() else "?" for character in text[:MAX_TEXT_CHARACTERS]).strip()


def clean_country(text: str) -> str:
    """Return the first ISO 3166 code of a list such as "fr, de" in upper case, "" if there is none."""
    words = text[:MAX_TEXT_CHARACTERS].replace(",", " ").split()
    code = words[0].upper() if words else ""
    return code if len(code) == 2 and all("A" <= letter <= "Z" for letter in code) else ""


def clean_sha256(text: str) -> str:
    """Return a SHA-256 in lower-case hex, "" for anything else ("N/A", other lengths)."""
    digest = text.strip().lower() if len(text) < 2 * _SHA256_CHARACTERS else ""
    return digest if len(digest) == _SHA256_CHARACTERS and set(digest) <= set("0123456789abcdef") else ""


def base_of(url: str, path: str) -> str:
    """Return what stands before ``path`` in the URL of a file.

    Raises:
        ValueError: the URL does not end in ``path``, or its base cannot be used.
    """
    if not url.endswith("/" + path):
        raise ValueError("not the file that was asked for")
    return clean_base_url(url[: -len(path)])


def clean_mirror(mirror: Mirror) -> Mirror:
    """Check a mirror that another process sent, and clean its texts.

    Raises:
        TypeError, ValueError: no parser of this package makes such a mirror.
    """
    if mirror.source not in SOURCES or not (0 <= mirror.rank <= MAX_RANK and 0 <= mirror.weight <= 100):
        raise ValueError("no mirror of a list")
    return Mirror(clean_base_url(mirror.url), clean_text(mirror.name), clean_country(mirror.country), mirror.source,
                  int(mirror.rank), clean_text(mirror.excluded), int(mirror.weight))


def clean_number(text: str) -> int:
    """Return a rank or priority of up to six ASCII digits, 0 for anything else."""
    return int(text) if _NUMBER.match(text) else 0


def clean_percent(text: str) -> int:
    """Return the number before the "%", 0 to 100; 1 for "<1%", as mirrorbits rounds; 0 for anything else ("n/a")."""
    match = _PERCENT.match(text)
    return int(match.group(1)) if match else 0


class Collector:
    """Collects the entries of one source, each URL once, at most MAX_MIRRORS.

    Args:
        source: the value of ``Mirror.source``.
        only_origin: the redirector says that no mirror has the file, so its entries are its fallbacks, and their ``source``
            is "origin".
    """

    def __init__(self, source: str, only_origin: bool = False) -> None:
        self._source = source
        self._usable_source = "origin" if only_origin else source
        self._mirrors: List[Mirror] = []
        self._dropped: List[str] = []
        self._seen: Set[str] = set()

    def add(self, url: str, path: str = "", name: str = "", country: str = "", rank: int = 0, excluded: str = "",
            weight: int = 0) -> None:
        """Add an entry, or note why it is dropped.

        Args:
            url: the URL of the file, or of the base if ``path`` is "".
            path: the file's path below the base.
            name, country, excluded: texts of the source, cleaned here.
            rank: 1 for the first choice; 0: in the order of the calls.
            weight: see ``Mirror``.
        """
        try:
            base = base_of(url, path) if path else clean_base_url(url)
        except ValueError as problem:
            self.drop(url, str(problem))
            return
        if len(self._mirrors) >= MAX_MIRRORS:
            self.drop(url, "more than {} mirrors".format(MAX_MIRRORS))
        elif base not in self._seen:
            self._seen.add(base)
            source = self._source if excluded else self._usable_source
            place = 0 if excluded else rank or len(self._seen)
            self._mirrors.append(
                Mirror(base, clean_text(name), clean_country(country), source, place, clean_text(excluded), weight))

    def drop(self, entry: str, reason: str) -> None:
        """Note an entry that is not used, without the part before an "@", which may be a password."""
        if len(self._dropped) < MAX_DROPPED:
            self._dropped.append("{}: {}".format(clean_text(entry.rpartition("@")[2]) or "an entry", reason))

    def result(self, sha256: str = "") -> MirrorList:
        """Return the collected mirrors by rank, the excluded ones last."""
        ordered = sorted(self._mirrors, key=lambda mirror: (bool(mirror.excluded), mirror.rank))
        return MirrorList(tuple(ordered), clean_sha256(sha256), tuple(self._dropped))


def merge(lists: Sequence[MirrorList]) -> MirrorList:
    """Merge the lists of several sources for one file.

    Args:
        lists: the most complete one first.

    Returns:
        Every mirror once, in the order of its first appearance, with new ranks from 1. Of the http and https URL of one host
        and path, https is kept. The first list with a mirror decides whether it is excluded. ``sha256`` is the first one given.
    """
    found: Dict[str, Mirror] = {}
    for mirror in (mirror for entries in lists for mirror in entries.mirrors):
        place = _without_scheme(mirror.url)
        found[place] = _united(found[place], mirror) if place in found else mirror
    usable = [mirror for mirror in found.values() if not mirror.excluded]
    ranked = [mirror._replace(rank=rank) for rank, mirror in enumerate(usable, 1)]
    excluded = [mirror._replace(rank=0) for mirror in found.values() if mirror.excluded]
    dropped = [reason for entries in lists for reason in entries.dropped][:MAX_DROPPED]
    sha256 = next((entries.sha256 for entries in lists if entries.sha256), "")
    return MirrorList(tuple(ranked + excluded), sha256, tuple(dropped))


def _without_scheme(url: str) -> str:
    """Return host, port and path: the same for the http and the https URL of one mirror."""
    parts = urlsplit(url)
    host = parts.netloc.lower()
    port = _DEFAULT_PORTS[parts.scheme]
    return (host[: -len(port)] if host.endswith(port) else host) + parts.path


def _united(first: Mirror, other: Mirror) -> Mirror:
    """Complete the first entry of a mirror from a later one."""
    secure = other.url if other.url.startswith("https:") and first.url.startswith("http:") else first.url
    return first._replace(url=secure, name=first.name or other.name, country=first.country or other.country)
