"""From a repository to its proven mirrors: whom to ask, what to believe of the answers, what to hand over.

May be imported from everything above it; imports ``privsep/`` and what lies below that.
Top-down: ``refresh`` -> ``resolver`` -> ``probe``, ``candidates``, ``selection``, ``refresh_policy`` -> ``outcome``.
"""
