"""Plain mirrorlist text, as yum's and dnf's ``mirrorlist=`` reads it: a URL a line, "#" begins a comment."""
from ..errors import FetchError
from ..model import REPOMD, MirrorList
from .collector import MAX_MIRRORS, Collector

MAX_LINES = 4 * MAX_MIRRORS


def parse_mirrorlist(body: bytes, path: str) -> MirrorList:
    """Read a plain mirrorlist.

    Its URLs are bases of whole repositories: ``repodata/repomd.xml`` stands right below them.
    A line that names the file itself stands for its base. Both must lie below the mirror's root as the file does.

    Args:
        body: the list; at most 2 MiB by the caller's cap.
        path: the file asked for, e.g. "8/8.3/base/x86_64/repodata/repomd.xml".

    Returns:
        The mirrors in the order of the lines, roots as of every source.

    Raises:
        FetchError: bad-answer: no line of it is a URL that we use (a captive portal's HTML).
    """
    collector = Collector("plain")
    below = REPOMD if ("/" + path).endswith("/" + REPOMD) else path.rpartition("/")[2]
    lines = body.decode("utf-8-sig", "replace").split("\n", MAX_LINES)[:MAX_LINES]
    for line in (line.strip() for line in lines):
        if line and not line.startswith("#"):
            collector.add(line if line.endswith("/" + path) else line.rstrip("/") + "/" + below, path)
    found = collector.result()
    if not found.mirrors:
        raise FetchError("bad-answer", "the text is not a list of mirrors", where=path)
    return found
