"""A pool of lab hosts: each with the dnf plugin, the command and the xapi plugin, and an ``xe`` that leads to them."""
import os
import shlex
import sys
from typing import Dict, List, Sequence

from .host import Host
from .lab import Lab
from .plugin import NAME, ROOT, command_path, install_plugin

# What xe does as far as we need it: the two subcommands, with xapi's part (one argument, the plugin's XML) played here.
_XE = '''\
#!{python}
import subprocess, sys
from xmlrpc.client import dumps, loads

HOSTS = {hosts!r}
BROKEN = {broken!r}
words = dict(word.split("=", 1) for word in sys.argv[2:] if "=" in word)
if sys.argv[1] == "host-list":
    for uuid, (name, plugin) in HOSTS.items():
        print("uuid ( RO)                : " + uuid)
        print("          name-label ( RW): " + name)
        print("\\n")
    sys.exit(0)
assert sys.argv[1] == "host-call-plugin" and words["plugin"] == "xcpng-mirrors", sys.argv
name, plugin = HOSTS[words["host-uuid"]]
if name in BROKEN:
    code, out, err = BROKEN[name]
    sys.stdout.write(out)
    sys.stderr.write(err)
    sys.stdout.flush()
    if code is None:
        sys.stdin.close()
        __import__("signal").pause()
    sys.exit(code)
values = dict((key[len("args:"):], value) for key, value in words.items() if key.startswith("args:"))
done = subprocess.run([plugin, dumps(("OpaqueRef:session", values), words["fn"])], stdout=subprocess.PIPE)
(answer,), _ = loads(done.stdout)
if answer["Status"] == "Success":
    print(answer["Value"])
else:
    sys.exit("Error code: {{}}\\nError parameters: {{}}".format(
        answer["ErrorDescription"][0], ", ".join(answer["ErrorDescription"][1:])))
'''


class PoolHost:
    """A host of the lab as xapi sees it.

    Args:
        lab: the lab.
        folder: of the host.
        settings: more keys of its .conf.

    Attributes:
        host: the installroot.
        plugin: path of the xapi plugin.
    """

    def __init__(self, lab: Lab, folder: str, **settings: object) -> None:
        self.host: Host = lab.installroot(folder)
        self.config = install_plugin(self.host, lab, **settings)
        self.plugin = os.path.join(self.host.root, "etc", "xapi.d", "plugins", NAME)
        os.makedirs(os.path.dirname(self.plugin))
        os.symlink(os.path.join(ROOT, "yum_plugin", "plugins", "xapi.py"), self.plugin)
        self.set_command(self.command_line)

    @property
    def command_line(self) -> str:
        """The line of shell that is the command."""
        places = " ".join(map(shlex.quote, self.places))
        return 'HOME={} exec {} "$@" {}'.format(shlex.quote(self.host.folder), command_path(), places)

    @property
    def places(self) -> List[str]:
        """The options of the command that lead to this host."""
        return ["--installroot", self.host.root, "--config", self.config, "--reposdir", self.host.repos]

    def set_command(self, line: str) -> None:
        """Let a line of shell stand in place of the command."""
        path = os.path.join(self.host.root, "usr", "bin", NAME)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as stream:
            stream.write("#!/bin/sh\n{}\n".format(line))
        os.chmod(path, 0o755)


def write_xe(folder: str, hosts: Dict[str, PoolHost], broken: Dict[str, Sequence[object]]) -> None:
    """Make an ``xe`` for a pool.

    Args:
        folder: where it goes.
        hosts: by name-label.
        broken: hosts that are no lab's, by name-label: exit code (None: it hangs), stdout, stderr of a call.
    """
    names = list(hosts) + list(broken)
    known = {"{:08x}-0000-4000-8000-000000000000".format(number): (name, hosts[name].plugin if name in hosts else "")
             for number, name in enumerate(names, 1)}
    path = os.path.join(folder, "xe")
    with open(path, "w") as stream:
        stream.write(_XE.format(python=sys.executable, hosts=known, broken=dict(broken)))
    os.chmod(path, 0o755)
