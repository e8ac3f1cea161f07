"""A report about one mirror, as plain text for its owner and the XCP-ng team: what was seen, when, how, and how to see it again.

The texts of servers are made printable; what a shell would read is quoted.
"""
import shlex
import textwrap
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from ...errors import FetchError, TrustError
from ...model import REPOMD, Snapshot
from ...net.certificate import ServedCertificate
from ...packages.quarantine import QuarantineNote
from ...state.history import Observation, address_family
from ...trust.freshness import duration
from ...util.text import printable, utc
from ...util.urls import host_of, port_of
from .inspect import FileInspection, Inspection
from .values import SHOWN_ORDER, MirrorSite, state_of

WIDTH = 76  # RFC 3676 section 4.2: lines of a mail should be no longer
GRACE_SECONDS = 3600  # mirrors copy hourly (the XCP-ng documentation's prerequisite)
SOON_SECONDS = 14 * 86400  # a certificate that ends sooner should have been renewed by now
MAX_OBSERVATIONS = 20
TEAM = "mirrors (AT) xcp-ng (DOT) org"  # as the documentation writes it
FAMILIES = {"ipv4": "IPv4", "ipv6": "IPv6", "": "family not known"}
REACHES = {"yes": "answers", "no": "does not answer", "none": "no address", "": "not tried"}


# What a mirror's owner can do; errors.py speaks to the admin of a host.
_SYNC = "copy the tree again, metadata and signature together, from a mirror that is updated quickly; if it stays, tell the team"
ADVICE = {
    "stale": "sync at least hourly from a mirror that is updated quickly",
    "tls-expired": "renew the certificate, and see to it that this happens by itself",
    "tls-hostname": "use a certificate that names this host",
    "tls-untrusted": "use a certificate of an authority that systems trust",
    "tls-incomplete": "serve the intermediate certificates too (fullchain.pem)",
    "tls-failed": "offer TLS 1.2 or newer with usual settings",
    "unreachable": "see whether the server runs, and what stands between it and the world",
    "timed-out": "see whether the server is overloaded, and what stands between it and the world",
    "http-status": "see whether the whole tree is there and readable",
    "redirect-refused": "serve the files at this address itself",
    "excluded": "compare the tree with the origin's",
}
_TRUST_ADVICE = dict.fromkeys(TrustError.REFERENCES, _SYNC)


class Newest(NamedTuple):
    """What a mirror is held against."""

    snapshot: Snapshot
    mirrors: int  # that serve it


class Case(NamedTuple):
    """All that is known of a mirror."""

    site: MirrorSite
    looks: Tuple[Inspection, ...]
    newest: Dict[str, Newest]  # by repository
    certificate: Optional[ServedCertificate]
    certificate_error: Optional[FetchError]
    kept: Tuple[QuarantineNote, ...]  # packages of it that were refused, the oldest first
    made_at: int  # seconds since 1970
    version: str


class MirrorProblem(NamedTuple):
    """Something that the mirror's owner should mend."""

    subjects: Tuple[str, ...]  # repositories, or "certificate", "packages", "redirector"
    reference: str
    what: str

    @property
    def hint(self) -> str:
        """What its owner can do; "" if there is nothing to say."""
        return ADVICE.get(self.reference) or _TRUST_ADVICE.get(self.reference, "")


def problems_of(case: Case) -> List[MirrorProblem]:
    """Return what is wrong with a mirror; the same of several repositories once."""
    found = []
    for look in case.looks:
        if look.error is not None:
            found.append(MirrorProblem((look.repository,), look.error.reference, look.error.what))
        found += _lag(look, case)
    found += _about_certificate(case)
    reasons = {finding.mirror.excluded for finding in case.site.findings if finding.mirror.excluded}
    found += [MirrorProblem(("redirector",), "excluded", "the redirector does not offer this mirror now: {}".format(reason))
              for reason in sorted(reasons)]
    found += [MirrorProblem(("packages",), kept.reference, "{}: {}".format(kept.package, kept.what)) for kept in case.kept]
    merged: Dict[Tuple[str, str], MirrorProblem] = {}
    for problem in found:
        before = merged.get((problem.reference, problem.what), problem._replace(subjects=()))
        merged[problem.reference, problem.what] = problem._replace(subjects=before.subjects + problem.subjects)
    return list(merged.values())


