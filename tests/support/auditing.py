"""The audit's subject in the lab, and what its checks find."""
import time
from typing import Any, Dict

from tests.support.world import lab_settings
from yum_plugin.host.keyring import load_keys
from yum_plugin.model import Network
from yum_plugin.operators.audit.model import AuditOptions, Budget, Cost, Subject
from yum_plugin.operators.facts import HOST_REPOSITORIES

ROOM = Cost(1000, 10**9)


def subject_of(lab: Any, url: str, folder: Any, **changes: Any) -> Subject:
    """A mirror of the lab as the command would examine it, with plenty of room."""
    network = Network(proxy="", ssl_ca_cert=lab.ca_bundle)
    keys = tuple(load_keys([lab.key_file], [lab.key_fingerprint]))
    settings = lab_settings(lab, folder, connect_timeout=10.0, read_timeout=10.0)
    subject = Subject(url, "", network, network, keys, "", HOST_REPOSITORIES, settings, AuditOptions(), int(time.time()), Budget(ROOM, 120.0))
    return subject._replace(**changes)


def found(findings: Any) -> Dict[str, Any]:
    """Findings by their names."""
    return {finding.check: finding for finding in findings}


def verdicts(findings: Any) -> Dict[str, str]:
    """Verdicts by the names of the findings."""
    return {finding.check: finding.verdict for finding in findings}


def words(finding: Any) -> str:
    """All evidence of a finding."""
    return "\n".join(finding.evidence)
