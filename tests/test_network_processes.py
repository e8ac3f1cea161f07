"""Which process of the command uses the network: never one that has root, whatever the subcommand."""
import contextlib
import os
import signal
import subprocess
import sys

import pytest

from tests.lab.pool import PoolHost, write_xe
from tests.lab.repositories import ISO_PATH
from tests.lab.rsyncd import RsyncDaemon
from tests.support.command import COMMAND, ROOT, UPDATES, Admin
from tests.support.hostile_child import patched
from tests.support.mirrored import UPDATES as UPDATES_FOLDER
from tests.support.processes import answers, connection_of, process_of
from tests.support.rawserver import RawServer, never_speaks, relay
from tests.support.terminal import Terminal
from tests.support.waiting import LONG_SECONDS, ends
from tests.support.world import read_values
from yum_plugin.cli.main import OPERATORS_SUBCOMMANDS, SUBCOMMANDS, main
from yum_plugin.errors import UsageError
from yum_plugin.model import Network
from yum_plugin.operators.audit import apart
from yum_plugin.operators.audit.model import AuditOptions, Budget, Cost, Finding, Subject
from yum_plugin.privsep import process

needs_root = pytest.mark.skipif(os.geteuid() != 0 or not sys.platform.startswith("linux"), reason="only root can give up root")
needs_hooks = pytest.mark.skipif(not hasattr(sys, "addaudithook"), reason="Python 3.8 shows which sockets are used")

# PEP 578: in every Python that the command starts, what root does with sockets of the network is written down.
WATCH = '''
import os, sys

def watch(event, arguments):
    if not event.startswith("socket.") or 0 not in os.getresuid():
        return
    to_network = event in ("socket.connect", "socket.sendto", "socket.sendmsg") and isinstance(arguments[1], tuple)
    if to_network or event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        with open({path!r}, "a") as stream:
            stream.write("{{}} {{}}\\n".format(event, arguments))

sys.addaudithook(watch)
'''


class Watched(Admin):
    """An admin who is root, and servers that see which user each connection belongs to."""

    def __init__(self, lab, folder):
        super().__init__(lab, folder)
        os.makedirs(self.path("site"))
        with open(self.path("site/sitecustomize.py"), "w") as stream:
            stream.write(WATCH.format(path=self.path("used")))
        self.users = set()
        lab.add_mirror("good1")
        lab.add_mirror("good2")
        for server in list(lab.mirrors.values()) + [lab.origin]:
            server.faults = answers(self.look)
        answer = lab.redirector.server._answer
        lab.redirector.server._answer = lambda request: (self.look(request), answer(request))[1]
        self.keys = ["--key", lab.key_file, "--config", self.path("x.conf")]
        self.operators = self.keys + ["--cacert", lab.ca_bundle]
        self.mirror = lab.mirrors["good1"].url

    def look(self, request):
        self.users.add(connection_of(request.client, request.server)[0])

    def call(self, words):
        """Run the command; return what it and its helpers did with sockets as root."""
        environment = dict(os.environ, PYTHONPATH=self.path("site"))
        self.done = subprocess.run(COMMAND + words, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, universal_newlines=True, timeout=3 * LONG_SECONDS)
        with contextlib.suppress(FileNotFoundError):
            with open(self.path("used")) as stream:
                return stream.read().splitlines()
        return []

    @contextlib.contextmanager
    def rsync(self):
        """A daemon behind a relay that sees who connects; its URL."""
        with RsyncDaemon(self.path("rsyncd"), {"repo": self.lab.trees.path("new")}) as daemon:
            with RawServer(lambda connection, server: self._relay(connection, server, daemon.port)) as relay:
                yield "rsync://127.0.0.1:{}/repo/".format(relay.port)

    def _relay(self, connection, server, port):
        self.users.add(connection_of(connection.getpeername(), connection.getsockname())[0])
        relay(connection, ("127.0.0.1", port))


def here(admin, *words):
    return list(words) + ["--config", admin.path("x.conf"), "--reposdir", admin.repos]


def pool(admin):
    hosts = {"hv1": PoolHost(admin.lab, admin.path("hv1"))}
    write_xe(admin.folder, hosts, {})
    os.makedirs(admin.path("root/etc/xensource"))
    with open(admin.path("root/etc/xensource/pool.conf"), "w") as stream:
        stream.write("master")
    return ["pool", "--installroot", admin.path("root")]


