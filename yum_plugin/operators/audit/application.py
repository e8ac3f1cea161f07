"""The e-mail that applies for a mirror's admission, filled in from what an audit has found. Pure; nothing is sent.

Its form is that of https://docs.xcp-ng.org/project/mirrors, "Send your application".
"""
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence

from ...trust.freshness import duration
from ...util.urls import host_of
from .letsencrypt import CHECK as LETS_ENCRYPT
from .model import OK, PROBLEM, UNKNOWN, Finding, Subject

TO = "mirrors@xcp-ng.org"
SOURCE = "updates.xcp-ng.org"  # what the documentation suggests
MARK = "[FILL IN: {}]"


class Application(NamedTuple):
    """An e-mail."""

    to: str
    subject: str
    body: str

    def __str__(self) -> str:
        return "To: {}\nSubject: {}\n\n{}".format(*self)


def failing(findings: Sequence[Finding]) -> List[str]:
    """Name the prerequisites that are not met: nobody should apply before they are."""
    return [finding.check for finding in findings if finding.verdict == PROBLEM]


def application(subject: Subject, findings: Sequence[Finding]) -> Application:
    """Fill in the form; what only a person knows is marked.

    Args:
        subject: the mirror.
        findings: all that was found.
    """
    host = host_of(subject.https_url or subject.url)
    found = {finding.check: finding for finding in findings}
    fields = (
        ("Server name", host),
        ("City", MARK.format("city")),
        ("Country", MARK.format("country")),
        ("GPS coordinates", MARK.format("latitude, longitude, or \"auto\" to let GeoIP locate the mirror")),
        ("Bandwidth", _bandwidth(_values(found, "bandwidth"))),
        ("Source mirror", "{} {}".format(SOURCE, MARK.format("or whichever it is synced from"))),
        ("Hostname, IPv4 and IPv6", ", ".join([host, _address(found, "ipv4", "IPv4"), _address(found, "ipv6", "IPv6")])),
        ("Sync frequency", _frequency(_values(found, "sync-interval"))),
        ("HTTP(S) URL", subject.https_url or subject.url),
        ("RSYNC URL", subject.rsync_url or MARK.format("rsync://{}/MODULE/".format(host))),
        ("Workaround for Let's Encrypt certificates", _workaround(found)),
        ("Other prerequisites from https://docs.xcp-ng.org/project/mirrors checked", _checked(subject, findings)),
        ("Main contact", MARK.format("name <address>")),
    )
    body = "".join("{}: {}\n".format(name, value) for name, value in fields)
    return Application(TO, "Mirror application for {}".format(host), body)


def _values(found: Mapping[str, Finding], check: str) -> Mapping[str, Any]:
    nothing: Dict[str, Any] = {}
    return found[check].values if check in found else nothing


def _bandwidth(values: Mapping[str, Any]) -> str:
    measured = values.get("bits_per_second")
    if not measured:
        return MARK.format("e.g. 1 Gbit/s")
    return "{} ({:.0f} Mbit/s were measured from outside)".format(MARK.format("of the line"), measured / 1e6)


def _frequency(values: Mapping[str, Any]) -> str:
    """What was watched says how late a publication arrived, which is not yet how often the mirror looks for one."""
    late = [publication["lag_seconds"][1] for each in values.values() for publication in each["publications"]
            if publication["arrived"]]
    seen = " (a publication was seen to arrive within {})".format(duration(int(max(late)))) if late else ""
    return MARK.format("e.g. every 15 min") + seen


def _address(found: Mapping[str, Finding], check: str, family: str) -> str:
    good = [str(each["address"]) for each in _values(found, check).get("addresses", ()) if each["sha256"]]
    return " ".join(good) if good else MARK.format(family)


def _workaround(found: Mapping[str, Finding]) -> str:
    values = _values(found, LETS_ENCRYPT)
    if "is_lets_encrypt" not in values or found[LETS_ENCRYPT].verdict == UNKNOWN:
        return MARK.format("\"applied\", or \"not required\" without Let's Encrypt")
    if not values["is_lets_encrypt"]:
        return "not required"
    return "applied" if values["installer"] else "NOT APPLIED YET"


def _checked(subject: Subject, findings: Sequence[Finding]) -> str:
    """Say what the audit did not see to, and mark what it cannot see at all."""
    failed = failing(findings)
    if failed:
        return "NO: {}".format(", ".join(failed))
    unseen = [finding.check for finding in findings if finding.verdict == UNKNOWN]
    if not subject.rsync_url:
        unseen.append("rsync")
    unseen_words = ", but not seen from outside: {}".format(", ".join(dict.fromkeys(unseen))) if unseen else ""
    warned = any(finding.verdict not in (OK, UNKNOWN) for finding in findings)
    return "yes{}{} {}".format(unseen_words, ", with warnings" if warned else "",
                               MARK.format("also disk space to grow, up 24/24, monitored"))
