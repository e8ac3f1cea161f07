"""Name servers that do not answer cost one time-out, however many names are asked for."""
import json
import socket
import threading

import pytest

from tests.support.waiting import LONG_SECONDS
from yum_plugin.privsep import names


@pytest.fixture
def asked(monkeypatch):
    """A client of a process that answers nothing by itself, and that process's end of the socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client = names.NameClient(ours)
    client.start()
    yield client, theirs
    theirs.close()


def fails(client, failures, host):
    with pytest.raises(socket.gaierror) as caught:
        client.getaddrinfo(host, 443)
    failures.append(caught.value.errno)


def test_dead_name_servers_cost_one_time_out_for_all_that_wait_and_all_that_follows(asked, monkeypatch):
    client, theirs = asked
    failures = []
    monkeypatch.setattr(names, "ANSWER_SECONDS", LONG_SECONDS)
    waiting = [threading.Thread(target=fails, args=(client, failures, "m{}.test".format(number))) for number in range(3)]
    for thread in waiting:
        thread.start()
    for _ in waiting:
        theirs.recv(4096)  # they wait now
    monkeypatch.setattr(names, "ANSWER_SECONDS", 0.01)
    fails(client, failures, "redirector.test")
    for thread in waiting:
        thread.join(LONG_SECONDS)
    monkeypatch.setattr(names, "ANSWER_SECONDS", LONG_SECONDS * 10)
    fails(client, failures, "later.test")
    assert failures == [socket.EAI_AGAIN] * 5


def test_name_servers_that_answer_again_are_waited_for_again(asked, monkeypatch):
    client, theirs = asked
    monkeypatch.setattr(names, "ANSWER_SECONDS", 0.01)
    fails(client, [], "m1.test")
    late = json.loads(theirs.recv(4096).decode("ascii"))
    monkeypatch.setattr(names, "ANSWER_SECONDS", LONG_SECONDS)
    found, heard = [], threading.Event()
    read = names.decoded

    def noted(data):
        heard.set()
        return read(data)

    monkeypatch.setattr(names, "decoded", noted)
    for number in (late["id"], 99):  # the second one is read after the first has counted
        theirs.sendall(json.dumps({"id": number, "found": [[int(socket.AF_INET), "192.0.2.1", 0]]}).encode("ascii"))
    assert heard.wait(LONG_SECONDS)
    thread = threading.Thread(target=lambda: found.extend(client.getaddrinfo("m2.test", 443)))
    thread.start()
    request = json.loads(theirs.recv(4096).decode("ascii"))
    theirs.sendall(json.dumps({"id": request["id"], "found": [[int(socket.AF_INET), "192.0.2.2", 0]]}).encode("ascii"))
    thread.join(LONG_SECONDS)
    assert [entry[4] for entry in found] == [("192.0.2.2", 443)]
