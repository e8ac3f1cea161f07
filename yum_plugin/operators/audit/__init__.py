"""What a mirror must do, examined from outside: one verdict a prerequisite, with evidence and what mends it.

Each module holds checks, functions from a Subject to Findings; ``operators/cli/audit.py`` lists them and shows what they found.
"""
