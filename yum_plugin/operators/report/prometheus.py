"""A report in Prometheus' text exposition format, for the textfile collector of node_exporter.

https://prometheus.io/docs/instrumenting/exposition_formats/ and .../practices/naming/: base units, each metric once with
HELP and TYPE, no time stamps (the collector refuses them), no series twice, label values escaped.
"""
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple, Union

from ...util.text import printable
from .values import LEFT_OUT, ORDER, MirrorFinding, MirrorsReport

PREFIX = "xcpng_mirrors_"
Labels = Tuple[Tuple[str, str], ...]
Number = Union[int, float]


class Metric(NamedTuple):
    """A metric with its series; all of ours are gauges."""

    name: str  # without PREFIX
    help: str
    series: Sequence[Tuple[Labels, Optional[Number]]]  # one whose value is None is left out


def render_prometheus(report: MirrorsReport) -> str:
    """Return the whole file; a metric without any series is left out."""
    return "".join(_metric(metric) for metric in metrics_of(report))


def metrics_of(report: MirrorsReport) -> List[Metric]:
    """Return all metrics of a report."""
    return _about_all(report) + _about_repositories(report) + _about_findings(report) + _about_sites(report)


def _about_all(report: MirrorsReport) -> List[Metric]:
    return [
        Metric("report_timestamp_seconds", "When this report was made.", [((), report.made_at)]),
        Metric("build_info", "The version of xcpng-mirrors that made this report.", [((("version", report.version),), 1)]),
    ]


def _about_repositories(report: MirrorsReport) -> List[Metric]:
    def each(value: "Iterable[Optional[Number]]") -> List[Tuple[Labels, Optional[Number]]]:
        return [((("repository", repository.id),), number) for repository, number in zip(report.repositories, value)]

    repositories = report.repositories
    counted = [((("repository", repository.id), ("state", state.replace(" ", "_"))), sum(
        finding.state == state for site in report.sites for finding in site.findings if finding.repository == repository.id))
        for repository in repositories for state in ORDER]
    return [
        Metric("repository_updatable", "Whether any mirror can be used for the repository (1) or none (0).",
               each(int(not repository.error and repository.current is not None) for repository in repositories)),
        Metric("repository_revision_timestamp_seconds", "When the newest data of the newest signed metadata was made.",
               each(repository.current.timestamp if repository.current else None for repository in repositories)),
        Metric("repository_signed_timestamp_seconds", "When the newest signed metadata was signed.",
               each(repository.current.signed_at if repository.current else None for repository in repositories)),
        Metric("last_resolution_timestamp_seconds", "When this host last found proven mirrors for the repository.",
               each(repository.resolved_at for repository in repositories)),
        Metric("repository_mirrors", "Mirrors of the repository by state.", counted),
    ]


def _about_findings(report: MirrorsReport) -> List[Metric]:
    found = [((("repository", finding.repository), ("mirror", site.url)), finding)
             for site in report.sites for finding in site.findings]

    def each(value: "Iterable[Optional[Number]]") -> List[Tuple[Labels, Optional[Number]]]:
        return [(labels, number) for (labels, _), number in zip(found, value)]

    findings = [finding for _, finding in found]
    return [
        Metric("mirror_up", "Whether the mirror serves well signed metadata, the newest or not (1), or none (0).",
               each(_is(finding, "ok", "stale") for finding in findings)),
        Metric("mirror_current", "Whether the mirror serves the newest signed metadata (1) or not (0).",
               each(_is(finding, "ok") for finding in findings)),
        Metric("mirror_refused", "Whether the metadata of the mirror was refused (1) or not (0).",
               each(_is(finding, "refused") for finding in findings)),
        Metric("mirror_lag_seconds", "How much older the mirror's newest data is than the newest of all mirrors.",
               each(finding.lag_seconds for finding in findings)),
        Metric("mirror_revision", "The revision that the mirror's signed metadata gives itself.",
               each(finding.revision for finding in findings)),
        Metric("mirror_first_byte_seconds", "Time until the first byte of repomd.xml.",
               each(finding.first_byte_seconds for finding in findings)),
        Metric("mirror_asked_timestamp_seconds", "When the mirror was last asked.",
               each(finding.asked_at for finding in findings)),
    ]


def _about_sites(report: MirrorsReport) -> List[Metric]:
    sites = report.sites
    reachability = [((("mirror", site.url), ("by", way)), {"yes": 1, "no": 0, "none": 0}.get(value))
            for site in sites for way, value in zip(site.reachability._fields, site.reachability)]
    return [
        Metric("mirror_certificate_expiry_timestamp_seconds", "When the mirror's certificate ends.",
               [((("mirror", site.url),), site.certificate_expires) for site in sites]),
        Metric("mirror_reachable", "Whether the mirror answers over IPv4, over IPv6 and by rsync (1) or not (0).", reachability),
        Metric("mirror_info", "What the redirector says of the mirror.",
               [((("mirror", site.url), ("name", site.mirror.name), ("country", site.mirror.country),
                  ("source", site.mirror.source)), 1) for site in sites]),
    ]


def _is(finding: MirrorFinding, *states: str) -> Optional[int]:
    """Whether the finding has one of the states; None for a mirror that is not asked."""
    return None if finding.state in LEFT_OUT else int(finding.state in states)


def _metric(metric: Metric) -> str:
    series: Dict[str, Number] = {}
    for labels, value in metric.series:
        if value is not None:
            pairs = ['{}="{}"'.format(name, _escaped(text)) for name, text in labels if text]
            series.setdefault(PREFIX + metric.name + ("{" + ",".join(pairs) + "}" if pairs else ""), value)
    if not series:
        return ""
    head = "# HELP {0} {1}\n# TYPE {0} gauge\n".format(PREFIX + metric.name, metric.help)
    return head + "".join("{} {}\n".format(name, repr(value)) for name, value in series.items())


def _escaped(value: str) -> str:
    """Escape a label's value; it may come from a server."""
    return printable(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
