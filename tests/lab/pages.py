"""The answers of mirrorbits 0.6, built like those of the real one: JSON, list page, statistics.

Only what surrounds them (style sheets, maps) is shorter. The missing ``</td>`` of the
excluded mirrors' names is the real one's.
"""
import functools
import hashlib
import html
import json
import os
import posixpath
import time
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

NEVER = "0001-01-01T00:00:00Z"
CLIENT = {
    "CountryCode": "FR", "ContinentCode": "EU", "City": "Paris", "Country": "France",
    "Latitude": 48.85, "Longitude": 2.35, "ASName": "LOOP", "ASNum": 64500,
}  # fmt: skip
_PLACES = {
    "FR": ("EU", 48.85, 2.35, 0),
    "DE": ("EU", 50.1, 8.7, 479),
    "GB": ("EU", 51.5, -0.1, 342),
    "US": ("NA", 40.7, -74, 5838),
}


class Listed(NamedTuple):
    """A mirror as the redirector knows it."""

    id: int
    name: str
    url: str  # base URL, ending in "/"
    sponsor: str
    country: str
    reason: str = ""  # why it is excluded

    @property
    def place(self) -> Tuple[str, float, float, int]:
        """Continent, latitude, longitude and distance in km."""
        return _PLACES.get(self.country, _PLACES["FR"])


class FileInfo(NamedTuple):
    """A file of the origin."""

    path: str
    size: int
    modified: float  # seconds since 1970
    sha1: str
    sha256: str


class Selection(NamedTuple):
    """What one request is answered from."""

    file: FileInfo
    mirrors: Sequence[Listed]  # in rank order
    selected: int  # how many of them are in the weighted selection
    excluded: Sequence[Listed]
    fallback: bool


def file_info(path: str, on_disk: str) -> FileInfo:
    """Describe a file of the origin's tree; ``path`` is the one that was asked for."""
    status = os.stat(on_disk)
    return FileInfo(path, status.st_size, status.st_mtime, *_digests(on_disk, status.st_size, status.st_mtime_ns))


@functools.lru_cache(maxsize=256)
def _digests(on_disk: str, size: int, changed: int) -> Tuple[str, str]:
    """Return SHA-1 and SHA-256 of a file that is still the same; mirrorbits, too, hashes a file once and no request waits."""
    with open(on_disk, "rb") as stream:
        content = stream.read()
    return hashlib.sha1(content).hexdigest(), hashlib.sha256(content).hexdigest()


def _utc(form: str, seconds: float) -> str:
    return time.strftime(form, time.gmtime(seconds))


def as_json(selection: Selection, client: str) -> bytes:
    """Return what ``Accept: application/json`` gets."""
    info = selection.file
    answer: Dict[str, Any] = {
        "FileInfo": {
            "Path": info.path, "Size": info.size, "ModTime": _utc("%Y-%m-%dT%H:%M:%SZ", info.modified),
            "Sha1": info.sha1, "Sha256": info.sha256,
        },
        "IP": client,
        "ClientInfo": CLIENT,
        "MirrorList": [_json_mirror(mirror, selection.fallback) for mirror in selection.mirrors[: selection.selected]],
    }  # fmt: skip
    if selection.excluded:
        answer["ExcludedList"] = [dict(_json_mirror(mirror), ExcludeReason=mirror.reason) for mirror in selection.excluded]
    if selection.fallback:
        answer["Fallback"] = True
    answer["LocalJSPath"] = ""
    text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    for character in "&<>":  # as Go's encoder writes them
        text = text.replace(character, "\\u{:04x}".format(ord(character)))
    return text.encode("utf-8")


def _json_mirror(mirror: Listed, fallback: bool = False) -> Dict[str, Any]:
    continent, latitude, longitude, distance = (mirror.place[0], 0, 0, 0) if fallback else mirror.place
    seen = NEVER if fallback else _utc("%Y-%m-%dT%H:%M:%SZ", time.time())
    return {
        "ID": mirror.id, "Name": mirror.name, "HttpURL": mirror.url, "RsyncURL": "", "FtpURL": "",
        "SponsorName": "" if fallback else mirror.sponsor, "SponsorURL": "", "SponsorLogoURL": "", "AdminName": "",
        "AdminEmail": "", "CustomData": "", "ContinentOnly": False, "CountryOnly": False, "ASOnly": False, "Score": 0,
        "Latitude": latitude, "Longitude": longitude, "ContinentCode": continent, "CountryCodes": mirror.country,
        "ExcludedCountryCodes": "", "Asnum": 0 if fallback else 64500, "Comment": "", "Enabled": not fallback,
        "StateSince": seen, "Distance": distance, "ComputedScore": 0 if fallback or mirror.reason else 14593, "LastSync": seen,
        "LastSuccessfulSync": seen, "LastSuccessfulSyncProtocol": 0,
        "LastSuccessfulSyncPrecision": 0 if fallback else 1000000000, "LastModTime": NEVER, "AbsoluteURL": mirror.url,
    }  # fmt: skip


