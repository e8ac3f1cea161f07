"""All hosts of a pool: asked through xapi, pre-checked, and pinned to one snapshot.

May be imported from everything above it; imports ``packages/`` and what lies below that.
"""
