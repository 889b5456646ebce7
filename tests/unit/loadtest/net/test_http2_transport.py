"""The HTTP/2 client against h2 on a real socket: an implementation that is not ours."""

import socket
import struct
import time
from contextlib import contextmanager
from types import SimpleNamespace

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from scripted_server import serving

from triton_kit.errors import TransportError
from triton_kit.loadtest.http.grpc_status import framed
from triton_kit.loadtest.http.http2_frames import ErrorCode, FrameType, frame
from triton_kit.loadtest.loops.closed_loop import ClosedLoop
from triton_kit.loadtest.loops.load import RateLoad
from triton_kit.loadtest.loops.quota import Quota
from triton_kit.loadtest.net.clock import now_ns, ns
from triton_kit.loadtest.net.http2_transport import Http2Transport
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.request import Failure, HeaderList, Request
from triton_kit.loadtest.run.generator import LocalLoadGenerator
from triton_kit.loadtest.run.request_source import RequestSource
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.loadtest.transport_spec import TransportSpec
from triton_kit.triton.address import Address

WITHIN_S = 60.0
HEADERS = HeaderList(
    (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/inference.GRPCInferenceService/ModelInfer"),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("x-key", "secret"),
    )
)
START = [(":status", "200"), ("content-type", "application/grpc")]
OK = [("grpc-status", "0"), ("grpc-message", "")]


def request(body=b"hello", headers=HEADERS):
    return Request(framed(body), 1, headers)


