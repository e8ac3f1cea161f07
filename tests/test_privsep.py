"""Least privilege: who talks to the mirrors is not root, and can do no harm by dying, hanging or lying."""
import contextlib
import errno
import json
import os
import platform
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import REPOSITORY_ROOT
from tests.lab.plugin import command_path, install_plugin, state_path
from tests.support.faults_table import good_mirrors, left_alone, own_lines
from tests.support.hostile_child import patched
from tests.support.processes import answers, connection_of, process_of
from tests.support.rawserver import RawServer, says, stays_silent_after
from tests.support.waiting import LONG_SECONDS, ends
from yum_plugin.errors import FetchError, MirrorsError, UsageError
from yum_plugin.model import Mirror, Network
from yum_plugin.net.fetch import FetchLimits, HttpSession
from yum_plugin.privsep import child, gateway, names, parent, seccomp, wire
from yum_plugin.privsep.confine import NOBODY, PASSWD, user_in
from yum_plugin.privsep.parent import RemoteSession, separated
from yum_plugin.sources.redirector import PAGE, Timeouts

needs_root = pytest.mark.skipif(os.geteuid() != 0 or not sys.platform.startswith("linux"), reason="only root can give up root")
needs_seccomp = pytest.mark.skipif(not os.path.exists("/proc/sys/kernel/seccomp/actions_avail") or platform.machine() not in seccomp._MACHINES,
                                   reason="no filter of system calls here")
DIRECT = Network(proxy="")
CHILD_USER, CHILD_GROUP, _ = user_in(PASSWD)
OURS, DNF = "xcpng-mirrors/", "libdnf"


def status_of(process):
    """Return /proc/PID/status as a dictionary."""
    with open("/proc/{}/status".format(process)) as stream:
        return dict(line.rstrip("\n").split(":\t", 1) for line in stream if ":\t" in line)


def read(path):
    with open(path) as stream:
        return stream.read()


def limits_of(process):
    """Return the hard limits of a process by their names in /proc/PID/limits."""
    with open("/proc/{}/limits".format(process)) as stream:
        return {line[:26].strip(): line[47:68].strip() for line in stream}


@pytest.fixture
def host(lab, tmp_path):
    made = lab.installroot(str(tmp_path / "host"))
    install_plugin(made, lab)
    return made


# Who asks.


@needs_root
@pytest.mark.dnf
def test_a_user_without_rights_makes_all_requests_of_the_engine_and_root_those_of_dnf(lab, host):
    good_mirrors(lab)
    seen = set()

    def look(request):
        agent = request.headers.get("user-agent", "")
        seen.add(("ours" if agent.startswith(OURS) else "dnf", connection_of(request.client, request.server)[0]))

    for mirror in list(lab.mirrors.values()) + [lab.origin]:
        mirror.faults = answers(look)
    redirected = lab.redirector.server._answer
    lab.redirector.server._answer = lambda request: (look(request), redirected(request))[1]
    done = host.dnf("-y", "install", "lab-agent")
    lab.redirector.server._answer = redirected
    assert (done.returncode, host.version("lab-agent"), own_lines(done)) == (0, "2.0", [])
    assert ("ours", CHILD_USER) in seen and seen <= {("ours", CHILD_USER), ("dnf", 0)}


