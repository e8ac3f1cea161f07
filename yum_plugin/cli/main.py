"""The command's entry point: it runs a subcommand and turns its errors into messages and exit codes.

Everything is imported late, because ``--version`` and ``engine``, which every run of yum and dnf starts, must be quick.
"""
import gc
import os
import sys
import warnings
from typing import TYPE_CHECKING, NoReturn, Optional, Sequence

from .. import __version__
from ..errors import EXIT_BUG, EXIT_OK, MirrorsError, UsageError

if TYPE_CHECKING:
    import argparse

PROGRAM = "xcpng-mirrors"
GC_THRESHOLD = 100000  # objects; with the default of 700, a short run spent a tenth of its time on collections
EXIT_INTERRUPTED = 130  # as a shell reports SIGINT

# Name and purpose. The module of the same name, with "_" for "-", has add_arguments(parser) and run(arguments) -> exit code.
SUBCOMMANDS = (
    ("mirrors", "ask every mirror and show its state"),
    ("refresh", "find the proven mirrors now and remember them"),
    ("status", "show what this host remembers; uses no network"),
    ("precheck", "check whether this host can update now, and how much it would fetch"),
    ("pool", "check whether all hosts of this pool can update now, and pin them to the same revisions; run it on the master"),
    ("doctor", "look for problems on this host, and name the command that fixes each"),
    ("explain", "show the last decisions about a repository or a mirror, and their reasons; uses no network"),
    ("verify", "verify packages, images, checksum files or a whole repository on this disk; uses no network"),
    ("get", "fetch files or packages from the proven mirrors and verify them"),
    ("key", "show or check the keys of this host"),
    ("config", "show every setting and where its value comes from"),
)
# The subcommands for those who run or watch mirrors; a host does not need them.
OPERATORS_SUBCOMMANDS = (
    ("audit", "check a mirror against the requirements of the XCP-ng project, and say how to fix each fault"),
    ("sync", "keep a mirror on this disk up to date: fetch, verify, exchange atomically, then delete"),
    ("report", "report all mirrors in one page, as JSON, or for Prometheus"),
    ("report-mirror", "write a report about a bad mirror that can be sent to its owner; sends nothing"),
)
OPERATORS_PACKAGE = PROGRAM + "-operators"


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command.

    Args:
        argv: the arguments after the program's name; default: those of this process.

    Returns:
        The exit code, see errors.py. For --help and wrong arguments (2), argparse ends the process itself.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    if not sys.warnoptions:  # warnings for developers, e.g. of cryptography on Python 3.6, are of no use to an admin
        warnings.simplefilter("ignore")
    gc.set_threshold(GC_THRESHOLD)
    if arguments == ["engine"]:
        _run_engine()
    try:
        if arguments == ["--version"]:
            print(PROGRAM, __version__, flush=True)
            return EXIT_OK
        return _run_subcommand(_parse(arguments))
    except UsageError as error:
        return _tell(error)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # "| head" has ended; without the next line Python would report it when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_OK


def _run_engine() -> NoReturn:
    """Serve one request and end this process at once, even if a thread still hangs in a system call.

    Events go to a copy of stdout, and stdout becomes stderr, so that nothing that a library prints can get among them.
    """
    events = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    from ..privsep.process import start_early
    process = start_early()
    from ..engine import serve
    from ..privsep.parent import separated

    try:
        code = serve(sys.stdin.buffer, events, lambda networks, cpu_seconds: separated(networks, cpu_seconds, process))
    except BrokenPipeError:  # the plugin has ended; there is nobody left to answer
        code = EXIT_BUG
    os._exit(code)


def _parse(arguments: Sequence[str]) -> "argparse.Namespace":
    import argparse
    from importlib import import_module
    from importlib.util import find_spec

    parser = argparse.ArgumentParser(prog=PROGRAM, description="Package updates on XCP-ng hosts that survive bad mirrors.")
    parser.add_argument("--version", action="version", version="{} {}".format(PROGRAM, __version__))
    subparsers = parser.add_subparsers(title="subcommands", dest="subcommand", metavar="SUBCOMMAND")
    have_operators = find_spec("yum_plugin.operators") is not None
    if not have_operators:
        _refuse_operators(arguments)
    offered = OPERATORS_SUBCOMMANDS if have_operators else ()
    for folder, entries in (("yum_plugin.cli", SUBCOMMANDS), ("yum_plugin.operators.cli", offered)):
        for name, purpose in entries:
            subparser = subparsers.add_parser(name, help=purpose, description=purpose[:1].upper() + purpose[1:] + ".")
            subparser.add_argument("-v", "--verbose", action="count", default=0, help="say more; given twice, also show the log")
            subparser.add_argument("-q", "--quiet", action="store_true", help="report problems only")
            if name in arguments:
                module = import_module("." + name.replace("-", "_"), folder)
                module.add_arguments(subparser)
                subparser.set_defaults(run=module.run)
    found = parser.parse_args(arguments)
    if found.subcommand is None:
        parser.error("a subcommand is missing")
    return found


def _refuse_operators(arguments: Sequence[str]) -> None:
    """Raise UsageError if the subcommand belongs to the package for operators, which is not installed."""
    named = next((word for word in arguments if not word.startswith("-")), "")
    if named in [name for name, _ in OPERATORS_SUBCOMMANDS]:
        raise UsageError("usage", "{} is in the package {}, which is not installed here".format(named, OPERATORS_PACKAGE),
                         hint="yum install {}".format(OPERATORS_PACKAGE))


def _run_subcommand(arguments: "argparse.Namespace") -> int:
    """Run a subcommand; an error becomes one line on stderr and an exit code."""
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()
    except MirrorsError as error:
        code = _tell(error)
    except BrokenPipeError:
        raise
    except Exception as error:  # a bug becomes one line, and its traceback goes to the log
        code = _tell_bug(error, arguments.verbose)
    return code


def _tell(error: MirrorsError) -> int:
    print("{}: {}".format(PROGRAM, error), file=sys.stderr)
    return error.exit_code


def _tell_bug(error: Exception, verbose: int) -> int:
    import logging
    import traceback
    logging.getLogger(PROGRAM).exception("internal error")
    if verbose:
        traceback.print_exc()
    return _tell(MirrorsError("internal", "{}: {}".format(type(error).__name__, error)))
