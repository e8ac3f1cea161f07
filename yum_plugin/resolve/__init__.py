"""From a repository to its proven mirrors: whom to ask, what to believe of the answers, how the cache is filled with it.

May be imported from everything above it; imports ``privsep/`` and what lies below that.
Top-down: ``refresh`` -> ``cache_age``, ``metadata_cache``, ``resolver`` -> ``probe``, ``candidates``, ``selection``,
``patience``, ``refresh_policy`` -> ``outcome``.
"""
