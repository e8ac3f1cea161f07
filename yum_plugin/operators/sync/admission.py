"""Which files are taken at all, by their names, and by who vouches for them.

    1. No name that begins with a dot but .treeinfo and .discinfo, and nothing that a web server or a browser runs: not even if it
       is signed, for who may sign packages for hosts may not therefore run programs on this server, or in its name.
       That goes for each part of a path, in any case, and for each extension: Apache's AddHandler takes "a.php.txt" for PHP.
       index.html is one of these: a browser runs its scripts in the mirror's name, and no documented tree has one.
    2. A file that nothing signs is taken only where the documented tree has it (``operators/facts.py``); links likewise.
    3. What --include names is taken in spite of 1 and 2.

Pure.
"""
import re
from typing import Sequence

from ..facts import LINKS, UNSIGNED_FILES
from .plan import REPODATA, Unit, is_excluded, is_inside, joined

DOT_NAMES = frozenset([".treeinfo", ".discinfo"])  # the installer reads them
# Handlers that Apache, nginx with FastCGI, lighttpd, IIS and servlet containers are commonly set up with, server-side includes,
# Apache's type maps and send-as-is, and what a browser runs.
_ACTIVE = frozenset("""
    php php2 php3 php4 php5 php6 php7 php8 phtml pht phps phar inc cgi fcgi fpl pl py pyc pyo wsgi rb rbx rhtml erb lua tcl sh
    bash shtml shtm stm sht var asis asp aspx asa asax ascx ashx asmx axd cer cdx cshtml vbhtml idc jsp jspx jspf jsw jsv jhtml do
    action cfm cfml cfc html htm xhtml xht mht mhtml svg svgz js mjs xsl xslt hta htc swf wasm
    """.split())
_ACTIVE_NAMES = frozenset(["cgi-bin", "fcgi-bin", "scgi-bin", "web-inf", "meta-inf", "web.config"])
_DOCUMENTED = re.compile("(?:{})\\Z".format("|".join(UNSIGNED_FILES)))
_DOCUMENTED_LINKS = re.compile("(?:{})\\Z".format("|".join(LINKS)))


def reason_against_name(path: str, includes: Sequence[str] = ()) -> str:
    """Say why a name must not be published (rule 1); "" if it may.

    Args:
        path: below the root.
        includes: patterns of --include.
    """
    names = path.split("/")
    reason = next(filter(None, (_reason_against(name, name is names[-1]) for name in names)), "")
    return "" if not reason or is_excluded(path, includes) else reason


def _reason_against(name: str, is_last: bool) -> str:
    if name.startswith(".") and not (is_last and name in DOT_NAMES):
        return "a hidden name"
    lower = name.lower()
    if lower in _ACTIVE_NAMES or any(extension.strip(" ~") in _ACTIVE for extension in lower.split(".")[1:]):
        return "a name that web servers or browsers run"
    return ""


def reason_against_unsigned(path: str, includes: Sequence[str] = ()) -> str:
    """Say why a file that nothing signs is not taken (rule 2); "" if it is."""
    return "" if _DOCUMENTED.match(path) or is_excluded(path, includes) else "nothing signed names it"


def reason_against_link(path: str, includes: Sequence[str] = ()) -> str:
    """Say why a link is not taken (rule 2); "" if it is."""
    return "" if _DOCUMENTED_LINKS.match(path) or is_excluded(path, includes) else "a link that the documented tree does not have"


def is_earlier(path: str, unit: Unit) -> bool:
    """Whether an unsigned file may be one of the repository's earlier revisions: mirrors keep those for a while."""
    return unit.is_repository and (path.endswith((".rpm", ".drpm")) or is_inside(path, joined(unit.folder, REPODATA)))