_PAGE = """
<html>
    <head>
        <title>{title}</title>
        <meta http-equiv="content-type" content="text/html;charset=utf-8" />

        <style type="text/css">
            .alt tr:nth-child(even) {{
                background-color: #F4F4F4;
            }}
        </style>
{scripts}
    </head>
    <body>
        <div id="wrapper">
            <div id="header">
                <div class="title">
                    <a href="https://github.com/etix/mirrorbits" target="_blank" style="text-decoration: none; color: inherit;">Mirrorbits <i class="fa fa-globe" style="vertical-align: middle;" aria-hidden="true"></i></a>
                </div>
                <div class="headline">{headline}</div>
            </div>
            <div id="content">
{content}
            </div>
            <div id="footer">
                Mirrorbits v0.6 running on lab
            </div>
        </div>
    </body>
</html>
"""  # noqa: E501

_PIE = """
    <script type="text/javascript">
        $(function() {{
            var data = [
                {shares}
            ];
        }});
        function labelFormatter(label, series) {{
            return "<div style='font-size:8pt; color:white;'>" + series.percent.toFixed(1) + "%</div>";
        }}
    </script>"""

_FILE = """
    <div style="display: flex; flex-wrap: wrap;">
        <div style="flex-basis: 250px; flex-grow: 1; margin: 8px;">
            <h3>Client</h3>
            <div>You are connecting with IP address <i>{client}</i>, which belongs to autonomous system <i>LOOP (ASN64500)</i>.<br />
            We believe you are near <i>Paris</i> in <i>France</i> and have selected mirrors based on this.</div>
        </div>

        <div style="flex-basis: 325px; flex-grow: 1; margin: 8px;">
            <h3>File</h3>
            <div>
            
                The file <b>{path}</b> has a size of {size} ({bytes} bytes) and was last modified on {modified}.
            
            </div>
            <div>
                <br/>Known hashes:
                <table class="alt">
                    <tr><td>MD5</td><td style="font-family: monospace; word-break: break-all;">N/A</td></tr>
                    <tr><td>SHA1</td><td style="font-family: monospace; word-break: break-all;">{sha1}</td></tr>
                    <tr><td>SHA256</td><td style="font-family: monospace; word-break: break-all;">{sha256}</td></tr>
                </table>
            </div>
            <br/>
        </div>
    </div>

    <div>
        <br/>
        <h3>Mirrors</h3>

        {warning}

    
        <table border="0" cellpadding="2" class="alt" style="width: 95%; text-align:left;">
        <thead><tr>
            <th style="width: 3%;">Rank</th><th style="width: 20%;">Mirror Name</th><th style="text-align: right;">URL</th><th style="text-align: center; width: 10%;">Country</th><th style="text-align: center;">Continent</th><th style="text-align: right;">Distance</th><th style="text-align: center;">Selection</th>
        </tr></thead>
        <tbody>
        {rows}
        </tbody>
        </table>
    

    {excluded}
    </div>
"""  # noqa: E501, W293

_ROW = """
        <tr{style}>
            <td style="text-align: right;">{rank}.</td><td>{sponsor}</td><td style="text-align: right;"><a href="{link}">{url}</a></td><td style="text-align: center;">{country}</td><td style="text-align: center;">{continent}</td><td style="text-align: right;">{distance} Km</td><td style="text-align: center;">{share}</td>
        </tr>
        """  # noqa: E501

_EXCLUDED = """
        <h3>Excluded Mirrors</h3>
        <table border="0" cellpadding="2" class="alt" style="width: 95%; text-align:left;">
        <thead><tr>
            <th style="width: 23%;">Mirror Name</th><th style="text-align: right;">URL</th><th style="text-align: center; width: 10%;">Country</th><th style="text-align: center;">Continent</th><th style="text-align: right;">Distance</th><th style="text-align: center; width: 20%;">Exclude Reason</th></tr></thead>
        <tbody>
        {rows}
        </tbody>
        </table>
        """  # noqa: E501

_EXCLUDED_ROW = """
            <tr>
                <td>{sponsor}<td style="text-align: right;"><a href="{url}">{url}</a></td><td style="text-align: center;">{country}</td><td style="text-align: center;">{continent}</td><td style="text-align:right;">{distance} Km</td><td style="text-align: center;">{reason}</td>
            </tr>
        """  # noqa: E501


