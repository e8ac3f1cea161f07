"""What the plugins share: their settings, the check whether the last resolution still holds, and the engine process.

Python 2.7 and 3, standard library only. It never imports the engine: yum and dnf run as root, and their process must not
parse bytes from the network.
"""
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

SCHEMA = 1
GRACE_SECONDS = 4.0  # for the start of the engine; its deadline, and an equal wait for the lock, are added
ACCEPT_SECONDS = 5.0
IDLE_SECONDS = 60.0  # for packages: the engine sends an event at least every 2 seconds while it works
MSG_NOSIGNAL = 0x4000  # send(2) on Linux; Python 2.7 has no name for it
MAX_EVENT_BYTES = 4 * 1024 * 1024
MAX_CACHED_BYTES = 1024 * 1024
MAX_NUMBER = 1e9
# The key that a verdict of each status must have.
NEEDED = {"resolved": "sha256", "verified": "text", "left": "text", "refused": "text", "unavailable": "text"}

# The engine has its own process group. start_new_session spares Python 3 the copy of a large dnf that preexec_fn needs.
NEW_SESSION = {"start_new_session": True} if sys.version_info[0] > 2 else {"preexec_fn": os.setsid}

clock = getattr(time, "monotonic", time.time)  # Python 2.7 has no monotonic clock

OFF = ("0", "no", "false", "off")
FRAGMENTS = "etc/xcpng-mirrors.d/"
DEFAULTS = {
    "enabled": "1", "command": "/usr/bin/xcpng-mirrors", "state_dir": "/var/lib/xcpng-mirrors", "repos": "xcp-ng-*",
    "fingerprints": "34AC2EB68248FED6D076838ACD75783A3FD3AC9E", "deadline": "8", "refresh_after": "900", "minrate": "5000",
    "timeout": "5", "verify_packages": "1",
}


def reader(parser, root):
    """Return a function that returns the text of a key: from the last fragment that has it, else from the .conf, else None.

    Args:
        parser: the package manager's parser, which has read our .conf; another one of its class reads each fragment.
        root: the installroot.
    """
    layers, folder = [parser], os.path.join(root, FRAGMENTS)
    for name in sorted(fnmatch.filter(os.listdir(folder) if os.access(folder, os.R_OK) else (), "[!.]*.conf")):
        fragment = parser.__class__()  # type() would be "instance" on Python 2.7
        try:
            fragment.read(os.path.join(folder, name))
        except Exception:  # each parser has its own errors; the engine ignores a damaged fragment, too, and reports it
            continue
        layers.insert(0, fragment)
    return lambda key: next((layer.get("main", key) for layer in layers if layer.has_option("main", key)), None)


class BridgeSettings(object):
    """The settings that a plugin needs itself; the engine reads the whole .conf and reports its problems.

    Args:
        get: see reader.
        root: the installroot; the state lies inside it.
    """

    def __init__(self, get, root="/"):
        values = dict((key, get(key) or default) for key, default in DEFAULTS.items())
        self.command = values["command"]
        self.state_dir = os.path.join(root, values["state_dir"].lstrip("/"))
        enabled, self.verify_packages = (values[key].lower() not in OFF for key in ("enabled", "verify_packages"))
        self.repos = values["repos"].replace(",", " ").split() if enabled else []
        self.fingerprints = values["fingerprints"].upper().replace(",", " ").split()
        self.deadline = number(values["deadline"], 8.0)
        self.refresh_after = number(values["refresh_after"], 900.0)
        self.minrate, self.timeout = (int(number(values[key], 0)) for key in ("minrate", "timeout"))

    def wants(self, repository_id, urls):
        """Whether we handle a repository: its id matches, and no URL has the ``http://HTTPS///`` form of a caching proxy."""
        ours = any(fnmatch.fnmatchcase(repository_id, pattern) for pattern in self.repos)
        return ours and bool(urls) and not any("://HTTPS///" in url.upper() for url in urls)

    def file_of(self, repository_id, name):
        """Return the path of a file of a repository in the state."""
        return os.path.join(self.state_dir, repository_id, name)


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


