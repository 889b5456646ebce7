import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triton_kit.loadtest.http.http1_response import (
    LARGEST_HEAD_BYTES,
    HeadReader,
    MalformedResponseError,
    ResponseReader,
)

PLAIN = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
    b"Inference-Header-Content-Length: 2\r\nContent-Length: 6\r\n\r\n{}abcd"
)
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nTrailer: t\r\n\r\n"
)
CHUNKED_AND_CLOSED = CHUNKED.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
ERROR = b'HTTP/1.1 400 Bad Request\r\nContent-Length: 17\r\n\r\n{"error":"wrong"}'
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def reader():
    return ResponseReader(HeadReader())


def pieces_of(data, cuts):
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if b > a]


@pytest.mark.parametrize("whole", [PLAIN, CHUNKED, CONTINUED, EMPTY, ERROR, NO_CONTENT])
@given(data=st.data())
def test_a_response_ends_with_its_last_byte_however_it_is_cut(whole, data):
    cuts = data.draw(st.lists(st.integers(1, len(whole) - 1), max_size=6))
    answer = reader()

    ends = [answer.feed(piece) for piece in pieces_of(whole, cuts)]

    assert ends == [False] * (len(ends) - 1) + [True]


def test_one_reader_follows_one_response_after_another():
    answer = reader()

    for whole in (PLAIN, CHUNKED, ERROR, PLAIN):
        assert answer.feed(whole)
        answer.restart()


def test_a_response_may_be_put_off_any_number_of_times():
    assert reader().feed(b"HTTP/1.1 100 Continue\r\n\r\n" * 5000 + PLAIN)


def test_status_and_text_of_an_error_are_kept():
    answer = reader()

    answer.feed(ERROR)

    assert answer.status == 400
    assert answer.detail == b'{"error":"wrong"}'


@pytest.mark.parametrize("coding", [b"", b"Transfer-Encoding: gzip\r\n"])
def test_a_body_without_length_ends_with_the_connection(coding):
    answer = reader()

    assert not answer.feed(b"HTTP/1.1 200 OK\r\n" + coding + b"\r\nsome")

    assert answer.ends_by_close()


@pytest.mark.parametrize("whole", [PLAIN, CHUNKED, CHUNKED_AND_CLOSED, ERROR])
def test_half_a_response_does_not_end_with_the_connection(whole):
    answer = reader()

    answer.feed(whole[:-3])

    assert not answer.ends_by_close()


@pytest.mark.parametrize(
    "whole",
    [
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\r\n\r\n",  # an HTTP/2 server's SETTINGS
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"x" * (LARGEST_HEAD_BYTES + 1),
        PLAIN + b"more",
        CHUNKED + b"more",
    ],
)
def test_what_is_no_response_is_refused(whole):
    with pytest.raises(MalformedResponseError):
        reader().feed(whole)


def test_a_connection_to_be_closed_says_so():
    answer = reader()

    answer.feed(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    assert not answer.keep_alive


@given(garbage=st.binary(max_size=400), cut=st.integers(0, 400))
def test_garbage_never_breaks_the_reader(garbage, cut):
    answer, is_complete = reader(), False

    with contextlib.suppress(MalformedResponseError):
        answer.feed(garbage[:cut])
        is_complete = answer.feed(garbage[cut:])

    assert not is_complete or b"HTTP/" in garbage


@given(data=st.data())
def test_a_response_with_a_flipped_byte_never_breaks_the_reader(data):
    whole = bytearray(data.draw(st.sampled_from([PLAIN, CHUNKED, CONTINUED, ERROR])))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255))

    answer, is_complete = reader(), False

    with contextlib.suppress(MalformedResponseError):
        is_complete = answer.feed(bytes(whole))

    assert not is_complete or 200 <= answer.status <= 999
