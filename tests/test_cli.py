"""The command as people and programs meet it: tables, JSON, exit codes, Ctrl-C, hostile names."""
import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.faults import faults_named
from yum_plugin.cli.console import Cell, Column, printable, shortened, table, width_of
from yum_plugin.cli.status import STALE_SECONDS, status_of
from yum_plugin.config import read_settings
from yum_plugin.model import Repository, Snapshot
from yum_plugin.state import Memory, Record, State

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COMMAND = [sys.executable, "-m", "yum_plugin"]
UPDATES = ["--repo", "xcp-ng-updates"]
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
HOSTILE = "evil \x1b]0;owned\x07\x1b[2J \u202egnp.exe z\u0301\u0302 \u4e2d\u6587 <b>&amp;"
RUN = "import os, sys; from yum_plugin.cli.main import main; {}; sys.exit(main(sys.argv[1:]))"


class Admin:
    """Somebody who types the command, on a machine that knows the lab's repositories."""

    def __init__(self, lab, folder):
        self.lab, self.folder = lab, str(folder)
        self.repos = os.path.join(self.folder, "repos.d")
        os.makedirs(self.repos)
        lab.repo_file(self.repos)
        self.settings(connect_timeout=1, read_timeout=1, deadline=5)

    def settings(self, **more):
        values = {"redirectors": self.lab.redirector.authority, "fallbacks": self.lab.origin.url,
                  "fingerprints": self.lab.key_fingerprint, "state_dir": self.path("state"), "log_file": self.path("log")}
        values.update(more)
        with open(self.path("x.conf"), "w") as stream:
            stream.write("[main]\n" + "".join("{}={}\n".format(*item) for item in values.items()))

    def path(self, name):
        return os.path.join(self.folder, name)

    def words(self, *arguments):
        """The whole command line."""
        return COMMAND + list(arguments) + ["--config", self.path("x.conf"), "--reposdir", self.repos]

    def run(self, *arguments):
        return subprocess.run(self.words(*arguments), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, universal_newlines=True, timeout=30)

    def json(self, *arguments):
        return json.loads(self.run(*(arguments + ("--json",))).stdout)

    def accept(self, state="new"):
        """Let the host have accepted what is published now."""
        self.lab.publish(state)
        assert self.run("refresh", "--accept-rollback", *UPDATES).returncode == 0
        self.lab.publish("new")


@pytest.fixture
def admin(lab, tmp_path):
    return Admin(lab, tmp_path)


def bad_origin(lab, fault):
    lab.origin.faults = faults_named(fault)


class Screen:
    """As much of a terminal as the command uses; ``lines`` is what was ever printed, with what was overwritten gone."""

    SEQUENCE = re.compile(r"\x1b\[(\d*)([A-Za-z])|[\r\n]|[^\x1b\r\n]+|\x1b")

    def __init__(self, rows):
        self.rows, self.lines, self.row, self.column = rows, [""], 0, 0

    def feed(self, text):
        for match in self.SEQUENCE.finditer(text):
            token, number, letter = match.group(), match.group(1), match.group(2)
            if token == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif token == "\r":
                self.column = 0
            elif letter == "A":
                self.row = max(self.row - int(number), len(self.lines) - self.rows, 0)
            elif letter == "K":
                self.lines[self.row] = self.lines[self.row][:self.column]
            elif letter == "J":
                del self.lines[self.row + 1:]
                self.lines[self.row] = self.lines[self.row][:self.column]
            elif letter == "m":
                continue
            else:
                assert token.isprintable(), "not a sequence of ours: {!r}".format(token)
                line = self.lines[self.row]
                self.lines[self.row] = line[:self.column] + token + line[self.column + len(token):]
                self.column += len(token)


class Terminal:
    """The command on a pseudo-terminal; ``text`` is what it wrote there so far."""

    def __init__(self, words, columns=80, rows=50, streams=("stdout", "stderr"), **environment):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        variables = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
        variables.update({"TERM": "xterm", "PYTHONIOENCODING": "utf-8"}, **environment)
        outputs = {name: slave if name in streams else subprocess.PIPE for name in ("stdout", "stderr")}
        self.child = subprocess.Popen(words, cwd=ROOT, env=variables, stdin=slave, **outputs)
        os.close(slave)
        self.text, self.rows = "", rows
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        data = b""
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while True:
                piece = os.read(self.master, 65536)
                data += piece
                with self.changed:
                    self.text = data.decode("utf-8", "ignore").replace("\r\n", "\n\r")
                    self.changed.notify_all()
                if not piece:
                    return

    def wait_for(self, pattern):
        with self.changed:
            assert self.changed.wait_for(lambda: re.search(pattern, self.text), 20), self.text

    def end(self):
        """Wait for the end; return the exit code and what went into the pipe, if there was one."""
        piped = self.child.communicate(timeout=30)
        self.reader.join(10)
        os.close(self.master)
        return self.child.returncode, (piped[0] or piped[1] or b"").decode("utf-8")

    def screen(self):
        screen = Screen(self.rows)
        screen.feed(self.text)
        return screen.lines


# The table.


def test_the_table_names_what_is_wrong_with_each_mirror(admin):
    for name, fault in (("a", ""), ("b", "stale"), ("c", "bad-signature"), ("d", "expired-certificate"), ("e", "http-503"),
                        ("f", "mute"), ("g", ""), ("h", "")):
        admin.lab.add_mirror(name, fault, country="DE")
    admin.lab.exclude("g", "File size mismatch")
    admin.settings(deny="127.0.1.8", read_timeout=1)
    done = admin.run("mirrors", *UPDATES)
    states = {words[3 if words[0].isdigit() else 2]: " ".join(words[3:]) for words in map(str.split, done.stdout.splitlines()[2:-1])}
    assert states["a"].startswith("ok") and states["origin"].startswith("ok") if "origin" in states else states["a"]
    for name, expected in (("b", "stale"), ("c", "refused signature-invalid"), ("d", "failed tls-expired"),
                           ("e", "failed http-status"), ("f", "failed timed-out"), ("h", "denied")):
        assert expected in states[name]
    assert "excluded File size mismatch" in done.stdout
    assert re.search(r"^2 of 9 mirrors serve revision \d+ \(updated .* ago\); xcp-ng-updates can be updated$", done.stdout, re.M)
    assert done.returncode == 1