def sha256_of(path):
    """Return the SHA-256 of a file in hex; None if it cannot be read or is larger than a repomd.xml may be."""
    data = read_small(path)
    return None if data is None or len(data) > MAX_CACHED_BYTES else hashlib.sha256(data).hexdigest()


def is_pinned(digest, path):
    """Whether a file of the state contains a digest; our metalink and our high-water mark contain one digest each."""
    return digest.encode("ascii") in (read_small(path) or b"")


def is_warm(settings, repository_id, cached_repomd, now):
    """Whether the last resolution is still valid, so that no engine is needed.

    Args:
        settings: see BridgeSettings.
        repository_id: which.
        cached_repomd: path of the repomd.xml in the package manager's cache.
        now: seconds since 1970.

    Returns:
        True if the metalink is younger than refresh_after, and names the cached file, which is the accepted one.
    """
    metalink = settings.file_of(repository_id, "metalink.xml")
    age = now - os.path.getmtime(metalink) if os.path.exists(metalink) else -1
    return 0 <= age < settings.refresh_after and bool(cached_sha256(settings, repository_id, cached_repomd))


def cached_sha256(settings, repository_id, cached_repomd):
    """Return the SHA-256 of the cached repomd.xml if the metalink names it and it is the accepted one, else "".

    Args: see is_warm.
    """
    digest = sha256_of(cached_repomd) or ""
    kept = all(is_pinned(digest, settings.file_of(repository_id, name)) for name in ("metalink.xml", "accepted.json"))
    return digest if kept else ""


def describe(repo, proxy, cached_digest="", installs=False):
    """Return a repository of yum or dnf in the form of the engine's request; both use the same names for these options.

    Args:
        repo: the package manager's object, before we have changed it.
        proxy: a URL, "_none_" for no proxy, None for the proxy of the environment.
        cached_digest: see ``cached_sha256``; "" if mirrors must be asked whatever is in the cache.
        installs: whether packages are about to be installed; other commands may see new metadata later.
    """
    same = ("id", "username", "password", "proxy_username", "proxy_password", "sslcacert", "sslclientcert", "sslclientkey",
            "ip_resolve")
    return dict(((name, getattr(repo, name)) for name in same), proxy=proxy, base_urls=list(repo.baseurl),
                gpgkeys=list(repo.gpgkey), sslverify=bool(repo.sslverify), held_sha256=cached_digest, installs=installs,
                metadata_expire=repo.metadata_expire)


def describe_package(package, location, size):
    """Return a package of yum or dnf in the form of the engine's request, from the signed metadata that is loaded.

    Args:
        package: the package manager's object; both use the same names for what is used here.
        location: path below the repository.
        size: bytes.
    """
    kind, checksum = package.returnIdSum()
    return {"name": package.name, "epoch": int(package.epoch), "version": package.version, "release": package.release,
            "arch": package.arch, "location": location, "size": int(size), "checksum_type": kind or "",
            "checksum": checksum or "", "target": package.localPkg()}


