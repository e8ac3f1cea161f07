"""The gateway to the network: this process itself, or a child that has given up root (privsep/).

Three things handle what servers send before any of it is proven: HTTP with TLS, the parsers of mirror lists, and the parsers
of certificates. A ``Gateway`` holds the functions that do these; its users are the same in both cases.
"""
import contextlib
from typing import TYPE_CHECKING, Callable, ContextManager, Dict, Iterator, NamedTuple, Sequence

from ..errors import FetchError
from ..model import MirrorList, Network
from ..net.session import OpenSession, Session
from ..sources.redirector import PAGE, SELECTION, Timeouts, ask_digest, ask_list_page, ask_selection

if TYPE_CHECKING:  # for reports only: updates start sooner without them
    from ..net.certificate import ServedCertificate
    from ..net.reachability import Reachability

RESOLVE_CPU_SECONDS = 60  # for a resolution; asking a few mirrors takes a tenth of a second
DOWNLOAD_CPU_SECONDS = 3600  # enough for hundreds of gigabytes

AskList = Callable[[Session, str, Sequence[str], str, Timeouts], MirrorList]
AskDigest = Callable[[Session, Sequence[str], str, Timeouts], str]
Explain = Callable[[Session, FetchError, str, Network, float], FetchError]
TestReachability = Callable[[Session, str, Network, float], "Reachability"]
ReadCertificate = Callable[[Session, str, Network, float], "ServedCertificate"]

_FORMS: Dict[str, Callable[[Session, Sequence[str], str, Timeouts], MirrorList]] = {
    PAGE: ask_list_page, SELECTION: ask_selection}


class Gateway(NamedTuple):
    """The functions that touch the network."""

    open: OpenSession
    ask_list: AskList  # as the functions below, all of them
    ask_digest: AskDigest  # as ``sources.redirector.ask_digest``
    explain: Explain
    reachability: TestReachability
    certificate: ReadCertificate
    confinement: Callable[[], str] = lambda: "the requests are made in this process"  # how far who makes them is confined


def here() -> Gateway:
    """Return the gateway that is this process itself."""
    from ..net.fetch import HttpSessions  # late, as below: a process that keeps root has a child do this, and starts sooner
    return Gateway(HttpSessions().open, ask_list, ask_digest, explain, reachability, certificate)


# Makes a gateway for some networks and at most some seconds of CPU.
Separate = Callable[[Sequence[Network], int], ContextManager[Gateway]]


@contextlib.contextmanager
def together(networks: Sequence[Network], cpu_seconds: int) -> Iterator[Gateway]:
    """Use this process itself; ``privsep.parent.separated`` is the other one of this kind."""
    yield here()


def ask_list(client: Session, form: str, roots: Sequence[str], path: str, timeouts: Timeouts) -> MirrorList:
    """Ask for one form of a mirror list: PAGE or SELECTION; else as ``sources.redirector.ask_list_page``."""
    return _FORMS[form](client, roots, path, timeouts)


def explain(client: Session, error: FetchError, url: str, network: Network, timeout_seconds: float) -> FetchError:
    """Refine the error of a fetch, as ``tls_chain.explain_tls`` does; ``client`` is the session that it happened in."""
    from ..net.tls_chain import explain_tls
    return explain_tls(error, url, network, timeout_seconds)


def reachability(client: Session, url: str, network: Network, timeout_seconds: float) -> "Reachability":
    """Test how a server can be reached, as ``net.reachability.reachability_of`` does; ``client`` is a session opened for it."""
    from ..net.reachability import reachability_of
    return reachability_of(url, network, timeout_seconds)


def certificate(client: Session, url: str, network: Network, timeout_seconds: float) -> "ServedCertificate":
    """Read the certificate of an https server, as ``served_certificate`` does; ``client`` is a session opened for it."""
    from ..net.certificate import served_certificate
    return served_certificate(url, network, timeout_seconds)
