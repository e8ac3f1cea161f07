#!/usr/bin/env python3
"""Usage: tools/mutants.py [--sample N] [--jobs N] [--only TEXT] [FOLDER...]

Change the code in one place at a time, and see whether a test fails: a change that no test notices shows a missing test.
FOLDERs default to yum_plugin/trust and yum_plugin/state. The last lines are the survivors and the numbers; the exit code
is 1 if less than 95 % of the mutants are killed. docs/mutants.md explains all of it and argues each survivor.

How a mutant is run:
    1. All of it happens in a copy of the tree; the checkout is never changed.
    2. pytest collects the tests of a folder once. A first child notes which test runs which line, and how long it takes.
    3. A mutant inside a function gets a forked child, which exchanges the code of the functions in place and runs the
       tests that reach the line, fastest first, until one fails.
    4. A mutant outside of functions, or in a line that only the collection of tests runs, is written into the copy, and the
       test files of its module run on it in a new process each, until one fails. So does the module's own test file on what
       has survived step 3: it may have tests that start processes of their own.
A child that needs much longer than the tests did at first counts as killed. Needs Python 3.9 (ast.unparse).
"""
import argparse
import ast
import json
import os
import queue
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SEED = 20240229
NEEDED_PERCENT = 95
# Folder -> its tests. Tests that need the lab, a whole dnf or random input are left out: too slow here.
TESTS = {
    "yum_plugin/trust": ["attacks", "checksum_file", "digest", "files", "freshness", "keys", "metadata", "openpgp", "packets",
                         "primary", "repomd", "rpmfile"],
    "yum_plugin/state": ["failures", "history", "outcome", "refresh_policy", "selection", "simulated_refresh", "snapshot_pin",
                         "state", "state_limits"],
}
LEFT_OUT = "not dnf and not fuzz"
SLOW_SECONDS = 8  # a test that takes longer is left out
NOT_EXCHANGED = 3  # exit code of a child whose functions cannot get the mutant's code: a mutant without super(), for one

SWAPS = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.And: (ast.Or,), ast.Or: (ast.And,),
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.FloorDiv,), ast.FloorDiv: (ast.Mult,),
    ast.LShift: (ast.RShift,), ast.RShift: (ast.LShift,),
    ast.BitAnd: (ast.BitOr,), ast.BitOr: (ast.BitAnd,), ast.BitXor: (ast.BitOr,),
}
BOOLEAN = (ast.Compare, ast.BoolOp)
REMOVED = (ast.Raise, ast.AugAssign, ast.Delete, ast.Break, ast.Continue)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
UNSEEN = {"annotation", "returns", "decorator_list"}  # fields that change nothing, or only a cache


class Mutant:
    """One change: ``new`` instead of ``old`` in a field of ``parent``."""

    def __init__(self, path, tree, place, old, new, scope, statement):
        self.path, self.tree, self.place, self.old, self.new = path, tree, place, old, new
        self.inside = bool(scope.functions)  # a function
        first, last = statement.lineno, getattr(statement, "end_lineno", statement.lineno)
        body = getattr(statement, "body", None)
        if body and not isinstance(statement, FUNCTIONS):
            last = max(first, body[0].lineno - 1)
        self.lines = range(first, last + 1)
        self.line = getattr(old, "lineno", first)
        whole = place[0] if isinstance(place[0], ast.expr) else statement
        before = text_of(whole)
        with self:
            after = text_of(whole) if whole is not old else "pass"
        self.name = "{}: {}: `{}` -> `{}`".format(path, ".".join(scope.names) or "module", *shortened(before, after))

    def __enter__(self):
        self._put(self.new)

    def __exit__(self, *_):
        self._put(self.old)

    def _put(self, node):
        parent, field, index = self.place
        if index is None:
            setattr(parent, field, node)
        else:
            getattr(parent, field)[index] = node


class Scope:
    """Where the walk is: names of classes and functions, and whether in a function."""

    def __init__(self, names=(), functions=0):
        self.names, self.functions = names, functions

    def entered(self, node):
        """Return the scope inside a node."""
        if isinstance(node, FUNCTIONS + (ast.ClassDef,)):
            return Scope(self.names + (node.name,), self.functions + isinstance(node, FUNCTIONS))
        return self


def text_of(node):
    """Return a node's source on one line; of a compound statement its head."""
    text = ast.unparse(ast.fix_missing_locations(node))
    return (text.split("\n") if not isinstance(node, ast.expr) else [text])[0].strip()


def shortened(before, after, around=40):
    """Cut two texts to what differs, with something around it."""
    start = len(os.path.commonprefix([before, after]))
    end = min(len(os.path.commonprefix([before[::-1], after[::-1]])), len(before) - start, len(after) - start)
    left, right = max(0, start - around), max(0, end - around)
    marks = ("…" if left else "", "…" if right else "")
    return [marks[0] + text[left : len(text) - right] + marks[1] for text in (before, after)]


