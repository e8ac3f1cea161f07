"""The repositories of this host, read from its .repo files for the command; yum and dnf give them to the plugins."""
import fnmatch
import os
import platform
import re
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ..errors import UsageError
from ..model import Repository
from ..util.files import listed
from ..util.places import inside
from .inifile import MAX_BYTES, parse_ini
from .repository_options import repository_from_request
from .settings import Settings, read_flag, split_words

MAX_FILES = 256  # .repo files or variables in one folder
MAX_VARIABLE_BYTES = 1024
MAX_LIST_CHARACTERS = 16384  # of one baseurl= or gpgkey=
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")
_MAIN_FILES = ("etc/dnf/dnf.conf", "etc/yum.conf")
_VARIABLE_FOLDERS = ("etc/yum/vars", "etc/dnf/vars")  # the last one with a variable counts, as in libdnf's VARS_DIRS
_INHERITED = (
    "proxy proxy_username proxy_password proxy_auth_method username password "
    "sslverify sslcacert sslclientcert sslclientkey ip_resolve".split()
)


def read_repositories(
    reposdir: str,
    settings: Settings,
    variables: Mapping[str, str],
    main: Optional[Mapping[str, str]] = None,
    ids: Sequence[str] = (),
    include_disabled: bool = False,
    root: str = "/",
) -> Tuple[Tuple[Repository, ...], Tuple[str, ...]]:
    """Read the .repo files of a folder.

    Args:
        reposdir: the folder; its *.repo files are read in the order of their names.
        settings: ``repos`` selects the sections.
        variables: the values of $releasever and the like; see ``host_variables``.
        main: [main] of dnf.conf or yum.conf, for network settings that a section does not have; see ``main_options``.
        ids: if given, only these repositories, enabled or not.
        include_disabled: include repositories with enabled=0.
        root: the installroot; a file of a folder in it is read from inside it, whatever links it is.

    Returns:
        The repositories in the order of the files, and a warning for each file, line or repository that cannot be used.
    """
    found: List[Repository] = []
    sections, home, warnings = _read_sections(reposdir, root)
    for name, options in sections.items():
        ours = any(fnmatch.fnmatchcase(name, pattern) for pattern in settings.repos)
        if not ours or (ids and name not in ids):
            continue
        try:
            if ids or include_disabled or read_flag(options.get("enabled", "1")):
                found.append(_repository(name, dict(options, repofile=home[name]), main or {}, settings, variables))
        except (UsageError, ValueError) as problem:
            what = problem.what if isinstance(problem, UsageError) else "enabled= is {}".format(problem)
            warnings.append("{}: {}".format(name, what))
    return tuple(found), tuple(warnings)


def _repository(
    name: str, options: Mapping[str, str], main: Mapping[str, str], settings: Settings, variables: Mapping[str, str]
) -> Repository:
    """Return the repository of a section; raise UsageError if it cannot be used."""
    for key in ("mirrorlist", "metalink"):
        if options.get(key):
            raise UsageError("configuration", "the repository is left as it is: it has a {}= of its own".format(key), where=name)
    values: Dict[str, Any] = {key: options.get(key, main.get(key)) for key in _INHERITED}
    values["id"], values["repofile"] = name, options["repofile"]
    for key, option in (("base_urls", "baseurl"), ("gpgkeys", "gpgkey")):
        text = options.get(option, "")
        replaced = replace_variables(text, variables) if len(text) <= MAX_LIST_CHARACTERS else "$"
        if "$" in replaced:
            what = "the repository is left as it is: {}= is too long or has an unknown $variable".format(option)
            raise UsageError("configuration", what, where=name)
        values[key] = split_words(replaced)
    return repository_from_request(values, settings)


def replace_variables(text: str, variables: Mapping[str, str]) -> str:
    """Replace $name and ${name}, in upper or lower case; an unknown variable stays (dnf.conf(5), VARIABLES)."""
    return _VARIABLE.sub(lambda match: variables.get((match.group(1) or match.group(2)).lower(), match.group()), text)


def section_in(reposdir: str, name: str, root: str = "/") -> Optional[Tuple[str, Mapping[str, str]]]:
    """Return the file and the options of a repository in a folder of .repo files; None if there is no such section."""
    sections, home, _ = _read_sections(reposdir, root)
    return (home[name], sections[name]) if name in sections else None


def _read_sections(reposdir: str, root: str) -> Tuple[Dict[str, Dict[str, str]], Dict[str, str], List[str]]:
    """Return options and file of each section by its name, and warnings; if two files have a section, the first counts."""
    sections: Dict[str, Dict[str, str]] = {}
    home: Dict[str, str] = {}
    warnings: List[str] = []
    for path in listed(reposdir, ".repo", MAX_FILES):
        if not os.access(path, os.R_OK):
            warnings.append("{}: cannot be read".format(path))
        content = parse_ini(_read(path, MAX_BYTES + 1, root))
        warnings += ["{}: {}".format(path, problem) for problem in content.problems[:MAX_FILES]]
        for entry in content.entries:
            if home.setdefault(entry.section, path) == path:
                sections.setdefault(entry.section, {})[entry.key] = entry.value
        twice = {entry.section for entry in content.entries if home[entry.section] != path}
        warnings += ["{}: [{}] is in {} already".format(path, name, home[name]) for name in sorted(twice)]
    return sections, home, warnings


def _read(path: str, most: int, root: str = "/") -> bytes:
    """Return the beginning of a file; nothing if it cannot be read. If it lies below ``root``, no link leads out of that."""
    try:
        below = path[len(root):] if root != "/" and path.startswith(os.path.join(root, "")) else ""
        with open(inside(root, below) if below else path, "rb") as stream:
            return stream.read(most)
    except OSError:
        return b""


def host_variables(installroot: str = "/") -> Dict[str, str]:
    """Guess what dnf and yum put for variables; the best that can be done without either.

    Args:
        installroot: whose settings.

    Returns:
        ``arch`` and ``basearch`` of this machine, ``releasever`` from os-release's VERSION_ID (dnf and yum ask the
        rpm database for the version of the release package), and the files of /etc/yum/vars and /etc/dnf/vars.
        Names in lower case.
    """
    machine = platform.machine().replace("amd64", "x86_64")
    variables = {"arch": machine, "basearch": "i386" if re.match("^i[3-6]86$", machine) else machine}
    for line in _read(os.path.join(installroot, "etc/os-release"), MAX_BYTES, installroot).decode("utf-8", "replace").split("\n"):
        key, _, value = line.partition("=")
        if key == "VERSION_ID":
            variables["releasever"] = value.strip().strip("\"'")
    for folder in _VARIABLE_FOLDERS:
        for path in listed(inside(installroot, folder), "", MAX_FILES):
            first_line = _read(path, MAX_VARIABLE_BYTES, installroot).decode("utf-8", "replace").partition("\n")[0]
            variables[os.path.basename(path).lower()] = first_line.strip()
    return variables


def main_options(installroot: str = "/") -> Dict[str, str]:
    """Return [main] of dnf.conf, or of yum.conf where there is no dnf.conf; empty if there is neither."""
    for name in _MAIN_FILES:
        path = inside(installroot, name)
        if os.path.exists(path):
            entries = parse_ini(_read(path, MAX_BYTES)).entries
            return {entry.key: entry.value for entry in entries if entry.section == "main"}
    return {}
