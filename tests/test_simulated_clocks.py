"""A host whose clock is wrong: it goes on, says so in one line, and is sane again as soon as its clock is."""
import pytest

from yum_plugin.cli.status import status_of

from .simulator import FUTURE, PUBLISHED, Simulator, snapshot_of
from .support.world import DAY

ID = "xcp-ng-updates"


@pytest.fixture
def sim(tmp_path):
    made = Simulator(tmp_path)
    made.add_many(3)
    return made


def clock_lines(*outcomes):
    return [line for outcome in outcomes for line in outcome.warnings if line.startswith("clock: ")]


def mark(sim):
    return sim.state.load(ID).accepted


@pytest.mark.parametrize("days", [30, 20000])
def test_a_clock_that_is_behind_is_told_with_the_offset_and_the_update_goes_on_without_a_mark(days, sim):
    sim.clock.ahead -= days * DAY
    outcome = sim.update()
    assert (outcome.version, outcome.error, mark(sim)) == (PUBLISHED, "", None)
    [line] = outcome.warnings
    assert line in clock_lines(outcome) and "(Date) this host's is {} days behind".format(days) in line
    assert "chronyc makestep" in line and "chronyc sources" in line


def test_a_clock_that_is_behind_by_less_than_the_metadata_is_old_harms_nothing(sim):
    sim.clock.ahead -= 2 * DAY
    outcome = sim.update()
    assert (outcome.version, outcome.warnings, mark(sim).sha256) == (PUBLISHED, [], snapshot_of(PUBLISHED).sha256)


def test_as_soon_as_the_clock_is_right_the_mark_is_set_and_nothing_is_said(sim):
    sim.clock.ahead -= 30 * DAY
    sim.update()
    sim.clock.ahead += 30 * DAY
    outcome = sim.update()
    assert (outcome.version, outcome.warnings, mark(sim).sha256) == (PUBLISHED, [], snapshot_of(PUBLISHED).sha256)


def test_several_repositories_are_one_line(sim):
    sim.clock.ahead -= 30 * DAY
    outcomes = sim.refresh_all([sim.repository("base"), sim.repository("updates")])
    [line] = clock_lines(*outcomes)
    assert "xcp-ng-base, xcp-ng-updates" in line and all(outcome.version == PUBLISHED for outcome in outcomes)


def test_a_clock_behind_does_not_let_an_older_state_replace_the_mark(sim):
    sim.update()
    sim.clock.ahead -= 30 * DAY
    sim.version -= 1
    assert (sim.refresh().error, mark(sim).sha256) == ("rollback", snapshot_of(PUBLISHED).sha256)


def test_a_clock_that_is_ahead_changes_nothing_where_nothing_expires(sim):
    sim.clock.ahead += 30 * DAY
    outcome = sim.update()
    assert (outcome.version, clock_lines(outcome)) == (PUBLISHED, []) and mark(sim) is not None


def test_what_has_expired_by_a_clock_that_is_ahead_is_refused_and_the_offset_named(sim):
    sim.without_origin()
    sim.change(fault="signature-expired")
    sim.clock.ahead += 300 * DAY
    outcome = sim.refresh()
    assert (outcome.error, outcome.refused) == ("signature-expired", True)
    assert "this host's is 300 days ahead" in outcome.message and "chronyc makestep" in outcome.message


@pytest.mark.parametrize("ahead, words", [
    ((0, 0, 0), "the servers' clocks (Date) agree with this host's"),
    ((0, 0, 9000 * DAY), "agree with this host's"),  # one whose own clock is wrong
    ((40 * DAY, 40 * DAY, 0), "this host's is 40 days behind"),
])
def test_dates_of_servers_are_a_hint_in_the_message_and_decide_nothing(ahead, words, sim):
    sim.without_origin()
    for name, seconds in zip(("m1", "m2", "m3"), ahead):
        sim.change(name, ahead=seconds, fault="signature-expired")
    outcome = sim.refresh(ask_everyone=True)
    assert outcome.error == "signature-expired" and words in outcome.message
    sim.change(fault="")
    outcome = sim.update(ask_everyone=True)
    assert (outcome.version, outcome.warnings) == (PUBLISHED, []) and mark(sim) is not None


def test_a_date_that_nobody_can_read_is_no_hint(sim):
    sim.clock.ahead -= 30 * DAY
    serve = sim.mirrors["m1"].serve
    for mirror in sim.mirrors.values():
        mirror.serve = lambda request, metadata, serve=serve: serve(request, metadata)._replace(headers={"date": "Xxx, 99"})
    [line] = clock_lines(sim.refresh())
    assert "Date" not in line


def test_fast_forward_by_everybody_is_used_once_and_keeps_nobody_from_what_is_honest(sim):
    sim.version = FUTURE
    outcome = sim.update()
    assert (outcome.version, mark(sim), len(clock_lines(outcome))) == (FUTURE, None, 1)
    assert "agree with this host's" in clock_lines(outcome)[0]
    sim.version = PUBLISHED
    outcome = sim.update()
    assert (outcome.version, outcome.warnings, mark(sim).sha256) == (PUBLISHED, [], snapshot_of(PUBLISHED).sha256)


def test_fast_forward_does_not_raise_a_mark_that_is_there_nor_by_accept_rollback(sim):
    sim.update()
    sim.version = FUTURE
    assert sim.update(sim.repository(installs=True)).version == FUTURE
    assert sim.refresh(accept_rollback=True).version == FUTURE
    assert mark(sim).sha256 == snapshot_of(PUBLISHED).sha256


def test_status_is_sane_as_soon_as_the_clock_is(sim):
    """The clock was ahead once, while nothing could be reached."""
    sim.update()
    sim.clock.ahead += 300 * DAY
    sim.without_origin()
    sim.change(fault="refused")
    sim.redirector.fault = "refused"
    assert sim.refresh().error
    sim.clock.ahead -= 300 * DAY
    assert status_of(sim.repository(), sim.state, sim.clock.wall()).problems == []
    sim.change(fault="")
    sim.redirector.fault = ""
    sim.update()
    assert status_of(sim.repository(), sim.state, sim.clock.wall()).problems == []


def test_status_after_a_resolution_under_a_clock_that_was_ahead_is_sane_with_the_next_one(sim):
    sim.clock.ahead += 300 * DAY
    sim.update()
    sim.clock.ahead -= 300 * DAY
    sim.update()
    assert status_of(sim.repository(), sim.state, sim.clock.wall()).problems == []
