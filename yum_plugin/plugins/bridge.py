"""What the yum and the dnf plugin share: their few settings, the cache that the engine fills, and the engine itself.

Python 2.7 and 3, standard library only. It never imports the engine: yum and dnf run as root, and their process must not
parse bytes from the network.
"""
import atexit
import fnmatch
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types

SCHEMA = 1
GRACE_SECONDS = 4.0  # for the start of the engine; its deadline, and an equal wait for the lock, are added
ACCEPT_SECONDS = 5.0
MSG_NOSIGNAL = 0x4000  # send(2) on Linux; Python 2.7 has no name for it
MAX_EVENT_BYTES = 4 * 1024 * 1024
MAX_CACHED_BYTES = 1024 * 1024
MAX_NUMBER = 1e9
OF_A_RUN = ("installs", "attended", "metadata_expire")  # keys of ``describe`` that change no address and no proof
# The key that a verdict of each status must have.
NEEDED = {"resolved": "sha256", "proven": "sha256", "verified": "text", "left": "text", "refused": "text", "unavailable": "text"}

# The engine has its own process group. start_new_session spares Python 3 the copy of a large dnf that preexec_fn needs.
NEW_SESSION = {"start_new_session": True} if sys.version_info[0] > 2 else {"preexec_fn": os.setsid}

clock = getattr(time, "monotonic", time.time)  # Python 2.7 has no monotonic clock
OFF = ("0", "no", "false", "off")
FRAGMENTS = "/etc/xcpng-mirrors.d"
DEFAULTS = {
    "enabled": "1", "command": "/usr/bin/xcpng-mirrors", "state_dir": "/var/lib/xcpng-mirrors", "repos": "xcp-ng-*",
    "deadline": "8", "refresh_after": "900", "verify_packages": "1",
}


def _load_places():
    """Load util/places.py beside this folder, by which the engine judges paths, too; this way no .pyc is written there."""
    here = os.path.dirname(os.path.abspath(_load_places.__code__.co_filename))
    path = os.path.join(os.path.dirname(here), "util", "places.py")
    module = types.ModuleType("xcpng_mirrors_places")
    with open(path) as stream:
        exec(compile(stream.read(), path, "exec"), module.__dict__)
    return module


places = _load_places()


def fragments():
    """Return the paths of the fragments of the .conf that nobody else could have changed, the last one to count last."""
    names = os.listdir(FRAGMENTS) if os.access(os.path.join(FRAGMENTS, ""), os.R_OK) else ()
    paths = [os.path.join(FRAGMENTS, name) for name in sorted(fnmatch.filter(names, "[!.]*.conf"))]
    return [path for path in paths if not places.weak_point(path)]


def reader(parser, paths):
    """Return a function that returns the text of a key: from the last fragment that has it, else from the .conf, else None.

    Args:
        parser: the package manager's parser, which has read our .conf; another one of its class reads each fragment.
        paths: of the fragments.
    """
    layers = [parser]
    for path in paths:
        fragment = parser.__class__()  # type() would be "instance" on Python 2.7
        try:
            fragment.read(path)
        except Exception:  # each parser has errors of its own; the engine leaves a damaged fragment out too, and reports it
            continue
        layers.insert(0, fragment)
    return lambda key: next((layer.get("main", key) for layer in layers if layer.has_option("main", key)), None)


