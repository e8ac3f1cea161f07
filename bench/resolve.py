"""Measures of the engine alone, started as the plugin starts it, for two repositories with nothing remembered."""
from typing import Sequence

from yum_plugin.host.settings import KEYS

from .measure import Goal, Measure, Quantity, Samples, differences, in_turn
from .stage import Stage

GOOD = ("",) * 6
DEAD_FIRST = ("blackhole", "mute") + GOOD[2:]
# What a mirror can send to make a client swell, and what is large by rights.
SWELLING = ("gzip-bomb", "endless-repomd", "endless-unframed", "endless-headers") + GOOD[:2]
MANY = 40


def take_cold(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """Six good mirrors, and the same with the first two dead."""
    def seconds(faults: Sequence[str]) -> float:
        stage.set_mirrors(faults)
        return stage.resolve(stage.host(plugin=True)).seconds

    seconds(GOOD)  # the first start compiles and fills the disk's cache
    good, dead = in_turn(runs, lambda: seconds(GOOD), lambda: seconds(DEAD_FIRST))
    return {"resolve.cold_good_s": good, "resolve.cold_dead_s": dead, "resolve.cold_dead_extra_s": differences(dead, good)}


def take_asked(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """Many listed mirrors: count those that saw a connection for one repository."""
    asked = []
    for _ in range(runs):
        stage.set_mirrors(("",) * MANY)
        stage.resolve(stage.host(plugin=True), ["updates"])
        asked.append(float(len(stage.lab.log.contacted() & set(stage.lab.mirrors))))
    return {"resolve.asked_of_40": asked}


def take_bytes(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """Six good mirrors: what all of them and the origin send for one refresh."""
    sent = []
    for _ in range(runs):
        stage.set_mirrors(GOOD)
        stage.resolve(stage.host(plugin=True))
        servers = set(stage.lab.mirrors) | {"origin"}
        sent.append(sum(stage.lab.log.bytes(server) for server in servers) / 1024)
    return {"resolve.mirror_kib": sent}


def take_memory(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """Peak memory among good mirrors, and among those that want to fill it."""
    def peak(faults: Sequence[str]) -> float:
        stage.set_mirrors(faults)
        return stage.resolve(stage.host(plugin=True), watched=True).peak_mib

    good, hostile = in_turn(runs, lambda: peak(GOOD), lambda: peak(SWELLING))
    return {"engine.peak_mib": good, "engine.peak_hostile_mib": hostile}


def _probe_mirrors() -> int:
    return next(int(key.default) for key in KEYS if key.name == "probe_mirrors")


MEASURES = (
    Measure(take_cold, (
        Quantity("resolve.cold_good_s", "s", "cold resolve of two repositories, 6 good mirrors", why_no_goal="base of the next"),
        Quantity("resolve.cold_dead_s", "s", "the same, the first two a blackhole and mute", why_no_goal="base of the next"),
        Quantity("resolve.cold_dead_extra_s", "s", "what two dead mirrors cost a cold resolve", Goal(0.4)),
    ), runs=11),
    Measure(take_asked, (
        Quantity("resolve.asked_of_40", "", "mirrors asked for one repository, 40 listed", Goal(_probe_mirrors())),
    ), runs=5),
    Measure(take_bytes, (
        Quantity("resolve.mirror_kib", "KiB", "what all mirrors send for a refresh of two small repositories", Goal(64)),
    ), runs=5),
    Measure(take_memory, (
        Quantity("engine.peak_mib", "MiB", "peak memory of the engine, good mirrors", Goal(64)),
        Quantity("engine.peak_hostile_mib", "MiB", "the same, four mirrors send bombs and endless answers", Goal(64)),
    ), runs=3),
)
