"""Measures by the distance of the mirrors (line.py): a whole dnf on a long line, and on a good day with none, beside stock."""
import json
import os
import time
from typing import Dict, List, Optional, Sequence

from tests.lab.host import Host
from tests.lab.plugin import ROOT, state_path

from .line import connections, laid
from .measure import Goal, Measure, Quantity, Samples, in_turn, ratios
from .stage import PACKAGES, REPOSITORIES, SMALL_PACKAGES, MeasureError, Stage

CHECK = ("-y", "check-update")  # without -y stock dnf would ask about the key, and get no answer
CHECK_RATIO = "line.check_update_ratio.rtt-"
CHECK_GOALS: Dict[int, Optional[float]] = {0: None, 50: None, 100: 0.35, 250: 0.30}  # by milliseconds
FAR_MS = 250
LAST_LOOK_SECONDS = 20 * 60  # more than refresh_after, less than yum's and dnf's metadata_expire
PLUGIN_FILES = ("bridge.py", "dnf.py", "yum.py")


def take_check_update(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """``dnf check-update`` with neither metadata nor any memory of mirrors, at several distances."""
    return {name: _check_ratios(stage, rtt_ms, runs) for rtt_ms, name in
            ((rtt_ms, CHECK_RATIO + str(rtt_ms)) for rtt_ms in CHECK_GOALS) if name in wanted}


def _check_ratios(stage: Stage, rtt_ms: int, runs: int) -> List[float]:
    with laid(stage, rtt_ms) as line:
        hosts = {plugin: line.host(plugin) for plugin in (False, True)}

        def seconds(plugin: bool) -> float:
            stage.make_cold(hosts[plugin])
            return stage.dnf(hosts[plugin], *CHECK)

        if not rtt_ms:  # the first start compiles and fills the disk's cache
            seconds(False), seconds(True)
        return _compared(stage, "RTT {} ms".format(rtt_ms), in_turn(runs, lambda: seconds(False), lambda: seconds(True)))


def _compared(stage: Stage, what: str, taken: Sequence[Sequence[float]]) -> List[float]:
    stock, ours = taken
    stage.note("  {}: stock {}, with the plugin {} s".format(
        what, *(" ".join("{:.2f}".format(each) for each in seconds) for seconds in (stock, ours))))
    return ratios(ours, stock)


def take_far_install(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """Three small packages on a new host at the end of a long line."""
    return {"line.install_ratio.rtt-250": _install_ratios(stage, FAR_MS, SMALL_PACKAGES, runs)}


def take_near_install(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """Installs on a new host from good mirrors on this machine."""
    kinds = {"good.install_ratio.30mb": PACKAGES, "good.install_ratio.60kb": SMALL_PACKAGES}
    return {name: _install_ratios(stage, 0, packages, runs) for name, packages in kinds.items() if name in wanted}


def _install_ratios(stage: Stage, rtt_ms: int, packages: Sequence[str], runs: int) -> List[float]:
    with laid(stage, rtt_ms) as line:
        def seconds(plugin: bool) -> float:
            return stage.install(line.host(plugin), packages)

        if not rtt_ms:  # the first ones fill the disk's cache
            seconds(False), seconds(True)
        taken = in_turn(runs, lambda: seconds(False), lambda: seconds(True))
        return _compared(stage, "{} and others, RTT {} ms".format(packages[0], rtt_ms), taken)


def take_counts(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """What is asked in a cold ``dnf install``: by whom, on how many connections, and how often repomd.xml."""
    opened, fetched = [], []
    for _ in range(runs):
        with laid(stage, 0) as line:
            host = line.host(plugin=True)
            line.forget()
            stage.install(host, SMALL_PACKAGES)
            asked = line.asked()
        ours, others = connections(asked)
        if not ours:
            raise MeasureError("the engine has asked nobody")
        opened.append(float(others))
        repomds = [each for each in asked if each.path.endswith("/repomd.xml") and each.server != "redirector"]
        fetched.append(len(repomds) / len(REPOSITORIES))
    return {"good.dnf_connections": opened, "good.repomd_fetches": fetched}


def take_lines(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """The lines of the two plugins and of what they share, comments included."""
    lines = 0
    for name in PLUGIN_FILES:
        with open(os.path.join(ROOT, "yum_plugin", "plugins", name)) as stream:
            lines += len(stream.readlines())
    return {"plugins.lines": [float(lines)]}


def take_look(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """The engine's part of a ``yum check-update`` whose cache is 20 min old, when there is nothing new."""
    stage.set_mirrors(("",) * 6)
    host = stage.host(plugin=True)
    stage.resolve(host, cached=True)
    samples = []
    for _ in range(runs):
        _age(stage, host)
        stage.lab.log.clear()
        samples.append(stage.resolve(host, cached=True).seconds)
        if stage.lab.log.contacted() != {"redirector"}:
            raise MeasureError("a look with nothing new asked {}".format(sorted(stage.lab.log.contacted())))
    return {"yum.look_engine_s": samples}


def _age(stage: Stage, host: Host) -> None:
    """Let the last look of a host have been 20 min ago."""
    for name in REPOSITORIES:
        then = time.time() - LAST_LOOK_SECONDS
        os.utime(os.path.join(stage.yum_cache(host, "xcp-ng-" + name), "cachecookie"), (then, then))
        path = state_path(host, "xcp-ng-" + name, "mirrors.json")
        with open(path) as stream:
            memory = json.load(stream)
        memory["resolved_at"] = memory["confirmed_at"] = then
        with open(path, "w") as stream:
            json.dump(memory, stream)


MEASURES = (
    Measure(take_check_update, tuple(
        Quantity(CHECK_RATIO + str(rtt_ms), "", "cold dnf check-update, nginx, RTT {} ms, plugin / stock".format(rtt_ms),
                 Goal(goal) if goal else None, "" if goal else "nearer than those that are bounded")
        for rtt_ms, goal in CHECK_GOALS.items()
    ), runs=5),
    Measure(take_far_install, (
        Quantity("line.install_ratio.rtt-250", "", "cold install of 60 KB, nginx, RTT 250 ms, plugin / stock", Goal(0.35)),
    ), runs=3),
    Measure(take_near_install, (
        Quantity("good.install_ratio.30mb", "", "cold install of 30 MB, nginx on loopback, plugin / stock", Goal(1.03)),
        Quantity("good.install_ratio.60kb", "", "cold install of 60 KB, nginx on loopback, plugin / stock", Goal(1.10)),
    ), runs=9),
    Measure(take_counts, (
        Quantity("good.dnf_connections", "", "connections that dnf itself opens in a cold install", Goal(0)),
        Quantity("good.repomd_fetches", "", "repomd.xml fetched from mirrors, per refresh and repository", Goal(2)),
    ), runs=3),
    Measure(take_lines, (
        Quantity("plugins.lines", "", "lines of the dnf plugin, the yum plugin and the bridge", Goal(750)),
    )),
    Measure(take_look, (
        Quantity("yum.look_engine_s", "s", "engine's part of a yum check-update, last look 20 min old, nothing new",
                 why_no_goal="a ratio needs the real yum 3.4.3, which is no part of make bench; its stock takes 0.07 s"),
    ), runs=15),
)
