"""The Let's Encrypt trap: a chain that current clients accept and clients with OpenSSL 1.0.2 refuse.

Let's Encrypt's long chain ends in ISRG Root X1 as DST Root CA X3 has cross-signed it, and that expired on 2021-09-30. A
client with both roots can find a good path; OpenSSL 1.0.2 follows the chain as it is served, comes to the expired root and gives
up (``chain_building.py`` has its rules; https://letsencrypt.org/docs/dst-root-ca-x3-expiration-september-2021/). So yum on a host
works, while the network installer says "A base installation repository was not found at that location".
"""
from typing import List, Sequence, Tuple

from .certificates import ChainCertificate, is_self_signed
from .chain_building import EXPIRED, ChainOutcome, any_path, openssl_path
from .model import OK, PROBLEM, UNKNOWN, Finding

NAME = "lets-encrypt"  # of the finding
# A root that old clients still have and current stores do not; it is known here by its name and its dates.
DST_ROOT_CA_X3 = ChainCertificate(
    "cn=dst root ca x3,o=digital signature trust co.", "cn=dst root ca x3,o=digital signature trust co.",
    "DST Root CA X3", "DST Root CA X3", not_before=970348339, not_after=1633010475)
_LETS_ENCRYPT = ("o=let's encrypt", "o=internet security research group")
_CERTBOT = ("certbot --version, which must say 1.12 or newer\n"
            "in /etc/letsencrypt/renewal/{0}.conf, at the end of [renewalparams]: preferred_chain = ISRG Root X1\n"
            "certbot renew --force-renewal, then reload the web server")
_OTHER = ("serve only a chain that leads to a valid root, without {}\n"
          "nginx: the file of ssl_certificate; Apache: the file of SSLCertificateFile")


def judge_clients(served: Sequence[ChainCertificate], roots: Sequence[ChainCertificate], now: int, host: str) -> Finding:
    """Judge which clients accept a chain.

    Args:
        served: the leaf first.
        roots: of a current store, or a stand-in.
        now: seconds since 1970.
        host: for the messages.
    """
    store = with_old_roots(roots)
    clients = (
        ("yum on a host (NSS, tries every path)", any_path(served, store, now)),
        ("xcpng-mirrors (OpenSSL, its own roots first)", openssl_path(served, store, now, trusted_first=True)),
        ("the network installer (OpenSSL 1.0.2, the served chain first)", openssl_path(served, store, now, trusted_first=False)),
    )
    evidence = tuple("{}: {}".format(name, _words(outcome)) for name, outcome in clients)
    codes = [outcome.code for _, outcome in clients]
    values = {"yum": codes[0] == 0, "engine": codes[1] == 0, "installer": codes[2] == 0,
              "is_lets_encrypt": _is_lets_encrypt(served), "installer_error": clients[2][1].words if codes[2] else ""}
    installer = clients[2][1]
    if not any(codes):
        return Finding(NAME, OK, evidence, "", values)
    if all(codes) and not _ends_in_an_expired_root(installer):
        return Finding(NAME, UNKNOWN, ("no client accepts this certificate: fix that first",) + evidence, "", values)
    return Finding(NAME, PROBLEM, evidence, _remedy(installer, served, host), values)


def with_old_roots(roots: Sequence[ChainCertificate]) -> List[ChainCertificate]:
    """Add the old roots, unless the store has one of the same name."""
    known = {root.subject for root in roots}
    return list(roots) + [root for root in (DST_ROOT_CA_X3,) if root.subject not in known]


def _is_lets_encrypt(served: Sequence[ChainCertificate]) -> bool:
    return any(mark in name for each in served for name in (each.subject, each.issuer) for mark in _LETS_ENCRYPT)


def _ends_in_an_expired_root(outcome: ChainOutcome) -> bool:
    """Whether this is the trap itself, which would remain after everything else was fixed."""
    return outcome.code == EXPIRED and outcome.culprit is not None and is_self_signed(outcome.culprit)


def _remedy(installer: ChainOutcome, served: Sequence[ChainCertificate], host: str) -> str:
    if _is_lets_encrypt(served):
        return _CERTBOT.format(host)
    last: Tuple[ChainCertificate, ...] = installer.path[-1:]
    return _OTHER.format(last[0].name if installer.code == EXPIRED and last else "the rest")


def _words(outcome: ChainOutcome) -> str:
    path = " <- ".join(each.name for each in outcome.path)
    return "{}: {}".format("REFUSED, {}".format(outcome.words) if outcome.code else "accepted", path)
