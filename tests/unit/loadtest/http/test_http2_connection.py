"""Whatever bytes come in, the connection ends in order: an answer or one error."""

import contextlib
import itertools
import struct

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triton_kit.loadtest.http import http2_request_writer
from triton_kit.loadtest.http.grpc_response import StreamingResponses, UnaryResponses
from triton_kit.loadtest.http.grpc_status import framed
from triton_kit.loadtest.http.http2_connection import (
    _LAST_STREAM_ID,
    Http2Connection,
)
from triton_kit.loadtest.http.http2_frames import (
    FrameType,
    ProtocolError,
    Setting,
    frame,
    settings,
)
from triton_kit.loadtest.http.http2_request_writer import Stream
from triton_kit.loadtest.http.response_template import ResponseTemplate
from triton_kit.loadtest.request import Failure, HeaderList, Request

HEADERS = HeaderList(((":method", "POST"), (":path", "/x")))
REQUEST = Request(framed(b"hello"), 1, HEADERS)


def block(*fields):
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return encoder.encode(fields)


START = block((":status", "200"))
OK = block(("grpc-status", "0"))


def answer(number=1, body=b"world"):
    return (
        frame(FrameType.HEADERS, 4, number, START)
        + frame(FrameType.DATA, 0, number, framed(body))
        + frame(FrameType.HEADERS, 5, number, OK)
    )


def connected(calls=1, *, answers=None):
    """Return a connection with calls in flight, and the list their ends go to."""
    ends = []
    connection = Http2Connection(lambda *end: ends.append(end), answers)
    connection.feed(settings({}), 1)
    for slot in range(calls):
        connection.start(Stream(slot), REQUEST)
    return connection, ends


@given(cuts=st.lists(st.integers(1, 200), max_size=8))
def test_a_response_may_come_in_any_pieces(cuts):
    whole = answer(1) + answer(3) + frame(FrameType.PING, 0, 0, bytes(8))
    connection, ends = connected(calls=2)

    edges = [0, *sorted(cuts), len(whole)]
    for start, stop in itertools.pairwise(edges):
        connection.feed(whole[start:stop], 5)

    assert [(end[0], end[3], end[4]) for end in ends] == [(0, 5, None), (1, 5, None)]


@given(
    sizes=st.lists(st.integers(0, 300), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 1500), max_size=12),
)
def test_messages_of_a_stream_may_come_in_any_pieces(sizes, cuts):
    messages = [bytes([index]) * size for index, size in enumerate(sizes)]
    whole = b"".join(map(framed, messages))
    told, read = [], []

    def error_in(message):
        read.append(message)
        return ""

    replies = StreamingResponses(lambda *reply: told.append(reply), error_in)
    connection, ends = connected(answers=replies)

    connection.feed(frame(FrameType.HEADERS, 4, 1, START), 1)
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    for start, stop in itertools.pairwise(edges):
        connection.feed(frame(FrameType.DATA, 0, 1, whole[start:stop]), 5)
    connection.feed(frame(FrameType.HEADERS, 5, 1, OK), 9)

    assert read == messages
    assert len(told) == len(messages)
    assert [end[4] for end in ends] == [None]


def test_the_pieces_of_a_large_message_are_joined_once():
    stream = Stream(0)
    stream.http_status = 200
    told = []
    replies = StreamingResponses(lambda *reply: told.append(reply), lambda _message: "")
    message = framed(bytes(1 << 20))
    pieces = [message[at : at + 16_384] for at in range(0, len(message), 16_384)]

    for piece in pieces[:-1]:
        replies.take(stream, piece, 5)
    kept = stream.body
    replies.take(stream, pieces[-1], 7)

    assert len(kept) == len(message)  # one buffer, which grew
    assert (told, stream.body) == ([(0, 0, 7)], b"")


def outcome(connection, ends, data):
    """Feed bytes; return who ended when and how, and whether all broke."""
    try:
        connection.feed(data, 7)
        is_broken = False
    except ProtocolError:
        is_broken = True
    told = [(slot, first, last, failure) for slot, _, first, last, failure, _ in ends]
    return told, is_broken


