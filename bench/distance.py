"""Measures by the distance of the mirrors (line.py): a whole dnf on a long line, and on a good day with none, beside stock."""
import json
import os
import time
from typing import Dict, List, Optional, Sequence, Tuple

from tests.lab.host import Host
from tests.lab.plugin import ROOT, state_path

from .line import connections, laid
from .measure import Goal, Measure, Quantity, Samples, in_turn, ratios
from .stage import PACKAGES, REPOSITORIES, SMALL_PACKAGES, MeasureError, Stage

CHECK = ("-y", "check-update")  # without -y stock dnf would ask about the key, and get no answer
CHECK_RATIO = "line.check_update_ratio.rtt-"
INSTALL_RATIO, WARM_RATIO = "good.install_ratio.", "good.warm_install_ratio."
CHECK_GOALS: Dict[int, Optional[float]] = {0: None, 50: None, 100: 0.35, 250: 0.30}  # by milliseconds
DNF_CONNECTIONS, REPOMD_FETCHES, LIST_REQUESTS = ".dnf_connections", ".repomd_fetches", ".list_requests"
FAR_MS = 250
LAST_LOOK_SECONDS = 20 * 60  # more than refresh_after, less than yum's and dnf's metadata_expire
PLUGIN_FILES = ("bridge.py", "dnf.py", "proofs.py", "yum.py")


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
    """Installs on a new host from good mirrors on this machine, cold, and after a look a moment ago."""
    kinds = {"30mb": PACKAGES, "60kb": SMALL_PACKAGES}
    asked = [(kind, warm, name) for kind in kinds for warm, name in ((False, INSTALL_RATIO + kind), (True, WARM_RATIO + kind))]
    return {name: _install_ratios(stage, 0, kinds[kind], runs, warm) for kind, warm, name in asked if name in wanted}


def _install_ratios(stage: Stage, rtt_ms: int, packages: Sequence[str], runs: int, warm: bool = False) -> List[float]:
    with laid(stage, rtt_ms) as line:
        def seconds(plugin: bool) -> float:
            host = line.host(plugin)
            if warm:
                stage.dnf(host, *CHECK)
            return stage.install(host, packages)

        if not rtt_ms:  # the first ones fill the disk's cache
            seconds(False), seconds(True)
        taken = in_turn(runs, lambda: seconds(False), lambda: seconds(True))
        return _compared(stage, "{}{} and others, RTT {} ms".format("warm, " if warm else "", packages[0], rtt_ms), taken)


def take_counts(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """What is asked in a cold ``dnf install``, near and far: by whom, on how many connections, and how often."""
    samples: Samples = {}
    for place, rtt_ms in (("good", 0), ("line", FAR_MS)):
        names = [place + name for name in (DNF_CONNECTIONS, REPOMD_FETCHES, LIST_REQUESTS)]
        if set(names) & set(wanted):
            counts = [_counts(stage, rtt_ms) for _ in range(runs)]
            samples.update((name, [each[index] for each in counts]) for index, name in enumerate(names))
    return samples


def _counts(stage: Stage, rtt_ms: int) -> Tuple[float, float, float]:
    """Count the connections of dnf itself, and per repository the repomd.xml from mirrors and the lists."""
    with laid(stage, rtt_ms) as line:
        host = line.host(plugin=True)
        line.forget()
        stage.install(host, SMALL_PACKAGES)
        asked = line.asked()
    ours, others = connections(asked)
    if not ours:
        raise MeasureError("the engine has asked nobody")
    repomds = [each for each in asked if each.path.endswith("/repomd.xml") and each.server != "redirector"]
    lists = [each for each in asked if each.by_us and each.server == "redirector"]
    return float(others), len(repomds) / len(REPOSITORIES), len(lists) / len(REPOSITORIES)


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
        memory["resolved_at"] = memory["heard_at"] = then  # of the resolution, and of the last mirror's answer
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
        Quantity(INSTALL_RATIO + "30mb", "", "cold install of 30 MB, nginx on loopback, plugin / stock", Goal(1.03)),
        Quantity(INSTALL_RATIO + "60kb", "", "cold install of 60 KB, nginx on loopback, plugin / stock", Goal(1.10)),
        Quantity(WARM_RATIO + "30mb", "", "the same of 30 MB a moment after dnf check-update", Goal(1.03)),
        Quantity(WARM_RATIO + "60kb", "", "the same of 60 KB a moment after dnf check-update", Goal(1.10)),
    ), runs=9),
    Measure(take_counts, (
        Quantity("good" + DNF_CONNECTIONS, "", "connections that dnf itself opens in a cold install, RTT 0", Goal(0)),
        Quantity("good" + REPOMD_FETCHES, "", "repomd.xml fetched from mirrors, per refresh and repository, RTT 0", Goal(2)),
        Quantity("good" + LIST_REQUESTS, "", "requests to the redirector, per refresh and repository, RTT 0", Goal(1)),
        Quantity("line" + DNF_CONNECTIONS, "", "connections that dnf itself opens in a cold install, RTT 250 ms", Goal(0)),
        Quantity("line" + REPOMD_FETCHES, "", "repomd.xml fetched from mirrors, per refresh and repository, RTT 250 ms", Goal(2)),
        Quantity("line" + LIST_REQUESTS, "", "requests to the redirector, per refresh and repository, RTT 250 ms", Goal(1)),
    ), runs=3),
    Measure(take_lines, (
        Quantity("plugins.lines", "", "lines of the dnf plugin, the yum plugin and what they share", Goal(750)),
    )),
    Measure(take_look, (
        Quantity("yum.look_engine_s", "s", "engine's part of a yum check-update, last look 20 min old, nothing new",
                 why_no_goal="a ratio needs the real yum 3.4.3, which is no part of make bench; its stock takes 0.07 s"),
    ), runs=15),
)
