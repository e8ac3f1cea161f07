"""Whether a path can leave the mirror's tree. Nothing private is read: every probe is a HEAD request, which has no content.

Two proofs, each compared with a control of the same form that cannot exist:
    1. etc/os-release, which says what system it is and is meant to be read by anybody, above more "../" than any tree is deep.
    2. The folder above the tree through an alias without its slash (nginx: location /name { alias /path/; }): there /name../
       is /path/../, which exists, listed (200) or not (403). A server that refuses dots refuses the control too.
"""
from typing import Dict, List, NamedTuple, Sequence, Tuple

from ...errors import FetchError
from .client import ANY_STATUS, session, timeouts_of
from .model import MIRROR, OK, PROBLEM, UNKNOWN, Check, Cost, Finding, Subject

CHECK = Check("traversal", Cost(24, 0), 90.0, needs=MIRROR)
DEPTH = 12  # more than any tree is deep: above the root of a file system, ".." is the root itself
TARGET, CONTROL = "etc/os-release", "etc/xcpng-mirrors-audit-no-such-file"
# "../" and encodings that hide it from a server which looks for "../"
STEPS = ("../", "%2e%2e/", "..%2f", "%2e%2e%2f", "..%5c", ".%2e/", "%252e%252e%252f", "..;/", "%c0%ae%c0%ae/", "..%00/")
REMEDY = ("nginx: end location and alias both in a slash, 'location /name/ { alias /path/to/mirror/; }', or use root;\n"
        "Apache: 'AllowEncodedSlashes Off', no Alias without a final slash on both sides, and update the server")


class TraversalProbe(NamedTuple):
    """One path that must not exist."""

    name: str
    target: str  # as it is sent
    control: str  # the same, of something that cannot exist
    proofs: Tuple[int, ...] = (200,)  # statuses that prove that the target exists


class ProbeResult(NamedTuple):
    """The statuses of a probe and its control; 0: not asked."""

    probe: TraversalProbe
    status: int
    control_status: int

    @property
    def leads_out(self) -> bool:
        """Whether it is proven that the path left the tree."""
        return self.status in self.probe.proofs and self.control_status not in (0,) + self.probe.proofs

    @property
    def is_inconclusive(self) -> bool:
        """Whether the server answers the same for what cannot exist."""
        return self.status == 200 and not self.leads_out


def probes_for(base: str) -> List[TraversalProbe]:
    """List the probes.

    Args:
        base: path of the mirror's root in its URL, beginning and ending in "/".
    """
    probes = [TraversalProbe(step, base + step * DEPTH + TARGET, base + step * DEPTH + CONTROL) for step in STEPS]
    for name, start in (("//", base + "/"), ("a second URL", base + "file:///")):
        probes.append(TraversalProbe(name, start + TARGET, start + CONTROL))
    if base != "/":
        probes.append(TraversalProbe("an alias without its slash", base[:-1] + "../", base[:-1] + "-xcpng-mirrors-audit../",
                                     (200, 403)))
    return probes


def run(subject: Subject) -> List[Finding]:
    """Send the probes."""
    base = "/" + subject.url.split("://", 1)[1].partition("/")[2]
    answers: List[ProbeResult] = []
    failed: Dict[str, str] = {}
    probes = probes_for(base)
    for probe in probes:
        try:
            answers.append(_ask(subject, probe))
        except FetchError as error:
            failed[probe.name] = error.reference
    return [judge(answers, failed)]


def _ask(subject: Subject, probe: TraversalProbe) -> ProbeResult:
    """Send a probe, and its control where something seems to exist; on a new connection, for a server may close a bad one."""
    with session(subject) as client:
        limits = timeouts_of(subject).limits(0)
        status = client.get(subject.url, limits, accept=ANY_STATUS, method="HEAD", target=probe.target).status
        control = 0
        if status in probe.proofs:
            control = client.get(subject.url, limits, accept=ANY_STATUS, method="HEAD", target=probe.control).status
    return ProbeResult(probe, status, control)


def judge(answers: Sequence[ProbeResult], failed: Dict[str, str]) -> Finding:
    """Judge the answers to the probes.

    Args:
        answers: of the server.
        failed: probes without an answer, and why; a closed connection counts as a refusal.
    """
    out = [answer for answer in answers if answer.leads_out]
    inconclusive = [answer for answer in answers if answer.is_inconclusive]
    count = len(answers) + len(failed)
    evidence = ["{} probes, {} refused".format(count, count - len(out) - len(inconclusive))]
    evidence += ["{} leads out of the tree: HTTP {}, and HTTP {} for what cannot exist".format(
        answer.probe.target, answer.status, answer.control_status) for answer in out]
    if inconclusive:
        evidence.append("{} got HTTP 200, and so did files that cannot exist: the server answers 200 to everything".format(
            len(inconclusive)))
    values: Dict[str, object] = {"leads_out": [answer.probe.target for answer in out],
                                 "statuses": {answer.probe.name: answer.status for answer in answers}, "failed": failed}
    verdict = PROBLEM if out else UNKNOWN if inconclusive or not answers else OK
    return Finding(CHECK.name, verdict, tuple(evidence), REMEDY if out else "", values)
