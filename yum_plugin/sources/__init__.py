"""Where mirrors come from: the redirector is asked, its answers are parsed; a MirrorList comes out.

What a source says is advice, never proof: it only decides whom to ask.

May be imported from everything above it; imports ``trust/``, ``net/``, ``util/``, ``model`` and ``errors``.
"""
