"""Privilege separation: a process that has given up root uses the network for one that has not.

    gateway.py     the interface: open a session, ask for a mirror list, examine a chain of certificates
    parent.py      the process that keeps root: sends the child requests, checks all its answers
    process.py     how it starts the child, anew and with nothing of itself
    child.py       the process without root: makes the requests, parses mirror lists, examines chains of certificates
    names.py       the process that looks up host names for the child
    confine.py     how both give up root, and their limits; seccomp.py and landlock.py: what the kernel refuses them
    task.py        a whole task in that process, for what cannot be cut into requests
    program.py     how a program that is not ours gives up the same: rsync
    wire.py        the messages between parent and child

The form of every answer is checked here, and ``trust`` proves its content as if the server itself had sent it: a child under
an attacker's control can do no more than a bad mirror. After Provos et al., "Preventing Privilege Escalation" (2003, sshd).

May be imported from everything above it; imports ``sources/``, ``net/``, ``util/``, ``model`` and ``errors``.
"""
