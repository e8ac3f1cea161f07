"""The command as an admin runs it: its settings, its output, and mirrors of every state that it can show."""
import json
import os
import re
import subprocess
import sys

from tests.conftest import REPOSITORY_ROOT
from tests.lab.lab import ALLOWED
from tests.support.waiting import LONG_SECONDS

ROOT = str(REPOSITORY_ROOT)
COMMAND = [sys.executable, "-m", "yum_plugin"]
UPDATES = ["--repo", "xcp-ng-updates"]
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")


class Admin:
    """A user who types the command on a host that has the lab's repositories."""

    def __init__(self, lab, folder):
        self.lab, self.folder = lab, str(folder)
        self.repos = os.path.join(self.folder, "repos.d")
        os.makedirs(self.repos)
        lab.repo_file(self.repos)
        self.settings(connect_timeout=10, read_timeout=10, deadline=40)

    def settings(self, **more):
        values = {"redirectors": self.lab.redirector.authority, "fallbacks": self.lab.origin.url, "allow_networks": ALLOWED,
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
                              stderr=subprocess.PIPE, universal_newlines=True, timeout=3 * LONG_SECONDS)

    def json(self, *arguments):
        return json.loads(self.run(*(arguments + ("--json",))).stdout)

    def accept(self, state="new"):
        """Let the host have accepted what is published now."""
        self.lab.publish(state)
        assert self.run("refresh", "--accept-rollback", *UPDATES).returncode == 0
        self.lab.publish("new")


TABLE = (
    # name, fault, state, reference
    ("good", "", "ok", ""), ("old", "stale", "stale", ""), ("tampered", "bad-signature", "refused", "signature-invalid"),
    ("expired", "expired-certificate", "failed", "tls-expired"), ("ill", "http-503", "failed", "http-status"),
    ("silent", "mute", "failed", "timed-out"), ("left", "", "excluded", ""), ("denied", "", "denied", ""),
)


def everybody(admin):
    """Start a mirror of each kind."""
    for name, fault, _, _ in TABLE:
        admin.lab.add_mirror(name, fault, country="DE")
    admin.lab.exclude("left", "File size mismatch")
    admin.settings(deny=admin.lab.mirrors["denied"].server.authority, connect_timeout=3, read_timeout=3, deadline=20)
