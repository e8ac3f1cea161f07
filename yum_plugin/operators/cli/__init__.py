"""The subcommands for those who run or watch mirrors, one module each, named like it.

Found by ``cli.main`` if they are installed; may import everything of ``operators/`` and what that may import.
"""