def list_page(selection: Selection, client: str, shares: Sequence[int] = ()) -> bytes:
    """Return what ``?mirrorlist`` gets; ``shares``: in percent, a number a mirror; left out: equal ones."""
    info = selection.file
    if not shares:
        selected = 0 if selection.fallback else selection.selected
        shares = [100 // selected if rank < selected else 0 for rank in range(len(selection.mirrors))]
    rows = [_row(rank, mirror, info.path, share) for rank, (mirror, share) in enumerate(zip(selection.mirrors, shares), 1)]
    excluded = "".join(_EXCLUDED_ROW.format(**_cells(mirror)) for mirror in selection.excluded)
    warning = '<p style="color:red">Warning: file not served by any mirror, fallbacks to the rescue.</p>'
    content = _FILE.format(
        client=client,
        path=html.escape(info.path),
        size=_human(info.size),
        bytes=info.size,
        modified=_utc("%a, %d %b %Y %H:%M:%S UTC", info.modified),
        sha1=info.sha1,
        sha256=info.sha256,
        warning=warning if selection.fallback else "",
        rows="".join(rows),
        excluded=_EXCLUDED.format(rows=excluded) if excluded else "",
    )
    pie = "".join("{{ label: '{}', data:  {} }},".format(mirror.name, share) for mirror, share in zip(selection.mirrors, shares))
    title = "Mirrorlist " + html.escape(info.path)
    page = _PAGE.format(title=title, scripts=_PIE.format(shares=pie), headline=html.escape(info.path), content=content)
    return page.encode("utf-8")


def _cells(mirror: Listed) -> Dict[str, str]:
    continent, _, _, distance = mirror.place
    cells = {"sponsor": mirror.sponsor, "url": mirror.url, "country": mirror.country, "continent": continent}
    cells.update(distance=str(distance), reason=mirror.reason)
    return {name: html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;") for name, text in cells.items()}


def _row(rank: int, mirror: Listed, path: str, share: int) -> str:
    link = html.escape(mirror.url.rstrip("/") + path)
    words = "{}%".format(share) if share else "n/a"
    return _ROW.format(rank=rank, link=link, style="" if share else _GREY, share=words, **_cells(mirror))


_GREY = ' style="color: grey;"'


def _human(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return "{:.1f} {}".format(size, unit)
        size /= 1024.0
    return "{:.1f} GiB".format(size)


_STATISTICS = """
    <div id="chart">
        <table class="alt">
            <tr>
                <th>Mirror</th>
                <th>Since 00:00 UTC…</th>
                <th>Last update</th>
                
            </tr>
            {rows}
        </table>
    </div>
"""  # noqa: W293

_STATISTICS_ROW = """
            <tr>
                <td rowspan="2">{name}</td>
                <td width="500" class="tooltip"><div class="bar-download" style="width: {percent}%;"><span class="tooltiptext">{downloads}<br>downloads</span></div></td>
                <td rowspan="2"><span style="color:black">unknown</span></td>
                
            </tr>
            <tr>
                <td width="500" class="tooltip"><div class="bar-bytes" style="width: {percent}%;"><span class="tooltiptext">{bytes}<br>transferred</span></div></td>
            </tr>
            """  # noqa: E501, W293


def statistics_page(rows: Sequence[Tuple[str, int, int]]) -> bytes:
    """Return what ``/?mirrorstats`` gets; the rows are (name, downloads, bytes)."""
    most = max([downloads for _, downloads, _ in rows] + [1])
    lines: List[str] = [
        _STATISTICS_ROW.format(name=html.escape(name), downloads=downloads, bytes=_human(size), percent=100 * downloads // most)
        for name, downloads, size in rows
    ]
    content = _STATISTICS.format(rows="".join(lines))
    return _PAGE.format(title="Mirrorstats", scripts="", headline="Mirrorstats", content=content).encode("utf-8")


def digest_line(path: str, digest: str) -> bytes:
    """Return what ``?sha256`` and ``?sha1`` get: a line as sha256sum writes it, without its end (http.go, checksumHandler)."""
    return "{}  {}".format(digest, posixpath.basename(path)).encode("utf-8")


def plain_list(selection: Selection) -> bytes:
    """Return what yum's mirrorlist= reads: the bases of the repository that a repomd.xml belongs to."""
    base = selection.file.path.replace("repodata/repomd.xml", "").lstrip("/")
    return "".join("{}{}\n".format(mirror.url, base) for mirror in selection.mirrors).encode("utf-8")


def metalink_3(selection: Selection) -> bytes:
    """Return a metalink as MirrorManager writes it."""
    urls = "".join('<url protocol="https" type="https" location="{}" preference="{}">{}</url>'.format(
        mirror.country, 100 - rank, _file_url(mirror, selection)) for rank, mirror in enumerate(selection.mirrors))
    return ('<?xml version="1.0" encoding="utf-8"?>\n<metalink version="3.0" xmlns="http://www.metalinker.org/"><files>'
            '<file name="repomd.xml"><size>{0.size}</size><verification><hash type="sha256">{0.sha256}</hash></verification>'
            "<resources>{1}</resources></file></files></metalink>").format(selection.file, urls).encode("utf-8")


def metalink_rfc5854(selection: Selection) -> bytes:
    """Return a metalink of RFC 5854."""
    urls = "".join('<url location="{}" priority="{}">{}</url>'.format(mirror.country, rank, _file_url(mirror, selection))
                   for rank, mirror in enumerate(selection.mirrors, 1))
    return ('<?xml version="1.0" encoding="utf-8"?>\n<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="repomd.xml">'
            '<size>{0.size}</size><hash type="sha-256">{0.sha256}</hash>{1}</file></metalink>'
            ).format(selection.file, urls).encode("utf-8")


def _file_url(mirror: Listed, selection: Selection) -> str:
    return html.escape(mirror.url + selection.file.path.lstrip("/"))
