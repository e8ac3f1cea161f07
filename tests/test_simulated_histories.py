"""Whatever happens to mirrors, redirector, clock and host, one refresh after another: what always holds."""
import random

import pytest

from yum_plugin.trust.identity import SINGLE_VOICE, UNCONFIRMED

from .simulator import FAULTS, PUBLISHED, Simulator, signed

ID = "xcp-ng-updates"
of_updates = {signed("updates", version).sha256 for version in range(PUBLISHED - 3, PUBLISHED + 40)}
HISTORIES, STEPS = 24, 50
MIRRORS = 5
# Another repository's metadata is signed by the same key: nothing but its age tells it apart. So is what is of the future.
FAULTS_DRAWN = [""] * 12 + sorted(set(FAULTS) - {"other-repository", "fast-forward"})
OF_THE_SIGNATURE = {"bad-signature", "asc-of-another", "no-asc", "other-key", "weak-digest", "text-signature", "signature-expired",
                    "half-synced"}
MIRROR = {
    "fault": FAULTS_DRAWN, "version": [None, None, None, PUBLISHED - 2, PUBLISHED, PUBLISHED + 1],
    "seconds": [0.001, 0.02, 0.2, 0.9], "excluded": ["", "", "", "Down"], "listed": [True, True, False], "weight": [0, 1, 90],
    "scheme": ["https", "https", "http"], "serves": ["", "testing"],
}
REDIRECTOR = {
    "fault": ["", "", "", "refused", "mute", "http-503", "captive"],
    "digest": [None, None, "", "f" * 64, signed("updates", PUBLISHED).sha256],
    "list_page": [True, True, False], "json": [True, False], "redirect": [True, False], "http_only": [True, False],
    "page_seconds": [0.0, 0.3, 1.5, 1e6],
}
CHANGES = ["publish", "one mirror", "one mirror", "one mirror", "all mirrors", "redirector", "origin", "time", "good again"]
REFRESHES = ["refresh", "update", "update", "install", "everyone"]


def change(what, sim, draw):
    """Let one thing happen."""
    table = REDIRECTOR if what == "redirector" else MIRROR
    attribute = draw(sorted(table))
    value = draw(table[attribute])
    if what == "publish":
        sim.version += 1
    elif what == "redirector":
        setattr(sim.redirector, attribute, value)
    elif what == "origin":
        sim.origin.fault = draw(FAULTS_DRAWN)
    elif what == "time":
        sim.later(hours=draw([0.0, 1.0, 5.5, 30.0]))
        chance = draw([0.0, 0.5, 0.999999])
        sim.clock.chance = lambda: chance
    elif what == "good again":
        sim.redirector.fault = sim.origin.fault = ""
        sim.change(fault="", excluded="", listed=True)
    elif attribute == "serves":
        sim.change("m1", serves=value)  # no other: two of them would confirm each other
    else:
        sim.change(*([draw(sorted(sim.mirrors))] if what == "one mirror" else []), **{attribute: value})


def refresh(how, sim):
    """Refresh in one of four ways."""
    cached = "" if how == "refresh" else sim.accepted.get(ID, "")
    repository = sim.repository(installs=how == "install", cached_sha256=cached)
    return sim.update(repository) if how == "update" else sim.refresh(repository, ask_everyone=how == "everyone")


def serves(sim, name, version, known):
    """Whether a server that was asked has the version; it need not prove what the host knows, nor the origin what a mirror has."""
    server = sim.origin if name == "origin" else sim.mirrors[name]
    published = sim.version if server.version is None else server.version
    if server.serves:
        return False
    if name == "origin" and server.fault == "half-synced" and "primary" not in sim.files_asked(name):
        return version == published  # as a second voice it needs no sample
    if (known or name == "origin") and sim.files_asked(name) == ["repomd.xml"] and server.fault in OF_THE_SIGNATURE:
        return version == published
    return version in {"": [published], "mid-sync": [published, PUBLISHED - 1], "stale": [PUBLISHED - 1]}.get(server.fault, [])


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_what_is_handed_over_is_proven_current_and_not_below_the_mark_whatever_happened_before(seed, tmp_path):
    draw, sim = random.Random(seed).choice, Simulator(tmp_path)
    sim.add_many(MIRRORS)
    usable, version = set(), None  # of the last outcome
    for _ in range(STEPS):
        change(draw(CHANGES), sim, draw)
        before = sim.memory().snapshot
        mark, how = sim.state.load(ID).accepted, draw(REFRESHES)
        outcome = refresh(how, sim)
        assert sim.took_seconds <= sim.settings.deadline + 1e-3
        assert all(sim.files_asked(name).count("repomd.xml") <= 2 for name in sim.asked)
        if how != "update":
            assert sim.state.load(ID).accepted == mark, "a refresh alone raises no mark"
        marked = sim.state.load(ID).accepted
        assert marked is None or marked.sha256 in of_updates, "the mark is never another repository's"
        if outcome.error:
            assert outcome.error != "internal" and outcome.mirrors == [] and outcome.snapshot is None
            continue
        if outcome.snapshot.sha256 not in of_updates:
            assert outcome.note == SINGLE_VOICE and mark is None and outcome.mirrors == ["m1"], "only on first contact"
            usable, version = set(), None
            continue
        if outcome.note == UNCONFIRMED:
            assert outcome.snapshot.sha256 == mark.sha256 and len(outcome.warnings) == 1
            continue
        assert mark is None or outcome.snapshot.age_key >= mark.age_key
        kept = usable if version == outcome.version else set()
        known = before is not None and before.sha256 == outcome.snapshot.sha256
        for name in outcome.mirrors:
            assert serves(sim, name, outcome.version, known) if name in sim.asked else name in kept
        assert outcome.mirrors and "origin" not in outcome.mirrors[:-1] and len(set(outcome.mirrors)) == len(outcome.mirrors)
        usable, version = set(outcome.mirrors), outcome.version
