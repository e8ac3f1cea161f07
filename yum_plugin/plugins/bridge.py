"""What the yum and the dnf plugin share: their few settings, the warm check, and the engine as a child process.

Python 2.7 and 3, standard library only. Never imports the engine: yum and dnf run as root
and must not read the network's bytes in their own process.
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
GRACE_SECONDS = 4.0  # for starting the engine, beside its own deadline and an equal wait for the lock
ACCEPT_SECONDS = 5.0
IDLE_SECONDS = 60.0  # job 2: the engine says something at least every 2 seconds while anything is under way
MSG_NOSIGNAL = 0x4000  # send(2) on Linux; Python 2.7 has no name for it
MAX_EVENT_BYTES = 4 * 1024 * 1024
MAX_CACHED_BYTES = 1024 * 1024
MAX_NUMBER = 1e9
# What a verdict of each status must hold beside it.
NEEDED = {"resolved": "sha256", "verified": "text", "left": "text", "refused": "text", "unavailable": "text"}

# The engine's process group is its own; by start_new_session Python need not copy a large dnf to start it.
NEW_SESSION = {"start_new_session": True} if sys.version_info[0] > 2 else {"preexec_fn": os.setsid}

clock = getattr(time, "monotonic", time.time)  # Python 2.7 has no clock that nobody sets

OFF = ("0", "no", "false", "off")
FRAGMENTS = "etc/xcpng-mirrors.d/"
DEFAULTS = {
    "enabled": "1", "command": "/usr/bin/xcpng-mirrors", "state_dir": "/var/lib/xcpng-mirrors", "repos": "xcp-ng-*",
    "fingerprints": "34AC2EB68248FED6D076838ACD75783A3FD3AC9E", "deadline": "8", "refresh_after": "900", "minrate": "5000",
    "timeout": "5", "verify_packages": "1",
}


def reader(parser, root):
    """Return a function of a key that returns its text in the last fragment that has it, else in the .conf, else None.

    Args:
        parser: the package manager's own, with our .conf in it; another of its kind reads each fragment.
        root: the installroot.
    """
    layers, folder = [parser], os.path.join(root, FRAGMENTS)
    for name in sorted(fnmatch.filter(os.listdir(folder) if os.access(folder, os.R_OK) else (), "[!.]*.conf")):
        fragment = parser.__class__()  # type() does not know it on Python 2.7
        try:
            fragment.read(os.path.join(folder, name))
        except Exception:  # each parser has errors of its own; the engine leaves a damaged fragment out too, and tells
            continue
        layers.insert(0, fragment)
    return lambda key: next((layer.get("main", key) for layer in layers if layer.has_option("main", key)), None)


class BridgeSettings(object):
    """The settings that a plugin itself needs; the engine reads the whole .conf, and tells what is wrong with it.

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
        """Whether a repository is ours to look after: its id matches, and no URL is a proxy's ``http://HTTPS///`` form."""
        ours = any(fnmatch.fnmatchcase(repository_id, pattern) for pattern in self.repos)
        return ours and bool(urls) and not any("://HTTPS///" in url.upper() for url in urls)

    def file_of(self, repository_id, name):
        """Return the path of a repository's file in the state."""
        return os.path.join(self.state_dir, repository_id, name)


def number(text, default):
    """Return a text as a number, ``default`` if it is none; the engine tells the admin."""
    try:
        value = float(text)
    except ValueError:
        return default
    return value if 0 <= value < MAX_NUMBER else default  # also for "nan" and "inf"


