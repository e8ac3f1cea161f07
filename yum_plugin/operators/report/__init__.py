"""Reports about mirrors: a page, Prometheus text, and a letter to the owner of one mirror; values in, text out.

Only ``inspect.py`` uses the network, for the letter. Imported by ``operators/cli/`` only.
"""
