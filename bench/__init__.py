"""``make bench``: how fast, how small and how polite it is, measured against stock dnf and good mirrors on the lab.

    measure.py   what a measure is: names, units, goals, and the arithmetic of its samples
    stage.py     what measures act on: the lab, hosts made cold, the engine as the plugin runs it
    resolve.py   measures of the engine alone
    dnf.py       measures of a whole dnf
    line.py      nginx, redirector and hosts with a line of some round-trip time between them (tests/lab/relay.py)
    distance.py  measures of a whole dnf on such lines, and of what it asks for
    waterfall.py ``python -m bench.waterfall``: each request of one dnf on such a line, and when it was made
    report.py    results.json and the table of the README
A new measure: a function and its Measure in such a module, the module in ``__main__.MODULES``.
"""
