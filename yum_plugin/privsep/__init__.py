"""Privilege separation: a process that has given up root touches the network for one that has not.

    gateway.py     the interface: open a session, ask for a mirror list, look at a chain of certificates
    parent.py      the process that keeps root: starts the child, asks it, believes nothing it says
    child.py       the process without: makes the requests, reads mirror lists, looks at chains of certificates
    confine.py     how it gives up root, and its limits
    wire.py        what they say to each other

What comes back is checked for its form here, and proven by ``trust`` as if the server itself had sent it: a child in an
attacker's hands can do no more than a bad mirror. After sshd's "Preventing Privilege Escalation" (Provos et al., 2003).

May be imported from everything above it; imports ``sources/``, ``net/``, ``util/``, ``model`` and ``errors``.
"""
