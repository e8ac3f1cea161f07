"""What the subcommands share: options, what they lead to, and how results are printed.

May be imported from the subcommands only, of the core and of ``operators/``.
"""