def copy_whole(source, target):
    """Copy a small file atomically: a reader of the target finds the old or the new content, each complete."""
    data = read_small(source)
    descriptor, beside = tempfile.mkstemp(dir=os.path.dirname(target))
    with os.fdopen(descriptor, "wb") as stream:
        os.fchmod(descriptor, 0o644)
        stream.write(data)
    os.rename(beside, target)


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

    Args:
        command: path of xcpng-mirrors.
        seconds: the time after which the engine is killed; each event for ``on_event`` starts it again.
    """

    def __init__(self, command, seconds):
        self._command = command
        self._seconds = seconds
        self._ends_at = clock() + seconds
        self._child = self._requests = self._stderr = None
        self._buffer = b""

    def ask(self, request, on_event=None):
        """Send a request and wait for the result.

        Args:
            request: the JSON object, without "schema".
            on_event: called with every event except warnings and the result.

        Returns:
            (repositories, warnings): the result's dictionary by repository id, and the warnings' texts.

        Raises:
            BridgeError: the engine is missing, died, hung, or sent a malformed answer.
        """
        try:
            self._start()
            self._send(dict(request, schema=SCHEMA))
            return self._collect(on_event)
        except (EnvironmentError, ValueError, AttributeError, KeyError, TypeError, RuntimeError, select.error) as error:
            last_line = self._last_error_line()
            self.close()
            raise BridgeError("the engine {0} cannot be used: {1}{2}".format(self._command, error, last_line))
        except BaseException:  # also Ctrl-C, which does not reach the process group of the engine
            self.close()
            raise

    def _start(self):
        self._stderr = tempfile.TemporaryFile()
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
            if left <= 0 or not select.select([self._child.stdout], [], [], left)[0]:
                raise BridgeError("the engine sent no answer in time")
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

    def accept(self, repository_ids):
        """Send the engine the repositories whose metadata the package manager has accepted; it records them and ends."""
        try:
            self._ends_at = clock() + ACCEPT_SECONDS
            self._send({"accepted": sorted(repository_ids)})
            self._requests.shutdown(socket.SHUT_WR)
        except (IOError, OSError):
            return  # it has ended already

    def finish(self):
        """Wait until the engine ends by itself, for ACCEPT_SECONDS at most."""
        if self._child is not None:
            select.select([self._child.stdout], [], [], ACCEPT_SECONDS)  # readable at its end
        self.close()

    def close(self):
        """End the engine and everything that it started; may be called twice."""
        child, self._child = self._child, None
        for stream in (self._requests, self._stderr):
            if stream is not None:
                stream.close()
        if child is not None:
            end_group(child)


def checked(verdicts):
    """Return the verdicts of a result; raise KeyError, TypeError or the like if they are malformed."""
    if not all(NEEDED[verdict["status"]] in verdict for verdict in verdicts.values()):
        raise KeyError("a verdict that lacks something")
    return verdicts


def resolve(settings, config_path, root, repositories):
    """Start an engine and let it resolve repositories.

    Args:
        settings: see BridgeSettings.
        config_path: the path of the .conf that the engine reads.
        root: the installroot.
        repositories: a list of dictionaries; see ``describe``.

    Returns:
        (engine, verdicts, warnings): the engine still runs and waits for ``accept``; a verdict for every id,
        ``{"status": "resolved" | "left" | "refused", ...}``.
    """
    engine = Engine(settings.command, 2 * settings.deadline + GRACE_SECONDS)
    request = {"action": "resolve", "config": config_path, "installroot": root, "repositories": repositories}
    return (engine,) + _verdicts(engine, request)


def packages(settings, config_path, root, mode, repositories, on_event):
    """Let an engine fetch or verify packages (engine.py describes the protocol).

    Args:
        settings, config_path, root: as for ``resolve``.
        mode: "fetch" or "verify".
        repositories: as for ``resolve``, each with "packages".
        on_event: called with each "progress" and "package" event.

    Returns:
        (verdicts, warnings): a verdict for every id, ``{"status": "verified" | "refused" | "unavailable" | "left", ...}``.
    """
    engine = Engine(settings.command, IDLE_SECONDS)
    request = {"action": "packages", "mode": mode, "config": config_path, "installroot": root, "repositories": repositories}
    try:
        return _verdicts(engine, request, on_event)
    finally:
        engine.close()


def _verdicts(engine, request, on_event=None):
    """Ask the engine; return a verdict for every repository, "left" if the engine sent none, and the warnings."""
    try:
        answers, warnings = engine.ask(request, on_event)
    except BridgeError as error:
        answers, warnings = {"": {"status": "left", "text": str(error)}}, []
    common = answers.get("", {"status": "left", "text": "the engine sent no verdict"})
    return dict((item["id"], answers.get(item["id"], common)) for item in request["repositories"]), warnings