# Each subcommand, with what it is called with, and the exit codes that it then has. Those of the second table ask nobody.
ASKING = {
    "mirrors": (lambda admin: here(admin, "mirrors"), (0,)),
    "refresh": (lambda admin: here(admin, "refresh"), (0,)),
    "precheck": (lambda admin: here(admin, "precheck"), (0, 1)),
    "pool": (pool, (0, 1)),
    "doctor": (lambda admin: here(admin, "doctor"), (0, 1)),
    "get": (lambda admin: here(admin, "get", ISO_PATH, "--output", admin.path("out")), (0,)),
    "get --repo": (lambda admin: here(admin, "get", "lab-agent", "--output", admin.path("out"), "--arch", "noarch", *UPDATES), (0,)),
    "audit": (lambda admin: ["audit", admin.mirror, "--yes", "--bandwidth"] + admin.operators, (0, 1)),
    "audit --rsync": (lambda admin: ["audit", admin.mirror, "--rsync", admin.rsync_url] + admin.operators, (0, 1)),
    "report": (lambda admin: here(admin, "report", admin.path("report.html")), (0, 1)),
    "report-mirror": (lambda admin: here(admin, "report-mirror", "good1"), (0, 1)),
    "sync": (lambda admin: ["sync", admin.path("dest"), "--from", admin.rsync_url, "--state-dir", admin.path("state")]
             + admin.operators, (0, 1)),
    "sync --from https": (lambda admin: ["sync", admin.path("dest"), "--from", admin.mirror, "--repo", UPDATES_FOLDER, "--state-dir",
                                         admin.path("state")] + admin.operators, (0, 1)),
}
SILENT = {
    "status": (lambda admin: here(admin, "status"), (0, 1)),
    "explain": (lambda admin: here(admin, "explain", "xcp-ng-updates"), (0, 1)),
    "verify": (lambda admin: ["verify", os.path.join(admin.lab.trees.path("new"), UPDATES_FOLDER)] + admin.keys, (0,)),
    "key": (lambda admin: here(admin, "key", "check"), (0, 1)),
    "config": (lambda admin: ["config", "--config", admin.path("x.conf")], (0,)),
}


@pytest.fixture
def admin(lab, tmp_path):
    return Watched(lab, tmp_path)


def test_every_subcommand_is_in_one_of_the_tables():
    named = {name.split()[0] for name in list(ASKING) + list(SILENT)}
    assert named == {name for name, _ in SUBCOMMANDS + OPERATORS_SUBCOMMANDS}, "a new one: say how it is called"


@needs_root
@needs_hooks
@pytest.mark.dnf
@pytest.mark.parametrize("name", ASKING)
def test_no_process_that_has_root_uses_the_network(name, admin, monkeypatch):
    monkeypatch.setenv("PATH", admin.folder, prepend=":")
    words, codes = ASKING[name]
    with admin.rsync() as admin.rsync_url:
        used = admin.call(words(admin))
    assert (used, admin.done.returncode in codes) == ([], True), admin.done.stdout
    assert admin.users and 0 not in admin.users, "somebody without root has asked: {}".format(admin.done.stdout)


@needs_root
@needs_hooks
@pytest.mark.parametrize("name", SILENT)
def test_subcommands_that_use_no_network_open_no_socket_and_start_no_process_for_it(name, admin):
    words, codes = SILENT[name]
    used = admin.call(words(admin))
    assert (used, admin.users, admin.done.returncode in codes) == ([], set(), True), admin.done.stdout


@needs_root
@needs_hooks
def test_the_watch_sees_what_root_does(admin):
    """The proof that the table above can fail."""
    with open(admin.path("site/used_by_root.py"), "w") as stream:
        stream.write("import socket\nsocket.getaddrinfo('localhost', 1)\nsocket.socket().connect_ex(('127.0.0.1', 1))\n")
    environment = dict(os.environ, PYTHONPATH=admin.path("site"))
    subprocess.run([sys.executable, "-m", "used_by_root"], env=environment, check=True)
    with open(admin.path("used")) as stream:
        assert [line.split()[0] for line in stream] == ["socket.getaddrinfo", "socket.connect"]


# The audit: all of it is done without root, and it is shown as ever.


@needs_root
def test_ctrl_c_in_a_watch_ends_the_watch_and_the_audit_tells_on_its_terminal_what_it_has_seen(admin):
    words = ["audit", admin.mirror, "--watch", "1h", "--path", UPDATES_FOLDER] + admin.operators
    terminal = Terminal(COMMAND + words, columns=120)
    terminal.wait_for("samples so far: 1, .* left; Ctrl-C ends it")
    terminal.child.send_signal(signal.SIGINT)
    code, _ = terminal.end()
    assert code in (0, 1) and "\x1b[32mok\x1b[0m" in terminal.text and "Traceback" not in terminal.text
    shown = "\n".join(terminal.screen())
    assert "unknown  sync-interval: {}/: 1 sample\n".format(UPDATES_FOLDER) in shown and "samples so far" not in shown


@needs_root
def test_ctrl_c_ends_an_audit_whose_server_is_silent_and_the_process_that_waits_for_it(admin):
    with RawServer(never_speaks) as server:
        child = subprocess.Popen(COMMAND + ["audit", server.url] + admin.operators, cwd=ROOT, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        assert server.connected.wait(LONG_SECONDS)
        asking = process_of(server._open[-1].getpeername(), (server.address, server.port))
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=LONG_SECONDS)
        assert (child.returncode, "Traceback" in out) == (130, False) and asking != child.pid and ends(asking)


