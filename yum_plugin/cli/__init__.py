"""The command ``xcpng-mirrors``: one module a subcommand, named like it; what they share is in ``common/``.

Imported by nothing but ``operators/cli``; may import everything of the core but ``plugins/``.
"""
