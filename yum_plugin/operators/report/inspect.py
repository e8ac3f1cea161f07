"""A full inspection of one mirror: repomd.xml and its signature with all headers, and the certificate.

Unlike ``resolve/probe.py`` it goes on after the first fault, and keeps status and headers as evidence.
"""
import hashlib
import time
from typing import Callable, NamedTuple, Optional, Tuple

from ...errors import FetchError, MirrorsError, TrustError
from ...model import REPOMD, Mirror, Repository, Snapshot
from ...net.certificate import ServedCertificate
from ...net.session import MISSING, NO_CACHE, Session
from ...net.translate import status_error
from ...net.transport import proxies_for
from ...privsep.gateway import Gateway
from ...resolve.probe import sample_metadata
from ...sources.redirector import Timeouts
from ...trust.armor import MAX_FILE_BYTES as MAX_SIGNATURE_BYTES
from ...trust.metadata import RepomdProver
from ...trust.repomd import MAX_REPOMD_BYTES

ANY_STATUS = tuple(range(100, 600))
MAX_HEADERS = 24  # web servers send about a dozen
MAX_HEADER_CHARACTERS = 200


class FileInspection(NamedTuple):
    """The answer for one file."""

    url: str
    at: float  # seconds since 1970
    address: str = ""
    status: Optional[int] = None  # of HTTP; None: no answer
    headers: Tuple[Tuple[str, str], ...] = ()  # names in lower case; the server's words
    size: int = 0  # bytes that arrived
    sha256: str = ""  # of what arrived; "" if that is not the whole file
    first_byte_seconds: float = 0.0
    seconds: float = 0.0
    error: Optional[MirrorsError] = None  # why it is unusable


class Inspection(NamedTuple):
    """The answers for one repository on one mirror."""

    repository: str
    mirror: Mirror
    repomd: FileInspection
    signature: FileInspection
    snapshot: Optional[Snapshot] = None  # what it serves, proven
    error: Optional[MirrorsError] = None  # the first fault


def inspect_mirror(repository: Repository, mirror: Mirror, prover: RepomdProver, timeouts: Timeouts, gateway: Gateway,
                 wall: Callable[[], float] = time.time) -> Inspection:
    """Inspect one repository on one mirror.

    Args:
        repository: for its network settings.
        mirror: ``url`` is the repository's base.
        prover: with the pinned keys.
        timeouts: time-outs.
        gateway: to the network.
        wall: seconds since 1970.

    Raises:
        UsageError: the repository's TLS settings cannot be used; sandbox.
    """
    network = repository.network
    with gateway.open(network, 4 * (timeouts.connect_seconds + timeouts.read_seconds)) as client:
        repomd, content = _inspect_file(client, mirror.url + REPOMD, MAX_REPOMD_BYTES, timeouts, wall)
        signature, signed = FileInspection(mirror.url + REPOMD + ".asc", wall()), b""
        if repomd.status is not None:  # do not wait again for a server that did not answer
            signature, signed = _inspect_file(client, signature.url, MAX_SIGNATURE_BYTES, timeouts, wall)
        inspection = Inspection(repository.id, mirror, repomd, signature)
        try:
            _refuse_incomplete(inspection)
            proven = prover.prove(content, signed)
            inspection = inspection._replace(snapshot=proven.snapshot)
            sample_metadata(client, mirror, proven.content, timeouts)
        except FetchError as error:
            return inspection._replace(error=gateway.explain(client, error, mirror.url, network, timeouts.connect_seconds))
        except TrustError as error:
            return inspection._replace(error=error)
    return inspection


def _refuse_incomplete(inspection: Inspection) -> None:
    """Raise the error of a file that is missing."""
    if inspection.repomd.error is not None:
        raise inspection.repomd.error
    if inspection.signature.error is not None and inspection.signature.status in MISSING:
        raise TrustError("signature-missing", "repomd.xml has no signature beside it", where=inspection.mirror.url)
    if inspection.signature.error is not None:
        raise inspection.signature.error


def _inspect_file(client: Session, url: str, max_bytes: int, timeouts: Timeouts,
                  wall: Callable[[], float]) -> Tuple[FileInspection, bytes]:
    inspection, started, body = FileInspection(url, wall()), time.monotonic(), bytearray()
    try:
        with client.open(url, timeouts.limits(max_bytes), NO_CACHE, accept=ANY_STATUS) as stream:
            headers = tuple((name[:MAX_HEADER_CHARACTERS], value[:MAX_HEADER_CHARACTERS])
                            for name, value in sorted(stream.headers.items())[:MAX_HEADERS])
            inspection = inspection._replace(address=client.address, status=stream.status, headers=headers,
                                             first_byte_seconds=stream.first_byte_seconds)
            for chunk in stream.chunks():
                body += chunk
    except FetchError as error:
        return inspection._replace(address=client.address, error=error, size=len(body), seconds=time.monotonic() - started), b""
    digest = hashlib.sha256(body).hexdigest()
    seconds = time.monotonic() - started
    wrong = None if stream.status == 200 else status_error(stream.status, url)
    return inspection._replace(size=len(body), sha256=digest, seconds=seconds, error=wrong), bytes(body)


def certificate_of(url: str, repository: Repository, timeout_seconds: float,
                   gateway: Gateway) -> Tuple[Optional[ServedCertificate], Optional[FetchError]]:
    """Fetch the certificate of an https server.

    Args:
        url: of the server.
        repository: for its network settings; behind a proxy no certificate is visible.
        timeout_seconds: for connecting, and for each step of the handshake.
        gateway: to the network.

    Returns:
        The certificate or the error; neither for http or behind a proxy.
    """
    network = repository.network
    if not url.startswith("https:") or proxies_for(network, url):
        return None, None
    try:
        with gateway.open(network, 4 * timeout_seconds) as client:
            return gateway.certificate(client, url, network, timeout_seconds), None
    except FetchError as error:
        return None, error
