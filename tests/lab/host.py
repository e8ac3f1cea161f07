"""A host to update: an installroot with its own rpmdb, its own dnf.conf and its own cache."""
import os
import subprocess
from typing import Dict, List, Sequence

from .tools import environment, run

RELEASE = "8"
RPMDB = "/var/lib/rpm"
_DNF_CONF = """\
[main]
gpgcheck=1
best=1
install_weak_deps=0
keepcache=0
plugins={plugins}
pluginpath={folder}/plugins
pluginconfpath={folder}/pluginconf
reposdir={folder}/repos
varsdir={folder}/vars
cachedir=/var/cache/dnf
logdir=/var/log
persistdir=/var/lib/dnf
{extra}
"""


class Host:
    """An empty host; only files below ``folder`` are used.

    ``repos``, ``plugins`` and ``pluginconf`` are its folders for .repo files, dnf plugins and
    their .conf files; ``root`` is the installroot (cache, log and rpmdb are inside).

    Args:
        folder: made if it does not exist.
        key_files: imported into the rpmdb.
        extra: more lines for [main] of dnf.conf.
        plugins: False: dnf loads none.
    """

    def __init__(self, folder: str, key_files: Sequence[str] = (), extra: str = "", plugins: bool = True) -> None:
        self.folder = os.path.abspath(folder)
        self.root = os.path.join(self.folder, "root")
        self.repos = os.path.join(self.folder, "repos")
        self.plugins = os.path.join(self.folder, "plugins")
        self.pluginconf = os.path.join(self.folder, "pluginconf")
        self.dnf_conf = os.path.join(self.folder, "dnf.conf")
        inside = [os.path.join(self.root, name) for name in ("etc", "var/lib/rpm", "var/cache/dnf", "var/log", "tmp")]
        for path in [self.repos, self.plugins, self.pluginconf, os.path.join(self.folder, "vars")] + inside:
            os.makedirs(path, exist_ok=True)
        with open(self.dnf_conf, "w") as stream:
            stream.write(_DNF_CONF.format(folder=self.folder, plugins=int(plugins), extra=extra))
        with open(os.path.join(self.root, "etc", "os-release"), "w") as stream:
            stream.write('ID="xenenterprise"\nVERSION_ID="8.3.0"\nNAME="XCP-ng"\n')
        self._settle_rpmdb()
        for key_file in key_files:
            self.import_key(key_file)

    def _settle_rpmdb(self) -> None:
        """Keep the rpmdb in /var/lib/rpm, also for a dnf that runs in the caller's own environment.

        Debian's rpm has it in the caller's home, Fedora's in /usr/lib/sysimage: a link leads from there to ours.
        """
        with open(os.path.join(self.folder, ".rpmmacros"), "w") as stream:
            stream.write("%_dbpath {}\n".format(RPMDB))
        usual = run(["rpm", "--eval", "%_dbpath"], dict(os.environ)).decode("utf-8").strip()
        link = os.path.join(self.root, usual.lstrip("/"))
        if usual != RPMDB and not os.path.lexists(link):
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(os.path.relpath(self.root + RPMDB, os.path.dirname(link)), link)
        self.rpm("--initdb")

    @property
    def environment(self) -> Dict[str, str]:
        """The environment that rpm and dnf run in: no proxy, home and temporary files inside."""
        return environment(self.folder)

    def rpm(self, *arguments: str) -> bytes:
        """Run rpm on the installroot and return what it prints."""
        return run(["rpm", "--root", self.root] + list(arguments), self.environment)

    def import_key(self, key_file: str) -> None:
        """Let the host's rpmdb trust a key."""
        self.rpm("--import", key_file)

    def command(self, *arguments: str) -> List[str]:
        """Return the dnf command line with these arguments."""
        fixed = ["dnf", "--config", self.dnf_conf, "--installroot", self.root, "--releasever", RELEASE]
        return fixed + list(arguments)

    def dnf(self, *arguments: str, timeout_seconds: float = 60.0) -> "subprocess.CompletedProcess[str]":
        """Run dnf to its end.

        Raises:
            subprocess.TimeoutExpired: it did not end in time, and was killed.
        """
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=timeout_seconds,
        )

    def close(self) -> None:
        """End the gpg-agents that dnf leaves behind, one for each repository's key ring. The folder stays."""
        for folder, _, names in os.walk(self.folder):
            if any(name.startswith("pubring.") for name in names):
                run(["gpgconf", "--homedir", folder, "--kill", "all"], self.environment)

    def version(self, package: str) -> str:
        """Return the installed version of a package, "" if it is not installed."""
        names = self.rpm("-qa", "--queryformat", "%{NAME} %{VERSION}\\n").decode("utf-8").splitlines()
        return dict(line.split(" ", 1) for line in names).get(package, "")