def variants(parent, field, node):
    """Yield what may stand in a node's place."""
    for swap in SWAPS.get(type(node), ()):
        if not isinstance(node, ast.Add) or not any(is_text(getattr(parent, side, None)) for side in ("left", "right")):
            yield swap()
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield from (ast.Constant(node.value + step) for step in (1, -1))
    elif isinstance(node, ast.Constant) and node.value == "" and field in ("defaults", "kw_defaults"):
        yield ast.Constant("mutant")
    if field == "test" or isinstance(parent, ast.comprehension) and field == "ifs":
        if not isinstance(node, ast.Constant):
            yield from (ast.Constant(value) for value in ((True,) if field == "ifs" else (True, False)))
    if isinstance(parent, ast.Return) and not isinstance(node, ast.Constant):
        yield ast.Constant(None)
        if isinstance(node, BOOLEAN) or isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield from (ast.Constant(True), ast.Constant(False))
    if isinstance(parent, ast.Slice) and field in ("lower", "upper"):
        yield None
    call = isinstance(node, ast.Expr) and isinstance(node.value, (ast.Call, ast.Yield, ast.YieldFrom))
    stored = isinstance(node, ast.Assign) and isinstance(node.targets[0], (ast.Attribute, ast.Subscript))
    if isinstance(node, REMOVED) or call or stored:
        yield ast.Pass()


def is_text(node):
    """Tell whether a node is text: subtracting that fails at once and shows nothing."""
    return isinstance(node, (ast.List, ast.Tuple)) or isinstance(getattr(node, "value", None), (str, bytes))


def find_mutants(path):
    """Return all mutants of a file, each with another name; ``path`` is relative."""
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    found, seen = [], {}

    def walk(parent, scope, statement):
        for field, value in ast.iter_fields(parent):
            if field in UNSEEN:
                continue
            for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if not isinstance(node, ast.AST):
                    continue
                if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                    continue
                around = node if isinstance(node, ast.stmt) else statement
                for new in variants(parent, field, node):
                    found.append(Mutant(path, tree, (parent, field, index), node, new, scope, around))
                walk(node, scope.entered(node), around)

    walk(tree, Scope(), None)
    for mutant in found:
        seen[mutant.name] = number = seen.get(mutant.name, 0) + 1
        if number > 1:
            mutant.name += " #{}".format(number)
    return found


def all_mutants(folder):
    """Return the mutants of a folder's files, in order."""
    return [mutant for path in sorted(Path(folder).glob("*.py")) for mutant in find_mutants(str(path))]


# In the process of pytest: the fast way.


def pytest_collection_modifyitems(items):
    """Leave out tests that need the lab (a hook of pytest)."""
    items[:] = [item for item in items if not {"lab", "built_lab"} & set(item.fixturenames)]


def pytest_runtestloop(session):
    """Run mutants instead of the tests (a hook of pytest); the tests where the script does not ask for mutants."""
    if "MUTANTS" not in os.environ:
        return None
    session.config._tmp_path_factory.getbasetemp()  # before anything forks: it is numbered
    folder, chosen, jobs = json.loads(os.environ["MUTANTS"])
    found = all_mutants(folder)
    lines, seconds = observe(session, {os.path.abspath(str(path)): str(path) for path in Path(folder).glob("*.py")})
    results, running = {}, {}
    for number in chosen:
        mutant = found[number]
        reach = {test for line in mutant.lines for test in lines.get("{}:{}".format(mutant.path, line), ())}
        if not mutant.inside or not reach:
            results[number] = "whole"
            continue
        tests = sorted(reach, key=lambda test: seconds[test])
        while len(running) >= jobs:
            reap(running, results, found)
        pid = fork_mutant(mutant, [session.items[test] for test in tests], [seconds[test] for test in tests])
        running[pid] = number
    while running:
        reap(running, results, found)
    # Module -> the test files that run any line of it, with the time they take
    files = {}
    for place, tests in lines.items():
        for test in tests:
            files.setdefault(place.split(":")[0], {}).setdefault(session.items[test].nodeid.split("::")[0], set()).add(test)
    files = {path: {file: sum(seconds[test] for test in tests) for file, tests in each.items()} for path, each in files.items()}
    Path("mutants.json").write_text(json.dumps([results, files]))
    return True


def reap(running, results, found):
    """Wait for one child, and note what became of its mutant."""
    pid, status = os.wait()
    if pid in running:
        number = running.pop(pid)
        results[number] = {0: "alive", NOT_EXCHANGED << 8: "whole"}.get(status, "killed")
        if not status:
            say("first alive:", found[number])


