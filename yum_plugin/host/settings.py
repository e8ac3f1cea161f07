"""The settings: the .conf and its fragments.

One table, KEYS, says what a .conf may hold; etc/xcpng-mirrors.conf explains the same keys to the admin
(tests/test_config.py compares the two). Rules:
    1. Nothing in a .conf stops a package manager: a value that cannot be used is reported with file and line, and the
       default is used.
    2. Settings are this host's, also for an installroot: what lies in another root does not decide what runs here.
    3. A file that others than root and this user could change is not read, unless the caller names it (--config); a
       command= or state_dir= that they could change is not used (``util/places.py``, rule 2).
"""
import ipaddress
import os
import re
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence, Tuple

from ..errors import UsageError
from ..util.files import listed
from ..util.places import remedy, weak_point
from ..util.urls import authority_of, clean_base_url
from .inifile import MAX_BYTES, parse_ini

CONFIG_FILES = ("/etc/dnf/plugins/xcpng-mirrors.conf", "/etc/yum/pluginconf.d/xcpng-mirrors.conf")
FRAGMENT_FOLDER = "/etc/xcpng-mirrors.d"
MAX_FRAGMENTS = 256
MAX_VALUE_CHARACTERS = 4096
MAX_WARNINGS = 20
_FLAGS = {"1": True, "yes": True, "true": True, "on": True, "0": False, "no": False, "false": False, "off": False}
_FINGERPRINT = re.compile(r"^[0-9A-F]{40}\Z")
_WORD = re.compile(r"^[A-Za-z0-9_.:*?!\[\]-]{1,255}\Z")


class Settings(NamedTuple):
    """All settings; times are in seconds."""

    enabled: bool
    command: str
    state_dir: str
    log_file: str
    repos: Tuple[str, ...]  # patterns of repository ids
    redirectors: Tuple[str, ...]  # host or host:port, lower case
    fallbacks: Tuple[str, ...]  # roots of origins, each ending in "/"
    fingerprints: Tuple[str, ...]  # of primary keys, 40 upper-case hex digits
    probe_mirrors: int
    enough: int
    connect_timeout: float
    read_timeout: float
    deadline: float
    refresh_after: float
    require_https: bool
    allow_networks: Tuple[str, ...]  # CIDR: addresses that a mirror list may name as the admin may
    prefer: Tuple[str, ...]  # hosts or countries
    deny: Tuple[str, ...]
    max_age: int  # in the .conf as days; 0: never too old
    verify_packages: bool
    on_unreachable: str  # stock or abort
    minrate: int  # bytes per second; 0: the package manager's own
    timeout: int  # 0: the package manager's own
    log_level: str


class SettingOrigin(NamedTuple):
    """The file and line of a value."""

    path: str
    line: int  # counted from 1

    def __str__(self) -> str:
        return "{}: line {}".format(self.path, self.line)


class LoadedSettings(NamedTuple):
    """The settings, and what was found in their files."""

    settings: Settings
    warnings: Tuple[str, ...]  # with file and line, one for each value that cannot be used
    origins: Mapping[str, SettingOrigin]  # by key; a key that is missing here has its default
    files: Tuple[str, ...]  # the files that were used, in the order in which they were read


class Key(NamedTuple):
    """One key of the .conf."""

    name: str
    kind: str  # a key of _READERS
    default: str  # as in the .conf
    low: float = 0  # bound of the number, or of the number of entries in a list
    high: float = 0
    unit: str = ""  # as in the .conf; for a choice: its words, separated by "|"


KEYS = (
    Key("enabled", "flag", "1", unit="0 or 1"),
    Key("command", "path", "/usr/bin/xcpng-mirrors", unit="path"),
    Key("state_dir", "path", "/var/lib/xcpng-mirrors", unit="path"),
    Key("log_file", "path", "/var/log/xcpng-mirrors.log", unit="path"),
    Key("repos", "words", "xcp-ng-*", 1, 64, "patterns of repository ids"),
    Key("redirectors", "hosts", "mirrors.xcp-ng.org", 1, 8, "hosts or host:port"),
    Key("fallbacks", "urls", "https://updates.xcp-ng.org/", 0, 8, "URLs"),
    Key("fingerprints", "fingerprints", "34AC2EB68248FED6D076838ACD75783A3FD3AC9E", 1, 16, "40 hex digits each"),
    Key("probe_mirrors", "count", "6", 1, 64, "mirrors"),
    Key("enough", "count", "3", 1, 16, "mirrors"),
    Key("connect_timeout", "seconds", "3", 0.1, 60, "seconds"),
    Key("read_timeout", "seconds", "4", 0.1, 120, "seconds"),
    Key("deadline", "seconds", "8", 1, 300, "seconds"),
    Key("refresh_after", "seconds", "900", 0, 86400, "seconds"),
    Key("require_https", "flag", "1", unit="0 or 1"),
    Key("allow_networks", "networks", "", 0, 64, "networks, e.g. 10.0.0.0/8"),
    Key("prefer", "words", "", 0, 64, "hosts or country codes"),
    Key("deny", "words", "", 0, 256, "hosts or country codes"),
    Key("max_age", "days", "0", 0, 36500, "days"),
    Key("verify_packages", "flag", "1", unit="0 or 1"),
    Key("on_unreachable", "choice", "stock", unit="stock|abort"),
    Key("minrate", "count", "5000", 0, 10**9, "bytes per second"),
    Key("timeout", "count", "5", 0, 3600, "seconds"),
    Key("log_level", "choice", "info", unit="debug|info|warning|error"),
)


