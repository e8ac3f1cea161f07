"""Whether every IPv4 and IPv6 address of the mirror's name answers, with TLS and the same file.

That the name resolves proves nothing: an AAAA record that leads to a web server without IPv6 makes hosts wait.
"""
import errno
import hashlib
import os
import socket
from ipaddress import ip_address
from typing import Any, Dict, List, NamedTuple, Sequence

from ...errors import FetchError
from ...model import REPOMD
from ...net.fetch import HttpSession
from ...trust.repomd import MAX_REPOMD_BYTES
from ...util.urls import host_of, port_of
from .client import fetch
from .model import MIRROR, OK, PROBLEM, UNKNOWN, Check, Cost, Finding, Subject

MAX_ADDRESSES = 4  # of each family; a name of a content delivery network may have dozens
CHECK = Check("addresses", Cost(2 * MAX_ADDRESSES, 2 * MAX_ADDRESSES * MAX_REPOMD_BYTES), 60.0, needs=MIRROR)
FAMILIES = (("IPv4", int(socket.AF_INET), "A"), ("IPv6", int(socket.AF_INET6), "AAAA"))
_NO_ROUTE = {os.strerror(number) for number in (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)}


class AddressResult(NamedTuple):
    """What one address answered."""

    address: str
    sha256: str = ""  # of repomd.xml
    problem: str = ""
    has_route: bool = True  # from this machine


def run(subject: Subject) -> List[Finding]:
    """Look the name up, and ask each address for the newest repomd.xml."""
    host, port = host_of(subject.url), port_of(subject.url)
    try:
        ip_address(host)
        words = ("{} is an address: only a name can have both families".format(host),)
        return [_finding(name, UNKNOWN, words, "xcpng-mirrors audit with the mirror's name") for name, _, _ in FAMILIES]
    except ValueError:
        pass
    try:
        found = subject.look_up(host, port)
    except OSError as error:
        words = ("the name cannot be looked up: {}".format(error.strerror or error),)
        return [_finding(name, PROBLEM, words, "dig {} {}".format(host, record)) for name, _, record in FAMILIES]
    chosen = {family: [address for kind, address in found if kind == family][:MAX_ADDRESSES] for _, family, _ in FAMILIES}
    tried = {family: [_try(subject, address) for address in some] for family, some in chosen.items()}
    reference = next((each.sha256 for some in tried.values() for each in some if each.sha256), "")
    return [judge_family(name, record, tried[family], reference, host) for name, family, record in FAMILIES]


def _finding(family: str, verdict: str, words: Sequence[str], remedy: str = "", **values: Any) -> Finding:
    return Finding(family.lower(), verdict, tuple(words), remedy, values)


def _try(subject: Subject, address: str) -> AddressResult:
    subject.budget.connect()
    contexts = subject.make_contexts(subject.network)
    try:
        with HttpSession(subject.network, contexts, subject.budget.seconds_left, address=address) as client:
            answer = fetch(client, subject, subject.url + subject.repositories[-1] + REPOMD, MAX_REPOMD_BYTES)
            return AddressResult(address, hashlib.sha256(answer.body).hexdigest())
    except FetchError as error:
        if lacks_route(error):
            return AddressResult(address, problem="this machine has no route to it", has_route=False)
        return AddressResult(address, problem="{}: {}".format(error.reference, error.what))


def lacks_route(error: FetchError) -> bool:
    """Whether the error of a connection says that this machine has no route, or nothing of the address's family."""
    return error.reference == "unreachable" and error.what in _NO_ROUTE


def judge_family(family: str, record: str, tried: Sequence[AddressResult], reference: str, host: str) -> Finding:
    """Judge one family.

    Args:
        family: "IPv4" or "IPv6".
        record: of the DNS.
        tried: its addresses.
        reference: the SHA-256 that the first good address of any family gave.
        host: the mirror's name.
    """
    values: Dict[str, Any] = {"addresses": [dict(each._asdict()) for each in tried]}
    if not tried:
        return _finding(family, PROBLEM, ["{} has no {} address".format(host, family)],
                        "give {} an {} record, and the web server: nginx: listen {}443 ssl;".format(
                            host, record, "[::]:" if family == "IPv6" else ""), **values)
    answers = {True: "answers, with the same repomd.xml", False: "answers, with another repomd.xml"}
    words = ["{}: {}".format(each.address, each.problem or answers[each.sha256 == reference]) for each in tried]
    if not any(each.has_route for each in tried):
        return _finding(family, UNKNOWN, words, "run the audit from a machine with {}".format(family), **values)
    bad = [each for each in tried if each.problem or each.sha256 != reference]
    if bad:
        return _finding(family, PROBLEM, words, "make {} answer as the others do, or remove its {} record\ncurl -v "
                        "--resolve {}:443:{} https://{}/".format(bad[0].address, record, host, bad[0].address, host), **values)
    return _finding(family, OK, words, **values)
