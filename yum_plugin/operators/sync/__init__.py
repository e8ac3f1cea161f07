"""Keeps a mirror in sync: files are fetched into a stage, proven, and only then published.

``sync.py`` is the entry: it runs rounds (``round.py``) on a source (``rsync_source.py`` or ``http_source.py``), and publishes
into the destination. Imported by ``operators/cli/sync.py`` only.
"""