class BridgeSettings(object):
    """The settings that a plugin itself needs; the engine reads the whole .conf, and reports what is wrong with it.

    Args:
        parser: the package manager's own, with our .conf in it.
        config: path of that .conf; "" if there is none. If others could have changed it, it is not used.
        root: the installroot; the state lies inside it.
    """

    def __init__(self, parser, config="", root="/"):
        weak = places.weak_point(config) if config else ""  # the engine reports it, and whatever else is not used here
        found = fragments()
        get = reader(parser.__class__() if weak else parser, found)
        values = dict((key, get(key) or default) for key, default in DEFAULTS.items())
        self.config, self.root = config, root
        self.files = ([] if weak else [config]) + found
        self.reason = "{0} is ignored: {1}".format(config, changeable(weak)) if weak else ""
        self.command = values["command"]
        if places.weak_point(self.command) and os.path.exists(DEFAULTS["command"]):
            self.command = DEFAULTS["command"]  # else Engine refuses to start it, with the reason
        safe = [path for path in (values["state_dir"], DEFAULTS["state_dir"]) if not places.weak_point(path, root)]
        self.state_dir = places.inside(root, safe[0]) if safe else places.NOWHERE
        enabled, self.verify_packages = (values[key].lower() not in OFF for key in ("enabled", "verify_packages"))
        self.repos = values["repos"].replace(",", " ").split() if enabled else []
        self.deadline = number(values["deadline"], 8.0)
        self.refresh_after = number(values["refresh_after"], 900.0)

    @property
    def seconds(self):
        """How long an answer about metadata may take."""
        return 2 * self.deadline + GRACE_SECONDS

    def wants(self, repository_id, urls):
        """Whether we handle a repository: its id matches, and no URL has the ``http://HTTPS///`` form of a caching proxy."""
        ours = any(fnmatch.fnmatchcase(repository_id, pattern) for pattern in self.repos)
        return ours and bool(urls) and not any("://HTTPS///" in url.upper() for url in urls)

    def request(self, action, repositories, **values):
        """Return a request to the engine."""
        return dict(values, action=action, config=self.config, installroot=self.root, repositories=repositories)


def start(parser, folders, root):
    """Return the settings of the .conf in one of some folders, and the engine that they name; see BridgeSettings."""
    paths = [os.path.join(folder, "xcpng-mirrors.conf") for folder in folders]
    settings = BridgeSettings(parser, next((path for path in paths if os.access(path, os.R_OK)), ""), root)
    engine = Engine(settings.command, settings.reason)
    atexit.register(engine.finish)
    return settings, engine


def changeable(weak):
    """Return why what has a weak point is not used, and the remedy."""
    return "others than root can change {0}; {1}".format(weak, places.remedy(weak))


def number(text, default):
    """Return a text as a number, or ``default`` if it is none; the engine reports it to the admin."""
    try:
        value = float(text)
    except ValueError:
        return default
    return value if 0 <= value < MAX_NUMBER else default  # also for "nan" and "inf"


