"""What may be believed: pure functions and classes, bytes and times in, verdicts out.

Nothing in here touches the network, the disk, the clock or a log.
Everything that is wrong comes out as ``errors.TrustError``; only a returned value means "proven".

May be imported from everything above it; imports ``util/``, ``model`` and ``errors``.
"""
