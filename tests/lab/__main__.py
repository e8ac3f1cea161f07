"""Play with the lab: start mirrors with faults, try dnf on them, watch what it asks."""
import argparse
import importlib.util
import os
import shlex
import signal
import sys
import tempfile
from typing import List, Optional, Tuple

from .accesslog import Entry
from .faults import FAULTS, faults_named
from .lab import Lab
from .repositories import DEFAULT_SIZES, STATES
from .tools import missing

EXAMPLE = """\
examples:
  python3 -m tests.lab --mirror blackhole --mirror good --mirror good
  python3 -m tests.lab --mirror stale@DE --mirror slow-packages+http --size 30000000 --folder /tmp/lab
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.lab", description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    fault_help = "a mirror with these faults; 'good' has none, '+http' serves plain http, '@DE' sets its country"
    parser.add_argument("--mirror", action="append", metavar="FAULT[+FAULT][+http][@COUNTRY]", default=[], help=fault_help)
    parser.add_argument("--list-faults", action="store_true", help="list the faults and end")
    parser.add_argument("--folder", help="where to make everything; kept and used again (default: a temporary folder, removed)")
    parser.add_argument("--publish", choices=sorted(STATES), default="new", help="the state that healthy mirrors serve")
    parser.add_argument("--size", type=int, metavar="BYTES", help="payload of the package lab-agent")
    parser.add_argument("--mode", choices=("auto", "json", "redirect"), default="auto", help="the redirector's OutputMode")
    return parser


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command; return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list_faults:
        for fault in FAULTS.values():
            print("{:<24} {}".format(fault.name, fault.description))
        return 0
    absent = missing()
    if absent:
        parser.error("not installed: {}; 'make test' installs what the tests need".format(", ".join(absent)))
    if importlib.util.find_spec("cryptography") is None:
        parser.error("this Python has no 'cryptography': run 'make venv', then .venv/bin/python -m tests.lab")
    try:
        for wish in options.mirror:
            faults_named(_split(wish)[0])
    except ValueError as problem:
        parser.error(str(problem))
    if options.folder:
        return _play(options, options.folder)
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        return _play(options, folder)


def _split(wish: str) -> Tuple[str, str, str]:
    """Return faults, scheme and country of a ``--mirror`` option."""
    names, _, country = wish.partition("@")
    faults = names.split("+")
    scheme = "http" if "http" in faults else "https"
    return "+".join(name for name in faults if name != "http"), scheme, country.upper() or "FR"


def _play(options: argparse.Namespace, folder: str) -> int:
    sizes = {repository: dict(packages) for repository, packages in DEFAULT_SIZES.items()}
    if options.size is not None:
        sizes["updates"]["lab-agent"] = options.size
    with Lab(folder, sizes) as lab:
        lab.redirector.mode = options.mode
        lab.publish(options.publish)
        for number, wish in enumerate(options.mirror or ["good"], 1):
            fault, scheme, country = _split(wish)
            lab.add_mirror("mirror{}".format(number), fault, scheme=scheme, country=country)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            _introduce(lab)
            _follow(lab)
        except KeyboardInterrupt:
            print()
    return 0


def _introduce(lab: Lab) -> None:
    """Print the addresses and what to type."""
    host = lab.installroot(os.path.join(lab.folder, "host"))
    rows = [("redirector", "", "http(s)://{}/".format(lab.redirector.authority)), ("origin", "", lab.origin.url)]
    for mirror in lab.mirrors.values():
        rows.append((mirror.name, "+".join(fault.name for fault in mirror.faults) or "good", mirror.url))
    for name, fault, url in rows:
        print("{:<12} {:<28} {}".format(name, fault, url))
    print("\nrepositories {}".format(os.path.join(host.repos, "xcp-ng.repo")))
    print("key          {} ({})".format(lab.key_file, lab.key_fingerprint))
    print("CA bundle    {}".format(lab.ca_bundle))
    print("\nIn another terminal (an empty host; dnf plugins in {}, their .conf in {}):".format(host.plugins, host.pluginconf))
    print("  export HOME={}".format(shlex.quote(host.folder)))
    print("  " + " ".join(shlex.quote(word) for word in host.command("-y", "install", "lab-agent")))
    print("\nAccess log (Ctrl-C ends the lab):", flush=True)


def _follow(lab: Lab) -> None:
    """Print each finished or aborted request until Ctrl-C."""
    waiting: List[Entry] = []

    def _news() -> bool:
        return bool(lab.log.requests()) or any(entry.ended for entry in waiting)

    while True:
        lab.log.wait(_news, 3600.0)
        waiting += lab.log.requests()
        lab.log.clear()
        for entry in [entry for entry in waiting if entry.ended]:
            print(entry, flush=True)
            waiting.remove(entry)


if __name__ == "__main__":
    sys.exit(main())
