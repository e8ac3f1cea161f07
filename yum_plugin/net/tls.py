"""TLS settings of a careful client, and its failures sorted by who has to fix them."""
import contextlib
import os
import re
import ssl
from typing import Iterator, List, NamedTuple, Optional

from ..errors import CLOCK_REMEDY, FetchError, UsageError
from ..model import Network

# X509_V_ERR_* of OpenSSL's x509_vfy.h
_CODE_REFERENCES = {
    9: "tls-expired",  # not yet valid: like an expired one, perhaps only by this host's clock
    10: "tls-expired",
    18: "tls-untrusted",  # self-signed certificate
    19: "tls-untrusted",  # self-signed certificate in the chain
    20: "tls-untrusted",  # the issuer is not known here: see net/tls_chain.py for what was served
    21: "tls-untrusted",
    62: "tls-hostname",
    64: "tls-hostname",  # IP address mismatch
}
_NOT_YET = "not yet valid"
# Python 3.6 gives OpenSSL's text without the code.
_WORD_REFERENCES = (
    ("certificate has expired", "tls-expired"),
    (_NOT_YET, "tls-expired"),
    ("doesn't match", "tls-hostname"),
    ("mismatch", "tls-hostname"),
    ("certificate verify failed", "tls-untrusted"),  # the last one, because it may stand beside each of the others
)
_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.\d+\Z")  # c_rehash(1)
_MAX_ROOT_FILES = 2000  # Mozilla's store has about 150


class TlsProblem(NamedTuple):
    """A failed handshake: its reference of errors.py, and OpenSSL's text."""

    reference: str
    detail: str


class TlsContexts(NamedTuple):
    """The contexts of one repository's network settings."""

    own: ssl.SSLContext  # for the .repo file's own baseurls: shows the client certificate
    others: ssl.SSLContext  # shows none, whoever asks for one


def make_contexts(network: Network) -> TlsContexts:
    """Build both contexts; errors as of ``make_context``."""
    own = make_context(network)
    bare = network._replace(ssl_client_cert="", ssl_client_key="")
    return TlsContexts(own, make_context(bare) if network.ssl_client_cert else own)


def make_context(network: Network) -> ssl.SSLContext:
    """Build the client context for one repository's network settings.

    VERIFY_X509_TRUSTED_FIRST makes OpenSSL 1.0.2 find the valid path of a Let's Encrypt chain whose served path ends in the
    expired DST Root CA X3 (https://www.openssl.org/blog/blog/2021/09/13/LetsEncryptRootCertExpire/).

    Args:
        network: for ssl_verify, ssl_ca_cert (else the system's bundle), ssl_client_cert and ssl_client_key.

    Returns:
        A context for TLS 1.2 and newer that checks the chain and the host name, unless ssl_verify is off.

    Raises:
        UsageError: a file named in the settings cannot be loaded.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.options |= ssl.OP_NO_COMPRESSION
    if hasattr(ssl, "TLSVersion"):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    else:  # Python 3.6
        context.options |= ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1
    context.verify_flags |= ssl.VERIFY_X509_TRUSTED_FIRST
    if not network.ssl_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        _load_files(context, network)
    except (OSError, ssl.SSLError) as error:
        raise UsageError("configuration", "a TLS file of the repository cannot be loaded: {}".format(error),
                         where=network.ssl_ca_cert or network.ssl_client_cert,
                         hint="check sslcacert=, sslclientcert= and sslclientkey=")
    return context


def _load_files(context: ssl.SSLContext, network: Network) -> None:
    if network.ssl_ca_cert:
        context.load_verify_locations(cafile=network.ssl_ca_cert)
    elif network.ssl_verify:
        _load_system_roots(context)
    if network.ssl_client_cert:
        context.load_cert_chain(network.ssl_client_cert, network.ssl_client_key or None)


def _load_system_roots(context: ssl.SSLContext) -> None:
    """Load all roots now: where there is a folder of them in place of a bundle, OpenSSL would open one at each handshake."""
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    folder = ssl.get_default_verify_paths().capath
    if context.cert_store_stats()["x509_ca"] or not folder:
        return
    for name in [name for name in sorted(os.listdir(folder)) if _HASHED_NAME.match(name)][:_MAX_ROOT_FILES]:
        with contextlib.suppress(OSError):  # of ssl, too: OpenSSL leaves out what it cannot read
            context.load_verify_locations(cafile=os.path.join(folder, name))


def find_tls_problem(error: BaseException) -> Optional[TlsProblem]:
    """Look for a TLS failure in an exception and all its causes.

    Args:
        error: what requests or urllib3 raised.

    Returns:
        The problem, or None if no TLS failure is among its causes.
    """
    for cause in causes_of(error):
        # urllib3 1.26 (Python 3.6) compares host names itself and raises its own error, whose module differs between versions
        if isinstance(cause, (ssl.SSLError, ssl.CertificateError)) or type(cause).__name__ == "CertificateError":
            return _classify(cause)
    return None


def _classify(error: BaseException) -> TlsProblem:
    code = getattr(error, "verify_code", None)
    words = str(getattr(error, "verify_message", "") or error)
    if code is not None:
        return TlsProblem(_CODE_REFERENCES.get(code, "tls-untrusted"), words)
    for sign, reference in _WORD_REFERENCES:
        if sign in words:
            return TlsProblem(reference, words)
    return TlsProblem("tls-failed", words)


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Walk an exception, its causes, contexts, ``reason`` (urllib3) and exception arguments, each once."""
    waiting: List[BaseException] = [error]
    seen: List[BaseException] = []
    while waiting and len(seen) < 32:
        current = waiting.pop(0)
        if any(current is other for other in seen):
            continue
        seen.append(current)
        yield current
        linked = [current.__cause__, current.__context__, getattr(current, "reason", None)]
        waiting.extend(item for item in linked + list(current.args) if isinstance(item, BaseException))


def tls_error(problem: TlsProblem, where: str) -> FetchError:
    """Make the error for a failed handshake; ``where`` is the URL."""
    behind = "this host's clock is behind, or the mirror's certificate is wrong: " + CLOCK_REMEDY
    hint = behind if _NOT_YET in problem.detail else ""
    return FetchError(problem.reference, "TLS failed: {}".format(problem.detail), where=where, hint=hint)
