"""The relay of the lab: what a round trip costs on it, by its rules. Only lower bounds: a busy machine is slower."""
import socket
import time
from contextlib import closing

import pytest

from tests.lab.accesslog import AccessLog
from tests.lab.relay import Relay
from tests.lab.wire import Server, document

RTT_SECONDS = 0.08
EARLY_SECONDS = 0.004  # a timer of the loop may fire within the clock's resolution before its time
TIMEOUT_SECONDS = 60.0
GET = b"GET /%d HTTP/1.1\r\nHost: lab\r\n\r\n"


@pytest.fixture
def log():
    return AccessLog()


@pytest.fixture
def port(log):
    with closing(Server("far", lambda request: document(request.path.encode(), "text/plain"), log, "127.0.0.1")) as server:
        with Relay(RTT_SECONDS) as relay:
            yield relay.open("127.0.0.1", ("127.0.0.1", server.port))


def connect(port):
    return closing(socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS))


def ended(connection):
    """Wait for the end of a connection; return whether it ends without a byte."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def answer(connection, end):
    """Return the seconds until an answer that ends so is complete."""
    started, received = time.monotonic(), b""
    while not received.endswith(end):
        piece = connection.recv(1 << 16)
        assert piece, received
        received += piece
    return time.monotonic() - started


def test_relay_rule_1_a_request_on_a_kept_connection_costs_one_round_trip(port, log):
    with connect(port) as connection:
        connection.sendall(GET % 1)
        answer(connection, b"\r\n/1")
        for number in (2, 3):
            connection.sendall(GET % number)
            assert answer(connection, b"\r\n/%d" % number) >= RTT_SECONDS - EARLY_SECONDS
    assert len(log.connections()) == 1


def test_relay_rule_1_order_is_kept_and_the_end_is_carried(port, log):
    with connect(port) as connection:
        for number in range(9):
            connection.sendall(GET % number)
        answer(connection, b"\r\n/8")
        assert [entry.path for entry in log.requests()] == ["/{}".format(number) for number in range(9)]
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""


def test_relay_rule_2_the_first_answer_on_a_connection_costs_two_round_trips(port):
    with connect(port) as connection:
        connection.sendall(GET % 1)
        assert answer(connection, b"\r\n/1") >= 2 * RTT_SECONDS - EARLY_SECONDS


def test_a_relay_to_a_server_that_refuses_connections_ends_them():
    with closing(socket.socket()) as bound, Relay(0.0) as relay:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        with connect(relay.open("127.0.0.1", bound.getsockname())) as connection:
            assert ended(connection)


def test_closing_a_relay_ends_what_is_under_way(log):
    with closing(Server("deaf", lambda request: document(b"", ""), log, "127.0.0.1", deaf=True)) as server:
        relay = Relay(30.0)
        with connect(relay.open("127.0.0.1", ("127.0.0.1", server.port))) as connection:
            connection.sendall(GET % 1)
            assert log.wait(lambda: bool(log.connections()))
            relay.close()
            relay.close()
            assert ended(connection)
