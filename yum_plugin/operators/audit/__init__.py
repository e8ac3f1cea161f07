"""The prerequisites of a mirror, checked from outside: one verdict for each, with evidence and how to fix it.

``auditor.py`` lists the checks and runs them; each is a module with ``CHECK`` and ``run``. ``application.py`` makes an e-mail of
their findings. May import everything of the core but ``cli/``; only ``operators/cli/audit.py`` imports it.
"""
