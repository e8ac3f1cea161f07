"""Whether a mirror gives the same answer each time: behind one name may stand several servers that differ.

Pure.
"""
from typing import Dict, List, Mapping, NamedTuple, Sequence, Tuple

COMPARED = ("content-length", "last-modified", "etag", "accept-ranges")  # what resuming and caching go by (RFC 9110, 8.8)


class Sample(NamedTuple):
    """One answer, on a connection of its own."""

    path: str
    status: int
    sha256: str  # of the body; "" if it was not read
    headers: Mapping[str, str]  # names in lower case
    note: str = ""  # what the body is, in words: a revision


class Disagreement(NamedTuple):
    """Answers that differ."""

    path: str
    what: str  # "status", "content", or the name of a header
    values: Tuple[str, ...]  # each once, in the order of their first appearance, with how often


def disagreements(samples: Sequence[Sample]) -> List[Disagreement]:
    """Find what differs between answers to the same question.

    Args:
        samples: of any number of paths, several each.

    Returns:
        What differs; where statuses or contents do, the headers are not compared any more.
    """
    found: List[Disagreement] = []
    for path in dict.fromkeys(sample.path for sample in samples):
        mine = [sample for sample in samples if sample.path == path]
        views: Dict[str, List[str]] = {
            "status": ["HTTP {}".format(sample.status) for sample in mine],
            "content": ["{} {}".format(sample.sha256[:12], sample.note).strip() for sample in mine],
        }
        differing = [what for what, values in views.items() if len(set(values)) > 1]
        if not differing:
            views = {name: [sample.headers.get(name, "none") for sample in mine] for name in COMPARED}
            differing = [what for what, values in views.items() if len(set(values)) > 1]
        found += [Disagreement(path, what, _counted(views[what])) for what in differing]
    return found


def _counted(values: Sequence[str]) -> Tuple[str, ...]:
    return tuple("{} ({} of {})".format(value, values.count(value), len(values)) for value in dict.fromkeys(values))
