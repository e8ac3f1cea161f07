"""A host whose package manager is yum: the stand-in of yum_stand_in.py, or the real yum 3.4.3 that YUM names."""
import glob
import json
import os
import subprocess
import sys
import time

import pytest

from tests.conftest import REPOSITORY_ROOT, find_interpreter
from tests.lab.host import Host
from tests.lab.plugin import NAME, install_plugin, state_path
from tests.support.faults_table import own_lines

PLUGIN = REPOSITORY_ROOT / "yum_plugin" / "plugins" / "yum.py"
STAND_IN = str(REPOSITORY_ROOT / "tests" / "support" / "yum_stand_in.py")
YUM = os.environ.get("YUM", "")
OLDEST = "2.7" if find_interpreter("2.7") else "3"
PYTHONS = ["yum"] if YUM else sorted({OLDEST, "3"})
UPDATES = "xcp-ng-updates"

_YUM_CONF = """\
[main]
gpgcheck=1
plugins=1
pluginpath={folder}/plugins
pluginconfpath={folder}/pluginconf
reposdir={folder}/repos
cachedir=/var/cache/yum
persistdir=/var/lib/yum
logfile=/var/log/yum.log
keepcache=0
assumeyes=1
"""

# Answers from a file, records each request, and may put a file in the place of a package. It calls proven what yum has loaded.
_FAKE_ENGINE = '''\
#!{python} -I
import hashlib, json, os, shutil, sys
heard = open({heard!r}, "a+")
answers = json.load(open({answers!r}))
asked = 0
for line in sys.stdin:
    heard.write(line)
    heard.flush()
    request = json.loads(line)
    if request["action"] in ("accept", "prepare"):
        continue
    if request["action"] == "prove":
        paths = dict((each["id"], os.path.join(each["cache"]["folder"], "repomd.xml")) for each in request["repositories"])
        proven = dict((name, {{"status": "proven", "sha256": hashlib.sha256(open(path, "rb").read()).hexdigest()}})
                      for name, path in paths.items())
        print(json.dumps({{"event": "result", "repositories": proven}}), flush=True)
        continue
    events = answers["resolve"] if request["action"] == "resolve" else (answers["packages"] + [[]] * 9)[asked]
    asked += request["action"] == "packages"
    for event in events:
        if "place" in event:
            shutil.copy(event["place"], request["repositories"][0]["packages"][0]["target"])
            continue
        for repository in request["repositories"] if event["event"] == "result" else ():
            verdict = event["repositories"].get(repository["id"], {{}})
            cache = repository.get("cache", {{}})
            if "fill" in verdict:
                for name in os.listdir(verdict["fill"]):
                    shutil.copy(os.path.join(verdict["fill"], name), cache["folder"])
                with open(os.path.join(cache["folder"], "cachecookie"), "w") as cookie:
                    cookie.write("xcpng-mirrors " + cache["key"] + " " + verdict["sha256"])
        print(json.dumps(event), flush=True)
    if not events or events[-1].get("event") != "result":
        break
'''


def own_warnings(done):
    """What the plugin said, without yum's list of plugins."""
    return [line for line in own_lines(done) if "Loaded plugins" not in line]


class YumHost(Host):
    """A host whose package manager is yum: ``python`` is "2.7" or "3" for the stand-in, "yum" for the real one."""

    def __init__(self, lab, folder, python):
        super().__init__(folder, [lab.key_file])
        self.lab = lab
        self.python = python
        self.conf = os.path.join(self.folder, "yum.conf")
        with open(self.conf, "w") as stream:
            stream.write(_YUM_CONF.format(folder=self.folder))
        lab.repo_file(self.repos)
        with open(os.path.join(self.root, "var/lib/rpm/Packages"), "a"):
            pass  # yum looks at its age, whatever format rpm's database has today

    def install_plugin(self, **settings):
        """Install our plugin, and let it start the real engine unless told otherwise."""
        link = os.path.join(self.plugins, NAME + ".py")
        if not os.path.lexists(link):
            os.symlink(str(PLUGIN), link)
        return install_plugin(self, self.lab, **settings)

    def add_plugin(self, name, text, **settings):
        """Install another plugin."""
        with open(os.path.join(self.plugins, name + ".py"), "w") as stream:
            stream.write(text)
        with open(os.path.join(self.pluginconf, name + ".conf"), "w") as stream:
            stream.write("[main]\nenabled=1\n" + "".join("{}={}\n".format(*item) for item in settings.items()))

    def fake_engine(self, *events, packages=()):
        """Let the plugin start an engine that answers these events; ``heard`` returns the requests.

        ``packages`` are the events of the first, the second ... request for packages.
        """
        paths = {name: os.path.join(self.folder, name) for name in ("engine", "heard", "answers")}
        with open(paths["answers"], "w") as stream:
            json.dump({"resolve": events, "packages": packages}, stream)
        with open(paths["engine"], "w") as stream:
            stream.write(_FAKE_ENGINE.format(python=sys.executable, **paths))
        os.chmod(paths["engine"], 0o755)
        self.install_plugin(command=paths["engine"])

    def heard(self):
        """Return the requests that the fake engine has read, in order, but those that prepare it or look at what is loaded."""
        return [request for request in self.heard_all() if request["action"] not in ("prepare", "prove")]

    def heard_all(self):
        """Return all requests that the fake engine has read, in order."""
        try:
            with open(os.path.join(self.folder, "heard")) as stream:
                return [json.loads(line) for line in stream]
        except FileNotFoundError:
            return []

    def yum(self, *arguments, **settings):
        """Run yum to its end."""
        interpreter = {"yum": [YUM], "3": [sys.executable, STAND_IN]}.get(self.python) or [find_interpreter("2.7"), STAND_IN]
        fixed = ["-c", self.conf, "--installroot", self.root] + (["--releasever=8"] if self.python == "yum" else [])
        environment = dict(self.environment, PYTHONDONTWRITEBYTECODE="1", **settings)
        return subprocess.run(interpreter + fixed + list(arguments), env=environment, stdin=subprocess.DEVNULL, timeout=330,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)

    def version(self, package):
        """Return the installed version of a package, "" if it is not installed."""
        if self.python == "yum":
            return super().version(package)
        return self._json("installed.json").get(package, "")

    def _json(self, name):
        path = os.path.join(self.root, name)
        if not os.path.exists(path):
            return {}
        with open(path) as stream:
            return json.load(stream)

    def repository(self, name=UPDATES):
        """Return what a repository looked like in memory when yum ended."""
        if self.python == "yum":
            pytest.skip("only the stand-in tells what is in memory")
        return self._json("repos.json")[name]

    def cached(self, name, repository=UPDATES):
        """Return the path of a cached file."""
        found = glob.glob(os.path.join(self.root, "var/cache/yum", repository, name))
        return found[0] if found else os.path.join(self.root, "var/cache/yum", repository, name)

    def expire(self):
        """Let the last answers be old, in our memory and in yum's."""
        past = time.time() - 7 * 3600
        for path in glob.glob(state_path(self, "*", "mirrors.json")):
            with open(path) as stream:
                values = json.load(stream)
            values.update(heard_at=past, resolved_at=past)
            with open(path, "w") as stream:
                json.dump(values, stream)
        for path in [self.cached("cachecookie", name) for name in ("xcp-ng-base", UPDATES)]:
            if os.path.exists(path):
                os.utime(path, (past, past))
