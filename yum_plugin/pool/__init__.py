"""All hosts of a pool: asked through xapi, agreed on one snapshot, pre-checked.

May be imported from everything above it; imports ``packages/`` and what lies below that.
"""
