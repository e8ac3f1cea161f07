"""Asking one mirror: its repomd.xml, proven, and a sample of the files that this names.

Each function uses the session that it is given, and returns a value or raises one of our errors.
"""
import hashlib
import logging
from typing import Callable, NamedTuple

from ..errors import FetchError, TrustError
from ..model import REPOMD, Mirror, Probe
from ..net.session import MISSING, NO_CACHE, NO_RANGE, Response, Session
from ..sources.redirector import Timeouts
from ..trust.armor import MAX_FILE_BYTES as MAX_SIGNATURE_BYTES
from ..trust.metadata import ProvenRepomd, RepomdProver
from ..trust.openpgp import OtherBytes
from ..trust.repomd import MAX_REPOMD_BYTES, PRIMARY, Repomd

MAX_METADATA_BYTES = 1024 * 1024 * 1024  # of a file that is only sampled
SAMPLE_BYTES = 4 * 1024
log = logging.getLogger("xcpng-mirrors")


class Known(NamedTuple):
    """A repomd.xml that the host has, and the signature that proves it."""

    sha256: str = ""  # "": none
    signature: bytes = b""


class DoesNotFit(TrustError):
    """A repomd.xml and a signature over something else; where ``ask_repomd`` raises it, both were asked for twice."""

    sha256 = ""  # of repomd.xml; if that is proven elsewhere, the two are only out of step (outcome.py)


class Signed(NamedTuple):
    """A proven repomd.xml, and what its answer cost."""

    proven: ProvenRepomd
    first_byte_seconds: float  # of repomd.xml
    bytes: int  # of what was fetched
    known: bool = False  # the host had it already


def ask_repomd(session: Session, mirror: Mirror, prover: RepomdProver, timeouts: Timeouts, known: Known = Known(),
               hear: Callable[[str], None] = lambda date: None) -> Signed:
    """Fetch repomd.xml and its signature directly from one mirror, past all caches, and prove them.

    Args:
        session: to the mirror.
        mirror: ``url`` is the repository's base.
        prover: with the pinned keys.
        timeouts: of each request.
        known: what the host has already; a mirror that serves it needs no other request.
        hear: gets the Date header of repomd.xml, "" if there is none.

    Raises:
        FetchError: it could not be fetched.
        TrustError: it is refused; DoesNotFit.
    """
    repomd = _fetch_repomd(session, mirror, timeouts)
    hear(repomd.headers.get("date", ""))
    if known.sha256 and hashlib.sha256(repomd.body).hexdigest() == known.sha256:
        try:
            return Signed(prover.prove(repomd.body, known.signature), repomd.first_byte_seconds, len(repomd.body), known=True)
        except TrustError:
            pass  # the kept signature is no longer good; the mirror may have another one
    signature = _fetch_signature(session, mirror, timeouts)
    try:
        proven = _prove(prover, repomd, signature, mirror)
    except TrustError:
        # A mirror that was synced between our two requests looks like one that was tampered with: ask once more.
        again = _fetch_repomd(session, mirror, timeouts)
        signature_again = _fetch_signature(session, mirror, timeouts)
        if (again.body, signature_again) == (repomd.body, signature):
            raise
        repomd, signature = again, signature_again
        proven = _prove(prover, repomd, signature, mirror)
    return Signed(proven, repomd.first_byte_seconds, len(repomd.body) + len(signature))


def ask_mirror(session: Session, mirror: Mirror, prover: RepomdProver, timeouts: Timeouts, known: Known = Known(),
               sample: bool = True, hear: Callable[[str], None] = lambda date: None) -> Probe:
    """Prove what one mirror serves, and that it also has what that names; arguments and errors as of ``ask_repomd``.

    Returns:
        A probe with outcome "ok" and the snapshot; ``first_byte_seconds`` of repomd.xml,
        ``seconds`` of that plus a sample of the metadata it names (a half-synced mirror has none), if it is not known.
    """
    signed = ask_repomd(session, mirror, prover, timeouts, known, hear)
    sample_seconds = sample_metadata(session, mirror, signed.proven.content, timeouts) if sample and not signed.known else 0.0
    return Probe(mirror, "ok", seconds=signed.first_byte_seconds + sample_seconds,
                 first_byte_seconds=signed.first_byte_seconds, bytes=signed.bytes,
                 certificate_expires=session.certificate_expires, snapshot=signed.proven.snapshot, address=session.address)


def _fetch_repomd(session: Session, mirror: Mirror, timeouts: Timeouts) -> Response:
    return session.get(mirror.url + REPOMD, timeouts.limits(MAX_REPOMD_BYTES), NO_CACHE)


def _fetch_signature(session: Session, mirror: Mirror, timeouts: Timeouts) -> bytes:
    answer = session.get(mirror.url + REPOMD + ".asc", timeouts.limits(MAX_SIGNATURE_BYTES), NO_CACHE, accept=(200,) + MISSING)
    if answer.status == 200:
        return answer.body
    raise TrustError("signature-missing", "repomd.xml has no signature beside it", where=mirror.url)


def _prove(prover: RepomdProver, repomd: Response, signature: bytes, mirror: Mirror) -> ProvenRepomd:
    try:
        proven = prover.prove(repomd.body, signature)
    except OtherBytes as error:
        what = "repomd.xml and its signature do not fit, also when asked for anew: {}".format(error.what)
        hint = "a cache on the way has kept one of the two, or a file was changed"
        misfit = DoesNotFit(error.reference, what, mirror.url, hint)
        misfit.sha256 = hashlib.sha256(repomd.body).hexdigest()
        raise misfit from error
    except TrustError as error:
        raise TrustError(error.reference, error.what, where=mirror.url, hint=error.hint) from error
    for told in proven.verdict.ignored:
        log.info("%s: a signature of %s that does not count: %s", mirror.url, REPOMD, told)
    return proven


def sample_metadata(session: Session, mirror: Mirror, content: Repomd, timeouts: Timeouts) -> float:
    """Fetch the first bytes of the primary metadata, which a half-synced mirror lacks.

    Args:
        session: to the mirror.
        mirror: ``url`` is the repository's base.
        content: of its proven repomd.xml.
        timeouts: of each request.

    Returns:
        The seconds until the first byte.

    Raises:
        FetchError: it could not be fetched.
    """
    names = [file.href for file in content.files if file.type == PRIMARY]
    if not names:
        return 0.0
    headers = {"Range": "bytes=0-{}".format(SAMPLE_BYTES - 1)}
    url, limits = mirror.url + names[0], timeouts.limits(MAX_METADATA_BYTES)
    try:
        with session.open(url, limits, headers, accept=(200, 206) + NO_RANGE) as stream:
            if stream.status not in NO_RANGE:
                next(stream.chunks(), b"")
                return stream.first_byte_seconds
        with session.open(url, limits) as stream:  # it serves whole files only, as other clients ask for them
            next(stream.chunks(), b"")
            return stream.first_byte_seconds
    except FetchError as error:
        what = "repomd.xml is there, the files it names are not: {}".format(error.what)
        raise FetchError(error.reference, what, where=mirror.url)
