"""Plain mirrorlist text, as yum's and dnf's ``mirrorlist=`` reads it: a URL a line, "#" begins a comment."""
from ..errors import FetchError
from ..model import MirrorList
from . import MAX_MIRRORS, Collector

MAX_LINES = 4 * MAX_MIRRORS


def parse_mirrorlist(body: bytes, path: str) -> MirrorList:
    """Read a plain mirrorlist.

    Its URLs are bases of whole repositories, not roots of mirrors, and are kept as they are:
    ``repodata/repomd.xml`` stands right below them. A line that names the file itself stands for its base.

    Args:
        body: the list; at most 2 MiB by the caller's cap.
        path: the file below such a base, e.g. "repodata/repomd.xml".

    Returns:
        The mirrors in the order of the lines.

    Raises:
        FetchError: bad-answer: no line of it is a URL that we use (a captive portal's HTML).
    """
    collector = Collector("plain")
    lines = body.decode("utf-8", "replace").split("\n", MAX_LINES)[:MAX_LINES]
    for line in (line.strip() for line in lines):
        if line and not line.startswith("#"):
            collector.add(line, path if line.endswith("/" + path) else "")
    found = collector.result()
    if not found.mirrors:
        raise FetchError("bad-answer", "the text is not a list of mirrors", where=path)
    return found