@needs_root
@pytest.mark.dnf
@pytest.mark.parametrize("subcommand", ["refresh", "mirrors", "precheck"])
def test_the_command_called_by_root_asks_without_root_too(subcommand, lab, host):
    users = set()
    lab.add_mirror("watched").faults = answers(lambda request: users.add(connection_of(request.client, request.server)[0]))
    done = subprocess.run([command_path(), subcommand, "--config", host.pluginconf + "/xcpng-mirrors.conf", "--installroot",
                           host.root, "--reposdir", host.repos], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode in (0, 1), done.stdout
    assert users == {CHILD_USER}


@needs_root
def test_the_child_has_no_privileges_and_no_files_is_limited_and_ends_with_its_parent(tmp_path):
    secret = tmp_path / "state"
    secret.write_text("the lock, say")
    with RawServer(stays_silent_after(b"")) as server:
        script = ("import sys; sys.path.insert(0, {!r})\n"
                  "from yum_plugin.privsep.parent import separated\nfrom yum_plugin.model import Network\n"
                  "from yum_plugin.net.fetch import FetchLimits\nstate = open({!r}, 'a')\nnetwork = Network(proxy='')\n"
                  "with separated([network], 77) as gateway:\n"
                  "    with gateway.open(network, 60.0) as client: client.get({!r}, FetchLimits(1000, 60.0, 60.0))\n")
        started = subprocess.Popen([sys.executable, "-c", script.format(str(REPOSITORY_ROOT), str(secret), server.url)], env={"DBPASSWORD": "of root"})
        try:
            assert server.asked.wait(LONG_SECONDS)
            child = process_of(server._open[-1].getpeername(), (server.address, server.port))
            status, limits = status_of(child), limits_of(child)
            assert child != started.pid and status["PPid"] == str(started.pid)
            assert set(status["Uid"].split()) == {str(CHILD_USER)} and set(status["Gid"].split()) == {str(CHILD_GROUP)} and status["Groups"].split() == []
            assert status["NoNewPrivs"] == "1" and {int(status["Cap" + name], 16) for name in ("Eff", "Prm", "Inh", "Bnd", "Amb")} == {0}
            assert status.get("Seccomp", "2") == "2" or platform.machine() not in seccomp._MACHINES
            assert os.getsid(child) == child and os.readlink("/proc/{}/cwd".format(child)) == "/"
            assert {word.partition("=")[0] for word in read("/proc/{}/environ".format(child)).split("\0")} <= {"", "LC_CTYPE"}
            assert (limits["Max cpu time"], limits["Max file size"], limits["Max open files"], limits["Max core file size"],
                    limits["Max processes"]) == ("77", "0", "4096", "0", "4096")
            assert 0 < int(limits["Max address space"]) < 3 * 1024 ** 3
            files = {os.readlink("/proc/{}/fd/{}".format(child, number)) for number in os.listdir("/proc/{}/fd".format(child))}
            assert {name for name in files if not name.startswith("socket:")} <= {os.devnull, "anon_inode:[eventpoll]"}
        finally:
            started.kill()
            started.wait()
        assert ends(child), "it outlives its parent"


@needs_root
@pytest.mark.dnf
def test_only_root_can_read_the_state(lab, host):
    good_mirrors(lab)
    host.dnf("-y", "install", "lab-agent")
    modes = {name: stat.S_IMODE(os.stat(state_path(host, "xcp-ng-updates", name)).st_mode)
             for name in ("accepted.json", "mirrors.json")}
    assert modes == {"accepted.json": 0o600, "mirrors.json": 0o600}


def test_without_root_no_child_is_started(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(parent, "ChildProcess", lambda **_: pytest.fail("nothing is to be started"))
    with separated([DIRECT], 1) as found:
        with found.open(DIRECT, 1.0) as client:
            assert type(client) is HttpSession
    assert found.ask_list is gateway.ask_list


# What becomes of an update when the child dies, hangs, or lies.


def child_killed_by(signal_number, caught):
    def strike(request):
        if request.headers.get("user-agent", "").startswith(OURS):
            process = process_of(request.client, request.server)
            if process is not None:  # another of its connections may have been quicker
                caught.append(process)
                os.kill(process, signal_number)
    return strike


@needs_root
@pytest.mark.dnf
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV])
def test_a_child_that_is_killed_or_hangs_leaves_stock_behaviour_one_warning_and_no_process(signal_number, lab, host):
    install_plugin(host, lab, deadline=10, connect_timeout=10, read_timeout=10)  # all that a stopped child costs
    good_mirrors(lab)
    caught = []
    for name in ("good1", "good2"):
        lab.mirrors[name].faults = answers(child_killed_by(signal_number, caught))
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (0, "2.0"), done.stderr
    said = own_lines(done)
    assert left_alone(said) == ["xcp-ng-base", "xcp-ng-updates"] and len(said) <= 2 and all(line in done.stderr for line in said), said
    assert caught and all(ends(process) for process in caught)
    for name in ("xcp-ng-base", "xcp-ng-updates"):
        path = state_path(host, name, "mirrors.json")
        records = json.load(open(path))["records"] if os.path.exists(path) else {}
        assert not any(record["failures"] for record in records.values()), "no mirror is to blame"