def _lag(look: Inspection, case: Case) -> List[MirrorProblem]:
    newest = case.newest.get(look.repository)
    if look.snapshot is None or newest is None or newest.snapshot.age_key <= look.snapshot.age_key:
        return []
    if case.made_at - newest.snapshot.signed_at < GRACE_SECONDS:
        return []  # it may still copy it in time
    behind = newest.snapshot.timestamp - look.snapshot.timestamp
    what = "its metadata is {} older than the newest, which was signed {} ago".format(
        duration(max(0, behind)), duration(max(0, case.made_at - newest.snapshot.signed_at)))
    return [MirrorProblem((look.repository,), "stale", what)]


def _about_certificate(case: Case) -> List[MirrorProblem]:
    certificate = case.certificate
    if certificate is None or not case.made_at < certificate.not_after < case.made_at + SOON_SECONDS:
        return []  # one that has ended is told by the look
    left = duration(certificate.not_after - case.made_at)
    return [MirrorProblem(("certificate",), "tls-expired", "the certificate ends in {}".format(left))]


def render_letter(case: Case) -> str:
    """Return the report, in lines of WIDTH characters where that is possible."""
    problems = problems_of(case)
    lines = _opening(case, problems)
    for look in case.looks:
        lines += _section(look.repository, _about_look(look, case))
    lines += _section("ServedCertificate", _certificate_lines(case)) + _section("Ways to reach it", _reach_lines(case))
    lines += _section("How to see it again", _commands(case))
    lines += _section("What this host saw before", _history(case)) + _section("Packages that were refused", _kept_lines(case))
    lines += ["", "-- ", "Made by xcpng-mirrors {} on {}. Nothing was sent by it.".format(case.version, utc(case.made_at))]
    return "\n".join(line.rstrip() if line != "-- " else line for line in lines) + "\n"


def _opening(case: Case, problems: Sequence[MirrorProblem]) -> List[str]:
    name = printable(case.site.mirror.name)
    summary = ", ".join(sorted({problem.reference for problem in problems})) or "nothing is wrong"
    lines = ["To: the owner of {}; {}".format(name or case.site.authority, TEAM),
             "Subject: Mirror {}: {}".format(case.site.authority, summary), ""]
    lines += _prose("XCP-ng hosts update from your mirror. This is what one of them found there on {}:".format(utc(case.made_at)))
    lines += ["  " + case.site.url, ""]  # whole: an address that is cut leads elsewhere
    for problem in problems:
        lines += _prose("* {}: {}: {}".format(", ".join(problem.subjects), problem.reference, problem.what), "  ")
        lines += _prose("  What mends it: {}.".format(problem.hint), "    ") if problem.hint else []
    return lines if problems else lines + ["Nothing is wrong with it."]


def _section(title: str, lines: Sequence[str]) -> List[str]:
    return ["", title, "-" * len(title)] + list(lines) if lines else []


