"""Who calls us: thin plugin files that run inside yum, dnf and xapi and start the engine, and the bridge to it.

Import the standard library, their own package manager and each other only, never the rest of the package: ``bridge.py``,
``yum.py`` and ``xapi.py`` run on Python 2.7 too. Nothing of the package imports them.
"""