@needs_root
@pytest.mark.dnf
def test_a_child_that_dies_while_packages_come_leaves_them_to_dnf(lab, host):
    good_mirrors(lab)
    strike, caught = [], []

    def at_packages(request):
        if request.path.endswith(".rpm") and not strike:
            strike.append(1)
            child_killed_by(signal.SIGKILL, caught)(request)

    for name in ("good1", "good2"):
        lab.mirrors[name].faults = answers(at_packages)
    done = host.dnf("-y", "install", "lab-agent")
    assert caught and (done.returncode, host.version("lab-agent")) == (0, "2.0"), done.stderr
    [line] = [line for line in (done.stdout + done.stderr).splitlines() if "sandbox: " in line]
    assert "lab-agent-0:2.0-1.noarch" in line, "told once, with the package that dnf fetched by itself then"


_COMMAND = """#!{python}
import sys
sys.path.insert(0, {root!r})
from yum_plugin.privsep import process
process.BOOT = {boot!r}
from yum_plugin.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
_LIAR = """import yum_plugin.privsep.child as child
child.serve_session = lambda served: served.sock.sendall({!r}) or served.http.abort()"""
_REFUSED = """import yum_plugin.privsep.confine as confine
confine._limit = lambda bounds: (_ for _ in ()).throw(OSError(1, "not permitted"))"""


@needs_root
@pytest.mark.dnf
@pytest.mark.parametrize("patch", [_LIAR.format(b"rubbish" * 100), _LIAR.format(b"V\x00\x00\x00\x02[]"), _REFUSED],
                         ids=["rubbish", "malformed", "still root"])
def test_a_child_that_answers_rubbish_or_cannot_give_up_root_leaves_stock_behaviour(patch, lab, host, tmp_path):
    command = tmp_path / "command"
    command.write_text(_COMMAND.format(python=sys.executable, root=str(REPOSITORY_ROOT), boot=patched(patch)))
    command.chmod(0o755)
    install_plugin(host, lab, command=str(command))
    good_mirrors(lab)
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (0, "2.0"), done.stderr
    said = own_lines(done)
    assert left_alone(said) == ["xcp-ng-base", "xcp-ng-updates"] and len(said) <= 2 and all(": sandbox: " in line for line in said), said


# What the parent believes of what a child says: the socket's other end is in an attacker's hands.


@contextlib.contextmanager
def session_with(*sent):
    """A session whose child says this, whatever it is asked, and ends."""
    mine, theirs = socket.socketpair()

    def say():
        with contextlib.suppress(OSError):  # nobody listens any more
            theirs.sendall(b"".join(sent))
            theirs.shutdown(socket.SHUT_WR)

    speaker = threading.Thread(target=say)
    speaker.start()
    with RemoteSession(lambda: mine, LONG_SECONDS) as client:
        yield client
    speaker.join()
    theirs.close()


def frame(kind, value=None, raw=b""):
    payload = raw if value is None else json.dumps(value).encode()
    return wire._FRAME.pack(kind, len(payload)) + payload


HEAD = {"status": 200, "headers": {}, "links": [], "first_byte_seconds": 0.1, "certificate_expires": None, "address": ""}
WORDS = {"family": "fetch", "reference": "unreachable", "what": "x", "where": "y", "hint": ""}


def head(**changes):
    return frame(wire.HEAD, dict(HEAD, **changes))


def test_an_honest_child_is_understood():
    with session_with(head(headers={"a": "b"}, links=["<l>"], certificate_expires=5, address="::1"), frame(wire.DATA, raw=b"he"),
                      frame(wire.DATA, raw=b"llo"), frame(wire.END)) as client:
        answer = client.get("http://mirror.test/", FetchLimits(5))
        assert (answer.status, answer.headers, answer.links, answer.body) == (200, {"a": "b"}, ("<l>",), b"hello")
        assert (client.certificate_expires, client.address) == (5, "::1")


@pytest.mark.parametrize("sent", [
    [], [b"rubbish" * 9], [b"\x00" * 64], [frame(wire.HEAD, raw=b"{")], [frame(wire.HEAD, raw=b"[]")], [frame(wire.HEAD, raw=b"[" * 99999)],
    [frame(wire.DATA, raw=b"no head")], [frame(wire.END)], [frame(wire.VALUE, HEAD)], [head(status=404)], [head(status="200")],
    [head(status=None)], [head(headers=[])], [head(headers={str(number): "" for number in range(999)})], [head(links=5)],
    [head(first_byte_seconds="soon")], [head(first_byte_seconds=-1)], [head(first_byte_seconds=1e99)],
    [frame(wire.HEAD, raw=json.dumps(HEAD).replace("0.1", "NaN").encode())], [head(certificate_expires="later")],
    [head(certificate_expires=float("inf"))], [head(certificate_expires=10 ** 17)], [head(certificate_expires=-10 ** 17)], [head(status=200.0)], [head(address="m.test")], [head(address=5.5)], [frame(wire.HEAD, {"status": 200})], [head(), frame(wire.HEAD, HEAD)], [head()],
    [head(), frame(wire.VALUE, {})], [wire._FRAME.pack(wire.HEAD, 2 ** 31)], [head(), wire._FRAME.pack(wire.DATA, 2 ** 32 - 1)],
    [frame(wire.ERROR, raw=b"oh")], [frame(wire.ERROR, {})], [frame(wire.ERROR, dict(WORDS, reference="rollback"))],
    [frame(wire.ERROR, dict(WORDS, reference=["x"]))], [frame(wire.ERROR, dict(WORDS, family="trust"))],
    [frame(wire.ERROR, dict(WORDS, what=5))], [frame(wire.ERROR, dict(WORDS, family={}))],
], ids=lambda sent: repr(b"".join(sent)[:24]))
def test_a_lie_about_a_request_is_an_error_of_this_host_and_of_no_mirror(sent):
    with session_with(*sent) as client, pytest.raises(UsageError) as error:
        client.get("http://mirror.test/", FetchLimits(1000))
    assert error.value.reference == "sandbox"


def test_endless_data_from_a_child_stops_at_the_cap():
    with session_with(head(), *[frame(wire.DATA, raw=b"x" * 1000)] * 3) as client, pytest.raises(FetchError) as error:
        client.get("http://mirror.test/", FetchLimits(2500))
    assert error.value.reference == "too-large"


def test_an_error_that_a_child_tells_of_is_raised_with_its_words_cut():
    with session_with(frame(wire.ERROR, dict(WORDS, what="w" * 99999))) as client, pytest.raises(FetchError) as error:
        client.get("http://mirror.test/", FetchLimits(1))
    assert error.value.reference == "unreachable" and len(error.value.what) == wire.MAX_WORDS_CHARACTERS


REACHABLE = {"ipv4": "yes", "ipv6": "none", "rsync": ""}
CERTIFICATE = {"sha256": "a" * 64, "subject": "s", "issuer": "i", "names": ["n"], "not_before": 1, "not_after": 2, "protocol": "p",
               "address": "::1"}


@pytest.mark.parametrize("act, good, changes", [
    (parent._reachability, REACHABLE, [{"ipv4": "maybe"}, {"ipv6": None}, {"rsync": ["yes"]}]),
    (parent._certificate, CERTIFICATE, [{"sha256": "A" * 64}, {"sha256": None}, {"not_after": 10 ** 30}, {"not_before": "soon"}, {"names": 5},
                                        {"not_after": float("inf")}, {"address": "m.test"}]),
], ids=["reachability", "certificate"])
def test_a_malformed_answer_for_a_report_is_refused(act, good, changes):
    def said(value):
        with session_with(frame(wire.VALUE, value)) as client:
            return act(client, "https://m.test/", Network(), 1.0)

    assert said(good) == type(said(good))(**{key: tuple(value) if isinstance(value, list) else value for key, value in good.items()})
    for wrong in [dict(good, **change) for change in changes] + [{}]:
        with pytest.raises(UsageError) as error:
            said(wrong)
        assert error.value.reference == "sandbox"


LISTED = ["https://m.test/", "M", "FR", "list-page", 1, "", 30]


def ask(*sent):
    with session_with(*sent) as client:
        return parent._ask_list(client, PAGE, ("https://r.test/",), "x", Timeouts(1, 1))


def test_a_list_that_a_child_has_read_is_cleaned_again():
    listed = ["https://m.test", "M\x1b[2J" + "m" * 999, "fr, de", "origin", 7, "down\n", 30]
    found = ask(frame(wire.VALUE, {"mirrors": [listed] * 300, "sha256": "X", "dropped": ["d" * 999] * 99}))
    assert found.mirrors[0] == Mirror("https://m.test/", "M?[2J" + "m" * 95, "FR", "origin", 7, "down?", 30)
    assert (len(found.mirrors), found.sha256, len(found.dropped), len(found.dropped[0])) == (256, "", 32, 100)


@pytest.mark.parametrize("place, value", [
    (0, "file:///etc/passwd"), (0, "https://user:secret@m.test/"), (0, "https://m.test/../"), (0, "https://m.test/\r\nHost: x"), (0, 5),
    (1, None), (2, 5), (3, "baseurl"), (3, "known"), (3, []), (4, -1), (4, 10 ** 9), (4, "first"), (5, {}), (6, -1), (6, 101), (6, "30%"),
    (6, float("nan")),
])
def test_a_list_with_values_that_no_parser_makes_is_refused_as_a_whole(place, value):
    listed = list(LISTED)
    listed[place] = value
    with pytest.raises(UsageError) as error:
        ask(frame(wire.VALUE, {"mirrors": [LISTED, listed], "sha256": "", "dropped": []}))
    assert error.value.reference == "sandbox"


def ask_for_digest(*sent):
    with session_with(*sent) as client:
        return parent._ask_digest(client, ("https://r.test/",), "x", Timeouts(1, 1))


@pytest.mark.parametrize("said", ["a" * 64, ""])
def test_a_digest_that_a_child_has_read_is_a_digest_or_none(said):
    assert ask_for_digest(frame(wire.VALUE, {"sha256": said})) == said


@pytest.mark.parametrize("said", ["A" * 64, "a" * 63, "a" * 64 + "\n", "a" * 128, "N/A", None, 5, ["a" * 64], {}])
def test_a_digest_of_another_form_is_refused(said):
    for values in ({"sha256": said}, {}):
        with pytest.raises(UsageError) as error:
            ask_for_digest(frame(wire.VALUE, values))
        assert error.value.reference == "sandbox"


@pytest.mark.fuzz
@given(st.one_of(st.binary(max_size=200), st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(sorted(set(HEAD) | set(WORDS) | {"mirrors", "sha256"})),
                                                                inner, max_size=6), max_leaves=12)),
       st.sampled_from([wire.HEAD, wire.DATA, wire.END, wire.VALUE, wire.ERROR]))
def test_whatever_a_child_says_ends_in_an_error_of_ours(said, kind):
    sent = frame(kind, raw=said) if isinstance(said, bytes) else frame(kind, said)
    for talk in (lambda: ask(sent), lambda: _get(sent), lambda: ask_for_digest(sent)):
        with pytest.raises(MirrorsError):
            talk()


def _get(sent):
    with session_with(sent) as client:
        client.get("http://mirror.test/", FetchLimits(1000))


# A child in an attacker's hands.


def told_by(patch, ask="client.get('http://m.test/', FetchLimits(9))"):
    """Start a child that this text changes, let the parent ask for something, and return what the child tells by TCP."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        listening.settimeout(LONG_SECONDS)
        boot = patched("from tests.support import hostile_child as hostile\n" + patch.format(port=listening.getsockname()[1]))
        script = ("import sys; sys.path.insert(0, {!r})\nfrom yum_plugin.privsep import process\nprocess.BOOT = {!r}\n"
                  "from yum_plugin.privsep.parent import separated\nfrom yum_plugin.model import Network\n"
                  "from yum_plugin.net.fetch import FetchLimits\nnetwork = Network(proxy='')\n"
                  "with separated([network], 60) as gateway, gateway.open(network, 60.0) as client: {}\n")
        with subprocess.Popen([sys.executable, "-c", script.format(str(REPOSITORY_ROOT), boot, ask)], stdin=subprocess.DEVNULL,
                              env=dict(os.environ, DBPASSWORD="of root"), stderr=subprocess.DEVNULL) as started:
            try:
                connection = listening.accept()[0]
                with connection, connection.makefile("rb") as stream:
                    return json.loads(stream.read().decode("ascii"))
            finally:
                started.kill()


