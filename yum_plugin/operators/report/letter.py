"""A report about one mirror, as plain text for its owner and the XCP-ng team: what was seen, when, and how to reproduce it.

The texts of servers are made printable, and quoted where a shell would read them.
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
from ..facts import CERTIFICATE_SOON_SECONDS, SYNC_SECONDS
from .inspect import FileInspection, Inspection
from .values import SHOWN_ORDER, MirrorSite, state_of

WIDTH = 76  # RFC 3676 section 4.2: lines of a mail should be no longer
GRACE_SECONDS = SYNC_SECONDS  # a mirror may still sync in time
MAX_OBSERVATIONS = 20
TEAM = "mirrors (AT) xcp-ng (DOT) org"  # as the documentation writes it
FAMILIES = {"ipv4": "IPv4", "ipv6": "IPv6", "": "family not known"}
REACHABILITY = {"yes": "answers", "no": "does not answer", "none": "no address", "": "not tried"}


# Hints for the owner of a mirror; those of errors.py are for the admin of a host.
_SYNC = ("sync the tree again, metadata and signature together, from a mirror that is updated quickly; if that does not help, "
         "tell the team")
ADVICE = {
    "stale": "sync at least hourly from a mirror that is updated quickly",
    "tls-expired": "renew the certificate, and make sure that it is renewed automatically",
    "tls-hostname": "use a certificate that names this host",
    "tls-untrusted": "use a certificate of an authority that systems trust by default",
    "tls-incomplete": "serve the intermediate certificates too (fullchain.pem)",
    "tls-failed": "offer TLS 1.2 or newer with usual settings",
    "unreachable": "check that the server runs, and that no firewall blocks it",
    "timed-out": "check whether the server is overloaded, and that no firewall blocks it",
    "http-status": "check that the whole tree is there and readable",
    "redirect-refused": "serve the files at this address, without a redirect",
    "excluded": "compare the tree with the origin's",
}
_TRUST_ADVICE = dict.fromkeys(TrustError.REFERENCES, _SYNC)


class NewestSnapshot(NamedTuple):
    """What a mirror is compared with."""

    snapshot: Snapshot
    mirrors: int  # that serve it


class MirrorCase(NamedTuple):
    """Everything that is known of a mirror."""

    site: MirrorSite
    inspections: Tuple[Inspection, ...]
    newest: Dict[str, NewestSnapshot]  # by repository
    certificate: Optional[ServedCertificate]
    certificate_error: Optional[FetchError]
    kept: Tuple[QuarantineNote, ...]  # packages of it that were refused, the oldest first
    made_at: int  # seconds since 1970
    version: str


class MirrorProblem(NamedTuple):
    """Something that the mirror's owner should fix."""

    subjects: Tuple[str, ...]  # repositories, or "certificate", "packages", "redirector"
    reference: str
    what: str

    @property
    def hint(self) -> str:
        """What its owner can do; "" if there is no hint."""
        return ADVICE.get(self.reference) or _TRUST_ADVICE.get(self.reference, "")


def problems_of(case: MirrorCase) -> List[MirrorProblem]:
    """Return what is wrong with a mirror; the same of several repositories once."""
    found = []
    for inspection in case.inspections:
        if inspection.error is not None:
            found.append(MirrorProblem((inspection.repository,), inspection.error.reference, inspection.error.what))
        found += _lag(inspection, case)
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


def _lag(inspection: Inspection, case: MirrorCase) -> List[MirrorProblem]:
    newest = case.newest.get(inspection.repository)
    if inspection.snapshot is None or newest is None or newest.snapshot.age_key <= inspection.snapshot.age_key:
        return []
    if case.made_at - newest.snapshot.signed_at < GRACE_SECONDS:
        return []
    behind = newest.snapshot.timestamp - inspection.snapshot.timestamp
    what = "its metadata is {} older than the newest, which was signed {} ago".format(
        duration(max(0, behind)), duration(max(0, case.made_at - newest.snapshot.signed_at)))
    return [MirrorProblem((inspection.repository,), "stale", what)]


def _about_certificate(case: MirrorCase) -> List[MirrorProblem]:
    certificate = case.certificate
    if certificate is None or not case.made_at < certificate.not_after < case.made_at + CERTIFICATE_SOON_SECONDS:
        return []  # an expired one is reported by the inspection
    left = duration(certificate.not_after - case.made_at)
    return [MirrorProblem(("certificate",), "tls-expired", "the certificate ends in {}".format(left))]


def render_letter(case: MirrorCase) -> str:
    """Return the report, in lines of at most WIDTH characters where that is possible."""
    problems = problems_of(case)
    lines = _opening(case, problems)
    for inspection in case.inspections:
        lines += _section(inspection.repository, _inspection_lines(inspection, case))
    lines += _section("Certificate", _certificate_lines(case)) + _section("Reachability", _reachability_lines(case))
    lines += _section("How to reproduce it", _commands(case))
    lines += _section("What this host saw before", _history(case)) + _section("Packages that were refused", _kept_lines(case))
    lines += ["", "-- ", "Made by xcpng-mirrors {} on {}. Nothing was sent by it.".format(case.version, utc(case.made_at))]
    return "\n".join(line.rstrip() if line != "-- " else line for line in lines) + "\n"


