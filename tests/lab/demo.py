"""``make demo``: stock dnf beside dnf with the plugin, the first mirror of the list having a fault."""
import os
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple, Tuple

from .host import Host
from .lab import Lab
from .plugin import install_plugin

STOP_SECONDS = 20.0  # stock dnf waits for minutes or for ever: long enough to see that it hangs
FAULTS: Tuple[Tuple[str, str], ...] = (
    ("stale", "the first mirror lags behind"),
    ("bad-signature", "its repomd.xml.asc is damaged"),
    ("captive", "a welcome page answers for it"),
    ("blackhole", "it accepts and never answers"),
)
COLUMNS = "{:<15} {:<12} {:<10} {:<8} {:>8} {:>9}"


class Result(NamedTuple):
    """What one run of dnf came to."""

    outcome: str
    version: str
    seconds: float
    received_bytes: int


def run(lab: Lab, host: Host) -> Result:
    """Let a host install the package, and watch."""
    lab.log.clear()
    started = time.monotonic()
    try:
        code = host.dnf("-y", "install", "lab-agent", timeout_seconds=STOP_SECONDS).returncode
        outcome = "ok" if code == 0 else "exit {}".format(code)
    except subprocess.TimeoutExpired:
        outcome = "stopped"
    seconds = time.monotonic() - started
    return Result(outcome, host.version("lab-agent") or "none", seconds, lab.log.bytes())


def main() -> int:
    """Run the demo; return 0 if the plugin got the new package every time."""
    print("A first mirror with a fault, two good ones behind it; dnf -y install lab-agent.")
    print("The repository has version 2.0; a mirror that lags still has 1.0.\n")
    print(COLUMNS.format("fault", "dnf", "result", "version", "seconds", "KB"), flush=True)
    print("-" * 67, flush=True)
    good = True
    with tempfile.TemporaryDirectory(prefix="xcpng-mirrors-demo-") as folder, Lab(os.path.join(folder, "lab")) as lab:
        for fault, _ in FAULTS:
            for kind in ("stock", "with plugin"):
                plugin = kind != "stock"
                result = _case(lab, os.path.join(folder, "{}-{:d}".format(fault, plugin)), fault, plugin)
                good = good and (not plugin or result[:2] == ("ok", "2.0"))
                print(COLUMNS.format(fault, kind, result.outcome, result.version, "{:.1f}".format(result.seconds),
                                     result.received_bytes // 1024), flush=True)
    print()
    for fault, words in FAULTS:
        print("{:<15} {}".format(fault, words))
    print("\nWhere stock dnf hung it was stopped after {:.0f} s. To play with the lab yourself:".format(STOP_SECONDS))
    print("    {} -m tests.lab --help".format(os.path.relpath(sys.executable)))
    return 0 if good else 1


def _case(lab: Lab, folder: str, fault: str, plugin: bool) -> Result:
    lab.reset()
    for name, mirror_fault in (("first", fault), ("second", ""), ("third", "")):
        lab.add_mirror(name, fault=mirror_fault)
    host = lab.installroot(folder, plugins=plugin)
    if plugin:
        install_plugin(host, lab)
    return run(lab, host)


if __name__ == "__main__":
    sys.exit(main())
