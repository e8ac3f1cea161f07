"""The command's entrance: which subcommand, and what becomes of its errors.

Everything is imported late: ``engine``, which the package managers' plugins start, and ``--version`` must be quick.
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
GC_THRESHOLD = 100000  # objects; looking for dead cycles among what is imported took a tenth of a short life
EXIT_INTERRUPTED = 130  # as a shell reports SIGINT

# Name and purpose; the module of the same name, with "_" for "-", has add_arguments(parser) and run(arguments) -> exit code.
SUBCOMMANDS = (
    ("mirrors", "ask every mirror and show how it does"),
    ("refresh", "find the proven mirrors now and remember them"),
    ("status", "show what this host remembers; asks nobody"),
    ("precheck", "say whether this host can update now, and what that takes"),
    ("pool", "say whether all hosts of this pool can update now, and make them take the same; on the master"),
    ("doctor", "look for whatever is wrong on this host, and say which command mends it"),
    ("explain", "say what was decided lately about a repository or a mirror, and why; asks nobody"),
    ("verify", "verify packages, images, lists of checksums or a whole repository on this disk; asks nobody"),
    ("get", "fetch files or packages from the proven mirrors, verified"),
    ("key", "show or check the keys of this host"),
    ("config", "show every setting and where its value comes from"),
)
# The same for those who run or watch mirrors: a host can do without.
OPERATORS_SUBCOMMANDS = (
    ("audit", "examine a mirror against what the XCP-ng project asks of one, and say what mends each fault"),
    ("sync", "keep a mirror on this disk right: fetch, prove, switch at once, then delete"),
    ("report", "report all mirrors in one page, as JSON, or for Prometheus"),
    ("report-mirror", "write a report about a bad mirror, ready to be sent to its owner; sends nothing"),
)
OPERATORS_PACKAGE = PROGRAM + "-operators"


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command.

    Args:
        argv: the arguments after the program's name; those of this process if left out.

    Returns:
        The exit code, see errors.py; argparse ends the process itself for --help and wrong arguments (2).
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    if not sys.warnoptions:  # what libraries tell developers, e.g. cryptography on Python 3.6, is nothing to an admin
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
    except BrokenPipeError:  # "| head" has seen enough; Python would complain once more when it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_OK


def _run_engine() -> NoReturn:
    """Serve one request and end this process at once, even if a thread still hangs in a system call.

    Events go to a copy of stdout, and stdout becomes stderr: what a library may print cannot get among them.
    """
    events = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    from ..engine import serve
    from ..privsep.parent import separated

    try:
        code = serve(sys.stdin.buffer, events, separated)
    except BrokenPipeError:  # the plugin has ended; nobody is left to be told
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
            subparser.add_argument("-v", "--verbose", action="count", default=0, help="say more; twice: also what the log gets")
            subparser.add_argument("-q", "--quiet", action="store_true", help="say only what is wrong")
            if name in arguments:
                module = import_module("." + name.replace("-", "_"), folder)
                module.add_arguments(subparser)
                subparser.set_defaults(run=module.run)
    found = parser.parse_args(arguments)
    if found.subcommand is None:
        parser.error("a subcommand is missing")
    return found


def _refuse_operators(arguments: Sequence[str]) -> None:
    """Raise UsageError for a subcommand of the package that is not installed."""
    named = next((word for word in arguments if not word.startswith("-")), "")
    if named in [name for name, _ in OPERATORS_SUBCOMMANDS]:
        raise UsageError("usage", "{} is in the package {}, which is not installed here".format(named, OPERATORS_PACKAGE),
                         hint="yum install {}".format(OPERATORS_PACKAGE))


def _run_subcommand(arguments: "argparse.Namespace") -> int:
    """Run a subcommand: each way to end has its exit code, and says at most one line."""
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()
    except MirrorsError as error:
        code = _tell(error)
    except BrokenPipeError:
        raise
    except Exception as error:  # a border: a bug of ours becomes one line, and its traceback goes to the log
        code = _tell_bug(error, arguments.verbose)
    return code


def _tell(error: MirrorsError) -> int:
    print("{}: {}".format(PROGRAM, error), file=sys.stderr)
    return error.exit_code


def _tell_bug(error: Exception, verbose: int) -> int:
    import logging
    import traceback
    logging.getLogger(PROGRAM).exception("a bug of ours")
    if verbose:
        traceback.print_exc()
    return _tell(MirrorsError("internal", "{}: {}".format(type(error).__name__, error)))
