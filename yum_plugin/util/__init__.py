"""Helpers without knowledge of mirrors or trust: files written whole, URLs checked, text made printable, parsers made safe.

May be imported from everywhere in the package but ``plugins/``; imports nothing of the package but ``errors`` and ``model``.
"""
