"""The mirrors of each repository, asked by the resolver and shown as a table while they answer."""
import sys
import time
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from ...errors import FetchError, MirrorsError, TrustError
from ...model import Mirror, Probe, Repository, Snapshot
from ...privsep.gateway import Gateway
from ...resolve.candidates import Candidates
from ...resolve.resolution import Resolution
from ...resolve.resolver import ResolveOptions, Resolver
from ...trust.freshness import duration
from ...util.urls import authority_of
from .console import Cell, Column, Console, ago, shortened, table, wrapped
from .host_options import NOTES, Host

DAY_SECONDS = 86400
SOON_SECONDS = 14 * DAY_SECONDS  # Let's Encrypt clients renew 30 days before the end; with less left, renewal has failed
STYLES = {"ok": "good", "stale": "warning", "refused": "bad", "failed": "bad"}  # of a state; any other one: dim
_ORIGIN = {"origin": "the origin"}
COLUMNS = (
    Column("#", right=True), Column("CC"), Column("MIRROR", least=20), Column("NAME", least=12, optional=True),
    Column("STATE"), Column("LAG", right=True), Column("TTFB", right=True), Column("CERT", right=True),
    Column("REASON", least=17),
)


class Row(NamedTuple):
    """What is shown about one mirror."""

    mirror: Mirror
    state: str  # asking, ok, stale, refused, failed, excluded, denied
    reference: str = ""  # of errors.py
    detail: str = ""  # in words
    lag_seconds: Optional[int] = None
    first_byte_seconds: Optional[float] = None
    certificate_expires: Optional[int] = None  # seconds since 1970


class MirrorsView:
    """What is known so far about one repository; filled in by the resolver's callbacks, then by its resolution.

    Args:
        repository: the repository.
        accepted: its high-water mark.
    """

    def __init__(self, repository: Repository, accepted: Optional[Snapshot]) -> None:
        self.repository = repository
        self.accepted = accepted
        self.candidates: Optional[Candidates] = None
        self.probes: Dict[str, Probe] = {}  # by Mirror.url
        self.resolution: Optional[Resolution] = None

    @property
    def error(self) -> Optional[MirrorsError]:
        """The reason why the repository cannot be updated, once that is known."""
        return self.resolution.error if self.resolution else None

    @property
    def current(self) -> Optional[Snapshot]:
        """What a mirror must serve: the resolution's snapshot; the accepted one if all are older; before, the newest seen."""
        if self.resolution is not None and self.resolution.snapshot is not None:
            return self.resolution.snapshot
        if self.error is not None:
            return self.accepted
        seen = [probe.snapshot for probe in self.probes.values() if probe.snapshot is not None]
        return max(seen, key=lambda snapshot: snapshot.age_key) if seen else None

    def rows(self) -> List[Row]:
        """List the mirrors: those asked, in the redirector's order, then the origin, then those left out."""
        found = self.candidates
        if found is None:
            return []
        asked = sorted(found.mirrors, key=lambda mirror: mirror.rank) + [mirror._replace(rank=0) for mirror in found.origins]
        rows = [self._row(mirror) for mirror in asked]
        for mirror, reason in found.left_out:
            rows.append(Row(mirror, "excluded" if mirror.excluded else "denied", detail=mirror.excluded or reason))
        return rows

    def _row(self, mirror: Mirror) -> Row:
        judged = {probe.mirror.url: probe for probe in self.resolution.probes} if self.resolution is not None else {}
        probe = judged.get(mirror.url) or self.probes.get(mirror.url)
        if probe is None:
            return self._row_without_answer(mirror)
        if probe.snapshot is None or probe.outcome in TrustError.REFERENCES:
            state = "refused" if probe.outcome in TrustError.REFERENCES else "failed"
            return Row(mirror, state, probe.outcome, probe.detail)
        state, reference, lag = "ok", "", None
        if self.current is not None and probe.snapshot.sha256 != self.current.sha256:
            rolled_back = self.error is not None and self.error.reference == "rollback"
            state, reference = ("refused", "rollback") if rolled_back else ("stale", "")
            lag = max(0, self.current.timestamp - probe.snapshot.timestamp)
        detail = "revision {}".format(probe.snapshot.revision) if lag is not None else ""
        return Row(mirror, state, reference, detail, lag, probe.first_byte_seconds, probe.certificate_expires)

    def _row_without_answer(self, mirror: Mirror) -> Row:
        if self.resolution is None:
            return Row(mirror, "asking")
        if self.error is not None and not isinstance(self.error, (TrustError, FetchError)):
            return Row(mirror, "failed", self.error.reference, "not asked")
        return Row(mirror, "failed", "timed-out", "no answer before the deadline")

    def summary(self, now: float) -> str:
        """Return the outcome in one line."""
        rows = self.rows()
        serving = sum(row.state == "ok" for row in rows)
        if self.resolution is None:
            return progress(rows)
        if self.error is not None or self.current is None:
            return "no mirror of {} can be used; {} cannot be updated".format(len(rows), self.repository.id)
        return "{} of {} mirrors serve revision {} (updated {}); {} can be updated".format(
            serving, len(rows), self.current.revision, ago(now - self.current.timestamp), self.repository.id)

    def remarks(self) -> List[str]:
        """Return what a reader of the summary should also know."""
        if self.candidates is None or self.resolution is None:
            return []
        remarks = [NOTES[self.resolution.note]] if self.resolution.note in NOTES else []
        if any(mirror.source == "known" for mirror in self.candidates.mirrors):
            remarks.append("the redirector sent no list: these are the mirrors of its last list")
        return remarks