class OraclePeer:
    """Serves gRPC calls through h2; `answer(self, stream, body)` decides what."""

    def __init__(self, peer, answer, **settings):
        self.peer = peer
        self.answer = answer
        config = h2.config.H2Configuration(client_side=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.local_settings = h2.settings.Settings(
            client=False, initial_values=settings_of(settings)
        )
        self.bodies = {}
        self.headers = {}
        self.events = []
        self.unsent = {}

    def flush(self):
        self.peer.send(self.h2.data_to_send())

    def run(self):
        self.h2.initiate_connection()
        self.flush()
        while data := self.peer.socket.recv(65536):
            for event in self.h2.receive_data(data):
                self.take(event)
            self.flush()

    def take(self, event):
        self.events.append(event)
        if isinstance(event, h2.events.RequestReceived):
            self.bodies[event.stream_id] = b""
            self.headers[event.stream_id] = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] += event.data
            size = event.flow_controlled_length
            self.h2.acknowledge_received_data(size, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.answer(self, event.stream_id, self.bodies[event.stream_id])
        elif isinstance(event, h2.events.WindowUpdated):
            self.push()

    def push(self):
        """Send what the client's windows allow of large answers."""
        for stream in list(self.unsent):
            body = self.unsent[stream]
            while body and (room := self.h2.local_flow_control_window(stream)):
                part = body[: min(room, self.h2.max_outbound_frame_size)]
                self.h2.send_data(stream, part)
                body = body[len(part) :]
            self.unsent[stream] = body
            if not body:
                del self.unsent[stream]
                self.h2.send_headers(stream, OK, end_stream=True)


def settings_of(named):
    codes = h2.settings.SettingCodes
    return {getattr(codes, name.upper()): value for name, value in named.items()}


def echo(oracle, stream, body):
    oracle.h2.send_headers(stream, START)
    oracle.h2.send_data(stream, body)
    oracle.h2.send_headers(stream, OK, end_stream=True)


def scripted(answer, seen=None, **settings):
    def script(peer, index):
        oracle = OraclePeer(peer, answer, **settings)
        oracle.index = index
        if seen is not None:
            seen.append(oracle)
        oracle.run()

    return script


def load(
    script,
    *,
    count,
    concurrency=1,
    connections=1,
    requests=None,
    expire_after_s=None,
):
    with (
        serving(script) as (host, port),
        Reactor() as reactor,
        Http2Transport(
            reactor, Address(host=host, port=port), connections=connections
        ) as transport,
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


@pytest.mark.parametrize("concurrency", [1, 16])
def test_the_oracle_takes_every_request_as_it_was_meant(concurrency):
    seen = []

    recording = load(scripted(echo, seen), count=300, concurrency=concurrency)

    assert (recording.succeeded, recording.errors) == (300, {})
    [oracle] = seen
    assert set(oracle.bodies.values()) == {framed(b"hello")}
    expected = {name.encode(): value.encode() for name, value in HEADERS.fields}
    assert all(headers == expected for headers in oracle.headers.values())


@pytest.mark.parametrize("table", [0, 64, 300, 4096])
def test_requests_with_different_headers_keep_the_table_in_step(table):
    lists = [
        HeaderList((*HEADERS.fields, (f"x-{index}", "v" * 40))) for index in range(5)
    ]
    requests = [request(str(index).encode(), lists[index]) for index in range(5)]
    seen = []

    recording = load(
        scripted(echo, seen, header_table_size=table),
        count=100,
        concurrency=3,
        requests=requests,
    )

    assert (recording.succeeded, recording.errors) == (100, {})
    [oracle] = seen
    for stream, headers in oracle.headers.items():
        index = oracle.bodies[stream][5:].decode()
        assert headers[f"x-{index}".encode()] == b"v" * 40


@pytest.mark.parametrize("size", [1, 16_379, 16_380, 70_000, 1_000_000])
@pytest.mark.parametrize("window", [1000, 65_535, 2_000_000])
def test_requests_wait_for_the_windows_of_the_server(size, window):
    body = bytes(size)
    seen = []

    def answer(oracle, stream, received):
        oracle.h2.send_headers(stream, START)
        oracle.h2.send_data(stream, framed(len(received).to_bytes(4, "big")))
        oracle.h2.send_headers(stream, OK, end_stream=True)

    recording = load(
        scripted(answer, seen, initial_window_size=window),
        count=12,
        concurrency=4,
        requests=[request(body)],
    )

    assert (recording.succeeded, recording.errors) == (12, {})
    [oracle] = seen
    assert {len(body) for body in oracle.bodies.values()} == {size + 5}


def test_large_responses_are_read_whole():
    def answer(oracle, stream, _received):
        oracle.h2.send_headers(stream, START)
        oracle.unsent[stream] = framed(bytes(3_000_000))
        oracle.push()

    recording = load(scripted(answer), count=6, concurrency=2)

    assert (recording.succeeded, recording.errors) == (6, {})


def test_no_more_calls_at_once_than_the_server_takes():
    seen = []

    recording = load(
        scripted(echo, seen, max_concurrent_streams=4), count=200, concurrency=10
    )

    assert (recording.succeeded, recording.errors) == (200, {})
    assert len(seen) == 3


def test_requests_are_spread_over_as_many_connections_as_are_wanted():
    seen = []

    recording = load(scripted(echo, seen), count=240, concurrency=12, connections=3)

    assert (recording.succeeded, recording.errors) == (240, {})
    assert len(seen) == 3
    # Each has a third of the slots; what more comes of it is up to the machine.
    assert all(len(oracle.bodies) >= 4 for oracle in seen)


@pytest.mark.parametrize("connections", [1, 3])
def test_the_requests_of_an_open_loop_are_spread_as_the_spec_wants(connections):
    assert spread_of_30(connections, wanted=connections) == [30 // connections] * (
        connections
    )


def test_of_connections_by_default_few_do_the_work_of_an_open_loop():
    # So slowly that each is answered before the next.
    assert max(spread_of_30(3, wanted=None, rate_hz=50.0)) > 30 // 3


def spread_of_30(connections, *, wanted, rate_hz=1000.0):
    """Return how many of 30 requests at set times each connection was given."""
    seen = []
    rate = RateLoad(rate_hz=rate_hz)
    spec = PerfSpec(
        url="localhost:1",
        model="echo",
        protocol="grpc",
        loads=(rate,),
        transport=TransportSpec(connections=wanted),
    )
    with (
        serving(scripted(echo, seen)) as (host, port),
        Reactor() as reactor,
        Http2Transport(
            reactor, Address(host=host, port=port), connections=connections
        ) as transport,
    ):
        supply = RequestSource(requests=[request()])
        engine = LocalLoadGenerator(spec, reactor, transport, supply).open_loop(rate)
        reactor.call_at(now_ns() + ns(WITHIN_S), reactor.stop)
        engine.begin(count=30)
        reactor.run()
        assert engine.recorder.take().succeeded == 30
    return [len(oracle.bodies) for oracle in seen]


def test_a_limit_lowered_while_running_is_kept():
    def answer(oracle, stream, body):
        if stream == 1:
            oracle.h2.update_settings(settings_of({"max_concurrent_streams": 1}))
        echo(oracle, stream, body)

    recording = load(scripted(answer), count=100, concurrency=8)

    assert (recording.succeeded, recording.errors) == (100, {})


def test_a_grpc_error_is_counted_with_its_message():
    def answer(oracle, stream, _body):
        trailers = [
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "3"),
            ("grpc-message", "unexpected shape, 100%25 wrong"),
        ]
        oracle.h2.send_headers(stream, trailers, end_stream=True)

    recording = load(scripted(answer), count=4)

    assert recording.errors["gRPC INVALID_ARGUMENT"].count == 4
    assert recording.errors["gRPC INVALID_ARGUMENT"].example == (
        "unexpected shape, 100% wrong"
    )


def test_an_http_error_is_counted():
    def answer(oracle, stream, _body):
        oracle.h2.send_headers(stream, [(":status", "503")], end_stream=True)

    recording = load(scripted(answer), count=4)

    assert recording.errors["HTTP 503"].count == 4


@pytest.mark.parametrize("cut", [0, 3, 5, 9])
def test_a_response_shorter_than_it_announced_is_an_error(cut):
    def answer(oracle, stream, body):
        oracle.h2.send_headers(stream, START)
        oracle.h2.send_data(stream, body[:cut])
        oracle.h2.send_headers(stream, OK, end_stream=True)

    recording = load(scripted(answer), count=3)

    assert recording.errors["malformed response"].count == 3


def test_data_in_small_and_padded_frames_is_one_response():
    def answer(oracle, stream, body):
        oracle.h2.send_headers(stream, START)
        for byte in body:
            oracle.h2.send_data(stream, bytes([byte]), pad_length=7)
        oracle.h2.send_headers(stream, OK, end_stream=True)

    recording = load(scripted(answer), count=5)

    assert (recording.succeeded, recording.errors) == (5, {})


def test_long_headers_come_in_continuations():
    # Several, as hpack's time grows with the square of a header's length.
    long = [(f"x-long-{i}", "~" * 2_000) for i in range(25)]

    def answer(oracle, stream, body):
        oracle.h2.send_headers(stream, [*START, *long])
        oracle.h2.send_data(stream, body)
        oracle.h2.send_headers(stream, OK, end_stream=True)

    def small_frames(peer, _index):
        oracle = OraclePeer(peer, answer)
        # As if the client had not raised the limit: forces CONTINUATION.
        oracle.h2.max_outbound_frame_size = 16_384
        oracle.run()

    recording = load(small_frames, count=5)

    assert (recording.succeeded, recording.errors) == (5, {})


def test_headers_without_end_are_refused():
    def answer(oracle, stream, _body):
        head = b"\x00\x40\x00\x01\x00" + stream.to_bytes(4, "big")
        more = b"\x00\x40\x00\x09\x00" + stream.to_bytes(4, "big")
        oracle.flush()
        for prefix in (head, *[more] * 8):
            oracle.peer.send(prefix + bytes(0x4000))

    recording = load(scripted(answer), count=2)

    assert recording.errors["malformed response"].count == 2


def test_pings_get_responses():
    seen = []

    def answer(oracle, stream, body):
        oracle.h2.ping(b"12345678")
        echo(oracle, stream, body)

    load(scripted(answer, seen), count=5)

    acks = [e for e in seen[0].events if isinstance(e, h2.events.PingAckReceived)]
    assert len(acks) >= 4


def test_a_reset_stream_is_an_error_and_the_connection_goes_on():
    seen = []

    def answer(oracle, stream, body):
        if stream == 3:
            oracle.h2.reset_stream(stream, error_code=ErrorCode.CANCEL)
        else:
            echo(oracle, stream, body)

    recording = load(scripted(answer, seen), count=10, concurrency=2)

    assert recording.errors["RST_STREAM CANCEL"].count == 1
    assert recording.succeeded == 9
    assert len(seen) == 1


def test_a_refused_stream_is_sent_again():
    seen = []

    def answer(oracle, stream, body):
        if stream == 3:
            oracle.h2.reset_stream(stream, error_code=ErrorCode.REFUSED_STREAM)
        else:
            echo(oracle, stream, body)

    recording = load(scripted(answer, seen), count=10, concurrency=2)

    assert (recording.succeeded, recording.retried, recording.errors) == (10, 1, {})
    assert len(seen) == 1


def test_a_server_that_refuses_every_stream_costs_errors_not_an_endless_loop():
    def answer(oracle, stream, _body):
        oracle.h2.reset_stream(stream, error_code=ErrorCode.REFUSED_STREAM)

    recording = load(scripted(answer), count=5, concurrency=2)

    assert recording.errors["RST_STREAM REFUSED_STREAM"].count == 5
    assert recording.retried == 5 * 3


def goaway(last_stream_id, code=ErrorCode.NO_ERROR):
    # By hand: h2 itself would refuse what the client still sends.
    return frame(FrameType.GOAWAY, 0, 0, struct.pack(">LL", last_stream_id, code))


@pytest.mark.parametrize("code", [ErrorCode.NO_ERROR, ErrorCode.ENHANCE_YOUR_CALM])
def test_goaway_retries_streams_above_the_last_stream_id(code):
    seen, bodies = [], []

    def answer(oracle, stream, body):
        if oracle.index == 0 and stream > 21:
            return  # not processed
        bodies.append(body)
        echo(oracle, stream, body)
        if oracle.index == 0 and stream == 21:
            oracle.flush()
            oracle.peer.send(goaway(21, code))

    requests = [request(str(i).encode()) for i in range(100)]
    recording = load(
        scripted(answer, seen), count=100, concurrency=4, requests=requests
    )

    assert len(seen) == 2
    assert (recording.succeeded, recording.errors) == (100, {})
    assert 1 <= recording.retried <= 4
    assert sorted(bodies) == sorted(r.payload for r in requests)  # each exactly once


def test_goaway_fails_a_stream_at_or_below_the_last_stream_id_that_breaks():
    def answer(oracle, stream, body):
        if oracle.index or stream < 9:
            echo(oracle, stream, body)
            return
        oracle.peer.send(goaway(9))  # 9 is promised
        raise ConnectionError

    recording = load(scripted(answer), count=20)

    assert {kind: e.count for kind, e in recording.errors.items()} == {
        "connection closed": 1
    }
    assert recording.succeeded == 19


def test_a_server_that_ends_every_connection_at_once_costs_errors():
    def answer(oracle, _stream, _body):
        oracle.peer.send(goaway(0))

    recording = load(scripted(answer), count=3)

    assert recording.errors["GOAWAY NO_ERROR"].count == 3


def test_a_retried_request_keeps_the_time_of_its_first_send():
    def answer(oracle, stream, body):
        if oracle.index == 0:
            time.sleep(0.05)
            oracle.peer.send(goaway(0))
        else:
            echo(oracle, stream, body)

    recording = load(scripted(answer), count=1)

    assert (recording.succeeded, recording.retried) == (1, 1)
    assert recording.from_send.min_ns >= ns(0.05)


def test_a_lost_connection_costs_what_was_on_it_and_is_opened_anew():
    def answer(oracle, stream, body):
        if oracle.index == 0 and stream > 20:
            oracle.peer.reset()
            raise ConnectionError
        echo(oracle, stream, body)

    recording = load(scripted(answer), count=100, concurrency=4)

    assert recording.succeeded + recording.failed == 100
    assert 1 <= recording.failed <= 4


def test_a_silent_server_costs_a_timeout_and_nothing_else():
    seen = []

    def answer(oracle, stream, body):
        if stream > 1:
            echo(oracle, stream, body)

    recording = load(scripted(answer, seen), count=3, expire_after_s=0.1)

    assert recording.errors["timeout"].count == 1
    assert recording.succeeded == 2
    resets = [e for e in seen[0].events if isinstance(e, h2.events.StreamReset)]
    assert len(resets) == 1


@contextmanager
def crowded(script, *, slots):
    """Yield a loop of more slots than the one connection takes calls, and its reactor.

    The reactor stops once each slot has had 3 answers.
    """
    with (
        serving(script) as (host, port),
        Reactor() as reactor,
        Http2Transport(reactor, Address(host=host, port=port)) as transport,
    ):
        quota = Quota(reactor, 3)
        engine = ClosedLoop(reactor, transport, [request()], concurrency=1, quota=quota)
        reactor.call_at(now_ns() + ns(WITHIN_S), reactor.stop)
        engine.begin()
        engine.raise_to(slots)
        quota.expect(range(slots))
        yield engine, reactor


def test_every_slot_has_its_turn_where_the_server_takes_few_calls_at_once():
    with crowded(scripted(echo, max_concurrent_streams=2), slots=6) as (
        engine,
        reactor,
    ):
        reactor.run()
        recording = engine.take_snapshot().whole
        engine.abandon(Failure("over"))

    # Each of them, and hardly more of one than of another.
    assert 6 * 3 <= recording.succeeded <= 6 * 4
    assert recording.errors == {}


def test_a_call_that_is_taken_back_lets_those_that_wait_begin():
    def answer(oracle, stream, body):
        if stream > 1:
            echo(oracle, stream, body)

    silent_at_first = scripted(answer, max_concurrent_streams=1)
    with crowded(silent_at_first, slots=3) as (engine, reactor):
        first_due_ns = engine.tracker.due_ns[0]
        engine.expire(first_due_ns + 1, Failure("timeout"))
        reactor.run()
        recording = engine.take_snapshot().whole
        engine.abandon(Failure("over"))

    assert recording.errors["timeout"].count == 1
    assert 3 * 3 - 1 <= recording.succeeded <= 3 * 4


def test_calls_that_are_given_up_while_they_wait_are_never_sent():
    seen = []
    silent = scripted(lambda *_: None, seen, max_concurrent_streams=1)

    with crowded(silent, slots=4) as (engine, reactor):
        engine.abandon(Failure("over"))
        reactor.call_at(now_ns(), reactor.stop)
        reactor.run()

    # The first was begun, and reset at once.
    assert list(seen[0].headers) == [1]


def test_a_response_before_the_request_is_complete_is_taken():
    def early(peer, _index):
        oracle = OraclePeer(peer, None, initial_window_size=100)

        def take(event):
            oracle.events.append(event)
            if isinstance(event, h2.events.RequestReceived):
                echo(oracle, event.stream_id, framed(b"early"))

        oracle.take = take
        oracle.run()

    recording = load(early, count=3, requests=[request(bytes(5000))])

    assert (recording.succeeded, recording.errors) == (3, {})


@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\x00\x00\x06\x00\x00\x00\x00\x00",
        b"",
    ],
)
def test_a_port_that_speaks_otherwise_is_an_error_before_the_first_request(first):
    def script(peer, _index):
        peer.socket.recv(65536)
        peer.send(first)

    with pytest.raises(TransportError, match="does not speak gRPC"):
        load(script, count=1)


def test_no_server_listening_is_an_error_before_the_first_request():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    sink = SimpleNamespace(finished=None)

    with (
        Reactor() as reactor,
        Http2Transport(reactor, Address(host="127.0.0.1", port=port)) as transport,
        pytest.raises(TransportError, match="Connection refused"),
    ):
        transport.open(1, sink)
