"""What a host has: its settings, .repo files, keyring, rpm database and log. Only read, but for the log.

May be imported from everything above it; imports ``trust/``, ``util/``, ``model`` and ``errors``.
"""
