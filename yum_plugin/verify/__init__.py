"""Files and repositories that lie on a disk: proven without any network.

May be imported from everything above it; imports ``packages/`` and what lies below that.
"""
