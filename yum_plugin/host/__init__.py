"""What a host has: settings, .repo files, keyring, rpm database and log. Only the log is written.

Everything above may import it; it imports ``trust/``, ``util/``, ``model`` and ``errors``.
"""