@given(data=st.data())
def test_a_response_read_at_a_glance_means_what_it_means_frame_by_frame(data):
    later = bytearray(answer(3, data.draw(st.binary(max_size=8))) + answer(5))
    place = data.draw(st.integers(0, len(later) - 1))
    later[place] = data.draw(st.one_of(st.just(later[place]), st.integers(0, 255)))
    quick, quick_ends = connected(calls=4)
    thorough = UnaryResponses()
    thorough.need_every_frame = True
    careful, careful_ends = connected(calls=4, answers=thorough)
    for connection in (quick, careful):
        connection.feed(answer(1), 5)  # which the quick one learns from

    glanced = outcome(quick, quick_ends, bytes(later))

    assert glanced == outcome(careful, careful_ends, bytes(later))


def test_a_whole_ordinary_response_is_recognised_whatever_its_message():
    data = b"before" + answer(3, b"any length") + b"after"

    number, framed_bytes, end = ResponseTemplate(START, OK).read(data, len(b"before"))

    assert (number, framed_bytes) == (3, len(framed(b"any length")))
    assert data[end:] == b"after"


@given(cut=st.integers(0, len(answer()) - 1))
def test_half_a_response_is_not_an_ordinary_one(cut):
    assert ResponseTemplate(START, OK).read(answer()[:cut], 0) is None


@given(garbage=st.binary(max_size=300))
def test_garbage_is_refused_or_ignored(garbage):
    connection, ends = connected()

    with contextlib.suppress(ProtocolError):
        connection.feed(garbage, 5)

    assert len(ends) <= 1


@given(data=st.data())
def test_a_flipped_byte_never_breaks_the_connection(data):
    whole = bytearray(answer(1) + settings({Setting.MAX_FRAME_SIZE: 20_000}))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255))
    connection, ends = connected()

    with contextlib.suppress(ProtocolError):
        connection.feed(bytes(whole), 5)

    assert len(ends) <= 1


frames = st.builds(
    lambda kind, flags, number, payload: frame(kind, flags, number, payload),
    kind=st.integers(0, 12),
    flags=st.integers(0, 255),
    number=st.sampled_from([0, 1, 2, 3, 5, 2**31 - 1]),
    payload=st.one_of(
        st.binary(max_size=40),
        st.sampled_from([START, OK, framed(b"x"), bytes(4), bytes(8), b"\xff" * 6]),
    ),
)


@given(sequence=st.lists(frames, max_size=12))
def test_any_order_of_frames_ends_each_call_at_most_once(sequence):
    connection, ends = connected(calls=3)

    with contextlib.suppress(ProtocolError):
        connection.feed(b"".join(sequence), 5)

    slots = [end[0] for end in ends]
    assert len(slots) == len(set(slots))


