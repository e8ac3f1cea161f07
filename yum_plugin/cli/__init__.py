"""The command ``xcpng-mirrors``: one module for each subcommand, with its name; ``common/`` holds what they share.

Only ``operators/cli`` imports it; it may import the whole core except ``plugins/``.
"""
