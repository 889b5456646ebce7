import socket

import pytest
from scripted_server import serving

from triton_kit.errors import TransportError
from triton_kit.loadtest.loops.closed_loop import ClosedLoop
from triton_kit.loadtest.net.clock import now_ns, ns
from triton_kit.loadtest.net.http1_transport import Http1Transport
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.request import Failure, Request
from triton_kit.triton.address import Address, resolve

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
WITHIN_S = 60.0


def request(body=b"hello"):
    head = f"POST / HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return Request(head + body)


def load(script, *, count, concurrency=1, requests=None, expire_after_s=None):
    """Send `count` requests to a server that follows `script`; return the recording."""
    with (
        serving(script) as (host, port),
        Reactor() as reactor,
        Http1Transport(reactor, Address(host=host, port=port)) as transport,
    ):
        engine = ClosedLoop(
            reactor, transport, requests or [request()], concurrency=concurrency
        )
        reactor.call_at(now_ns() + ns(WITHIN_S), reactor.stop)
        engine.begin(count=count)
        if expire_after_s is not None:
            late = Failure("timeout")
            reactor.call_at(
                now_ns() + ns(expire_after_s), lambda: engine.expire(now_ns(), late)
            )
        reactor.run()
        assert engine.in_flight == 0
        return engine.recorder.take()


def answering(answer):
    def script(peer, _index):
        while peer.read_http():
            peer.send(answer)

    return script


def test_every_request_gets_a_response():
    recording = load(answering(ANSWER), count=500, concurrency=8)

    assert (recording.succeeded, recording.failed) == (500, 0)


def test_a_response_in_many_small_pieces_is_one_response():
    def script(peer, _index):
        while peer.read_http():
            for byte in ANSWER:
                peer.send(bytes([byte]))

    recording = load(script, count=20)

    assert (recording.succeeded, recording.failed) == (20, 0)


def test_a_request_larger_than_the_socket_buffers_arrives_whole():
    body = bytes(8_000_000)
    lengths = []

    def script(peer, _index):
        while got := peer.read_http():
            lengths.append(len(got[1]))
            peer.send(ANSWER)

    recording = load(script, count=3, requests=[request(body)])

    assert recording.succeeded == 3
    assert lengths == [len(body)] * 3


def test_an_error_status_is_counted_with_its_text():
    text = b'{"error":"unexpected shape"}'
    answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(text)

    recording = load(answering(answer + text), count=5)

    assert recording.succeeded == 0
    assert recording.errors["HTTP 400"].count == 5
    assert recording.errors["HTTP 400"].example == text.decode()


def test_a_reset_is_counted_and_the_load_goes_on():
    def script(peer, index):
        while peer.read_http():
            if index == 0:
                peer.reset()
                return
            peer.send(ANSWER)

    recording = load(script, count=10)

    assert (recording.succeeded, recording.failed) == (9, 1)


def test_half_a_response_is_counted_and_the_load_goes_on():
    def script(peer, index):
        while peer.read_http():
            if index == 0:
                peer.send(ANSWER[:-1])
                return
            peer.send(ANSWER)

    recording = load(script, count=10)

    assert recording.succeeded == 9
    assert recording.errors["connection closed"].count == 1


def test_bytes_that_are_no_http_are_counted():
    recording = load(answering(b"\x00\x00\x12\x04 nonsense \r\n\r\n"), count=3)

    assert recording.errors["malformed response"].count == 3


def test_a_response_that_was_not_requested_does_not_pass_for_the_next_one():
    def script(peer, index):
        while peer.read_http():
            peer.send(ANSWER + ANSWER if index == 0 else ANSWER)

    recording = load(script, count=3)

    assert recording.errors["malformed response"].count == 1
    assert recording.succeeded == 2


def test_a_server_that_closes_after_each_response_is_reconnected():
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"

    def script(peer, _index):
        peer.read_http()
        peer.send(answer)

    recording = load(script, count=20, concurrency=2)

    assert (recording.succeeded, recording.failed) == (20, 0)


def test_a_server_that_closes_after_each_response_unannounced_costs_no_request():
    def script(peer, _index):
        peer.read_http()
        peer.send(ANSWER)
        peer.close()

    recording = load(script, count=50, concurrency=2)

    assert (recording.succeeded, recording.failed) == (50, 0)
    assert recording.retried > 0


def test_a_request_that_a_used_connection_loses_goes_out_again_only_once():
    def script(peer, index):
        for number in range(2):
            peer.read_http()
            if index or number:
                peer.close()
                return
            peer.send(ANSWER)

    recording = load(script, count=2)

    assert (recording.succeeded, recording.failed) == (1, 1)
    assert recording.retried == 1


def test_a_reset_is_a_failure():
    """The server may have had the request."""

    def script(peer, _index):
        for number in range(2):
            peer.read_http()
            if number:
                peer.reset()
                return
            peer.send(ANSWER)

    recording = load(script, count=4)

    assert recording.errors["connection reset"].count == 2
    assert (recording.succeeded, recording.retried) == (2, 0)


def test_half_a_response_on_a_used_connection_is_a_failure():
    def script(peer, index):
        while peer.read_http():
            peer.send(ANSWER)
            peer.read_http()
            peer.send(ANSWER[:-1])
            return

    recording = load(script, count=2)

    assert (recording.succeeded, recording.failed, recording.retried) == (1, 1, 0)


def test_a_silent_server_costs_a_timeout_and_nothing_else():
    def script(peer, index):
        while peer.read_http():
            if index > 0:
                peer.send(ANSWER)

    recording = load(script, count=3, expire_after_s=0.05)

    assert recording.errors["timeout"].count == 1
    assert recording.succeeded == 2


def test_a_server_that_went_away_is_counted_as_refusing():
    with (
        serving(answering(ANSWER)) as (host, port),
        Reactor() as reactor,
        Http1Transport(reactor, Address(host=host, port=port)) as transport,
    ):
        engine = ClosedLoop(reactor, transport, [request()], concurrency=1)
        engine.begin(count=1)
        reactor.run()
        connection = transport._connections[0]
        connection.close()
        connection._channel._endpoint = resolve(
            Address(host=host, port=closed_port()), speaks="http/1.1"
        )
        engine.begin(count=2)
        reactor.run()

        assert engine.recorder.take().errors["connection refused"].count == 2


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_no_server_listening_is_an_error_before_the_first_request():
    with (
        Reactor() as reactor,
        Http1Transport(
            reactor, Address(host="127.0.0.1", port=closed_port())
        ) as transport,
        pytest.raises(TransportError, match="Connection refused"),
    ):
        ClosedLoop(reactor, transport, [request()], concurrency=1).begin()
