#!/usr/bin/python3 -IB
"""The xapi plugin: answers ``xe host-call-plugin plugin=xcpng-mirrors`` and Xen Orchestra on each host of a pool.

xapi runs this file with one argument, an XML-RPC method call: the function's name, a session reference (not used here) and
a struct of texts. The answer is one XML-RPC response on stdout, with a struct: Status "Success" and Value, the output of the
command with --json; or Status "Failure" and ErrorDescription, a list of texts that begins with xapi's name of the error.

Functions and the keys of their struct, all optional:
    status, refresh, doctor     repo: ids of repositories, separated by spaces or commas
    precheck                    repo; pin: a token of "xcpng-mirrors pool --agree"; unpin: "true"

Python 2.7 and 3, standard library only. The package runs it with the python3 that it requires, because XCP-ng 9 has no
Python 2.7. The values come from the network: no shell sees them, and none can become an option.
"""
import json
import os
import re
import select
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # also if the first line is not used: no .pyc is written beside bridge.py
sys.path.append(os.path.dirname(os.path.realpath(__file__)))  # at the end, where our yum.py and dnf.py hide no other module

import bridge  # noqa: E402

if sys.version_info[0] > 2:
    from xmlrpc import client as xmlrpc
else:
    import xmlrpclib as xmlrpc

MAX_CALL_BYTES = 128 * 1024  # the longest argument on Linux (MAX_ARG_STRLEN)
MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_WORDS_BYTES = 64 * 1024
MAX_REPOSITORIES = 64
POLL_SECONDS = 0.01
# Seconds after which the command is killed.
FUNCTIONS = {"status": 30.0, "precheck": 240.0, "refresh": 60.0, "doctor": 180.0}
REPOSITORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}\Z")
TOKEN = re.compile(r"[A-Za-z0-9_.:/-]{1,4096}\Z")
YES, NO = ("true", "1", "yes"), ("false", "0", "no", "")


class Failure(Exception):
    """A failure as xapi expects it: xapi's name of the error, and more texts."""


def main(arguments):
    """Answer one call.

    Args:
        arguments: of the process.

    Returns:
        The response, in XML.
    """
    function = ""
    try:
        function, words = read_call(arguments)
        return response(Status="Success", Value=ask(command_beside(__file__), function, words))
    except Failure as failure:
        return response(Status="Failure", ErrorDescription=[plain(text) for text in failure.args])
    except Exception as error:  # after our bug, xapi must still get an answer that it can parse
        texts = ["XENAPI_PLUGIN_FAILURE", function, type(error).__name__, str(error)]
        return response(Status="Failure", ErrorDescription=[plain(text) for text in texts])


def response(**values):
    """Return a response in XML."""
    return xmlrpc.dumps((values,), "", True, "utf-8")


def plain(text):
    """Return a text that is safe in XML and on a terminal: one line of at most 2000 printable ASCII characters."""
    return re.sub(r"[^ -~]", "?", text)[:2000]


def read_call(arguments):
    """Read a method call.

    Args:
        arguments: of the process.

    Returns:
        (function, words): one of FUNCTIONS, and the command's options for its struct.

    Raises:
        Failure: it is malformed, or there is no such function.
    """
    if len(arguments) != 1 or len(arguments[0]) > MAX_CALL_BYTES:
        raise failure("", "one argument of at most {0} bytes is wanted: an XML-RPC method call".format(MAX_CALL_BYTES))
    if "<!" in arguments[0]:  # xapi writes none, and the entities of a DOCTYPE can grow without limit
        raise failure("", "a method call with a DOCTYPE or other declarations")
    try:
        parameters, function = xmlrpc.loads(arguments[0])
        values = parameters[1]
    except Exception as error:  # the parser raises many kinds of errors
        raise failure("", "no XML-RPC method call with a session and a struct: {0}".format(type(error).__name__))
    if function not in FUNCTIONS:
        raise Failure("UNKNOWN_XENAPI_PLUGIN_FUNCTION", "{0}".format(function))
    return function, options(function, values)


def failure(function, what):
    """Return a failure in the form of XenAPIPlugin."""
    return Failure("XENAPI_PLUGIN_FAILURE", function, "xcpng-mirrors", what)


def options(function, values):
    """Return the command's options for the struct of a call."""
    readers = {"repo": repositories}
    if function == "precheck":
        readers.update(pin=pin, unpin=unpin)
    if not isinstance(values, dict) or not all(key in readers for key in values):
        raise failure(function, "a struct with the keys {0} and no other is wanted".format(", ".join(sorted(readers))))
    texts = dict((key, values[key]) for key in readers if key in values)
    if not all(isinstance(text, (type(""), type(u""))) for text in texts.values()):
        raise failure(function, "every value is a text")
    try:
        return [word for key in sorted(texts) for word in readers[key](texts[key].strip())]
    except ValueError as error:
        raise failure(function, str(error))