def read_small(path):
    """Return the content of a small file, all of it or the first MAX_CACHED_BYTES and one; None if it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return stream.read(MAX_CACHED_BYTES + 1)
    except (IOError, OSError):
        return None


def sha256_of(path):
    """Return the SHA-256 of a small file in hex, None if it cannot be read or is larger than a repomd.xml may be."""
    data = read_small(path)
    return None if data is None or len(data) > MAX_CACHED_BYTES else hashlib.sha256(data).hexdigest()


def is_pinned(digest, path):
    """Whether a digest stands in a file of the state: our metalink and our high-water mark hold one digest each."""
    return digest.encode("ascii") in (read_small(path) or b"")


def is_warm(settings, repository_id, cached_repomd, now):
    """Whether the last resolution still holds, so that no engine is needed.

    Args:
        settings: see BridgeSettings.
        repository_id: which.
        cached_repomd: path of the repomd.xml in the package manager's cache.
        now: seconds since 1970.

    Returns:
        True if the metalink is younger than refresh_after, and the cached file is the one that it pins
        and the one that was accepted.
    """
    metalink = settings.file_of(repository_id, "metalink.xml")
    age = now - os.path.getmtime(metalink) if os.path.exists(metalink) else -1
    return 0 <= age < settings.refresh_after and bool(held(settings, repository_id, cached_repomd))


def held(settings, repository_id, cached_repomd):
    """Return the SHA-256 of the cached repomd.xml if it is the one that the metalink pins and that was accepted, else "".

    Args: see is_warm.
    """
    digest = sha256_of(cached_repomd) or ""
    kept = all(is_pinned(digest, settings.file_of(repository_id, name)) for name in ("metalink.xml", "accepted.json"))
    return digest if kept else ""


def describe(repo, proxy, held_sha256="", installs=False):
    """Return a repository of yum or dnf as the engine's request wants it; they name these options alike.

    Args:
        repo: the package manager's object, before we have changed it.
        proxy: URL, "_none_" for none at all, None for what the environment says.
        held_sha256: see ``held``; "" if mirrors are to be asked whatever is held.
        installs: whether packages are about to be installed; who only looks for updates may hear of new ones later.
    """
    same = ("id", "username", "password", "proxy_username", "proxy_password", "sslcacert", "sslclientcert", "sslclientkey",
            "ip_resolve")
    return dict(((name, getattr(repo, name)) for name in same), proxy=proxy, base_urls=list(repo.baseurl),
                gpgkeys=list(repo.gpgkey), sslverify=bool(repo.sslverify), held_sha256=held_sha256, installs=installs,
                metadata_expire=repo.metadata_expire)


def describe_package(package, location, size):
    """Return a package of yum or dnf as the engine's request wants it, from the signed metadata that is loaded.

    Args:
        package: the package manager's object; both name what is asked of it here alike.
        location: path below the repository.
        size: bytes.
    """
    kind, checksum = package.returnIdSum()
    return {"name": package.name, "epoch": int(package.epoch), "version": package.version, "release": package.release,
            "arch": package.arch, "location": location, "size": int(size), "checksum_type": kind or "",
            "checksum": checksum or "", "target": package.localPkg()}


def copy_whole(source, target):
    """Copy a small file so that a reader of the target finds all of it, the old or the new one."""
    data = read_small(source)
    descriptor, beside = tempfile.mkstemp(dir=os.path.dirname(target))
    with os.fdopen(descriptor, "wb") as stream:
        os.fchmod(descriptor, 0o644)
        stream.write(data)
    os.rename(beside, target)


def clean_environment():
    """Return the environment for a child: ours, without what would change how a Python in it works."""
    return dict((key, value) for key, value in os.environ.items() if not key.startswith("PYTHON"))


def end_group(child):
    """Kill a child that was started with NEW_SESSION, and everything that it started; not to be called twice."""
    if child.returncode is None:  # its group is there as long as nobody has waited for it
        os.killpg(child.pid, signal.SIGKILL)
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()
    child.wait()


class BridgeError(Exception):
    """The engine gave no usable answer; the repositories stay as they are."""


class Engine(object):
    """The engine as a child process, in a process group of its own, bounded in time.

    Args:
        command: path of xcpng-mirrors.
        seconds: after so long the engine is killed, whatever it does; each event that is told to ``on_event`` begins anew.
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
            request: what goes after "schema" into the JSON line.
            on_event: called with every event but warnings and the result.

        Returns:
            (repositories, warnings): the result's dictionary by repository id, and the warnings' texts.

        Raises:
            BridgeError: the engine is missing, died, hung, or answered rubbish.
        """
        try:
            self._start()
            self._send(dict(request, schema=SCHEMA))
            return self._collect(on_event)
        except (EnvironmentError, ValueError, AttributeError, KeyError, TypeError, RuntimeError, select.error) as error:
            words = self._last_words()
            self.close()
            raise BridgeError("the engine {0} cannot be used: {1}{2}".format(self._command, error, words))
        except BaseException:  # also Ctrl-C: the engine has a process group of its own and would live on
            self.close()
            raise

    def _start(self):
        self._stderr = tempfile.TemporaryFile()
        # A socket and no pipe: dnf lets SIGPIPE kill it, and an engine may die before it has read its request.
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
        """Return the next line of the engine; it arrives within the deadline or not at all."""
        while b"\n" not in self._buffer:
            left = self._ends_at - clock()
            if left <= 0 or not select.select([self._child.stdout], [], [], left)[0]:
                raise BridgeError("the engine gave no answer in time")
            data = os.read(self._child.stdout.fileno(), 65536)
            self._buffer += data
            if not data or len(self._buffer) > MAX_EVENT_BYTES:
                raise BridgeError("the engine ended without an answer{0}".format(self._last_words()))
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line

    def _last_words(self):
        if self._stderr is None:
            return ""
        self._stderr.seek(0)
        words = self._stderr.read(MAX_EVENT_BYTES).decode("utf-8", "replace").strip()
        return ": " + words.splitlines()[-1] if words else ""

    def accept(self, repository_ids):
        """Tell the engine which metadata the package manager has accepted; it writes that down and ends."""
        try:
            self._ends_at = clock() + ACCEPT_SECONDS
            self._send({"accepted": sorted(repository_ids)})
            self._requests.shutdown(socket.SHUT_WR)
        except (IOError, OSError):
            return  # it has ended already

    def finish(self):
        """Wait until the engine has ended by itself, for ACCEPT_SECONDS at most."""
        if self._child is not None:
            select.select([self._child.stdout], [], [], ACCEPT_SECONDS)  # readable when it has ended
        self.close()

    def close(self):
        """End the engine and everything it started; safe to call twice."""
        child, self._child = self._child, None
        for stream in (self._requests, self._stderr):
            if stream is not None:
                stream.close()
        if child is None:
            return
        end_group(child)


def checked(verdicts):
    """Return the verdicts of a result; KeyError, TypeError or the like if they are none."""
    if not all(NEEDED[verdict["status"]] in verdict for verdict in verdicts.values()):
        raise KeyError("a verdict that lacks something")
    return verdicts


def resolve(settings, config_path, root, repositories):
    """Start an engine and let it resolve repositories.

    Args:
        settings: see BridgeSettings.
        config_path: of the .conf, for the engine to read.
        root: the installroot.
        repositories: list of dictionaries as the engine's request wants them.

    Returns:
        (engine, verdicts, warnings): the engine still runs and waits for ``accept``; a verdict for every id,
        ``{"status": "resolved" | "left" | "refused", ...}``.
    """
    engine = Engine(settings.command, 2 * settings.deadline + GRACE_SECONDS)
    request = {"action": "resolve", "config": config_path, "installroot": root, "repositories": repositories}
    return (engine,) + _verdicts(engine, request)


def packages(settings, config_path, root, mode, repositories, on_event):
    """Let an engine fetch or verify packages (job 2; the protocol stands in engine.py).

    Args:
        settings, config_path, root: as of ``resolve``.
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
    """Ask, and return a verdict for every repository, "left" if the engine gave none, and the warnings."""
    try:
        answers, warnings = engine.ask(request, on_event)
    except BridgeError as error:
        answers, warnings = {"": {"status": "left", "text": str(error)}}, []
    common = answers.get("", {"status": "left", "text": "the engine says nothing of it"})
    return dict((item["id"], answers.get(item["id"], common)) for item in request["repositories"]), warnings