def read_flag(text: str) -> bool:
    """Read a truth value as yum and dnf do.

    Raises:
        ValueError: it is none.
    """
    if text.lower() not in _FLAGS:
        raise ValueError("neither 1 nor 0")
    return _FLAGS[text.lower()]


def read_path(text: str) -> str:
    """Return an absolute path; raise ValueError if it is none."""
    if not text.startswith("/") or not text.isprintable():
        raise ValueError("not an absolute path")
    return text


def _choice(text: str, words: str) -> str:
    if text.lower() not in words.split("|"):
        raise ValueError("none of {}".format(words))
    return text.lower()


def _word(text: str) -> str:
    if not _WORD.match(text):
        raise ValueError("unusable characters or too long")
    return text


def _host(text: str) -> str:
    if "/" in text:
        raise ValueError("not a host but a URL")
    return authority_of(clean_base_url("http://" + text))


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ValueError("not a network such as 10.0.0.0/8") from None


def _fingerprint(text: str) -> str:
    digits = text.upper()
    if not _FINGERPRINT.match(digits):
        raise ValueError("not a fingerprint of 40 hex digits")
    return digits


def _list(text: str, key: Key, read: Callable[[str], str]) -> Tuple[str, ...]:
    words = split_words(text)
    if not key.low <= len(words) <= key.high:
        raise ValueError("not {:.0f} to {:.0f} entries".format(key.low, key.high))
    return tuple(read(word) for word in words)


def split_words(text: str) -> List[str]:
    """Split a list as yum and dnf do: white space and commas separate."""
    return text.replace(",", " ").split()


def _number(text: str, key: Key, read: Callable[[str], float]) -> float:
    try:
        value = read(text)
    except ValueError:
        raise ValueError("not a number") from None
    if not key.low <= value <= key.high:  # refuses NaN too
        raise ValueError("outside {:.12g} to {:.12g}".format(key.low, key.high))
    return value


_READERS: Dict[str, Callable[[str, Key], Any]] = {
    "flag": lambda text, key: read_flag(text),
    "path": lambda text, key: read_path(text),
    "choice": lambda text, key: _choice(text, key.unit),
    "count": lambda text, key: int(_number(text, key, int)),
    "seconds": lambda text, key: _number(text, key, float),
    "days": lambda text, key: int(_number(text, key, int)) * 86400,
    "words": lambda text, key: _list(text, key, _word),
    "hosts": lambda text, key: _list(text, key, _host),
    "urls": lambda text, key: _list(text, key, clean_base_url),
    "networks": lambda text, key: _list(text, key, _network),
    "fingerprints": lambda text, key: _list(text, key, _fingerprint),
}


def config_file(named: str) -> str:
    """Return the path of the .conf: the named one, else the first of CONFIG_FILES; "" if there is none.

    Raises:
        UsageError: the named file is missing.
    """
    if named and not os.path.isfile(named):
        raise UsageError("usage", "there is no such file or folder", where=named)
    return named or next((path for path in CONFIG_FILES if os.path.isfile(path)), "")


def read_host_settings(named: str, root: str) -> LoadedSettings:
    """Read the .conf and its fragments for a subcommand.

    Args:
        named: the file of --config; "": the .conf of this host, else the defaults.
        root: the installroot, for ``state_dir``.

    Raises:
        UsageError: the named file is missing.
    """
    return read_settings(config_file(named), fragment_paths(), root, is_named=bool(named))


def fragment_paths() -> List[str]:
    """Return the paths of the fragments, in the order of their names."""
    return listed(FRAGMENT_FOLDER, ".conf", MAX_FRAGMENTS)


