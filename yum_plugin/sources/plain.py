"""Plain mirrorlist text, as for yum's and dnf's ``mirrorlist=``: one URL in each line; "#" begins a comment."""
from ..errors import FetchError
from ..model import REPOMD, MirrorList
from .collector import MAX_MIRRORS, Collector

MAX_LINES = 4 * MAX_MIRRORS


def parse_mirrorlist(body: bytes, path: str) -> MirrorList:
    """Parse a plain mirrorlist.

    Its URLs are bases of whole repositories, directly above ``repodata/repomd.xml``; a line may also be the URL of the file
    itself. Both must end in the file's path below the mirror's root.

    Args:
        body: the list; at most 2 MiB by the caller's limit.
        path: of the file, e.g. "8/8.3/base/x86_64/repodata/repomd.xml".

    Returns:
        The mirrors in the order of the lines; each ``url`` is the root of ``path``.

    Raises:
        FetchError: bad-answer: no line is a usable URL (e.g. a captive portal's HTML).
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
