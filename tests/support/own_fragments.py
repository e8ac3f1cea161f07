"""A host whose fragments lie in a folder of the test: those of the machine that runs the tests are not ours to write."""
import os
import shutil
import sys

from tests.conftest import REPOSITORY_ROOT
from yum_plugin.host.settings import FRAGMENT_FOLDER

MODULES = ("plugins/bridge.py", "host/settings.py")  # that name the folder


class OwnFragments:
    """A copy of the package that reads its fragments from ``path``.

    Args:
        folder: of the copy.
        path: of the fragments.
    """

    def __init__(self, folder, path):
        self.path = path
        self.package = os.path.join(folder, "yum_plugin")
        self.command = os.path.join(folder, "command")
        shutil.copytree(str(REPOSITORY_ROOT / "yum_plugin"), self.package, ignore=shutil.ignore_patterns("__pycache__"))
        for module in MODULES:
            with open(os.path.join(self.package, module)) as stream:
                text = stream.read()
            assert FRAGMENT_FOLDER in text
            with open(os.path.join(self.package, module), "w") as stream:
                stream.write(text.replace(FRAGMENT_FOLDER, path))
        with open(self.command, "w") as stream:
            stream.write("#!{}\nimport sys\nsys.path.insert(0, {!r})\nfrom yum_plugin.cli.main import main\nsys.exit(main())\n".format(
                sys.executable, folder))
        os.chmod(self.command, 0o755)

    def link(self, plugins, name):
        """Let a host's package manager load the copy's plugin ``name`` (dnf or yum)."""
        link = os.path.join(plugins, "xcpng-mirrors.py")
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(os.path.join(self.package, "plugins", name + ".py"), link)

    def write(self, name, text):
        """Write a fragment."""
        os.makedirs(self.path, exist_ok=True)
        with open(os.path.join(self.path, name), "w") as stream:
            stream.write("[main]\n" + text)