FINDING = ["a-check", "ok", ["seen"], "", {}]
END = {"spent": [1, 2], "unreachable": False, "url": "https://m.test/", "mail": None}
DEEP = [[[[[[[[[]]]]]]]]]


@pytest.mark.parametrize("said", [
    {}, {"finding": FINDING, "step": "x"}, {"other": 1}, {"finding": None}, {"finding": FINDING[:4]}, {"finding": FINDING + [1]},
    {"finding": ["A check\x1b[2J"] + FINDING[1:]}, {"finding": [5] + FINDING[1:]}, {"finding": FINDING[:1] + ["fine"] + FINDING[2:]},
    {"finding": FINDING[:1] + [["ok"]] + FINDING[2:]}, {"finding": FINDING[:2] + [[5]] + FINDING[3:]}, {"finding": FINDING[:3] + [None, {}]},
    {"finding": FINDING[:4] + [5]}, {"finding": FINDING[:4] + [{"deep": DEEP}]}, {"finding": FINDING[:4] + [{"far": float("inf")}]},
    {"finding": FINDING[:4] + [{"none": float("nan")}]}, {"finding": FINDING[:4] + [{"large": 10 ** 20}]},
    {"step": 5}, {"bytes": ["x", 1]}, {"bytes": ["x", -1, 1]}, {"bytes": ["x", 1.5, 1]}, {"bytes": ["x", 1, 10 ** 20]}, {"bytes": [5, 1, 1]},
    {"end": {}}, {"end": dict(END, url="https://evil.test/")}, {"end": dict(END, url="")}, {"end": dict(END, spent=[1])},
    {"end": dict(END, spent=["1", 2])}, {"end": dict(END, mail=["a"])}, {"end": dict(END, mail=[1, 2])},
], ids=repr)
def test_a_lie_about_an_audit_is_an_error_of_this_host_and_nothing_of_it_is_shown(said):
    shown = []
    listener = apart._Listener(listened(shown), shown.append)
    with pytest.raises(UsageError) as error:
        listener.take(said)
    assert (error.value.reference, shown) == ("sandbox", [])


def listened(shown):
    subject = Subject("https://m.test/", "", Network(), Network(), (), "", (), read_values({}).settings, AuditOptions(), 0,
                      Budget(Cost(0, 0), 0))
    return subject._replace(on_step=shown.append, on_bytes=lambda *values: shown.append(values))


def test_what_an_audit_says_is_shown_as_it_comes_and_an_application_is_made_printable():
    shown = []
    listener = apart._Listener(listened(shown), shown.append)
    with pytest.raises(UsageError):
        listener.report()
    for said in ({"step": "x"}, {"bytes": ["y", 1, 2]}, {"finding": FINDING}, {"end": dict(END, mail=["a\nb", "c\x1b[2J\nd"])}):
        listener.take(said)
    assert shown == ["x", ("y", 1, 2), Finding("a-check", "ok", ("seen",))]
    assert str(listener.report().mail) == "To: mirrors@xcp-ng.org\nSubject: a?b\n\nc?[2J\nd"
    with pytest.raises(UsageError):
        listener.take({"step": "after the end"})


@needs_root
@pytest.mark.parametrize("patch", [
    "import yum_plugin.operators.audit.apart as audit; audit._audit = lambda subject, mail, say: say({'finding': 5})",
    "import yum_plugin.operators.audit.apart as audit; audit._audit = lambda subject, mail, say: None",
    "import os, yum_plugin.operators.audit.apart as audit; audit._audit = lambda subject, mail, say: os._exit(0)",
    "import yum_plugin.privsep.confine as confine; confine._limit = None",
], ids=["lies", "says nothing", "dies", "is not confined"])
def test_an_audit_whose_process_is_in_an_attackers_hands_ends_with_an_error_of_this_host(patch, admin, monkeypatch, capsys):
    monkeypatch.setattr(process, "BOOT", patched(patch))
    assert main(["audit", admin.mirror] + admin.operators) == 2
    assert "xcpng-mirrors: sandbox: " in capsys.readouterr().err


@needs_root
@pytest.mark.parametrize("options, writes", [([], True), (["--rsync", "rsync://127.0.0.1:1/repo/"], False)])
def test_only_with_rsync_may_an_audit_start_programs(options, writes, admin, monkeypatch, capsys):
    """What it may not is refused by the kernel, not by the user's rights: /bin/sh is open to all."""
    monkeypatch.setattr(process, "BOOT", patched(
        "import subprocess, yum_plugin.operators.audit.apart as audit\n"
        "audit._audit = lambda subject, mail, say: subprocess.check_call(['/bin/sh', '-c', ':'])"))
    main(["audit", admin.mirror] + options + admin.operators)
    assert ("Operation not permitted" in capsys.readouterr().err) == writes
