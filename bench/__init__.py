"""``make bench``: how fast, how small and how polite it is, measured against stock dnf and good mirrors on the lab.

    measure.py   what a measure is: names, units, goals, and the arithmetic of its samples
    stage.py     what measures act on: the lab, hosts made cold, the engine as the plugin runs it
    resolve.py   measures of the engine alone
    dnf.py       measures of a whole dnf
    report.py    results.json and the table of the README
A new measure: a function and its Measure in such a module, the module in ``__main__.MODULES``.
"""