@pytest.mark.parametrize(
    "broken",
    [
        frame(FrameType.DATA, 0, 99, b"x"),
        frame(FrameType.DATA, 0, 2, b"x"),
        frame(FrameType.DATA, 8, 1, b"\x05abc"),
        frame(FrameType.PUSH_PROMISE, 4, 1, bytes(8)),
        frame(FrameType.SETTINGS, 0, 0, b"12345"),
        frame(FrameType.SETTINGS, 0, 1, b""),
        frame(FrameType.PING, 0, 0, b"short"),
        frame(FrameType.RST_STREAM, 0, 1, b"short!"),
        frame(FrameType.GOAWAY, 0, 0, b"1234"),
        frame(FrameType.WINDOW_UPDATE, 0, 0, bytes(4)),
        frame(FrameType.WINDOW_UPDATE, 0, 0, struct.pack(">L", 2**31 - 1)),
        frame(FrameType.CONTINUATION, 4, 1, b""),
        frame(FrameType.HEADERS, 0, 1, START) + frame(FrameType.DATA, 0, 1, b""),
        frame(FrameType.HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\xff"),
        frame(
            FrameType.HEADERS, 4, 1, b"\xbe"
        ),  # index 62: the table has no such entry
        settings({Setting.INITIAL_WINDOW_SIZE: 2**31}),
        settings({Setting.MAX_FRAME_SIZE: 100}),
        b"\x40\x00\x00\x00\x00\x00\x00\x00\x01",  # a frame of 4 MiB
    ],
)
def test_a_peer_that_breaks_the_rules_is_refused(broken):
    connection, _ = connected()

    with pytest.raises(ProtocolError):
        connection.feed(broken, 5)


def test_first_and_last_byte_have_times_of_their_own():
    connection, ends = connected()
    whole = answer(1)

    connection.feed(whole[:20], 7)
    connection.feed(whole[20:], 9)

    [(_, _, first_ns, last_ns, failure, _)] = ends
    assert (first_ns, last_ns, failure) == (7, 9, None)


def test_the_connection_tells_the_server_to_go_on_sending():
    connection, _ = connected(calls=3)
    connection.feed(answer(3), 5)
    connection.out.clear()
    chunk = frame(FrameType.DATA, 0, 1, bytes(200_000))

    for _ in range(2**30 // 200_000 + 2):
        connection.feed(chunk, 5)

    updates = {
        int.from_bytes(update[5:9], "big"): int.from_bytes(update[9:], "big")
        for update in connection.out
        if update[3] == FrameType.WINDOW_UPDATE
    }
    assert updates.keys() == {0, 1}
    assert updates[0] == updates[1] + len(framed(b"world")) > 2**30


def test_used_up_stream_numbers_end_the_use_of_the_connection():
    connection, ends = connected(calls=0)
    connection._next_stream_id = _LAST_STREAM_ID - 2

    connection.start(Stream(0), REQUEST)
    assert connection.is_usable
    connection.start(Stream(1), REQUEST)

    assert not connection.is_usable
    connection.feed(answer(_LAST_STREAM_ID - 2) + answer(_LAST_STREAM_ID), 5)
    assert [end[4] for end in ends] == [None, None]


def test_calls_that_wait_have_numbers_when_those_of_others_are_used_up():
    most = 16_384  # as many as a load may have in flight
    connection, ends = connected(calls=0)
    connection.feed(settings({Setting.MAX_CONCURRENT_STREAMS: 1}), 1)
    connection._next_stream_id = _LAST_STREAM_ID - 2

    for slot in range(most):
        connection.start(Stream(slot), REQUEST)
    for index in range(most):
        connection.feed(answer(_LAST_STREAM_ID - 2 + 2 * index), 5)

    assert not connection.is_usable
    assert [end[0] for end in ends] == list(range(most))
    assert connection._next_stream_id < 2**31


def test_calls_that_wait_come_before_those_of_a_sink_that_sends_again_at_once():
    streams = [Stream(slot) for slot in range(3)]
    order = []

    def send_again(slot, *_):
        order.append(slot)
        connection.start(streams[slot], REQUEST)

    connection = Http2Connection(send_again)
    connection.feed(settings({Setting.MAX_CONCURRENT_STREAMS: 1}), 1)
    for stream in streams:
        connection.start(stream, REQUEST)
    for number in range(1, 18, 2):
        connection.feed(answer(number), 5)

    assert order == [0, 1, 2] * 3


def test_calls_that_wait_begin_when_the_peer_takes_more():
    connection, ends = connected(calls=0)
    connection.feed(settings({Setting.MAX_CONCURRENT_STREAMS: 1}), 1)
    for slot in range(3):
        connection.start(Stream(slot), REQUEST)

    connection.feed(settings({Setting.MAX_CONCURRENT_STREAMS: 3}), 1)
    connection.feed(answer(5) + answer(3) + answer(1), 5)

    assert [(end[0], end[4]) for end in ends] == [(2, None), (1, None), (0, None)]


def test_a_lost_connection_refuses_the_calls_that_never_left():
    ends, refused = [], []
    connection = Http2Connection(lambda *end: ends.append(end))
    connection.on_refused = lambda streams, *_: refused.extend(streams)
    connection.feed(settings({Setting.MAX_CONCURRENT_STREAMS: 2}), 1)
    sent, written, waiting = streams = [Stream(slot) for slot in range(3)]
    connection.start(sent, REQUEST)
    connection.fresh.clear()  # as if its bytes had gone to the socket
    connection.start(written, REQUEST)
    connection.start(waiting, REQUEST)

    connection.lose(Failure("connection closed"), 9)

    assert [(end[0], end[4].kind) for end in ends] == [(0, "connection closed")]
    assert refused == streams[1:]


def test_a_server_that_asks_for_acknowledgements_without_end_is_left(monkeypatch):
    monkeypatch.setattr(http2_request_writer, "_MAX_BACKLOG_FRAMES", 100)
    connection, _ = connected()

    with pytest.raises(ProtocolError, match="PING"):
        connection.feed(frame(FrameType.PING, 0, 0, bytes(8)) * 200, 5)
