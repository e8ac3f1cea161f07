"""How the network is reached: by this process, or by one that has given up root and does it for us (privsep/).

A few things touch what servers send before anything of it is proven: HTTP and TLS, the reading of mirror lists, and the
look at certificates. A ``Gateway`` says who does these; everything else is the same either way.
"""
import contextlib
from typing import TYPE_CHECKING, Callable, ContextManager, Dict, Iterator, NamedTuple, Sequence

from ..errors import FetchError
from ..model import MirrorList, Network
from ..net.fetch import HttpSessions, OpenSession, Session
from ..net.tls_chain import explain_tls
from ..sources.redirector import PAGE, SELECTION, Timeouts, ask_list_page, ask_selection
from ..util.urls import host_of, port_of

if TYPE_CHECKING:  # for reports only: updates start without
    from ..net.certificate import ServedCertificate
    from ..net.reachability import Reachability

RESOLVE_CPU_SECONDS = 60  # for asking mirrors; a few of them take a tenth of a second

AskList = Callable[[Session, str, Sequence[str], str, Timeouts], MirrorList]
Explain = Callable[[Session, FetchError, str, Network, float], FetchError]
TryWays = Callable[[Session, str, Network, float], "Reachability"]
LookAtCertificate = Callable[[Session, str, Network, float], "ServedCertificate"]

_FORMS: Dict[str, Callable[[Session, Sequence[str], str, Timeouts], MirrorList]] = {
    PAGE: ask_list_page, SELECTION: ask_selection}


class Gateway(NamedTuple):
    """Who touches the network."""

    open: OpenSession
    ask_list: AskList  # as the functions below, all of them
    explain: Explain
    reachability: TryWays
    certificate: LookAtCertificate


def here() -> Gateway:
    """Let this process do it."""
    return Gateway(HttpSessions().open, ask_list, explain, reachability, certificate)


# Called with all the networks that will be reached and the seconds of CPU that this may take, before any thread is started.
Separate = Callable[[Sequence[Network], int], ContextManager[Gateway]]


@contextlib.contextmanager
def together(networks: Sequence[Network], cpu_seconds: int) -> Iterator[Gateway]:
    """Let this process touch the network; ``privsep.parent.separated`` is the other one of this kind."""
    yield here()


def ask_list(client: Session, form: str, roots: Sequence[str], path: str, timeouts: Timeouts) -> MirrorList:
    """Ask for one form of a mirror list: PAGE or SELECTION; else as ``sources.redirector.ask_list_page``."""
    return _FORMS[form](client, roots, path, timeouts)


def explain(client: Session, error: FetchError, url: str, network: Network, timeout_seconds: float) -> FetchError:
    """Refine what a fetch raised, as ``probe.explain_tls`` does; ``client`` is the session that it happened in."""
    return explain_tls(error, url, network, timeout_seconds)


def reachability(client: Session, url: str, network: Network, timeout_seconds: float) -> "Reachability":
    """Try the ways to a server, as ``net.reachability.ways_to`` does; ``client`` is a session opened for it."""
    from ..net.reachability import reachability_of
    return reachability_of(url, network, timeout_seconds)


def certificate(client: Session, url: str, network: Network, timeout_seconds: float) -> "ServedCertificate":
    """Look at the certificate of an https server, as ``look_at_certificate`` does; ``client`` is a session opened for it."""
    from ..net.certificate import served_certificate
    return served_certificate(host_of(url), port_of(url), timeout_seconds, network.ip_resolve)
