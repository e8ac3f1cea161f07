"""A small world of real keys, packages, repositories, TLS and sockets, with faults by name.

Everything below is used by the tests, the demo and the benches; ``python3 -m tests.lab --help``
lets a person play with it. Only addresses of 127.0.0.0/8 (or ::1) are used.
"""
