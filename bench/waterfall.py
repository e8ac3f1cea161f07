"""``python -m bench.waterfall``: every request of one cold dnf on a line, when the server had it: which could be saved?"""
import argparse
import sys
import tempfile
from typing import Optional, Sequence

from tests.lab.lab import Lab

from .line import connections, laid
from .stage import SMALL_PACKAGES, Stage, package_sizes


def main(words: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.waterfall", description=__doc__)
    parser.add_argument("--rtt", type=int, default=250, metavar="MS", help="round-trip time (default: 250)")
    parser.add_argument("--stock", action="store_true", help="without the plugin")
    parser.add_argument("--install", action="store_true", help="install three small packages instead of check-update")
    options = parser.parse_args(words)
    arguments = ("install",) + SMALL_PACKAGES if options.install else ("check-update",)
    with tempfile.TemporaryDirectory(prefix="xcpng-mirrors-waterfall-") as folder:
        with Lab(folder + "/lab", package_sizes(3000)) as lab, laid(Stage(lab, folder, print), options.rtt) as line:
            host = line.host(plugin=not options.stock)
            line.forget()
            seconds = Stage(lab, folder, print).dnf(host, "-y", *arguments)
            print(line.waterfall())
            print("{:7.3f} s  end; connections: {} of ours, {} of dnf".format(seconds, *connections(line.asked())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