def read_small(path):
    """Return the content of a file, at most MAX_CACHED_BYTES + 1 bytes; None if it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return stream.read(MAX_CACHED_BYTES + 1)
    except (IOError, OSError):
        return None


class Cache(object):
    """The package manager's own cache folder of one repository, as the engine fills it (resolve/metadata_cache.py).

    Args:
        settings: see BridgeSettings.
        repository: from ``describe``.
        folder: the package manager's.
        layout: "dnf" or "yum".
        types: of metadata that this run may read.
    """

    def __init__(self, settings, repository, folder, layout, types):
        self._settings, self._repository, self._key = settings, repository, None
        self._folder, self._layout, self._types = folder, layout, types
        self.repomd = os.path.join(folder, "repodata" if layout == "dnf" else "", "repomd.xml")
        self.cookie = os.path.join(folder, "cachecookie")

    @property
    def key(self):
        """What a filled cache is good for, read on first use: whatever is changed in what follows, mirrors are asked anew."""
        if self._key is None:
            repository = dict(item for item in self._repository.items() if item[0] not in OF_A_RUN)
            paths = self._settings.files + [os.path.join(self._settings.state_dir, repository["id"], "pin.json")]
            paths += [url[len("file://"):] for url in repository["gpgkeys"] if url.startswith("file://")]
            contents = [hashlib.sha256(read_small(path) or b"").hexdigest() for path in paths]
            text = json.dumps([SCHEMA, repository, paths, contents], sort_keys=True)
            self._key = hashlib.sha256(text.encode("ascii")).hexdigest()
        return self._key

    def sha256(self):
        """Return the SHA-256 of the cached repomd.xml in hex, None if it cannot be read or is larger than one may be."""
        data = read_small(self.repomd)
        return None if data is None or len(data) > MAX_CACHED_BYTES else hashlib.sha256(data).hexdigest()

    def is_proven(self):
        """Whether the cached repomd.xml is the one that the cache was filled with, for the same key, and that was accepted."""
        digest = (self.sha256() or "").encode("ascii")
        accepted = read_small(os.path.join(self._settings.state_dir, self._repository["id"], "accepted.json")) or b""
        return bool(digest) and digest in accepted and (
            (read_small(self.cookie) or b"").split() == [b"xcpng-mirrors", self.key.encode("ascii"), digest])

    def is_warm(self, now):
        """Whether the cache may be used without asking: proven, young, and with changelogs if they are asked for.

        Args:
            now: seconds since 1970.
        """
        expire = float(self._repository["metadata_expire"])
        good_for = self._settings.refresh_after if expire < 0 else min(self._settings.refresh_after, expire)
        age = now - os.path.getmtime(self.cookie) if os.path.exists(self.cookie) else -1
        return 0 <= age < good_for and self.is_proven() and (
            "other" not in self._types or any("other" in name for name in os.listdir(os.path.dirname(self.repomd))))

    def request(self, forced=False):
        """Return the repository with its cache for the engine; ``forced``: the admin wants newer metadata in any case."""
        return dict(self._repository, cache={"folder": self._folder, "layout": self._layout, "types": list(self._types),
                                             "key": self.key, "forced": bool(forced)})


def describe(repo, proxy, installs=False, is_command=False):
    """Return a repository of yum or dnf in the form of the engine's request; both use the same names for these options.

    Args:
        repo: the package manager's object.
        proxy: a URL, "_none_" for no proxy, None for the proxy of the environment.
        installs: whether packages are about to be installed; other commands may see new metadata later.
        is_command: whether the package manager's own command runs, and not a program with its API.
    """
    is_typed = is_command and os.isatty(0) and (os.isatty(1) or os.isatty(2))  # Ansible has a terminal, and reads the output
    same = ("id", "username", "password", "proxy_username", "proxy_password", "sslcacert", "sslclientcert", "sslclientkey",
            "ip_resolve")
    return dict(((name, getattr(repo, name)) for name in same), proxy=proxy, repofile=getattr(repo, "repofile", None),
                proxy_auth_method=getattr(repo, "proxy_auth_method", ""),  # yum has none: libcurl sends Basic then
                base_urls=list(repo.baseurl), gpgkeys=list(repo.gpgkey), sslverify=bool(repo.sslverify),
                installs=installs, attended=is_typed, metadata_expire=repo.metadata_expire)


def clean_environment():
    """Return this process's environment without the variables that change how Python works."""
    return dict((key, value) for key, value in os.environ.items() if not key.startswith("PYTHON"))


def end_group(child):
    """Kill a child that was started with NEW_SESSION, and everything that it started; must not be called twice."""
    if child.returncode is None:  # the group exists until somebody waits for the child
        os.killpg(child.pid, signal.SIGKILL)
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()
    child.wait()


class BridgeError(Exception):
    """The engine sent no usable answer; the repositories stay as they are."""


