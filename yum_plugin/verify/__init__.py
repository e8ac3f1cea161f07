"""Files and repositories on a disk, verified without any network.

May be imported from everything above it; imports ``packages/`` and what lies below that.
"""
