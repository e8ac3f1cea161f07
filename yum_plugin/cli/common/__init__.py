"""What the subcommands share: options, the host that the options select, and how results are printed.

Only the subcommands, of the core and of ``operators/``, import it.
"""