def say(word, mutant):
    """Report a mutant while there is more to do."""
    print(word, "{}:{}:".format(mutant.path, mutant.line), mutant.name, file=sys.stderr, flush=True)


def run_items(items, seconds=()):
    """Run tests in order and yield whether each is fine; ``seconds``: this process dies if one takes ten times as long."""
    from _pytest.runner import runtestprotocol

    for number, (item, following) in enumerate(zip(items, items[1:] + [None])):
        if seconds:
            signal.setitimer(signal.ITIMER_VIRTUAL, 2 + 10 * seconds[number])  # of this process only: others may be busy
            signal.alarm(60 + int(20 * seconds[number]))  # one that sleeps
        reports = runtestprotocol(item, log=False, nextitem=following)
        yield not any(report.failed for report in reports)


def observe(session, targets):
    """Return "path:line" -> the tests (places in session.items) that run it, and how long each takes; all must pass."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os._exit(_observe_in_child(session.items, targets, writing))
    os.close(writing)
    with open(reading) as stream:
        lines, seconds = json.loads(stream.read() or "[0, 0]")
    if os.waitpid(pid, 0)[1]:
        raise SystemExit("mutants: the tests fail without any mutant: {}".format(seconds))
    return lines, seconds


def _observe_in_child(items, targets, writing):
    quiet()
    lines, seconds, hits = {}, [], set()

    def local(frame, event, _):
        if event == "line":
            hits.add((frame.f_code.co_filename, frame.f_lineno))
        return local

    def trace(frame, event, _):
        if frame.f_code.co_filename not in targets:
            return None
        hits.add((frame.f_code.co_filename, frame.f_lineno))
        return local

    threading.settrace(trace)
    failed = []
    sys.settrace(trace)
    started = time.perf_counter()
    for number, good in enumerate(run_items(items)):
        seconds.append(time.perf_counter() - started)
        if not good:
            failed.append(items[number].nodeid)
        if seconds[-1] < SLOW_SECONDS:
            for path, line in hits:
                lines.setdefault("{}:{}".format(targets[path], line), []).append(number)
        hits.clear()
        started = time.perf_counter()
    sys.settrace(None)
    with open(writing, "w") as stream:
        stream.write(json.dumps([lines, failed or seconds]))
    return bool(failed)


def quiet():
    """Send what a child says nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(nowhere, handle)


def fork_mutant(mutant, items, seconds):
    """Start a child that runs tests on a mutant; it exits with 0 if all pass. ``seconds`` is how long each usually takes."""
    pid = os.fork()
    if pid:
        return pid
    quiet()
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))  # a loop that never ends may also collect
    code = NOT_EXCHANGED
    try:
        with mutant:
            ast.fix_missing_locations(mutant.tree)
            exchange(sys.modules[mutant.path[:-3].replace("/", ".").replace(".__init__", "")], mutant)
        code = 1
        code = not all(run_items(items, seconds))
    finally:
        os._exit(code)


def exchange(module, mutant):
    """Give the functions of a loaded module the code of the mutant's."""
    mutated = {name: module.__dict__[name] for name in ("__name__", "__package__", "__file__")}
    exec(compile(mutant.tree, module.__file__, "exec"), mutated)
    for name, new in mutated.items():
        old = module.__dict__.get(name)
        if isinstance(new, type) and new.__module__ == module.__name__:
            for attribute, value in vars(new).items():
                exchange_function(vars(old).get(attribute), value)
        exchange_function(old, new)


def exchange_function(old, new):
    """Exchange the code and the defaults of a function, also of one that is wrapped."""
    for inner in ("__wrapped__", "__func__", "fget"):
        if getattr(new, inner, None) is not None and not isinstance(new, type):
            getattr(old, "cache_clear", int)()
            exchange_function(getattr(old, inner), getattr(new, inner))
            return
    if isinstance(new, types.FunctionType) and isinstance(old, types.FunctionType) and old.__code__ != new.__code__:
        old.__code__ = new.__code__
    if isinstance(new, types.FunctionType) and isinstance(old, types.FunctionType) and old is not new:
        old.__defaults__, old.__kwdefaults__ = new.__defaults__, new.__kwdefaults__


# In the process of the script.


