"""xcpng-mirrors: package updates on XCP-ng hosts that survive bad mirrors.

Arrows point down only: hosts -> (process) -> engine, cli -> resolve
-> sources, trust, net, state -> model, errors.
"""

__version__ = "0.1.0"