IN_THE_CHILD = "import yum_plugin.privsep.child as child\nchild.serve_session = lambda served: hostile.report({port}, hostile.forbidden_to_the_network)"
AT_THE_NAMES = "import yum_plugin.privsep.names as names\nnames._answer = lambda sock, request: hostile.report({port}, hostile.forbidden)"


@needs_root
@needs_seccomp
@pytest.mark.parametrize("patch", [IN_THE_CHILD, AT_THE_NAMES], ids=["network", "names"])
def test_a_taken_over_child_can_start_nothing_open_nothing_and_signal_nobody(patch):
    found = told_by(patch)
    assert "died" not in found and {name: number for name, number in found["tried"].items() if number != errno.EPERM} == {}
    assert (found["allowed"], found["clone3"], found["newer"]) == ([], errno.ENOSYS, errno.ENOSYS)
    assert "DBPASSWORD" not in found["environment"]


STAYS = """import yum_plugin.privsep.child as child, os, time
def stay(served):
    hostile.tell({port}, [os.getpid(), NAMES])
    while True:
        time.sleep(60)
start = child._start_names
def start_names(control):
    global NAMES
    found = start(control)
    NAMES = int(open("/proc/self/task/{{0}}/children".format(os.getpid())).read().split()[0])
    return found
child._start_names = start_names
child.serve_session = stay
child._Server._end = lambda self, number: time.sleep(1000)"""


