"""The simulation of many hosts keeps its books, and in it our hosts ask volunteers for no more than stock ones do."""
from random import Random

import pytest

from bench.scale.__main__ import main
from bench.scale.count import METADATA, PACKAGE, PACKAGES
from bench.scale.habits import events_of, make_pools
from bench.scale.redirector import Redirector
from bench.scale.report import as_markdown, row_of
from bench.scale.run import BEFORE, DESIGNS, OURS, STOCK, run
from bench.scale.world import BROKEN_TLS, DAY, HOUR, make_world

HOSTS, MIRRORS, SEED = 400, 6, 3


@pytest.fixture(scope="module")
def outcomes():
    """Each design in the same world."""
    return {design: run(design, MIRRORS, HOSTS, SEED) for design in DESIGNS}


def asked(outcome, kind=METADATA):
    """Requests of a kind to all mirrors."""
    return sum(sum(hours) for hours in outcome.count.requests[kind][:outcome.mirrors])


def test_ours_asks_mirrors_no_more_than_stock_and_the_first_design_did(outcomes):
    assert asked(outcomes[OURS]) <= asked(outcomes[STOCK])
    assert asked(outcomes[BEFORE]) > 5 * asked(outcomes[STOCK]), "else this simulation would not notice"


def test_ours_asks_the_origin_for_no_more_than_stock_does_on_the_day_of_a_publication_either(outcomes):
    """Where the first mirror that has something new is alone, the origin is the second voice; few are so early: three worlds."""
    more = [{design: run(design, MIRRORS, HOSTS, SEED + number) for design in (OURS, STOCK)} for number in (1, 2)]
    ours, stock = ([row_of(world[design]) for world in [outcomes] + more] for design in (OURS, STOCK))
    for of in ("origin", "origin_bytes", "origin_worst_day", "origin_worst_bytes"):
        assert 0 < sum(getattr(row, of) for row in ours) <= 1.1 * sum(getattr(row, of) for row in stock), of


def test_ours_brings_an_update_sooner_than_stock(outcomes):
    for place in (len(outcomes[STOCK].delays) // 2, -1):
        assert outcomes[OURS].delays[place] < outcomes[STOCK].delays[place]


@pytest.mark.parametrize("design", DESIGNS)
def test_whatever_is_wanted_is_asked_of_somebody(design, outcomes):
    """What the weights would have shared out is as much as what was asked, in requests and in bytes as far as they came."""
    outcome = outcomes[design]
    for kind in (METADATA, PACKAGE):
        requests, sizes = outcome.count.due(outcome.redirector, kind)
        servers = range(MIRRORS + 1)
        assert sum(requests) == pytest.approx(sum(sum(outcome.count.requests[kind][server]) for server in servers))
        assert sum(sizes) >= sum(sum(outcome.count.bytes[kind][server]) for server in servers) * (1 - 1e-9)
    assert sum(outcome.count.minutes) == pytest.approx(asked(outcome))


@pytest.mark.parametrize("design", DESIGNS)
def test_packages_are_fetched_once_by_hosts_that_know_of_them(design, outcomes):
    outcome = outcomes[design]
    fetched = sum(sum(hours) for hours in outcome.count.requests[PACKAGE][:MIRRORS + 1]) / PACKAGES
    assert 0 < fetched <= HOSTS and fetched == pytest.approx(round(fetched))


def test_hosts_that_cannot_use_a_mirror_leave_it_alone(outcomes):
    broken = [number for number, site in enumerate(outcomes[OURS].count.world.sites) if site.fault == BROKEN_TLS]
    ours, stock = (sum(sum(outcomes[design].count.requests[METADATA][site]) for site in broken) for design in (OURS, STOCK))
    assert broken and ours < stock


def test_the_same_seed_gives_the_same_table_and_another_one_another():
    table = as_markdown([row_of(run(OURS, 5, 60, 7))])
    assert as_markdown([row_of(run(OURS, 5, 60, 7))]) == table
    assert as_markdown([row_of(run(OURS, 5, 60, 8))]) != table


def test_stock_and_ours_are_asked_by_the_same_people():
    def story():
        return [(pool._replace(random=None), events_of(pool, (DAY,), 3 * DAY)) for pool in make_pools(50, SEED)]

    first = story()
    assert first == story() and sum(pool.hosts for pool, _ in first) == 50
    assert all(list(events) == sorted(events) for _, (events, _) in first)


def test_the_redirector_draws_as_its_weights_say():
    world = make_world(20, SEED, (DAY,), 3 * DAY)
    redirector, random = Redirector(world), Random(SEED)
    offer = redirector.offer(0, 0)
    assert sum(offer.weights) == pytest.approx(1.0) and set(offer.ranked) == set(range(20))
    drawn = [redirector.draw(offer, random) for _ in range(4000)]
    for site, weight in zip(offer.ranked, offer.weights):
        assert drawn.count(site) == pytest.approx(4000 * weight, abs=150)


def test_a_new_version_is_offered_where_it_is_and_the_origin_stands_in_until_then():
    world = make_world(20, SEED, (DAY,), 3 * DAY)
    redirector = Redirector(world)
    offers = [redirector.offer(0, world.moment(DAY + minutes * 60)) for minutes in (-1, 1, 12 * 60)]
    assert [offer.named for offer in offers] == [0, 1, 1]
    assert len(offers[0].ranked) == 20 and offers[1].ranked == () and len(offers[2].ranked) >= 19
    assert redirector.draw(offers[1], Random(1)) is None
    assert len(redirector.offer(0, world.moment(DAY + HOUR), changes=False).ranked) >= 19, "what did not change is offered"


def test_the_command_prints_a_row_for_each_world(capsys):
    assert main(["--hosts", "20", "--mirrors", "3", "--designs", "stock", "ours"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[1:] for line in lines[:1] + lines[2:3]] == [["3", "3 |"], ["stock", "ours |"]]
    assert len({line.count("|") for line in lines}) == 1
