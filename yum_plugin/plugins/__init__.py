"""The plugins that run inside yum, dnf and xapi and start the engine, and the bridge to the engine.

They import only the standard library, their package manager and each other, never the rest of the package. ``bridge.py``,
``yum.py`` and ``xapi.py`` also run on Python 2.7. Nothing in the package imports them.
"""
