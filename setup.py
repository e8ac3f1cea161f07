"""Install the command `xcpng-mirrors` on any machine; hosts get the RPM (rpm/xcpng-mirrors.spec)."""
import os
import re

from setuptools import find_packages, setup

HERE = os.path.dirname(os.path.abspath(__file__))


def read(name):
    """Return the text of a file of this folder."""
    with open(os.path.join(HERE, name), encoding="utf-8") as stream:
        return stream.read()


setup(
    name="xcpng-mirrors",
    version=re.search(r'^__version__ = "([^"]+)"$', read("yum_plugin/__init__.py"), re.MULTILINE).group(1),
    description="Package updates on XCP-ng hosts that survive bad mirrors",
    license="GPL-2.0-or-later",
    python_requires=">=3.6",
    install_requires=[line.partition("  #")[0] for line in read("requirements.txt").splitlines() if not line.startswith("#")],
    package_data={"yum_plugin": ["py.typed"]},
    packages=find_packages(include=["yum_plugin", "yum_plugin.*"]),
    entry_points={"console_scripts": ["xcpng-mirrors = yum_plugin.cli.main:main"]},
)