def repositories(text):
    """Read "repo"."""
    ids = text.replace(",", " ").split()
    if len(ids) > MAX_REPOSITORIES or not all(REPOSITORY.match(each) for each in ids):
        raise ValueError("repo: ids of repositories are wanted, {0} at most".format(MAX_REPOSITORIES))
    return ["--repo=" + each for each in ids]


def pin(text):
    """Read "pin"."""
    if not TOKEN.match(text):
        raise ValueError("pin: a token of 'xcpng-mirrors pool --agree' is wanted")
    return ["--pin=" + text]


def unpin(text):
    """Read "unpin"."""
    if text.lower() not in YES + NO:
        raise ValueError("unpin: true or false is wanted")
    return ["--unpin"] if text.lower() in YES else []


def command_beside(path):
    """Return the command of the tree of this plugin, which is called by its link in ROOT/etc/xapi.d/plugins/."""
    root = os.path.dirname(os.path.abspath(path))
    for _ in range(3):
        root = os.path.dirname(root)
    return os.path.join(root, "usr", "bin", "xcpng-mirrors")


def ask(command, function, words):
    """Run a subcommand and return the JSON object that it prints, as ASCII.

    Raises:
        Failure: it could not be run, hung, or printed something else.
    """
    try:
        output, complaints, code = run([command, function, "--json"] + words, FUNCTIONS[function])
    except (IOError, OSError) as error:
        raise failure(function, "{0} cannot be run: {1}".format(command, error.strerror))
    if code is None:
        raise failure(function, "no answer within {0:.0f} s, or an endless one".format(FUNCTIONS[function]))
    try:
        answer = json.loads(output.decode("utf-8"))
        if isinstance(answer, dict):
            return json.dumps(answer, sort_keys=True)
    except (ValueError, RuntimeError):  # RuntimeError: nested too deeply
        pass
    lines = complaints.decode("utf-8", "replace").strip().splitlines() or ["it printed no JSON object"]
    raise failure(function, "exit code {0}: {1}".format(code, lines[-1]))


def run(command, seconds):
    """Run a command in its own process group, and end that group in any case.

    Args:
        command: the program and its arguments.
        seconds: the time that it may take.

    Returns:
        (stdout, stderr, exit code): its output; of stderr only the beginning. The exit code is None if it was too slow or
        printed too much.
    """
    ends_at = bridge.clock() + seconds
    with open(os.devnull) as nothing:
        child = subprocess.Popen(command, stdin=nothing, stdout=subprocess.PIPE, stderr=subprocess.PIPE, close_fds=True, cwd="/",
                                 env=bridge.clean_environment(), **bridge.NEW_SESSION)
    try:
        output, complaints = child.stdout.fileno(), child.stderr.fileno()
        texts = {output: b"", complaints: b""}
        complete = collect(texts, output, ends_at)
        while complete and child.poll() is None and bridge.clock() < ends_at:
            time.sleep(POLL_SECONDS)
    finally:
        bridge.end_group(child)
    return texts[output], texts[complaints], child.returncode if complete else None


def collect(texts, first, ends_at):
    """Read streams to their ends.

    Args:
        texts: the bytes read, by file descriptor; filled in.
        first: the descriptor that is read completely; of any other one only the beginning is kept.
        ends_at: the deadline, by ``bridge.clock``.

    Returns:
        Whether everything was read in time and within the limits.
    """
    waiting = list(texts)
    while waiting:
        left = ends_at - bridge.clock()
        ready = select.select(waiting, [], [], left)[0] if left > 0 else []
        if not ready:
            return False
        for stream in ready:
            data = os.read(stream, 65536)
            if not data:
                waiting.remove(stream)
            elif stream == first or len(texts[stream]) < MAX_WORDS_BYTES:
                texts[stream] += data
        if len(texts[first]) > MAX_ANSWER_BYTES:
            return False
    return True


def guarded_stdout():
    """Return a stream for the answer, and discard whatever else this process prints to stdout."""
    answer = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    return answer


if __name__ == "__main__":
    stdout = guarded_stdout()
    text = main(sys.argv[1:])
    stdout.write(text if isinstance(text, bytes) else text.encode("ascii", "xmlcharrefreplace"))
    stdout.flush()
