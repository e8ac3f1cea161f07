"""Privilege separation: a process that has given up root uses the network for one that has not.

    gateway.py     the interface: open a session, ask for a mirror list, examine a chain of certificates
    parent.py      the process that keeps root: starts the child, sends it requests, checks all its answers
    child.py       the process without root: makes the requests, parses mirror lists, examines chains of certificates
    confine.py     how the child gives up root, and its limits
    wire.py        the messages between them

The form of every answer is checked here, and ``trust`` proves its content as if the server itself had sent it: a child under
an attacker's control can do no more than a bad mirror. After Provos et al., "Preventing Privilege Escalation" (2003, sshd).

May be imported from everything above it; imports ``sources/``, ``net/``, ``util/``, ``model`` and ``errors``.
"""
