"""How bytes come in: one narrow way to fetch, with caps and deadlines, straight to the server that was named.

May be imported from everything above it; imports ``util/``, ``model`` and ``errors`` and knows neither keys nor repositories.
"""