def copy_tree(target):
    """Copy what git knows, as it is now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=str(ROOT), stdout=subprocess.PIPE, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(str(ROOT / name), str(target / name), follow_symlinks=False)
    shared = ROOT.parent / "shared"
    if shared.is_dir() and not (target.parent / "shared").exists():
        (target.parent / "shared").symlink_to(shared)


def test_command(*arguments):
    """Return a command that runs tests in a copy of the tree, with this file as a plugin of pytest."""
    plugins = ["-p", "no:cacheprovider", "-p", "mutants"]
    return [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-s", *plugins, "-m", LEFT_OUT, *arguments]


def run_fast(copy, folder, chosen, jobs):
    """Return what became of mutants in forked children, and the test files of each module."""
    tests = ["tests/test_{}.py".format(name) for name in TESTS[folder]]
    environment = dict(os.environ, MUTANTS=json.dumps([folder, chosen, jobs]), PYTHONPATH=str(copy / "tools"))
    done = subprocess.run(test_command(*[test for test in tests if (copy / test).exists()]),
                          cwd=str(copy), env=environment, stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(done.stdout.decode()[-3000:] or "mutants: pytest failed")
    results, files = json.loads((copy / "mutants.json").read_text())
    return {int(number): result for number, result in results.items()}, files


def run_whole(copy, mutant, files):
    """Run test files on a mutant that is written into the copy, the cheapest first; return what became of it."""
    path = copy / mutant.path
    good = path.read_text(encoding="utf-8")
    own = "tests/test_{}.py".format(path.stem)
    with mutant:
        path.write_text(ast.unparse(ast.fix_missing_locations(mutant.tree)), encoding="utf-8")
    try:
        for file in sorted(files, key=lambda file: (file != own, files[file])):
            try:
                done = subprocess.run(test_command(file), cwd=str(copy), env=dict(os.environ, PYTHONPATH=str(copy / "tools")),
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                      timeout=120 + 20 * files[file], start_new_session=True)
            except subprocess.TimeoutExpired:
                return "killed"
            if done.returncode not in (0, 5):  # 5: all of its tests are left out
                return "killed"
        return "alive"
    finally:
        path.write_text(good, encoding="utf-8")


def argued():
    """Return the names of the survivors that docs/mutants.md argues: its indented lines."""
    page = ROOT / "docs/mutants.md"
    return set(re.findall(r"^    (\S+: .*)$", page.read_text(encoding="utf-8"), re.M)) if page.exists() else set()


def run_folder(copies, folder, options):
    """Run the mutants of a folder; return pairs of a mutant and what became of it."""
    found = all_mutants(folder)
    chosen = [number for number, mutant in enumerate(found) if options.only in mutant.name]
    if options.sample:
        chosen = sorted(random.Random(SEED).sample(chosen, min(options.sample, len(chosen))))
    results, files = run_fast(copies[0], folder, chosen, options.jobs)
    free = queue.Queue()
    for copy in copies:
        free.put(copy)

    def run(number):
        # Each thread has trees of its own: a mutant changes its tree.
        mutant = [each for each in find_mutants(found[number].path) if each.name == found[number].name][0]
        copy = free.get()
        reaching = files.get(mutant.path, {})
        own = "tests/test_{}.py".format(Path(mutant.path).stem)
        if results[number] == "alive":
            reaching = {file: reaching[file] for file in reaching if file == own}
        results[number] = run_whole(copy, mutant, reaching)
        free.put(copy)
        if results[number] == "alive":
            say("alive:", mutant)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(run, [number for number in chosen if results[number] != "killed"]))
    return [(found[number], results[number]) for number in chosen]


def main():
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=0, help="so many mutants of each folder, the same ones every time; 0: all")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--only", default="", help="mutants whose name has this text")
    parser.add_argument("folders", nargs="*", default=sorted(TESTS, reverse=True), metavar="FOLDER")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        copies = [Path(scratch, str(number)) for number in range(options.jobs + 1)]
        for copy in copies:
            copy_tree(copy)
        os.chdir(str(copies.pop()))  # read from there: the checkout may change meanwhile
        return report([pair for folder in options.folders for pair in run_folder(copies, folder, options)])


def report(pairs):
    """Print survivors and numbers; return the exit code."""
    arguments = argued()
    survivors = [mutant for mutant, result in pairs if result == "alive"]
    unargued = [mutant for mutant in survivors if mutant.name not in arguments]
    for mutant in survivors:
        print("{}:{}: {}{}".format(mutant.path, mutant.line, mutant.name, "  (not argued)" if mutant in unargued else ""))
    for path in sorted({mutant.path for mutant, _ in pairs}):
        results = [result for mutant, result in pairs if mutant.path == path]
        print("{:5} of {:5} killed  {}".format(results.count("killed"), len(results), path))
    percent = 100 * (len(pairs) - len(survivors)) / max(1, len(pairs))
    print("{} mutants, {:.1f} % killed; {} survived, {} of them not argued in docs/mutants.md".format(
        len(pairs), percent, len(survivors), len(unargued)))
    return int(percent < NEEDED_PERCENT)


if __name__ == "__main__":
    sys.exit(main())
