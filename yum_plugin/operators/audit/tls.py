"""HTTPS as clients meet it: the certificate, the chain as it is served, and which clients accept it.

The chain is fetched once and judged three times, each time by a pure function: its leaf, the chain as a whole, and what clients
make of it (``letsencrypt.py``).
"""
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from ...errors import FetchError
from ...model import REPOMD
from ...net.tls_chain import explain_tls, finished_chain, served_chain
from ...trust.freshness import duration
from ...trust.repomd import MAX_REPOMD_BYTES
from ...util.text import utc
from ...util.urls import host_of, port_of
from ..facts import CERTIFICATE_SOON_SECONDS
from .certificates import ChainCertificate, is_for_host, is_issuer, is_self_issued, read_chain, read_store
from .chain_building import EXPIRED, NOT_YET_VALID, openssl_path
from .chain_building import OK as VALID
from .client import open_socket, session, timeouts_of
from .letsencrypt import NAME as LETS_ENCRYPT
from .letsencrypt import judge_clients
from .model import OK, PROBLEM, UNKNOWN, WARNING, Check, Cost, Finding, Subject, port_unknown

CHECK = Check("https", Cost(4, MAX_REPOMD_BYTES))
CHAIN = "chain"
FULLCHAIN = "nginx: ssl_certificate /etc/letsencrypt/live/{0}/fullchain.pem;\nApache: SSLCertificateFile " \
    "/etc/letsencrypt/live/{0}/fullchain.pem"
_REMEDIES = {
    "tls-expired": "certbot renew --force-renewal, then reload the web server; systemctl enable --now certbot.timer",
    "tls-hostname": "certbot certonly --webroot -w /path/to/mirror -d {0}",
    "tls-untrusted": "certbot certonly --webroot -w /path/to/mirror -d {0}",
    "tls-incomplete": FULLCHAIN,
}
_SERVE = "listen 443 ssl; listen [::]:443 ssl; and a certificate: certbot certonly --webroot -w /path/to/mirror -d {0}"


class ChainFault(NamedTuple):
    """Something that is wrong with a chain."""

    verdict: str
    what: str


def run(subject: Subject) -> List[Finding]:
    """Judge the certificate, the chain as it is served, and whether old clients would refuse it."""
    url = subject.https_url
    if not url:
        return [port_unknown(CHECK.name, subject)]
    error, served = _handshake(subject, url), []
    if error is None or error.reference.startswith("tls-"):
        try:
            served = _served(subject, url)
        except OSError as failure:
            error = error or FetchError("unreachable", failure.strerror or str(failure), where=url)
    chain, unreadable = read_chain(served)
    store = read_store(subject.make_contexts(subject.others_network).others.get_ca_certs(binary_form=True))
    if error is not None and chain:
        error = refined_error(error, chain, store, subject.now)
    findings = [judge_certificate(url, error, chain, subject.now)]
    if error is not None and not error.reference.startswith("tls-"):
        return findings
    if not chain:
        return findings + [_hidden(CHAIN, url), _hidden(LETS_ENCRYPT, url)]
    findings.append(judge_chain(chain, unreadable, store, host_of(url)))
    return findings + [judge_clients(chain, store, subject.now, host_of(url))]


def _handshake(subject: Subject, url: str) -> Optional[FetchError]:
    """Connect as a strict client does, with every check; return its error."""
    try:
        with session(subject, subject.others_network) as client:
            with client.open(url + subject.repositories[0] + REPOMD, timeouts_of(subject).limits(MAX_REPOMD_BYTES),
                             accept=tuple(range(200, 600))):
                return None
    except FetchError as error:
        subject.budget.connect()
        return explain_tls(error, url, subject.others_network, subject.settings.connect_timeout)


def _served(subject: Subject, url: str) -> List[bytes]:
    seconds = subject.settings.read_timeout
    with open_socket(subject, url) as sock:
        chain = served_chain(sock, host_of(url), seconds)
    if chain:
        return chain
    with open_socket(subject, url) as sock:
        return finished_chain(sock, host_of(url), seconds)


def _hidden(check: str, url: str) -> Finding:
    command = "openssl s_client -showcerts -connect {}:{} </dev/null".format(host_of(url), port_of(url))
    what = "the chain could not be read: the server wants TLS 1.3, and this Python is older than 3.10"
    return Finding(check, UNKNOWN, (what,), command)


def refined_error(error: FetchError, chain: Sequence[ChainCertificate], store: Sequence[ChainCertificate],
                  now: int) -> FetchError:
    """Say why a certificate is refused where ssl itself does not (Python 3.6 gives no reason).

    Args:
        error: of the handshake; returned as it is unless its reference is tls-untrusted.
        chain: as served.
        store: the roots that are known here.
        now: seconds since 1970.
    """
    if error.reference != "tls-untrusted":
        return error
    outcome = openssl_path(chain, store, now, trusted_first=True)
    if outcome.code in (EXPIRED, NOT_YET_VALID):
        return FetchError("tls-expired", "TLS failed: {}".format(outcome.words), where=error.where)
    if outcome.code == VALID and not is_for_host(chain[0], host_of(error.where)):
        return FetchError("tls-hostname", "TLS failed: the certificate is for another name", where=error.where)
    return error


