"""What a host remembers between two runs: mirrors and how they did, the high-water mark, snapshot pins, history.

May be imported from everything above it; imports ``host/``, ``trust/``, ``util/``, ``model`` and ``errors``.
"""