@needs_root
@pytest.mark.skipif(not os.path.exists("/proc/self/task/{}/children".format(os.getpid())), reason="this kernel does not list the children of a process")
def test_a_taken_over_child_that_stays_is_killed_with_its_parent_and_so_is_who_looks_up_names():
    child, names = told_by(STAYS)
    assert ends(child) and ends(names)


@needs_root
def test_a_child_whose_parent_ended_before_it_could_notice_does_not_go_on():
    with pytest.raises(AssertionError, match="sandbox"):
        answer_of("import os\nos.getppid = lambda: 1")


def answer_of(patch, before="", shell=()):
    """Let a child that this text changes make a request; return what came, and how far it was confined; an error is an AssertionError.

    Args:
        patch: see ``patched``.
        before: code that the parent runs first.
        shell: what starts the parent.
    """
    with RawServer(says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")) as server:
        script = ("import sys; sys.path.insert(0, {!r})\n{}\nfrom yum_plugin.privsep import process\nprocess.BOOT = {!r}\n"
                  "from yum_plugin.privsep.parent import separated\nfrom yum_plugin.model import Network\n"
                  "from yum_plugin.net.fetch import FetchLimits\nnetwork = Network(proxy='')\n"
                  "with separated([network], 60) as gateway:\n"
                  "    with gateway.open(network, 60.0) as client: answer = client.get({!r}, FetchLimits(1000, 60.0, 60.0))\n"
                  "    print(answer.body.decode(), gateway.confinement(), sep='|')\n")
        words = script.format(str(REPOSITORY_ROOT), before, patched(patch), server.url)
        done = subprocess.run(list(shell) + [sys.executable, "-c", words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split("|")


@needs_root
def test_where_the_kernel_has_no_seccomp_the_child_goes_on_and_says_so():
    body, confinement = answer_of("import yum_plugin.privsep.seccomp as seccomp\nseccomp.install = lambda role: False")
    assert body == "hello" and "no filter for system calls (seccomp)" in confinement


@needs_root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed")
@pytest.mark.parametrize("lacking", ["-setuid", "-setuid,-setgid,-setpcap,-kill"])
def test_in_a_container_that_allows_no_change_of_the_user_the_child_goes_on_without_privileges_and_says_so(lacking):
    body, confinement = answer_of("", shell=("setpriv", "--bounding-set", lacking))
    assert body == "hello" and "no change of the user here" in confinement and "missing" not in confinement


@needs_root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed")
def test_a_parent_that_may_kill_no_other_user_ends_its_child_by_the_end_of_the_socket():
    assert answer_of("", shell=("setpriv", "--bounding-set", "-kill"))[0] == "hello"


@needs_root
@pytest.mark.skipif(not shutil.which("unshare") or subprocess.call(["unshare", "-Ur", "true"], stderr=subprocess.DEVNULL) != 0,
                    reason="no user namespace can be made here")
def test_in_a_user_namespace_the_child_goes_on_and_says_so():
    body, confinement = answer_of("", shell=("unshare", "-Ur"))
    assert body == "hello" and "no change of the user here" in confinement


@needs_root
def test_a_parent_that_was_started_with_its_childrens_ends_ignored_works():
    assert answer_of("", shell=("sh", "-c", "trap '' CHLD; exec \"$@\"", "sh"))[0] == "hello"


def test_the_childs_user_is_the_packages_own_and_nobody_where_that_is_missing(tmp_path):
    passwd = tmp_path / "passwd"
    passwd.write_text("root:x:0:0::/:/bin/sh\nbroken\nxcpng-mirrors:x:971:970:Network:/:/sbin/nologin\n")
    assert user_in(str(passwd)) == (971, 970, [])
    for text in ("root:x:0:0::/:/bin/sh\n", "xcpng-mirrors:x:0:0::/:\n", "xcpng-mirrors:x:-1:0::/:\n", "xcpng-mirrors2:x:5:5::/:\n"):
        passwd.write_text(text)
        user, group, problems = user_in(str(passwd))
        assert (user, group) == (NOBODY, NOBODY) and "nobody is used" in problems[0]


# Host names.


def found_for(said, family=0):
    return names.found_in(said, 443, family)


def test_addresses_keep_the_resolvers_order_and_get_the_port_that_was_asked_for():
    assert found_for({"found": [[socket.AF_INET6, "fe80::1", 3], [socket.AF_INET, "192.0.2.1", 0]]}) == [
        (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("fe80::1", 443, 0, 3)),
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("192.0.2.1", 443))]


@pytest.mark.parametrize("said, family", [
    ({}, 0), ({"found": []}, 0), ({"found": 5}, 0), ({"found": [[socket.AF_UNIX, "/run/x", 0]]}, 0), ({"found": [[socket.AF_INET, "m.test", 0]]}, 0),
    ({"found": [[socket.AF_INET, "::1", 0]]}, 0), ({"found": [[socket.AF_INET6, "127.0.0.1", 0]]}, 0), ({"found": [[socket.AF_INET, "127.0.0.1"]]}, 0),
    ({"found": [[socket.AF_INET6, "::1", -1]]}, 0), ({"found": [[socket.AF_INET6, "::1", "x"]]}, 0), ({"found": [[socket.AF_INET, "", 0]]}, 0),
    ({"found": [[socket.AF_INET6, "::1", 0]]}, socket.AF_INET), ({"error": "x", "text": ""}, 0), ({"error": 10 ** 30}, 0),
], ids=str)
def test_what_is_no_address_is_not_believed_of_the_process_that_looks_up_names(said, family):
    with pytest.raises(OSError, match="malformed"):
        found_for(said, family)


def test_a_name_that_is_unknown_is_told_as_the_resolver_tells_it():
    with pytest.raises(socket.gaierror) as error:
        found_for({"error": socket.EAI_NONAME, "text": "Name or service not known" * 99})
    assert error.value.errno == socket.EAI_NONAME and len(error.value.strerror) == names.MAX_TEXT_CHARACTERS


@pytest.mark.parametrize("error", [LookupError("unknown encoding: idna"), MemoryError(), UnicodeError("label too long"), OSError(11, "try again")])
def test_whatever_goes_wrong_with_a_name_is_answered(error, monkeypatch):
    def fail(*_):
        raise error

    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with mine, theirs:
        names._answer(theirs, {"id": 1, "host": "m.test", "family": 0})
        with pytest.raises(socket.gaierror):
            found_for(wire.decoded(mine.recv(1000)))


def test_everyone_who_waits_for_a_name_is_told_when_the_process_dies():
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client, told = names.NameClient(mine), []

    def ask():
        with pytest.raises(OSError, match="has died"):
            client.getaddrinfo("m.test", 443)
        told.append(1)

    with mine:
        client.start()
        asking = [threading.Thread(target=ask) for _ in range(3)]
        for thread in asking:
            thread.start()
        for _ in asking:
            theirs.recv(1000)
        theirs.close()
        for thread in asking:
            thread.join(LONG_SECONDS)
        ask()
    assert len(told) == 4


# The child as it is, in a process of its own.


@needs_root
@pytest.mark.parametrize("behave, expected", [
    (says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nLink: <a>\r\n\r\nhello"), "(200, ('<a>',), b'hello')"),
    (says(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), "http-status"),
    (says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"), "truncated"),
    (says(b"HTTP/1.1 302 OK\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), "redirect-refused"),
    (says(b"rubbish\r\n\r\n"), "bad-answer"),
    (stays_silent_after(b""), "timed-out"),
])
def test_through_a_real_child_a_request_ends_as_it_does_without(behave, expected):
    with RawServer(behave) as server:
        script = ("import sys; sys.path.insert(0, {!r})\n"
                  "from yum_plugin.privsep.parent import separated\nfrom yum_plugin.model import Network\n"
                  "from yum_plugin.errors import MirrorsError\nfrom yum_plugin.net.fetch import FetchLimits\nnetwork = Network(proxy='')\n"
                  "with separated([network], 60) as gateway:\n"
                  "    with gateway.open(network, 60.0) as client:\n"
                  "        try: answer = client.get({!r}, FetchLimits(1000, 60.0, {}))\n"
                  "        except MirrorsError as error: print(error.reference)\n"
                  "        else: print((answer.status, answer.links, answer.body))\n")
        words = script.format(str(REPOSITORY_ROOT), server.url, 0.2 if expected == "timed-out" else 60.0)
        done = subprocess.run([sys.executable, "-c", words], stdout=subprocess.PIPE, universal_newlines=True, check=True)
    assert done.stdout.strip() == expected


@needs_root
def test_a_real_child_looks_at_how_a_server_is_reached():
    script = ("import sys; sys.path.insert(0, {!r})\n"
              "from yum_plugin.privsep.parent import separated\nfrom yum_plugin.model import Network\nnetwork = Network(proxy='')\n"
              "with separated([network], 60) as gateway:\n"
              "    with gateway.open(network, 60.0) as client: print(gateway.reachability(client, {!r}, network, 60.0)[:2])\n")
    with RawServer(stays_silent_after(b"")) as server:
        done = subprocess.run([sys.executable, "-c", script.format(str(REPOSITORY_ROOT), server.url)], stdout=subprocess.PIPE,
                              universal_newlines=True, check=True)
    assert done.stdout.strip() == "('yes', 'none')"


@needs_root
def test_all_mirrors_of_all_repositories_are_asked_together_by_one_child():
    together = threading.Barrier(300)  # sessions: 150 mirrors of two repositories

    def behave(connection, server):
        server.read_head(connection)
        together.wait(LONG_SECONDS)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    script = ("import sys; sys.path.insert(0, {!r})\n"
              "from yum_plugin.privsep.parent import separated\nfrom yum_plugin.model import Network\n"
              "from yum_plugin.net.fetch import FetchLimits\nfrom yum_plugin.net.fanout import TaskPool\nnetwork = Network(proxy='')\n"
              "with separated([network], 60) as gateway:\n"
              "    task_pool = TaskPool(gateway.open)\n"
              "    for number in range({}): task_pool.start(number, lambda client: client.get({!r}, FetchLimits(9, 60, 60)).body, network, 60)\n"
              "    print(sum(task_pool.next(60).value == b'hello' for number in range({})))\n")
    with RawServer(behave) as server:
        done = subprocess.run([sys.executable, "-c", script.format(str(REPOSITORY_ROOT), together.parties, server.url, together.parties)],
                              stdout=subprocess.PIPE, universal_newlines=True, check=True)
    assert done.stdout.strip() == str(together.parties)


def test_a_file_that_cannot_be_opened_in_the_child_is_answered_and_no_silence(monkeypatch):
    """The parent would wait for its whole time: so it was when the child could no longer load what examines a chain."""
    def fails(served, request):
        raise PermissionError("confined")

    mine, theirs = socket.socketpair()
    monkeypatch.setitem(child._ANSWERS, "explain", fails)
    with mine, theirs, mine.makefile("rb") as answers:
        child._answer(child.ServedSession(theirs, None, None, threading.Event(), None), {"do": "explain"})
        mine.settimeout(20)
        kind, payload = wire.receive(answers)
    assert kind == wire.ERROR and b"PermissionError" in payload
