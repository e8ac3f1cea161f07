"""What 100 000 hosts do to volunteers' mirrors: stock yum and dnf beside ours. ``make scale`` runs it; see docs/scale.md.

    world.py       places, mirrors, publications: who serves what at which second; no host in it
    redirector.py  mirrorbits: which mirrors it offers to a place, in which order, with which weights
    habits.py      pools of hosts, and when their users look for updates
    stock.py       what a stock host sends then; ours.py: the same for one with the plugin, with the product's own decisions
    count.py       requests and bytes a server; run.py: all hosts through one world; report.py: the table

Seeded and on a clock of its own: the same seed gives the same table. Nothing is sent.
"""
