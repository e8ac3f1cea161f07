"""An emulator of mirrorbits, the redirector: every form of its answers, and a few of its bad days."""
import posixpath
import ssl
import threading
from email.utils import formatdate
from typing import Callable, Dict, List, Optional, Sequence, Tuple
from urllib.parse import parse_qs

from .accesslog import AccessLog
from .faults import CAPTIVE, UNAVAILABLE
from .pages import (
    FileInfo,
    Listed,
    Selection,
    as_json,
    digest_line,
    file_info,
    list_page,
    metalink_3,
    metalink_rfc5854,
    plain_list,
    statistics_page,
)
from .repositories import Trees
from .wire import SILENCE, Request, Response, Server, document

MAX_LINKS = 10
NOT_FOUND = document(b"404 page not found\n", "text/plain; charset=utf-8", 404)
HTML = "text/html; charset=utf-8"
OTHER_FORMS = {  # what redirectors that are no mirrorbits answer with: content type and maker
    "plain": ("text/plain", plain_list),
    "metalink-3": ("application/metalink+xml", metalink_3),
    "metalink-rfc5854": ("application/metalink4+xml", metalink_rfc5854),
}
BEHAVIOURS = {"captive": CAPTIVE, "mute": SILENCE, "http-503": UNAVAILABLE}


class Redirector:
    """The running emulator; every public attribute may be set at any time.

    Args:
        trees: the origin's files are those of the published state.
        log: the access log.
        address: of 127.0.0.0/8.
        tls: https is served on the same port as http.
    """

    def __init__(self, trees: Trees, log: AccessLog, address: str, tls: ssl.SSLContext) -> None:
        self.mode = "auto"  # OutputMode of mirrorbits: auto, json or redirect
        self.digests = True  # False: it knows no ``?sha256``, and answers as without it
        self.list_page = True  # the three forms can be switched off; then they are answered by 404
        self.json = True
        self.other_form = ""  # a key of OTHER_FORMS: it is no mirrorbits, and gives this to everybody
        self.links = True  # False: a redirect without Link headers
        self.mirrors: List[Listed] = []  # in rank order
        self.excluded: List[Listed] = []
        self.fallbacks: List[Listed] = []  # offered when ``mirrors`` is empty
        self.selection = MAX_LINKS  # how many of the mirrors are in the weighted selection
        self.shared = 1  # among how many of these the list page shares requests out; one: nothing is left to chance
        self.cycle: List[str] = []  # base URLs: each redirect goes to the next of them, whatever ``mirrors`` says
        self.behaviour = ""  # a key of BEHAVIOURS: to everything
        self.override: Optional[Callable[[Request], Optional[Response]]] = None  # asked first
        self._trees = trees
        self._downloads: Dict[str, Tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._turn = 0
        self.server = Server("redirector", self._answer, log, address, tls, plain_too=True)

    @property
    def authority(self) -> str:
        """Host and port."""
        return self.server.authority

    def down(self) -> None:
        """Refuse connections from now on."""
        self.server.refuse()

    def up(self) -> None:
        """Accept connections again."""
        self.server.listen()

    def close(self) -> None:
        """End the server and all its connections."""
        self.server.close()

    def _answer(self, request: Request) -> Response:
        special = self.override(request) if self.override else None
        return special or BEHAVIOURS.get(self.behaviour) or _as_mirrorbits(self._dispatch(request))

    def _dispatch(self, request: Request) -> Response:
        query = parse_qs(request.query, keep_blank_values=True)
        if "mirrorstats" in query:
            rows = [(mirror.name,) + self._downloads.get(mirror.name, (0, 0)) for mirror in self.mirrors]
            return document(statistics_page(rows), HTML)
        path = posixpath.normpath(request.path)
        on_disk = self._trees.file(path.lstrip("/"))
        if not on_disk:
            return NOT_FOUND
        info = file_info(path, on_disk)
        if self.digests and ("sha256" in query or "sha1" in query):
            digest = info.sha256 if "sha256" in query else info.sha1
            return document(digest_line(path, digest), "text/plain; charset=utf-8")
        selection = self._select(info, query)
        if self.other_form:
            kind, make = OTHER_FORMS[self.other_form]
            return document(make(selection), kind)
        if "mirrorlist" in query:
            shown = selection._replace(selected=min(self.shared, selection.selected))
            return document(list_page(shown, "127.0.0.1"), HTML) if self.list_page else NOT_FOUND
        wanted = "application/json" in request.headers.get("accept", "")
        if self.mode == "json" or (self.mode == "auto" and wanted):
            return document(as_json(selection, "127.0.0.1"), "application/json; charset=utf-8") if self.json else NOT_FOUND
        return self._redirect(selection)

    def _select(self, info: FileInfo, query: Dict[str, List[str]]) -> Selection:
        """Sort the mirrors into usable and excluded ones, as ``https=1`` or ``https=0`` asks."""
        wanted = {"1": "https://", "0": "http://"}.get(query.get("https", [""])[0], "")
        reason = "Not HTTPS" if wanted == "https://" else "Not HTTP"
        usable = [mirror for mirror in self.mirrors if mirror.url.startswith(wanted)]
        others = [mirror._replace(reason=reason) for mirror in self.mirrors if not mirror.url.startswith(wanted)]
        if usable:
            return Selection(info, usable, min(self.selection, len(usable)), others + self.excluded, False)
        return Selection(info, self.fallbacks, len(self.fallbacks), others + self.excluded, True)

    def _redirect(self, selection: Selection) -> Response:
        path = selection.file.path
        chosen = selection.mirrors[: selection.selected]
        if not chosen and not self.cycle:
            return NOT_FOUND
        links = [
            ("Link", "<{}>; rel=duplicate; pri={}; geo={}".format(_join(mirror.url, path), rank, mirror.country.lower()))
            for rank, mirror in enumerate(chosen[1 : MAX_LINKS + 1], 1)
        ]
        headers = [("Cache-Control", "private, no-cache"), ("Content-Type", HTML)] + (links if self.links else [])
        return Response(302, tuple(headers) + (("Location", _join(self._first(chosen, selection.file.size), path)),))

    def _first(self, chosen: Sequence[Listed], size: int) -> str:
        """Return the base URL to redirect to, and count the download."""
        with self._lock:
            self._turn += 1
            if self.cycle:
                return self.cycle[(self._turn - 1) % len(self.cycle)]
            downloads, sent = self._downloads.get(chosen[0].name, (0, 0))
            self._downloads[chosen[0].name] = (downloads + 1, sent + size)
            return chosen[0].url


def _join(base_url: str, path: str) -> str:
    return base_url.rstrip("/") + path


def _as_mirrorbits(response: Response) -> Response:
    """Add the headers that mirrorbits sends last."""
    last = (("Server", "Mirrorbits/v0.6"), ("Date", formatdate(usegmt=True)))
    return response._replace(headers=response.headers + last)