class Display:
    """Shows the views while they are filled in: a table if stdout is a terminal, else a count if stderr is one.

    Args:
        views: of all repositories.
        wanted: whether to show anything before all mirrors have answered.
        as_table: whether stdout shows the table.
    """

    def __init__(self, views: Sequence[MirrorsView], wanted: bool, as_table: bool) -> None:
        self._views = {view.repository.id: view for view in views}
        self.out = Console(sys.stdout)
        self._count = Console(sys.stderr)
        self._table_is_live = wanted and as_table and self.out.can_redraw
        self._count_is_live = wanted and not self._table_is_live and self._count.can_redraw

    def on_candidates(self, repository: Repository, found: Candidates) -> None:
        """Called by the resolver when it knows the mirrors to ask."""
        self._views[repository.id].candidates = found
        self.update()

    def on_probe(self, repository: Repository, probe: Probe) -> None:
        """Called by the resolver for each mirror that answered or failed."""
        self._views[repository.id].probes[probe.mirror.url] = probe
        self.update()

    def update(self) -> None:
        """Show what is known now."""
        if self._table_is_live:
            self.out.draw(self._lines())
        elif self._count_is_live:
            rows = [row for view in self._views.values() for row in view.rows()]
            self._count.write("\r{}\x1b[K".format(progress(rows)))

    def _lines(self) -> List[str]:
        now = time.time()
        return [line for view in self._views.values() for line in lines_of(view, self.out, now)]

    def clear(self) -> None:
        """Remove the count."""
        if self._count_is_live:
            self._count.write("\r\x1b[K")

    def finish(self) -> None:
        """Show the whole table."""
        lines = self._lines()[:-1]
        if self._table_is_live:
            self.out.draw(lines, is_last=True)
        else:
            self.out.lines(lines)


def views_of(host: Host) -> List[MirrorsView]:
    """Return an empty view of each repository."""
    return [MirrorsView(repository, host.state.load(repository.id).accepted) for repository in host.repositories]


def ask_everyone(host: Host, views: Sequence[MirrorsView], display: Display) -> None:
    """Ask every mirror of every repository, show the answers, and put the resolutions into the views."""
    with host.gateway() as gateway:
        ask_through(gateway, host, views, display)


def ask_through(gateway: Gateway, host: Host, views: Sequence[MirrorsView], display: Display) -> None:
    """Do what ``ask_everyone`` does, through a gateway that is already open."""
    options = ResolveOptions(ask_everyone=True, on_candidates=display.on_candidates, on_probe=display.on_probe)
    try:
        display.update()
        resolutions = Resolver(host.settings, host.state.load_all(host.repositories), options,
                               gateway=gateway).run(host.repositories)
    finally:
        display.clear()
    for view, resolution in zip(views, resolutions):
        view.resolution = resolution


def progress(rows: Sequence[Row]) -> str:
    """Return how many mirrors have answered."""
    asking = sum(row.state == "asking" for row in rows)
    return "{} of {} mirrors answered".format(len(rows) - asking, len(rows)) if rows else "asking for the list of mirrors"


def cells_of(row: Row, now: float) -> Tuple[Cell, ...]:
    """Return the cells of a row, one for each of COLUMNS."""
    mirror = row.mirror
    rest = (row.certificate_expires - now) if row.certificate_expires is not None else None
    certificate = "" if rest is None else "{} d".format(int(rest // DAY_SECONDS))
    address = ("" if mirror.url.startswith("https:") else "http://") + authority_of(mirror.url)
    return (
        Cell(str(mirror.rank or "")), Cell(mirror.country), Cell(address), Cell(mirror.name),
        Cell(row.state, STYLES.get(row.state, "dim")),
        Cell("" if row.lag_seconds is None else duration(row.lag_seconds).replace(" days", " d")),
        Cell("" if row.first_byte_seconds is None else "{:.0f} ms".format(row.first_byte_seconds * 1000)),
        Cell(certificate, "warning" if rest is not None and rest < SOON_SECONDS else ""),
        Cell(": ".join(part for part in (row.reference, row.detail or _ORIGIN.get(mirror.source, "")) if part)),
    )


def lines_of(view: MirrorsView, console: Console, now: float) -> List[str]:
    """Return the lines that show a repository."""
    rows = [cells_of(row, now) for row in view.rows()]
    lines = table(COLUMNS, rows, console.width, console.colour) if rows else []
    texts = [view.summary(now)] + view.remarks()
    return [shortened(view.repository.id, console.width)] + lines + wrapped(texts, console.width) + [""]
