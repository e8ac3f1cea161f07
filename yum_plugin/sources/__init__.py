"""Where mirrors come from: requests to the redirector, and parsers that turn its answers into a MirrorList.

A source is advice, never proof: it only decides which servers are asked.

May be imported from everything above it; imports ``trust/``, ``net/``, ``util/``, ``model`` and ``errors``.
"""
