"""Reads HTTP/1.1 responses: bytes in, status and end of the response out.

Theory of operation: a server under load repeats the same few heads. What a head means
depends on its bytes alone, so `HeadReader` is a dictionary of heads, and llhttp parses
only those that are new. On the fast path, `is_whole_success` recognises a read that is
one successful response. Every other read goes through `ResponseReader`, which follows
the response to its end: by its length, by its chunks, or by the end of the connection.
"""

from __future__ import annotations

from dataclasses import dataclass

import httptools

from triton_kit.loadtest.http.compression import LARGEST_RESPONSE_BYTES

HTTP_OK = 200
LARGEST_HEAD_BYTES = 64 * 1024
# Bodies of failed responses are kept up to this size, as an example of their kind.
LARGEST_DETAIL_BYTES = 2048

_END_OF_HEAD = b"\r\n\r\n"
_END_BYTES = len(_END_OF_HEAD)

_BODILESS = (204, 304)
_LARGEST_CACHE = 256


class MalformedResponseError(Exception):
    """The bytes are not an HTTP/1.1 response."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status and framing of one response.

    `body_bytes` is None where only reading shows the length: a chunked body,
    or one that ends with the connection.
    """

    status: int
    body_bytes: int | None
    keep_alive: bool
    is_chunked: bool = False

    @property
    def is_interim(self) -> bool:
        """Whether another head follows (100 Continue and its like)."""
        return 100 <= self.status < 200


class HeadReader:
    """Parses the heads of responses, each distinct one once."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}
        self._successes: dict[bytes, int] = {}  # head -> length of the body

    def is_whole_success(self, data: bytes) -> bool:
        """Whether `data` is one successful response that leaves its connection open.

        Nearly all reads of a load are. False means only that `ResponseReader` must read
        them.
        """
        end = data.find(_END_OF_HEAD) + _END_BYTES
        return self._successes.get(data[:end]) == len(data) - end

    def read(self, head: bytes) -> Head:
        """Read a whole head, its blank line included.

        Raises:
            MalformedResponseError: it is not one.
        """
        known = self._known.get(head)
        if known is not None:
            return known
        if len(self._known) >= _LARGEST_CACHE:  # the heads of some servers all differ
            self._known.clear()
            self._successes.clear()
        parsed = self._known[head] = _parse(head)
        if parsed.status == HTTP_OK and parsed.keep_alive and parsed.body_bytes:
            self._successes[head] = parsed.body_bytes
        return parsed


class _Fields:
    """Collects the header fields that llhttp finds."""

    def __init__(self) -> None:
        self.lengths: set[bytes] = set()
        self.is_chunked = False

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"content-length":
                self.lengths.add(value)
            case b"transfer-encoding":
                self.is_chunked = value.lower().endswith(b"chunked")


def _parse(head: bytes) -> Head:
    fields = _Fields()
    parser = httptools.HttpResponseParser(fields)
    try:
        parser.feed_data(head)
        status = parser.get_status_code()
        keep_alive = parser.should_keep_alive()
        lengths = {int(value) for value in fields.lengths}
    except (httptools.HttpParserError, ValueError) as error:
        raise MalformedResponseError(str(error)) from error
    if status < 200 or status in _BODILESS:
        return Head(status, 0, keep_alive)
    if fields.is_chunked:
        return Head(status, None, keep_alive, is_chunked=True)
    if not lengths:
        return Head(status, None, keep_alive=False)
    return Head(status, lengths.pop(), keep_alive)


class ResponseReader:
    """Follows the responses on one connection, one after another.

    Attributes:
        heads: those that are known, of all connections.
        status: of the current response; 0 until its head is complete.
        keep_alive: whether the connection may be used again after it.
        detail: the first bytes of the body of a failed response.
    """

    def __init__(self, heads: HeadReader, *, keep_body: bool = False) -> None:
        self.heads = heads
        self._keeps_body = keep_body
        self.restart()

    def restart(self) -> None:
        """Expect the next response."""
        self.status = 0
        self.keep_alive = True
        self.detail = b""
        self._body_left = 0
        self._body: _UnmeasuredBody | None = None
        self._unread = b""
        self._kept = bytearray()

    def body(self) -> bytes:
        """Return the body so far, without its transfer encoding, if it is kept."""
        return bytes(self._kept)

    def take(self) -> bytes:
        """Return what was kept of the body since the last call, and forget it."""
        taken = bytes(self._kept)
        self._kept.clear()
        return taken

    def feed(self, data: bytes) -> bool:
        """Read on; return whether the response is now complete.

        Raises:
            MalformedResponseError: it is not HTTP, goes on beyond its end, or is larger
                than a response that is kept may be.
        """
        if not self.status:
            body = self._read_head(data)
            if body is None:
                return False
            data = body
        if self.status != HTTP_OK and len(self.detail) < LARGEST_DETAIL_BYTES:
            self.detail = (self.detail + data)[:LARGEST_DETAIL_BYTES]
        if len(self._kept) > LARGEST_RESPONSE_BYTES:
            self._kept.clear()  # others may be on their way, of the same size
            raise MalformedResponseError(
                f"a response of more than {LARGEST_RESPONSE_BYTES} bytes"
            )
        if self._body is not None:
            return self._body.feed(data)
        if self._keeps_body:
            self._kept += data
        self._body_left -= len(data)
        if self._body_left < 0:
            raise MalformedResponseError(f"{-self._body_left} bytes after the response")
        return not self._body_left

    def ends_by_close(self) -> bool:
        """Whether the response is complete once the server closes the connection."""
        return self._body is not None and not self._body.is_chunked

    def _read_head(self, data: bytes) -> bytes | None:
        """Return what follows the head, or None while the head is incomplete."""
        if self._unread:
            data, self._unread = self._unread + data, b""
        while True:
            end = data.find(_END_OF_HEAD)
            if end < 0:
                if len(data) > LARGEST_HEAD_BYTES:
                    text = f"a head longer than {LARGEST_HEAD_BYTES} bytes"
                    raise MalformedResponseError(text)
                self._unread = data
                return None
            end += _END_BYTES
            head = self.heads.read(data[:end])
            if not head.is_interim:
                break
            data = data[end:]
        self.status = head.status
        self.keep_alive = head.keep_alive
        if head.body_bytes is None:
            kept = self._kept if self._keeps_body else None
            self._body = _UnmeasuredBody(data[:end], kept, head.is_chunked)
        else:
            self._body_left = head.body_bytes
        return data[end:]


class _UnmeasuredBody:
    """Finds the end of a body whose length the head does not give.

    Attributes:
        is_chunked: whether the body marks its end; else it ends with the connection.
    """

    def __init__(self, head: bytes, kept: bytearray | None, is_chunked: bool) -> None:
        self.is_chunked = is_chunked
        self._is_complete = False
        self._kept = kept
        self._parser = httptools.HttpResponseParser(self)
        self._parser.feed_data(head)

    def on_body(self, part: bytes) -> None:
        """Keep a piece of the body; llhttp calls this."""
        if self._kept is not None:
            self._kept += part

    def on_message_complete(self) -> None:
        """Note the end; llhttp calls this."""
        self._is_complete = True

    def feed(self, data: bytes) -> bool:
        """Read on; return whether the body is complete."""
        if not data:
            return False
        if self._is_complete:
            raise MalformedResponseError(f"{len(data)} bytes after the response")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise MalformedResponseError(str(error)) from error
        return self._is_complete
