"""What may be believed: pure functions and classes that take bytes and times and return verdicts.

Nothing here touches the network, the disk, the clock or a log.
Everything that is wrong raises ``errors.TrustError``; only a returned value means "proven".

May be imported from everything above it; imports ``util/``, ``model`` and ``errors``.
"""
