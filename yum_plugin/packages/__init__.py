"""Packages and named files: fetched from proven mirrors, proven, quarantined if they are bad.

May be imported from everything above it; imports ``resolve/`` and what lies below that.
"""
