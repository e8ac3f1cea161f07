"""A report of many mirrors in every state, with a month of observations: for the tests of the page, and to look at."""
import random
from typing import List, Tuple

from tests.support.world import DAY, NOW
from yum_plugin.model import Mirror, Snapshot
from yum_plugin.net.reachability import Reachability
from yum_plugin.operators.report.values import MirrorFinding, MirrorsReport, RepositoryReport, sites_of
from yum_plugin.state.history import Observation

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> \u202egnp.exe\u202c &amp; \u0000 " + "A" * 10000
PATHS = {"xcp-ng-base": "8/8.3/base/x86_64/", "xcp-ng-updates": "8/8.3/updates/x86_64/"}
COUNTRIES = "FR FR FR DE DE NL CH GB PL CZ SE FI IT ES PT US US US CA BR ZA IN SG JP AU NZ KR AT BE DK".split()
STATES = {3: ("stale", "", "26 h behind"), 7: ("failed", "tls-expired", "TLS failed: certificate has expired"),
          11: ("refused", "signature-invalid", "the signature of repomd.xml does not fit it"),
          15: ("excluded", "", "File size mismatch"), 19: ("failed", "timed-out", "no answer in time"),
          23: ("denied", "", "denied by the .conf"), 27: ("not asked", "", "")}
CURRENT = {name: Snapshot("{:064x}".format(number + 0xabc << 200), 3571, NOW - 2 * DAY, NOW - 2 * DAY, NOW - 2 * DAY + 60)
           for number, name in enumerate(PATHS)}


def _month(rng: random.Random, url: str, state: str, reference: str) -> Tuple[Observation, ...]:
    """Six-hourly observations of a month, ending in the state."""
    speed, found = rng.uniform(0.012, 0.3), []
    for number in range(120):
        at = NOW - (120 - number) * DAY // 4 + rng.randrange(3600)
        bad = number > 108 if state not in ("ok", "not asked") else rng.random() < 0.03
        outcome = (reference or "stale") if bad else "ok"
        failed = outcome not in ("ok", "stale")
        lag = None if failed else (rng.randrange(30) + number - 100) * 3600 if outcome == "stale" else 0
        first = None if failed else speed * rng.uniform(0.8, 1.6)
        found.append(Observation(at, url, outcome, "metadata", lag and max(0, lag), first, first and first * 2, None if failed else 3900,
                                 None if failed else NOW + 60 * DAY, "" if failed else "192.0.2.7", None if failed else NOW - 2 * DAY))
    return tuple(found)


def _finding(number: int, repository: str, rng: random.Random, mirror: Mirror) -> MirrorFinding:
    state, reference, detail = STATES.get(number, ("ok", "", ""))
    if repository == "xcp-ng-base" and state == "stale":
        state, detail = "ok", ""
    past = _month(rng, mirror.url, state, reference)
    if state not in ("ok", "stale"):
        asked = NOW if state in ("failed", "refused") else None
        return MirrorFinding(repository, mirror, state, reference, detail, asked, failures=3 if asked else 0,
                             observations=past if asked else ())
    lag = 26 * 3600 if state == "stale" else 0
    return MirrorFinding(repository, mirror, state, reference, detail, NOW, lag, rng.uniform(0.01, 0.3), NOW + (9 if number == 5 else 64) * DAY,
                         CURRENT[repository].revision - lag, "2001:db8::7" if number % 2 else "192.0.2.7", 0, past)


def report(hostile: bool = False, count: int = 30, offline: bool = False) -> MirrorsReport:
    """A report of ``count`` mirrors; hostile: every text that a server may choose attacks the page."""
    rng = random.Random(7)
    found: List[Tuple[str, str, MirrorFinding]] = []
    reaches = {}
    for number in range(count):
        host = "mirror{}.example.{}".format(number, COUNTRIES[number % 30].lower())
        root = "https://{}/pub/xcp-ng/".format(host)
        name = HOSTILE if hostile else "University of Example {}".format(number)
        for repository, path in PATHS.items():
            mirror = Mirror(root + path, name, COUNTRIES[number % 30], "list-page", number + 1, HOSTILE if hostile else "")
            made = _finding(number, repository, rng, mirror)
            found.append((root, host, made._replace(detail=HOSTILE) if hostile else made))
        reaches[host] = Reachability("no" if number == 19 else "yes", ("yes", "none", "no")[number % 3], "yes" if number % 4 else "no")
    repositories = tuple(RepositoryReport(name, CURRENT[name], CURRENT[name], resolved_at=NOW - 900) for name in PATHS)
    if hostile:
        repositories += (RepositoryReport("xcp-ng-testing", None, None, HOSTILE, "unreachable", (HOSTILE,)),)
    return MirrorsReport(NOW, offline, "0.1.0", repositories, sites_of(found, reaches))
