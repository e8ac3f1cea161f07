"""Measures of a whole dnf in an installroot, with the plugin and without."""
from statistics import median
from subprocess import TimeoutExpired
from typing import Callable, Dict, List, Sequence

from tests.lab.faults import FAULTS

from .measure import Goal, Measure, Quantity, Samples, differences, in_turn, ratios
from .stage import MeasureError, Stage

GOOD = ("",) * 6
INSTALL_MIRRORS = ("", "", "")
# "rolled-back" is the same mirror as "stale"; the other mirrors are fine until packages are asked for.
METADATA_FAULTS = tuple(name for name in FAULTS if "packages" not in name and name != "rolled-back")
CHECK = ("-y", "check-update")  # without -y stock dnf would ask about the key, and get no answer
TOGETHER = 6  # faults held against the same installs from good mirrors
RATIO = "dnf.install_ratio."
PACKAGE_FAULTS = ("corrupt-packages", "truncated-packages", "short-packages", "packages-404", "stalling-packages",
                  "slow-packages")
PACKAGE_RATIO = "dnf.package_ratio."
PACKAGE_BYTES = "dnf.package_bytes."
CORRUPT_WHY = "what is corrupt shows at its end, and comes again"


def take_warm(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """``dnf check-update`` when all is cached: nobody is asked, with the plugin or without."""
    stage.set_mirrors(GOOD)
    stock, ours = stage.host(plugin=False), stage.host(plugin=True)
    for host in (stock, ours, stock, ours):  # twice: fill the cache, then compile what only a warm run loads
        stage.dnf(host, *CHECK)
    stage.lab.log.clear()
    base, plugin = in_turn(runs, lambda: stage.dnf(stock, *CHECK), lambda: stage.dnf(ours, *CHECK))
    if stage.lab.log.connections():
        raise MeasureError("a warm check-update asked {}".format(sorted(stage.lab.log.contacted())))
    return {"dnf.warm_stock_s": base, "dnf.warm_plugin_s": plugin, "dnf.warm_ratio": ratios(plugin, base)}


def take_cold(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """``dnf check-update`` with neither metadata nor any memory of mirrors, all mirrors good."""
    stage.set_mirrors(GOOD)
    hosts = {plugin: stage.host(plugin) for plugin in (False, True)}

    def seconds(plugin: bool) -> float:
        stage.make_cold(hosts[plugin])
        return stage.dnf(hosts[plugin], *CHECK)

    seconds(False), seconds(True)  # the first start compiles and fills the disk's cache
    stock, plugin = in_turn(runs, lambda: seconds(False), lambda: seconds(True))
    return {"dnf.cold_stock_s": stock, "dnf.cold_plugin_s": plugin, "dnf.cold_extra_s": differences(plugin, stock)}


def take_install(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """A full install from good mirrors."""
    _install(stage, plugin=False), _install(stage)  # the first ones fill the disk's cache
    stock, plugin = in_turn(runs, lambda: _install(stage, plugin=False), lambda: _install(stage))
    return {"dnf.install_stock_s": stock, "dnf.install_plugin_s": plugin}


def take_install_ratios(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """A full install with each fault at the first of three mirrors; a fault that no install survives has no samples."""
    faults = [fault for fault in METADATA_FAULTS if RATIO + fault in wanted]
    return _take_faults(stage, runs, faults, RATIO, lambda fault: _install(stage, fault))


def take_package_ratios(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """The same with faults that only packages show, at a mirror that .conf prefers: what is best-ranked is asked first."""
    sent: Dict[str, List[float]] = {}

    def install(fault: str) -> float:
        stage.set_mirrors((fault,) + INSTALL_MIRRORS[1:])
        seconds = stage.install(stage.host(True, prefer=stage.lab.mirrors["mirror1"].server.authority))
        sent.setdefault(fault, []).append(float(stage.lab.log.bytes(path_ends=".rpm")))
        return seconds

    faults = [fault for fault in PACKAGE_FAULTS if {PACKAGE_RATIO + fault, PACKAGE_BYTES + fault} & set(wanted)]
    samples = _take_faults(stage, runs, faults, PACKAGE_RATIO, install)
    good = median(sent[""])
    samples.update((PACKAGE_BYTES + fault, [number / good for number in sent[fault]]) for fault in faults if fault in sent)
    return samples


def _take_faults(stage: Stage, runs: int, faults: Sequence[str], name: str, install: Callable[[str], float]) -> Samples:
    """Take the times of installs with each fault, as ratios to those without, under ``name`` and the fault's."""
    samples: Samples = {}
    for begin in range(0, len(faults), TOGETHER):
        group = faults[begin : begin + TOGETHER]
        stage.note("  " + ", ".join(group))
        good: List[float] = []
        faulty: Dict[str, List[float]] = {fault: [] for fault in group}
        for _ in range(runs):  # in turn: what disturbs the machine for a while disturbs all
            good.append(install(""))
            for fault in list(faulty):
                try:
                    faulty[fault].append(install(fault))
                except (MeasureError, TimeoutExpired) as problem:
                    stage.note("  {}: {}".format(fault, problem))
                    del faulty[fault]
        samples.update((name + fault, ratios(seconds, [median(good)] * runs)) for fault, seconds in faulty.items())
    return samples


def _install(stage: Stage, fault: str = "", plugin: bool = True) -> float:
    stage.set_mirrors((fault,) + INSTALL_MIRRORS[1:])
    return stage.install(stage.host(plugin))


MEASURES = (
    Measure(take_warm, (
        Quantity("dnf.warm_stock_s", "s", "stock dnf check-update, warm", why_no_goal="stock"),
        Quantity("dnf.warm_plugin_s", "s", "the same with the plugin", why_no_goal="the next is bounded"),
        Quantity("dnf.warm_ratio", "", "with the plugin / stock", Goal(1.10)),
    ), runs=15),
    Measure(take_cold, (
        Quantity("dnf.cold_stock_s", "s", "stock dnf check-update, cold, 6 good mirrors", why_no_goal="stock"),
        Quantity("dnf.cold_plugin_s", "s", "the same with the plugin", why_no_goal="the next is bounded"),
        Quantity("dnf.cold_extra_s", "s", "with the plugin - stock", Goal(0.35)),
    ), runs=11),
    Measure(take_install, (
        Quantity("dnf.install_stock_s", "s", "stock dnf install of 30 MB, 3 good mirrors", why_no_goal="stock"),
        Quantity("dnf.install_plugin_s", "s", "the same with the plugin", why_no_goal="the ratios below are bounded"),
    ), runs=5),
    Measure(take_install_ratios, tuple(
        Quantity(RATIO + fault, "", "the same, first mirror {} / good".format(fault), Goal(1.25)) for fault in METADATA_FAULTS
    ), runs=3),
    Measure(take_package_ratios, tuple(
        Quantity(PACKAGE_RATIO + fault, "", "install, best mirror {} / good".format(fault), Goal(1.5)) for fault in PACKAGE_FAULTS
    ) + tuple(
        Quantity(PACKAGE_BYTES + fault, "", "its package bytes, all mirrors / good",
                 *((None, CORRUPT_WHY) if fault == "corrupt-packages" else (Goal(1.1), "")))
        for fault in PACKAGE_FAULTS
    ), runs=5),
)
