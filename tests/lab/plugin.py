"""Put the dnf plugin of this tree into a host of the lab, or take it from a staged tree."""
import os
import sys

from .host import Host
from .lab import ALLOWED, Lab

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAME = "xcpng-mirrors"


def command_path() -> str:
    """Return the command beside the Python that runs us: make venv puts it there."""
    return os.path.join(os.path.dirname(sys.executable), NAME)


def patient_command(folder: str) -> str:
    """Write a command that waits a minute for a redirector: on a busy machine it would ask for more than on a good day."""
    path = os.path.join(folder, "patient")
    with open(path, "w") as stream:
        stream.write("#!{}\nimport sys\nsys.path.insert(0, {!r})\nfrom yum_plugin.resolve import patience\n"
                     "patience.OTHER_FORM = patience.LIST = patience.Wait(60.0, 1.0, 60.0)\n"
                     "from yum_plugin.cli.main import main\nsys.exit(main())\n".format(sys.executable, ROOT))
    os.chmod(path, 0o755)
    return path


def install_plugin(host: Host, lab: Lab, command: str = "", **settings: object) -> str:
    """Install the plugin for a host's dnf.

    Args:
        host: gets ``plugins/xcpng-mirrors.py`` and ``pluginconf/xcpng-mirrors.conf``.
        lab: names redirector, origin and key.
        command: of the engine; the one of this environment if left out.
        settings: more keys of the .conf, or other values.

    Returns:
        The path of the .conf.
    """
    link = os.path.join(host.plugins, NAME + ".py")
    if not os.path.lexists(link):
        os.symlink(os.path.join(ROOT, "yum_plugin", "plugins", "dnf.py"), link)
    values = {
        "enabled": 1,
        "command": command or command_path(),
        "redirectors": lab.redirector.authority,
        "fallbacks": lab.origin.url,
        "allow_networks": ALLOWED,
        "fingerprints": lab.key_fingerprint,
    }
    values.update(settings)
    path = os.path.join(host.pluginconf, NAME + ".conf")
    with open(path, "w") as stream:
        stream.write("[main]\n" + "".join("{}={}\n".format(key, value) for key, value in sorted(values.items())))
    return path


def cache_path(host: Host, repository_id: str, *parts: str) -> str:
    """Return a path inside dnf's cache folder of a repository, whose name ends in a digest of its URL."""
    base = os.path.join(host.root, "var", "cache", "dnf")
    [folder] = [name for name in os.listdir(base) if name.startswith(repository_id + "-") and os.path.isdir(os.path.join(base, name))]
    return os.path.join(base, folder, *parts)


def state_path(host: Host, *parts: str) -> str:
    """Return a path inside the state of a host."""
    return os.path.join(host.root, "var", "lib", NAME, *parts)
