"""For those who run or watch mirrors: ``audit``, ``sync``, ``report``, ``report-mirror``. Hangs from the core.

Imports everything of the core but ``plugins/`` and ``engine``; nothing of the core imports it, for a host can do without.
"""