def _prose(text: str, indent: str = "") -> List[str]:
    return textwrap.wrap(printable(text), WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _pair(name: str, value: str) -> str:
    return "{:<14}{}".format(name, printable(value))


def _about_look(look: Inspection, case: Case) -> List[str]:
    lines = _file_lines(look.repomd) + [""]
    lines += _file_lines(look.signature) + [""] if look.repomd.status is not None else []
    if look.snapshot is not None:
        lines += _snapshot_lines("serves", look.snapshot)
    elif look.error is not None:
        lines.append(_pair("verdict", "{}: {}".format(look.error.reference, look.error.what)))
    newest = case.newest.get(look.repository)
    if newest is not None:
        lines += _snapshot_lines("newest signed", newest.snapshot)
        lines.append(_pair("", "served by {} of the other mirrors asked".format(newest.mirrors)))
    return lines


def _snapshot_lines(title: str, snapshot: Snapshot) -> List[str]:
    return [_pair(title, "revision {}, data of {}".format(snapshot.revision, utc(snapshot.timestamp))),
            _pair("", "signed {}".format(utc(snapshot.signed_at))), _pair("", "sha256 {}".format(snapshot.sha256))]


def _file_lines(look: FileInspection) -> List[str]:
    lines = [_pair("URL", "") + look.url, _pair("asked", utc(look.at))]
    if look.address:
        lines.append(_pair("address", "{} ({})".format(look.address, FAMILIES[address_family(look.address)])))
    if look.status is None:
        why = "{}: {}".format(look.error.reference, look.error.what) if look.error is not None else "not asked for"
        return lines + [_pair("answer", "none; " + why)]
    lines.append(_pair("answer", "HTTP {}, {} bytes in {:.3f} s, first byte after {:.3f} s".format(
        look.status, look.size, look.seconds, look.first_byte_seconds)))
    if look.error is not None:
        lines.append(_pair("", "{}: {}".format(look.error.reference, look.error.what)))
    if look.sha256:
        lines.append(_pair("sha256", look.sha256))
    return lines + [_pair("header" if number == 0 else "", "{}: {}".format(*pair)) for number, pair in enumerate(look.headers)]


def _certificate_lines(case: Case) -> List[str]:
    certificate = case.certificate
    if certificate is None:
        return [_pair("not seen", str(case.certificate_error))] if case.certificate_error is not None else []
    digits = certificate.sha256.upper()
    fingerprint = ":".join(digits[place:place + 2] for place in range(0, len(digits), 2))
    return [
        "sha256 fingerprint", "  " + fingerprint[:48], "  " + fingerprint[48:],
        _pair("subject", certificate.subject), _pair("issuer", certificate.issuer), _pair("names", ", ".join(certificate.names)),
        _pair("valid from", utc(certificate.not_before)), _pair("valid until", utc(certificate.not_after)),
        _pair("seen over", "{} from {} ({})".format(certificate.protocol, certificate.address,
                                                    FAMILIES[address_family(certificate.address)])),
    ]


def _reach_lines(case: Case) -> List[str]:
    ways = case.site.ways
    pairs = (("IPv4", ways.ipv4), ("IPv6", ways.ipv6), ("rsync", ways.rsync))
    return [_pair(name, REACHES[value]) for name, value in pairs] if any(ways) else []


def _commands(case: Case) -> List[str]:
    """Return commands that anybody can run; what of them is the mirror's is quoted for the shell."""
    look = next((look for look in case.looks if look.error is not None or _lag(look, case)), case.looks[0])
    family = {"ipv4": " -4", "ipv6": " -6"}.get(address_family(look.repomd.address), "")
    url = look.mirror.url + REPOMD
    lines = ["curl -v{} -o repomd.xml {}".format(family, shlex.quote(url)),
             "curl -v{} -o repomd.xml.asc {}".format(family, shlex.quote(url + ".asc")),
             "sha256sum repomd.xml", "gpg --verify repomd.xml.asc repomd.xml"]
    url = case.site.url
    if url.startswith("https:"):
        host, port = host_of(url), port_of(url)
        lines.append("openssl s_client -connect {} -servername {} </dev/null |".format(
            shlex.quote("{}:{}".format("[{}]".format(host) if ":" in host else host, port)), shlex.quote(host)))
        lines.append("  openssl x509 -noout -subject -issuer -dates -fingerprint -sha256")
    return lines


def _history(case: Case) -> List[str]:
    seen: List[Tuple[str, Observation]] = [
        (finding.repository, each) for finding in case.site.findings for each in finding.observations]
    if not seen:
        return []
    seen.sort(key=lambda item: item[1].at)
    states = [state_of(each.outcome) for _, each in seen]
    counts = ", ".join("{} {}".format(states.count(state), state) for state in SHOWN_ORDER if state in states)
    lines = _prose("{} observations since {}: {}. The last ones:".format(len(seen), utc(seen[0][1].at), counts)) + [""]
    return lines + [_observed(repository, each) for repository, each in seen[-MAX_OBSERVATIONS:]]


def _observed(repository: str, seen: Observation) -> str:
    words = [seen.outcome + (" (a package)" if seen.about == "packages" else "")]
    words += ["{} behind".format(duration(seen.lag_seconds))] if seen.lag_seconds else []
    words += ["first byte {:.0f} ms".format(seen.first_byte_seconds * 1000)] if seen.first_byte_seconds is not None else []
    words += [FAMILIES[address_family(seen.address)]] if seen.address else []
    return printable("{}  {:<16}  {}".format(utc(seen.at), repository, ", ".join(words)))


def _kept_lines(case: Case) -> List[str]:
    lines: List[str] = []
    for kept in case.kept:
        lines += [_pair("package", kept.package), _pair("location", kept.location), _pair("refused", utc(kept.when)),
                  _pair("because", "{}: {}".format(kept.reference, kept.what)),
                  _pair("what came", "{} bytes, sha256".format(kept.size)), _pair("", kept.sha256),
                  _pair("kept in", kept.path), ""]
    return lines[:-1]
