"""How clients build a path from a served certificate to a root that they trust, and where they give up. Pure.

OpenSSL 1.0.2 (crypto/x509/x509_vfy.c: X509_verify_cert, check_trust, internal_verify):
    1. From the leaf, take the issuer among the served certificates, again and again, until there is none or the last one
       has issued itself. With X509_V_FLAG_TRUSTED_FIRST stop as soon as the store knows the issuer.
    2. A served certificate at the end that has issued itself is put aside.
    3. Go on with issuers out of the store. Neither here nor in 1. does it matter whether a certificate is still valid or
       whether there is another one.
    4. Is there a self-issued certificate of the store in the path now? If not, and without TRUSTED_FIRST, go back down
       the served ones to the first whose issuer the store knows, and try again from 3. (since 1.0.2b; not with
       X509_V_FLAG_NO_ALT_CHAINS).
    5. Only now, from the root down, are signatures and times checked. One that has expired ends it: no other path is tried.
    So a path that ends in an expired root fails, although another one may be good. OpenSSL 1.1.0 set TRUSTED_FIRST for all.

tests/test_audit_chain_building.py compares this with what libcrypto 1.0.2n and 1.0.2q, today's libcrypto and NSS's vfychain say.
"""
from typing import List, NamedTuple, Optional, Sequence, Tuple

from .certificates import ChainCertificate, has_signed, is_issuer, is_self_signed

MAX_DEPTH = 100  # X509_VERIFY_PARAM's default depth
MAX_STEPS = 1000  # of the search for any path at all
OK, ISSUER_MISSING, BAD_SIGNATURE, NOT_YET_VALID, EXPIRED, SELF_SIGNED, UNKNOWN_ROOT, UNKNOWN_ISSUER = 0, 2, 7, 9, 10, 18, 19, 20
WORDS = {  # X509_V_ERR_* of x509_vfy.h, and the words of X509_verify_cert_error_string
    OK: "ok",
    ISSUER_MISSING: "unable to get issuer certificate",
    BAD_SIGNATURE: "certificate signature failure",
    NOT_YET_VALID: "certificate is not yet valid",
    EXPIRED: "certificate has expired",
    SELF_SIGNED: "self signed certificate",
    UNKNOWN_ROOT: "self signed certificate in certificate chain",
    UNKNOWN_ISSUER: "unable to get local issuer certificate",
}


class ChainOutcome(NamedTuple):
    """The verdict of a verifier."""

    code: int  # of WORDS
    path: Tuple[ChainCertificate, ...]  # that it built, the leaf first
    culprit: Optional[ChainCertificate] = None  # at which it failed

    @property
    def words(self) -> str:
        """The verdict as OpenSSL words it, with the certificate that it is about."""
        return "{} ({})".format(WORDS[self.code], self.culprit.name) if self.culprit else WORDS[self.code]


def openssl_path(served: Sequence[ChainCertificate], store: Sequence[ChainCertificate], now: int,
                 trusted_first: bool) -> ChainOutcome:
    """Build and check a path as OpenSSL 1.0.2 does.

    Args:
        served: the leaf first; at least one.
        store: the roots that the client has, valid or not.
        now: seconds since 1970.
        trusted_first: whether the client sets X509_V_FLAG_TRUSTED_FIRST.
    """
    path = _served_path(served, store if trusted_first else ())
    own = below = len(path)  # own: how many of the path were served; below: how far rule 4 has gone back
    put_aside: Optional[ChainCertificate] = None
    while True:
        if is_self_signed(path[-1]) and len(path) == 1:
            known = _issuer(path[0], store)
            if known is None or known.der != path[0].der:
                return ChainOutcome(SELF_SIGNED, tuple(path), path[0])
            own = 0
        elif is_self_signed(path[-1]):
            put_aside, own, below = path.pop(), own - 1, below - 1
        path = _completed(path, store)
        if any(is_self_signed(certificate) for certificate in path[own:]):
            return _checked(path, now)
        below = 0 if trusted_first else _alternative(path, below, store)
        if below == 0:
            return _unknown(path, own, put_aside)
        path, own = path[:below], below


def _served_path(served: Sequence[ChainCertificate], known: Sequence[ChainCertificate]) -> List[ChainCertificate]:
    """Rule 1."""
    path, rest = [served[0]], list(served[1:])
    while not is_self_signed(path[-1]) and _issuer(path[-1], known) is None:
        issuer = _issuer(path[-1], rest)
        if issuer is None:
            break
        rest.remove(issuer)
        path.append(issuer)
    return path


def _completed(path: Sequence[ChainCertificate], store: Sequence[ChainCertificate]) -> List[ChainCertificate]:
    """Rule 3."""
    longer = list(path)
    while len(longer) <= MAX_DEPTH and not is_self_signed(longer[-1]):
        issuer = _issuer(longer[-1], store)
        if issuer is None:
            break
        longer.append(issuer)
    return longer


def _alternative(path: Sequence[ChainCertificate], below: int, store: Sequence[ChainCertificate]) -> int:
    """Rule 4: return how many certificates of the path stay; 0 if there is no alternative."""
    return next((count for count in range(below - 1, 0, -1) if _issuer(path[count - 1], store) is not None), 0)


def _issuer(child: ChainCertificate, among: Sequence[ChainCertificate]) -> Optional[ChainCertificate]:
    return next((each for each in among if is_issuer(each, child)), None)


def _unknown(path: Sequence[ChainCertificate], own: int, put_aside: Optional[ChainCertificate]) -> ChainOutcome:
    if put_aside is not None and is_issuer(put_aside, path[-1]):
        return ChainOutcome(UNKNOWN_ROOT, tuple(path) + (put_aside,), put_aside)
    return ChainOutcome(UNKNOWN_ISSUER if own >= len(path) else ISSUER_MISSING, tuple(path), path[-1])


def _checked(path: Sequence[ChainCertificate], now: int) -> ChainOutcome:
    """Rule 5. The root's own signature is not checked (X509_V_FLAG_CHECK_SS_SIGNATURE is off)."""
    for place in range(len(path) - 1, -1, -1):
        certificate = path[place]
        if place + 1 < len(path) and not has_signed(path[place + 1], certificate):
            return ChainOutcome(BAD_SIGNATURE, tuple(path), certificate)
        if now < certificate.not_before:
            return ChainOutcome(NOT_YET_VALID, tuple(path), certificate)
        if now > certificate.not_after:
            return ChainOutcome(EXPIRED, tuple(path), certificate)
    return ChainOutcome(OK, tuple(path))


def any_path(served: Sequence[ChainCertificate], store: Sequence[ChainCertificate], now: int) -> ChainOutcome:
    """Search for a good path as NSS does, which yum and curl use on these hosts.

    Args:
        served: the leaf first; at least one.
        store: the roots that the client has.
        now: seconds since 1970.

    Returns:
        The first good path; if there is none, why the first complete one is bad.
    """
    waiting: List[Tuple[ChainCertificate, ...]] = [(served[0],)]
    failure: Optional[ChainOutcome] = None
    for _ in range(MAX_STEPS):
        if not waiting:
            break
        path = waiting.pop()
        if path[-1] in store:
            outcome = _checked(path, now)
            if outcome.code == OK:
                return outcome
            failure = failure or outcome
        elif len(path) <= MAX_DEPTH:
            issuers = [each for each in list(store) + list(served[1:]) if is_issuer(each, path[-1]) and each not in path]
            waiting += [path + (issuer,) for issuer in reversed(issuers)]
    return failure or openssl_path(served, store, now, trusted_first=True)