def read_settings(path: str, fragments: Sequence[str] = (), root: str = "/", is_named: bool = False) -> LoadedSettings:
    """Read a .conf and its fragments.

    Args:
        path: the .conf; without it the defaults are used. Its damaged lines are skipped.
        fragments: read after the .conf; for each key the last file counts. A fragment with a damaged line is ignored as
            a whole, because the plugins' parsers cannot read it either.
        root: the installroot, for ``state_dir``.
        is_named: the caller names the .conf, so it may belong to anybody (rule 3).
    """
    warnings: List[str] = []
    files: List[str] = []
    weak: Dict[str, str] = {}
    for each in [path] * (not is_named) + list(fragments):
        weak[each] = weak_point(each) if each else ""
    for part in dict.fromkeys(filter(None, weak.values())):
        ignored = ", ".join(each for each in weak if weak[each] == part)
        warnings.append(str(UsageError("configuration", "{} is ignored: others than root can change it".format(ignored), part,
                                       remedy(part))))
    given = _read_file(path, warnings, files) if not weak.get(path) else {}
    switch = given.get("enabled")
    for fragment in fragments:
        given.update(_read_file(fragment, warnings, files, is_fragment=True) if not weak[fragment] else {})
    if switch is not None and _is_off(switch[0]) and not _is_off(given["enabled"][0]):  # the plugin is not loaded
        warnings.append("{}: enabled: not used, the plugin is switched off by {}".format(given["enabled"][1], switch[1]))
        given["enabled"] = switch
    return _convert(given, warnings, root)._replace(files=tuple(files))


def _is_off(text: str) -> bool:
    return _FLAGS.get(text.lower()) is False


def _read_file(path: str, warnings: List[str], files: List[str], is_fragment: bool = False) -> Dict[str,
                                                                                                    Tuple[str, SettingOrigin]]:
    """Return the values of a file with their origins; add to the warnings, and add the file to ``files`` if it is used."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        warnings.append("{}: cannot be read: {}; it is ignored".format(path, error))
        return {}
    content = parse_ini(data)
    warnings += ["{}: {}{}".format(path, problem, "; it is ignored" if is_fragment else "") for problem in content.problems]
    if content.problems and is_fragment:
        return {}
    files.append(path)
    given: Dict[str, Tuple[str, SettingOrigin]] = {}
    for entry in content.entries:
        origin = SettingOrigin(path, entry.line)
        if entry.section != "main":
            warnings.append("{}: only [main] is read".format(origin))
            continue
        if entry.key in given:
            warnings.append("{}: {!r} is set twice; this line is used".format(origin, entry.key[:64]))
        given[entry.key] = (entry.value, origin)
    return given


def _convert(given: Mapping[str, Tuple[str, SettingOrigin]], warnings: List[str], root: str) -> LoadedSettings:
    """Convert the values to settings; ``warnings`` are those found so far."""
    values: Dict[str, Any] = {}
    origins: Dict[str, SettingOrigin] = {}
    for key in KEYS:
        text, origin = given.get(key.name, (key.default, None))
        try:
            values[key.name] = _READERS[key.kind](bounded_text(text), key)
            if origin is not None:
                _require_safe(key.name, values[key.name], root)
                origins[key.name] = origin
        except ValueError as problem:
            values[key.name] = _READERS[key.kind](key.default, key)
            warnings.append("{}: {}: {}; the default, {}, is used".format(origin, key.name, problem, key.default or "nothing"))
    warnings += ["{}: unknown key {!r}".format(given[name][1], name[:64]) for name in given if name not in values]
    if values["enough"] > values["probe_mirrors"]:
        warnings.append("{}: enough={enough} is more than probe_mirrors={probe_mirrors}: more mirrors than that are always "
                        "asked".format(origins.get("enough") or origins["probe_mirrors"], **values))
    if len(warnings) > MAX_WARNINGS:
        warnings[MAX_WARNINGS:] = ["and {} more problems".format(len(warnings) - MAX_WARNINGS)]
    return LoadedSettings(Settings(**values), tuple(warnings), origins, ())


def _require_safe(name: str, path: str, root: str) -> None:
    """Check rule 3 for the values that it is about."""
    weak = weak_point(path, root if name == "state_dir" else "/") if name in ("command", "state_dir") else ""
    if weak:
        raise ValueError("others than root can change {}: {}".format(weak, remedy(weak)))


def bounded_text(text: object) -> str:
    """Return a text of another program; raise ValueError if it is no text or longer than any setting."""
    if not isinstance(text, str) or len(text) > MAX_VALUE_CHARACTERS:
        raise ValueError("not a text of at most {} characters".format(MAX_VALUE_CHARACTERS))
    return text