def judge_certificate(url: str, error: Optional[FetchError], chain: Sequence[ChainCertificate], now: int) -> Finding:
    """Judge the leaf, and the error of a strict client.

    Args:
        url: of the mirror, https.
        error: of the handshake; None if it succeeded.
        chain: as served; may be empty.
        now: seconds since 1970.
    """
    host = host_of(url)
    if error is not None and not error.reference.startswith("tls-"):
        return Finding(CHECK.name, PROBLEM, ("no HTTPS at {}: {}: {}".format(url, error.reference, error.what),),
                       _SERVE.format(host))
    evidence = ["a strict client accepts it" if error is None else "{}: {}".format(error.reference, error.what)]
    remedy = _REMEDIES.get(error.reference, error.hint).format(host) if error is not None else ""
    values: Dict[str, Any] = {"host": host, "reference": error.reference if error else ""}
    verdict = OK if error is None else PROBLEM
    if chain:
        left = chain[0].not_after - now
        evidence += _leaf_words(chain[0], host, left)
        values.update(days_left=left // 86400, names=list(chain[0].hosts), key=chain[0].key)
        if verdict == OK and left < CERTIFICATE_SOON_SECONDS:
            verdict, remedy = WARNING, "certbot renew, and see why it was not renewed: systemctl status certbot.timer"
    return Finding(CHECK.name, verdict, tuple(evidence), remedy, values)


def _leaf_words(leaf: ChainCertificate, host: str, left: int) -> List[str]:
    ends = "ends" if left >= 0 else "ended"
    when = "in {}".format(duration(left)) if left >= 0 else "{} ago".format(duration(-left))
    day = time.strftime("%Y-%m-%d", time.gmtime(leaf.not_after))
    words = ["{} {} {} ({})".format(leaf.name, ends, when, day)]
    if not is_for_host(leaf, host):
        words.append("it is for {}, not for {}".format(", ".join(leaf.hosts[:8]) or "no host at all", host))
    return words


def judge_chain(chain: Sequence[ChainCertificate], unreadable: int, store: Sequence[ChainCertificate], host: str) -> Finding:
    """Judge a chain as it was served: complete, in order, nothing superfluous, nothing weak.

    Args:
        chain: at least the leaf.
        unreadable: how many further certificates were served.
        store: the roots that are known here.
        host: for the messages.
    """
    faults = _weak(chain) + _misplaced(chain) + _incomplete(chain, store)
    if unreadable:
        faults.append(ChainFault(WARNING, "{} further certificates that cannot be read".format(unreadable)))
    served = tuple("{}: {}, issued by {}, {}".format(number, each.name, each.issuer_name, each.key)
                   for number, each in enumerate(chain, 1))
    verdicts = [fault.verdict for fault in faults]
    verdict = PROBLEM if PROBLEM in verdicts else WARNING if faults else OK
    values = {"served": [{"subject": each.name, "issuer": each.issuer_name, "key": each.key, "ends_at": utc(each.not_after)}
                         for each in chain], "faults": [fault.what for fault in faults]}
    remedy = FULLCHAIN.format(host) if faults else ""
    if any("too weak" in fault.what for fault in faults):
        remedy = "certbot certonly --key-type ecdsa --force-renewal -d {}".format(host)
    return Finding(CHAIN, verdict, tuple(fault.what for fault in faults) + served, remedy, values)


def _weak(chain: Sequence[ChainCertificate]) -> List[ChainFault]:
    """A root is trusted for itself, so its signature does not count."""
    return [ChainFault(PROBLEM, "{} is too weak: {}".format(each.name, each.weakness)) for each in chain
            if each.weakness and not (is_self_issued(each) and each is not chain[0])]


def _misplaced(chain: Sequence[ChainCertificate]) -> List[ChainFault]:
    """Each certificate must certify the one before it (RFC 5246 section 7.4.2), and a root is superfluous there."""
    faults = []
    for place, each in enumerate(chain):
        if place and is_self_issued(each):
            faults.append(ChainFault(WARNING, "the root {} is served: every client has its own copy".format(each.name)))
        elif place and not is_issuer(each, chain[place - 1]):
            known = any(is_issuer(each, other) for other in chain if other is not each)
            what = "is out of order" if known else "is not related to any other"
            faults.append(ChainFault(WARNING, "{} {}".format(each.name, what)))
    return faults


def _incomplete(chain: Sequence[ChainCertificate], store: Sequence[ChainCertificate]) -> List[ChainFault]:
    """Climb from the leaf as far as the chain leads: the last issuer must be a root that is known."""
    place, rest = chain[0], list(chain[1:])
    while not is_self_issued(place) and not any(is_issuer(root, place) for root in store):
        above = next((each for each in rest if is_issuer(each, place)), None)
        if above is None:
            return [ChainFault(PROBLEM, "{} was issued by {}, which is neither served nor a root known here".format(
                place.name, place.issuer_name))]
        rest.remove(above)
        place = above
    if is_self_issued(place) and place not in store:
        return [ChainFault(PROBLEM, "{} has issued itself and is not a root known here".format(place.name))]
    return []