def _opening(case: MirrorCase, problems: Sequence[MirrorProblem]) -> List[str]:
    name = printable(case.site.mirror.name)
    summary = ", ".join(sorted({problem.reference for problem in problems})) or "nothing is wrong"
    lines = ["To: the owner of {}; {}".format(name or case.site.authority, TEAM),
             "Subject: Mirror {}: {}".format(case.site.authority, summary), ""]
    lines += _prose("XCP-ng hosts update from your mirror. This is what one of them found there on {}:".format(utc(case.made_at)))
    lines += ["  " + case.site.url, ""]  # never wrapped: a URL that is cut leads elsewhere
    for problem in problems:
        lines += _prose("* {}: {}: {}".format(", ".join(problem.subjects), problem.reference, problem.what), "  ")
        lines += _prose("  How to fix it: {}.".format(problem.hint), "    ") if problem.hint else []
    return lines if problems else lines + ["Nothing is wrong with it."]


def _section(title: str, lines: Sequence[str]) -> List[str]:
    return ["", title, "-" * len(title)] + list(lines) if lines else []


def _prose(text: str, indent: str = "") -> List[str]:
    return textwrap.wrap(printable(text), WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _pair(name: str, value: str) -> str:
    return "{:<14}{}".format(name, printable(value))


def _inspection_lines(inspection: Inspection, case: MirrorCase) -> List[str]:
    lines = _file_lines(inspection.repomd) + [""]
    if inspection.repomd.status is not None:
        lines += _file_lines(inspection.signature) + [""]
    if inspection.snapshot is not None:
        lines += _snapshot_lines("serves", inspection.snapshot)
    elif inspection.error is not None:
        lines.append(_pair("verdict", "{}: {}".format(inspection.error.reference, inspection.error.what)))
    newest = case.newest.get(inspection.repository)
    if newest is not None:
        lines += _snapshot_lines("newest signed", newest.snapshot)
        lines.append(_pair("", "served by {} of the other mirrors asked".format(newest.mirrors)))
    return lines


def _snapshot_lines(title: str, snapshot: Snapshot) -> List[str]:
    return [_pair(title, "revision {}, data of {}".format(snapshot.revision, utc(snapshot.timestamp))),
            _pair("", "signed {}".format(utc(snapshot.signed_at))), _pair("", "sha256 {}".format(snapshot.sha256))]


def _file_lines(file: FileInspection) -> List[str]:
    lines = [_pair("URL", "") + file.url, _pair("asked", utc(file.at))]
    if file.address:
        lines.append(_pair("address", "{} ({})".format(file.address, FAMILIES[address_family(file.address)])))
    if file.status is None:
        why = "{}: {}".format(file.error.reference, file.error.what) if file.error is not None else "not asked for"
        return lines + [_pair("answer", "none; " + why)]
    lines.append(_pair("answer", "HTTP {}, {} bytes in {:.3f} s, first byte after {:.3f} s".format(
        file.status, file.size, file.seconds, file.first_byte_seconds)))
    if file.error is not None:
        lines.append(_pair("", "{}: {}".format(file.error.reference, file.error.what)))
    if file.sha256:
        lines.append(_pair("sha256", file.sha256))
    return lines + [_pair("header" if number == 0 else "", "{}: {}".format(*pair)) for number, pair in enumerate(file.headers)]


def _certificate_lines(case: MirrorCase) -> List[str]:
    certificate = case.certificate
    if certificate is None:
        return [_pair("not seen", str(case.certificate_error))] if case.certificate_error is not None else []
    digits = certificate.sha256.upper()
    fingerprint = ":".join(digits[site_finding:site_finding + 2] for site_finding in range(0, len(digits), 2))
    return [
        "sha256 fingerprint", "  " + fingerprint[:48], "  " + fingerprint[48:],
        _pair("subject", certificate.subject), _pair("issuer", certificate.issuer), _pair("names", ", ".join(certificate.names)),
        _pair("valid from", utc(certificate.not_before)), _pair("valid until", utc(certificate.not_after)),
        _pair("seen over", "{} from {} ({})".format(certificate.protocol, certificate.address,
                                                    FAMILIES[address_family(certificate.address)])),
    ]


def _reachability_lines(case: MirrorCase) -> List[str]:
    reachability = case.site.reachability
    pairs = (("IPv4", reachability.ipv4), ("IPv6", reachability.ipv6), ("rsync", reachability.rsync))
    return [_pair(name, REACHABILITY[value]) for name, value in pairs] if any(reachability) else []


def _commands(case: MirrorCase) -> List[str]:
    """Return commands to reproduce it; texts of the mirror are quoted for the shell."""
    bad = (each for each in case.inspections if each.error is not None or _lag(each, case))
    inspection = next(bad, case.inspections[0])
    family = {"ipv4": " -4", "ipv6": " -6"}.get(address_family(inspection.repomd.address), "")
    url = inspection.mirror.url + REPOMD
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


def _history(case: MirrorCase) -> List[str]:
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


def _kept_lines(case: MirrorCase) -> List[str]:
    lines: List[str] = []
    for kept in case.kept:
        lines += [_pair("package", kept.package), _pair("location", kept.location), _pair("refused", utc(kept.when)),
                  _pair("because", "{}: {}".format(kept.reference, kept.what)),
                  _pair("received", "{} bytes, sha256".format(kept.size)), _pair("", kept.sha256),
                  _pair("kept in", kept.path), ""]
    return lines[:-1]
