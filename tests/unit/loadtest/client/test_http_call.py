"""How a request over HTTP begins."""

import pytest

from triton_kit.loadtest.client.http_call import post
from triton_kit.triton.address import parse_address

ADDRESS = parse_address("http://h:1/triton", default_port=8000)


@pytest.mark.parametrize(
    ("headers", "host", "kind"),
    [
        (None, b"Host: h:1", b"Content-Type: text/plain"),
        ({"Key": "1"}, b"Host: h:1", b"Content-Type: text/plain"),
        ({"host": "other"}, b"host: other", b"Content-Type: text/plain"),
        ({"content-type": "x/y"}, b"Host: h:1", b"content-type: x/y"),
    ],
)
def test_a_header_of_the_user_takes_the_place_of_ours(headers, host, kind):
    request = post(
        ADDRESS, "/v2", {"Content-Type": "text/plain"}, b"abc", headers=headers
    )

    start, *lines = request.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert start == b"POST /triton/v2 HTTP/1.1"
    assert {host, kind, b"Content-Length: 3"} <= set(lines)
    assert len(lines) == 3 + ("Key" in (headers or {}))
    assert request.endswith(b"\r\n\r\nabc")
