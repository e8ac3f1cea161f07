"""Which process and which user have one end of a connection, as Linux tells it."""
import contextlib
import os
import socket
import sys

from tests.lab.mirror import Fault


def as_the_kernel_writes(end):
    """Write an IPv4 address and a port as /proc/net/tcp has them."""
    return "{:08X}:{:04X}".format(int.from_bytes(socket.inet_aton(end[0]), sys.byteorder), end[1])


def connection_of(client, server):
    """Return user and inode of the client's end of a connection between these two ends; None if it is gone."""
    with open("/proc/net/tcp") as stream:
        rows = [line.split() for line in stream.readlines()[1:]]
    ends = [as_the_kernel_writes(client), as_the_kernel_writes(server)]
    found = [(int(row[7]), row[9]) for row in rows if row[1:3] == ends and row[9] != "0"]
    return found[0] if found else None


def process_of(client, server):
    """Return the process that has the client's end of exactly this connection; None if it is gone."""
    found = connection_of(client, server)
    if found is None:
        return None
    link = "socket:[{}]".format(found[1])
    for process in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            folder = "/proc/{}/fd".format(process)
            if any(os.readlink(os.path.join(folder, number)) == link for number in os.listdir(folder)):
                return int(process)
    return None


def answers(decide):
    """A fault that is no fault: it sees each request, and may say what is sent."""
    return (Fault("watched", "sees who asks", lambda mirror, request: decide(request)),)
