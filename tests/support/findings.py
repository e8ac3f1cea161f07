"""What a refresh found out about four mirrors, in short, and what is concluded from it."""
from tests.support.world import DEFAULTS, NOW, mirror, snapshot
from yum_plugin.errors import FetchError, TrustError
from yum_plugin.model import MirrorList, Probe, Repository
from yum_plugin.resolve.candidates import Candidates
from yum_plugin.resolve.outcome import Findings, conclude
from yum_plugin.resolve.refresh_policy import RefreshPlan
from yum_plugin.state.memory import Memory

OLD, NEW = snapshot(98), snapshot(99)
A, B, C, D = (mirror(name, rank=rank) for rank, name in enumerate("abcd", 1))


def found(*results, accepted=None, memory=Memory(), repository_id="xcp-ng-updates", named="", listed=(A, B, C, D)):
    """Findings from (mirror, snapshot or error or None for no answer)."""
    findings = Findings(Repository(repository_id, ("https://r.test/x/",), "x/", ("/key",), ()), memory, accepted,
                        RefreshPlan(DEFAULTS.enough))
    findings.candidates = Candidates(MirrorList(listed, named), listed, (), ())
    for each, result in results:
        findings.asked.append(each)
        if isinstance(result, (TrustError, FetchError)):
            findings.errors[each.url] = result
            findings.probes.append(Probe(each, result.reference, result.what))
        elif result is not None:
            findings.probes.append(Probe(each, "ok", seconds=0.1, snapshot=result))
    return findings


def judged(*results, accept_rollback=False, now=NOW, settings=DEFAULTS, **rest):
    return conclude(found(*results, **rest), settings, now, accept_rollback)


def trust(reference, where=""):
    return TrustError(reference, "what is wrong with it", where=where)


def fetch(reference):
    return FetchError(reference, "why it could not be had", where="https://a.test/")
