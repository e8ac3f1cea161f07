"""The e-mail that applies for a mirror's admission, filled in from the findings of an audit. Pure; nothing is sent.

Its form is that of https://docs.xcp-ng.org/project/mirrors, "Send your application".
"""
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence

from ...trust.freshness import duration
from ...util.urls import host_of
from ..facts import MIRRORS_ADDRESS, ORIGIN
from .letsencrypt import NAME as LETS_ENCRYPT
from .model import OK, PROBLEM, UNKNOWN, Finding, Subject

PLACEHOLDER = "[FILL IN: {}]"


class Application(NamedTuple):
    """An e-mail."""

    to: str
    subject: str
    body: str

    def __str__(self) -> str:
        return "To: {}\nSubject: {}\n\n{}".format(*self)


def failing(findings: Sequence[Finding]) -> List[str]:
    """Name the prerequisites that are not met; nobody should apply before they are."""
    return [finding.check for finding in findings if finding.verdict == PROBLEM]


def application(subject: Subject, findings: Sequence[Finding]) -> Application:
    """Fill in the form; what only a person knows gets a placeholder.

    Args:
        subject: the mirror.
        findings: of all checks.
    """
    host = host_of(subject.https_url or subject.url)
    found = {finding.check: finding for finding in findings}
    fields = (
        ("Server name", host),
        ("City", PLACEHOLDER.format("city")),
        ("Country", PLACEHOLDER.format("country")),
        ("GPS coordinates", PLACEHOLDER.format("latitude, longitude, or \"auto\" to let GeoIP locate the mirror")),
        ("Bandwidth", _bandwidth(_values(found, "bandwidth"))),
        ("Source mirror", "{} {}".format(ORIGIN, PLACEHOLDER.format("or whichever it is synced from"))),
        ("Hostname, IPv4 and IPv6", ", ".join([host, _address(found, "ipv4", "IPv4"), _address(found, "ipv6", "IPv6")])),
        ("Sync frequency", _frequency(_values(found, "sync-interval"))),
        ("HTTP(S) URL", subject.https_url or subject.url),
        ("RSYNC URL", subject.rsync_url or PLACEHOLDER.format("rsync://{}/MODULE/".format(host))),
        ("Workaround for Let's Encrypt certificates", _workaround(found)),
        ("Other prerequisites from https://docs.xcp-ng.org/project/mirrors checked", _checked(subject, findings)),
        ("Main contact", PLACEHOLDER.format("name <address>")),
    )
    body = "".join("{}: {}\n".format(name, value) for name, value in fields)
    return Application(MIRRORS_ADDRESS, "Mirror application for {}".format(host), body)


def _values(found: Mapping[str, Finding], check: str) -> Mapping[str, Any]:
    nothing: Dict[str, Any] = {}
    return found[check].values if check in found else nothing


def _bandwidth(values: Mapping[str, Any]) -> str:
    measured = values.get("bits_per_second")
    if not measured:
        return PLACEHOLDER.format("e.g. 1 Gbit/s")
    return "{} ({:.0f} Mbit/s were measured from outside)".format(PLACEHOLDER.format("of the line"), measured / 1e6)


def _frequency(values: Mapping[str, Any]) -> str:
    """Return the sync interval: a placeholder, and what the watch showed, which is how late a publication arrived."""
    late = [publication["lag_seconds"][1] for each in values.values() for publication in each["publications"]
            if publication["arrived"]]
    seen = " (a publication arrived within {})".format(duration(int(max(late)))) if late else ""
    return PLACEHOLDER.format("e.g. every 15 min") + seen


def _address(found: Mapping[str, Finding], check: str, family: str) -> str:
    good = [str(each["address"]) for each in _values(found, check).get("addresses", ()) if each["sha256"]]
    return " ".join(good) if good else PLACEHOLDER.format(family)


def _workaround(found: Mapping[str, Finding]) -> str:
    values = _values(found, LETS_ENCRYPT)
    if "is_lets_encrypt" not in values or found[LETS_ENCRYPT].verdict == UNKNOWN:
        return PLACEHOLDER.format("\"applied\", or \"not required\" without Let's Encrypt")
    if not values["is_lets_encrypt"]:
        return "not required"
    return "applied" if values["installer"] else "NOT APPLIED YET"


def _checked(subject: Subject, findings: Sequence[Finding]) -> str:
    """Name what the audit could not decide, and leave a placeholder for what it cannot see at all."""
    failed = failing(findings)
    if failed:
        return "NO: {}".format(", ".join(failed))
    unseen = [finding.check for finding in findings if finding.verdict == UNKNOWN]
    if not subject.rsync_url:
        unseen.append("rsync")
    unseen_words = ", but not checked from outside: {}".format(", ".join(dict.fromkeys(unseen))) if unseen else ""
    warned = any(finding.verdict not in (OK, UNKNOWN) for finding in findings)
    return "yes{}{} {}".format(unseen_words, ", with warnings" if warned else "",
                               PLACEHOLDER.format("also disk space to grow, up 24/24, monitored"))
