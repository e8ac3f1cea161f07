"""Measures of the command as a package installs it: a staged tree, run by the system's Python with the vendored libraries."""
import os
import subprocess
import time
from typing import List, Sequence

from tests.lab.plugin import ROOT

from .measure import Goal, Measure, Quantity, Samples
from .stage import REPOSITORIES, MeasureError, Stage

GOOD = ("",) * 6
COMMAND = os.path.join("usr", "bin", "xcpng-mirrors")
LIBRARIES = os.path.join("usr", "lib64", "xcpng-mirrors")
STAGE_SECONDS = 600.0  # the libraries may have to be fetched first


def staged(stage: Stage) -> str:
    """Return a staged tree, made once for all measures.

    Raises:
        MeasureError: it could not be made.
    """
    tree = os.path.join(stage.folder, "staged")
    if not os.path.exists(os.path.join(tree, COMMAND)):
        settings = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "PYTHON"))}
        done = subprocess.run([os.path.join(ROOT, "tools", "stage.sh"), tree], env=settings, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=STAGE_SECONDS)
        if done.returncode:
            raise MeasureError("tools/stage.sh: {}".format((done.stderr or done.stdout).strip()))
    return tree


def take_size(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """The files of each vendored set, and all others."""
    tree = staged(stage)
    everything = _bytes_below(tree)
    sets = [float(_bytes_below(os.path.join(tree, LIBRARIES, name))) for name in os.listdir(os.path.join(tree, LIBRARIES))]
    return {"installed.set_mb": [size / 1e6 for size in sets], "installed.rest_mb": [(everything - sum(sets)) / 1e6]}


def _bytes_below(folder: str) -> int:
    return sum(os.lstat(os.path.join(place, name)).st_size for place, _, names in os.walk(folder) for name in names)


def take_version(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """The start of the command, and of a Python that does nothing."""
    command = os.path.join(staged(stage), COMMAND)
    with open(command) as stream:
        python = stream.readline()[2:].split()
    _milliseconds([command, "--version"])  # the first start fills the disk's cache
    return {"start.version_ms": [_milliseconds([command, "--version"]) for _ in range(runs)],
            "start.python_ms": [_milliseconds(python + ["-c", ""]) for _ in range(runs)]}


def _milliseconds(words: List[str]) -> float:
    started = time.monotonic()
    if subprocess.call(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL):
        raise MeasureError("{} fails".format(" ".join(words)))
    return 1000 * (time.monotonic() - started)


def take_probe(stage: Stage, runs: int, wanted: Sequence[str]) -> Samples:
    """From the start of the engine, as the plugin starts it, to the first connection at the redirector, and at a mirror."""
    command = os.path.join(staged(stage), COMMAND)
    stage.set_mirrors(GOOD)
    host, log = stage.host(plugin=True), stage.lab.log
    stage.resolve(host, command=command)  # the first start fills the disk's cache, and the host's memory of mirrors
    requests, probes = [], []
    for _ in range(runs):
        log.clear()
        started = log.seconds()
        stage.resolve(host, REPOSITORIES, command=command)
        seen = log.connections()
        requests.append(1000 * (min(each.seconds for each in seen) - started))
        probes.append(1000 * (min(each.seconds for each in seen if each.server in stage.lab.mirrors) - started))
    return {"start.first_request_ms": requests, "start.first_probe_ms": probes}


MEASURES = (
    Measure(take_size, (
        Quantity("installed.set_mb", "MB", "installed size of the libraries for one Python", Goal(30)),
        Quantity("installed.rest_mb", "MB", "installed size of everything else", why_no_goal="for comparison"),
    )),
    Measure(take_version, (
        Quantity("start.version_ms", "ms", "`xcpng-mirrors --version`, staged", Goal(80)),
        Quantity("start.python_ms", "ms", "the same Python, doing nothing", why_no_goal="for comparison"),
    ), runs=31),
    Measure(take_probe, (
        Quantity("start.first_request_ms", "ms", "start of the engine to its first connection, at the redirector",
                 why_no_goal="part of the next"),
        Quantity("start.first_probe_ms", "ms", "start of the engine to its first connection at a mirror", Goal(150)),
    ), runs=15),
)
