"""Simulate hosts and mirrors: progress on stderr, the table of docs/scale.md on stdout."""
import argparse
import multiprocessing
import sys
import time
from typing import Optional, Sequence, Tuple

from .report import Row, as_markdown, row_of
from .run import DESIGNS, run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--hosts", type=int, default=100000, metavar="N", help="default: 100000")
    parser.add_argument("--mirrors", type=int, nargs="+", default=[5, 20, 80], metavar="N", help="default: 5 20 80")
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS), choices=DESIGNS)
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="default: 1")
    return parser


def simulate(job: Tuple[str, int, int, int]) -> Row:
    """Run one world; ``job`` holds the arguments of ``run``."""
    started = time.monotonic()
    row = row_of(run(*job))
    print("{} mirrors, {}: {:.0f} s".format(job[1], job[0], time.monotonic() - started), file=sys.stderr, flush=True)
    return row


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(arguments)
    jobs = [(design, mirrors, options.hosts, options.seed) for mirrors in options.mirrors for design in options.designs]
    with multiprocessing.Pool() as workers:
        rows = workers.map(simulate, jobs, chunksize=1)
    print(as_markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
