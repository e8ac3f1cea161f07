"""Measure: progress on stderr, the README's table on stdout, results.json. Exit 1 only if something could not be measured."""
import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import List, Optional, Sequence, Tuple

from tests.lab.lab import Lab
from tests.lab.tools import ToolError, missing

from . import brownout, distance, dnf, files, report, resolve, start
from .measure import Figure, Measure, Samples, figure
from .stage import MeasureError, Stage, package_sizes

MODULES = (resolve, start, dnf, distance, files, brownout)
Chosen = Tuple[Measure, List[str]]  # with the names that are wanted of it
MEASURES: Tuple[Measure, ...] = tuple(measure for module in MODULES for measure in module.MEASURES)
RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results.json")
INSTALL_BYTES = 30 * 1000 * 1000
QUICK_INSTALL_BYTES = 300 * 1000


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--runs", type=int, metavar="N", help="runs of each kind (default: each measure's own number)")
    parser.add_argument("--only", metavar="NAME", default="*", help="a name, or a pattern of names: 'dnf.install_ratio.*'")
    parser.add_argument("--quick", action="store_true", help="one run each, small packages: shows that it works and no more")
    parser.add_argument("--list", action="store_true", help="list the names and end")
    parser.add_argument("--output", metavar="FILE", help="for the results (default: bench/results.json after a full run)")
    return parser


def wanted_names(measure: Measure, pattern: str) -> List[str]:
    """Return the names of a measure that match."""
    return [item.name for item in measure.quantities if fnmatch.fnmatchcase(item.name, pattern)]


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    chosen = [(measure, wanted_names(measure, options.only)) for measure in MEASURES]
    chosen = [(measure, names) for measure, names in chosen if names]
    if not chosen:
        parser.error("no measure is called {}; --list lists them".format(options.only))
    if options.list:
        print("\n".join(name for _, names in chosen for name in names))
        return 0
    if options.runs is not None and options.runs < 1:
        parser.error("--runs must be at least 1")
    if missing():
        parser.error("not installed: {}; 'make tools' installs what is needed".format(", ".join(missing())))
    figures, complete = _measure_on_lab(chosen, options)
    print(report.as_markdown(figures))
    full = complete and options.only == "*" and not options.quick
    _write(figures, options.output or (RESULTS if full else ""))
    return 0 if complete else 1


def _measure_on_lab(chosen: Sequence[Chosen], options: argparse.Namespace) -> Tuple[List[Figure], bool]:
    _note("building the lab")
    sizes = package_sizes(QUICK_INSTALL_BYTES if options.quick else INSTALL_BYTES)
    with tempfile.TemporaryDirectory(prefix="xcpng-mirrors-bench-") as folder, Lab(os.path.join(folder, "lab"), sizes) as lab:
        return measure_all(Stage(lab, folder, _note), chosen, options.runs or (1 if options.quick else 0))


def measure_all(stage: Stage, chosen: Sequence[Chosen], runs: int) -> Tuple[List[Figure], bool]:
    """Take all measures; one that fails costs no other.

    Args:
        stage: what they act on.
        chosen: measures with the names that are wanted of each.
        runs: of each kind; 0: each measure's own number.

    Returns:
        The figures, and whether there is one for every name.
    """
    figures: List[Figure] = []
    complete = True
    for measure, names in chosen:
        samples = _samples(stage, measure, names, runs or measure.runs)
        absent = [name for name in names if name not in samples]
        present = [item for item in measure.quantities if item.name in names and item.name not in absent]
        figures += [figure(item, samples[item.name]) for item in present]
        if absent:
            _note("could not measure " + ", ".join(absent))
            complete = False
    return figures, complete


def _samples(stage: Stage, measure: Measure, names: Sequence[str], runs: int) -> Samples:
    _note("{}{}, runs: {}".format(names[0], " and {} more".format(len(names) - 1) if names[1:] else "", runs))
    started = time.monotonic()
    try:
        return measure.take(stage, runs, names)
    except (MeasureError, ToolError, subprocess.TimeoutExpired) as problem:
        _note("  {}".format(problem))
        return {}
    finally:
        _note("  {:.0f} s".format(time.monotonic() - started))


def _write(figures: Sequence[Figure], path: str) -> None:
    if not path:
        return
    content = report.as_json(figures, time.strftime("%Y-%m-%d", time.gmtime()))
    with open(path, "w") as stream:
        json.dump(content, stream, indent=1, sort_keys=True)
        stream.write("\n")


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