class Engine(object):
    """The engine as a child process, in its own process group, with a time limit.

    One engine serves all requests of a run; one that died is started anew for the next request.

    Args:
        command: path of xcpng-mirrors.
        reason: why it may be another one than the .conf names; "" if it is not.
    """

    def __init__(self, command, reason=""):
        self._command, self._reason = command, reason
        self._seconds = self._ends_at = 0.0
        self._child = self._requests = self._stderr = None
        self._buffer = b""

    def ask(self, request, seconds, on_event=None):
        """Send a request and wait for the result.

        Args:
            request: the JSON object, without "schema".
            seconds: after so long the engine is killed, whatever it does; each event that ``on_event`` takes begins anew.
            on_event: called with every event except warnings and the result.

        Returns:
            (verdicts, warnings): a verdict for every repository of the request, "left" if the engine gave none; texts.
        """
        self._seconds, self._ends_at = seconds, clock() + seconds
        served = self._child is not None  # a request before this one: it may have died since, which is no reason to give up
        try:
            if self._child is None:
                self._start()
            self._send(dict(request, schema=SCHEMA))
            answers, warnings = self._collect(on_event)
        except Exception as error:  # whatever it is, without an answer nothing is proven
            if served and clock() < self._ends_at:
                self.close()
                return self.ask(request, seconds, on_event)
            last_line = "" if isinstance(error, BridgeError) else self._last_error_line() + (self._reason and "; " + self._reason)
            self.close()
            text = str(error) if isinstance(error, BridgeError) else "the engine {0} cannot be used: {1}{2}".format(
                self._command, error, last_line)
            answers, warnings = {"": {"status": "left", "text": text, "failed": True}}, []
        except BaseException:  # also Ctrl-C, which does not reach the process group of the engine
            self.close()
            raise
        common = answers.get("", {"status": "left", "text": "the engine sent no verdict"})
        return dict((item["id"], answers.get(item["id"], common)) for item in request["repositories"]), warnings

    def _start(self):
        weak = places.weak_point(self._command)
        if weak:
            raise EnvironmentError(changeable(weak))
        try:
            self._stderr = tempfile.TemporaryFile()
        except EnvironmentError:  # /tmp is full: its last words are lost, but no check
            self._stderr = open(os.devnull, "r+b")
        # A socket, not a pipe: the engine may die before it has read its request, and SIGPIPE would kill dnf.
        self._requests, theirs = socket.socketpair()
        try:
            self._child = subprocess.Popen(
                [self._command, "engine"], stdin=theirs, stdout=subprocess.PIPE, stderr=self._stderr,
                close_fds=True, env=clean_environment(), **NEW_SESSION)
        finally:
            theirs.close()

    def _send(self, message):
        data = json.dumps(message).encode("ascii") + b"\n"
        self._requests.settimeout(max(0.0, self._ends_at - clock()))
        while data:
            data = data[self._requests.send(data, MSG_NOSIGNAL):]

    def _collect(self, on_event):
        warnings = []
        while True:
            event = json.loads(self._line().decode("ascii"))
            if event["event"] == "warning":
                warnings.append(": ".join(part for part in (event["repository"], event["text"]) if part))
            elif event["event"] == "result":
                return checked(event["repositories"]), warnings
            elif on_event is not None:
                on_event(event)
                self._ends_at = clock() + self._seconds

    def _line(self):
        """Return the next line of the engine; raise BridgeError if none arrives in time."""
        while b"\n" not in self._buffer:
            left = self._ends_at - clock()
            if left <= 0:
                raise BridgeError("the engine sent no answer in time")
            if not select.select([self._child.stdout], [], [], left)[0]:
                continue  # it may return a little early
            data = os.read(self._child.stdout.fileno(), 65536)
            self._buffer += data
            if not data or len(self._buffer) > MAX_EVENT_BYTES:
                raise BridgeError("the engine ended without an answer{0}".format(self._last_error_line()))
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line

    def _last_error_line(self):
        if self._stderr is None:
            return ""
        self._stderr.seek(0)
        text = self._stderr.read(MAX_EVENT_BYTES).decode("utf-8", "replace").strip()
        return ": " + text.splitlines()[-1] if text else ""

    def prepare(self, request):
        """Start the engine while the package manager is still busy, and let it get ready; faults show at the next ``ask``."""
        try:
            if self._child is None:
                self._start()
            self._tell(request)
        except EnvironmentError:
            self.close()

    def accept(self, repository_ids):
        """Report which metadata the package manager has loaded; the engine writes that down."""
        try:
            self._tell({"action": "accept", "accepted": sorted(repository_ids)})
        except (IOError, OSError, AttributeError):
            pass  # it has ended already

    def _tell(self, message):
        self._ends_at = clock() + ACCEPT_SECONDS
        self._send(dict(message, schema=SCHEMA))

    def finish(self):
        """Let the engine end by itself, within ACCEPT_SECONDS."""
        if self._child is not None:
            self._requests.shutdown(socket.SHUT_WR)
            select.select([self._child.stdout], [], [], ACCEPT_SECONDS)  # readable at its end
        self.close()

    def close(self):
        """End the engine and everything that it started; may be called twice."""
        child, self._child = self._child, None
        for stream in (self._requests, self._stderr):
            if stream is not None:
                stream.close()
        self._requests = self._stderr = None
        self._buffer = b""
        if child is not None:
            end_group(child)


def checked(verdicts):
    """Return the verdicts of a result; raise KeyError, TypeError or the like if they are malformed."""
    if not all(NEEDED[verdict["status"]] in verdict for verdict in verdicts.values()):
        raise KeyError("a verdict that lacks something")
    return verdicts
