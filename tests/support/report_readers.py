"""Strict readers of what ``report`` writes: they accept the page and the metrics only in the form that is promised."""
import html.parser
import re

from yum_plugin.operators.report.markup import VOID

LOADS = {"src", "srcset", "data", "action", "formaction", "poster", "background", "ping", "manifest", "xlink:href"}
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|\Z)')


class Reader(html.parser.HTMLParser):
    """Reads a page strictly: every element is closed, in order, and only our own script and style sheet are loaded."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.scripts, self.styles, self.links, self.texts, self.ids = [], [], [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == [], "elements that are not closed"

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            assert not name.startswith("on") and name != "style" and name not in LOADS, (tag, name)
            if name == "href" and tag == "a":
                assert value.startswith(("http://", "https://"))
                self.links.append(value)
            elif name == "href":
                assert value.startswith("#" if tag == "use" else "data:image/svg+xml,")
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        {"script": self.scripts, "style": self.styles}.get(inside, self.texts).append(data)


def parse_exposition(exposition):
    """Read Prometheus' text format strictly; return metric name -> {labels: value}."""
    assert exposition.endswith("\n") and "\r" not in exposition
    metrics, described = {}, {}
    for line in exposition[:-1].split("\n"):
        comment = re.match(r"# (HELP|TYPE) ({}) (.+)\Z".format(NAME), line)
        if comment:
            kind, name, words = comment.groups()
            assert name not in metrics and kind not in described.setdefault(name, {}), line
            described[name][kind] = words
            continue
        sample = re.match(r"({})(?:\{{(.*)\}})? (\S+)\Z".format(NAME), line)
        assert sample, line
        name, inside, value = sample.groups()
        assert set(described[name]) == {"HELP", "TYPE"} and described[name]["TYPE"] == "gauge"
        assert name == list(described)[-1], "the samples of a metric stand together"
        labels, at = [], 0
        while inside and at < len(inside):
            label = LABEL.match(inside, at)
            assert label, line
            labels.append(label.groups())
            at = label.end()
        assert len({key for key, _ in labels}) == len(labels)
        series = metrics.setdefault(name, {})
        assert tuple(labels) not in series, "no series twice"
        series[tuple(labels)] = float(value)
    assert set(metrics) == set(described), "nothing is described that has no series"
    return metrics
