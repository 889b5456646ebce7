"""Reading HTTP/1.1 answers: bytes in, status and end of the answer out."""

from __future__ import annotations

from dataclasses import dataclass

import httptools

HTTP_OK = 200
LARGEST_HEAD_BYTES = 64 * 1024
# Error bodies are kept up to this size, as the example shown for their kind.
LARGEST_DETAIL_BYTES = 2048

_END_OF_HEAD = b"\r\n\r\n"
_END_BYTES = len(_END_OF_HEAD)

_BODILESS = (204, 304)
_LARGEST_CACHE = 256


class MalformedAnswerError(Exception):
    """The bytes are not an HTTP/1.1 answer."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status and framing of one answer.

    `body_bytes` is None where the length shows only while reading: a chunked body,
    or one that ends with the connection.
    """

    status: int
    body_bytes: int | None
    keep_alive: bool
    is_chunked: bool = False

    @property
    def is_interim(self) -> bool:
        """Whether the real head is still to come (100 Continue and its kin)."""
        return 100 <= self.status < 200


class HeadReader:
    """Parses answer heads, each distinct one once.

    A server under load sends the same few heads over and over. What a head says
    depends on its bytes alone, so a dictionary of the bytes is a sound parser; the
    real one, llhttp, reads those that are new.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}
        self._good: dict[bytes, int] = {}  # length of the body, of good answers

    def is_good_answer(self, data: bytes) -> bool:
        """Whether `data` is a whole good answer that leaves its connection open.

        The quick look at what nearly all reads of a load are. False means only that
        a closer look is needed.
        """
        end = data.find(_END_OF_HEAD) + _END_BYTES
        return self._good.get(data[:end]) == len(data) - end

    def read(self, head: bytes) -> Head:
        """Read a whole head, its blank line included.

        Raises:
            MalformedAnswerError: it is not one.
        """
        known = self._known.get(head)
        if known is not None:
            return known
        if len(self._known) >= _LARGEST_CACHE:  # a server whose heads all differ
            self._known.clear()
            self._good.clear()
        parsed = self._known[head] = _parse(head)
        if parsed.status == HTTP_OK and parsed.keep_alive and parsed.body_bytes:
            self._good[head] = parsed.body_bytes
        return parsed


class _Fields:
    """Collects what llhttp calls back with."""

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
        raise MalformedAnswerError(str(error)) from error
    if status < 200 or status in _BODILESS:
        return Head(status, 0, keep_alive)
    if fields.is_chunked:
        return Head(status, None, keep_alive, is_chunked=True)
    if not lengths:
        return Head(status, None, keep_alive=False)
    return Head(status, lengths.pop(), keep_alive)


class AnswerReader:
    """Follows the answers on one connection, one after another.

    Attributes:
        heads: what has been learnt of them, on any connection.
        status: of the current answer; 0 until its head is complete.
        keep_alive: whether the connection may be used again after it.
        detail: the first bytes of a body that came with another status than 200.
    """

    def __init__(self, heads: HeadReader, *, keep_body: bool = False) -> None:
        self.heads = heads
        self._keeps_body = keep_body
        self.restart()

    def restart(self) -> None:
        """Expect the next answer."""
        self.status = 0
        self.keep_alive = True
        self.detail = b""
        self._body_left = 0
        self._body: _UnmeasuredBody | None = None
        self._unread = b""
        self._parts: list[bytes] = []

    def body(self) -> bytes:
        """Return the body so far, without its transfer encoding, if it is kept."""
        return b"".join(self._parts) if self._parts else b""

    def take(self) -> bytes:
        """Return what was kept of the body since the last time, and keep it no more."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken

    def feed(self, data: bytes) -> bool:
        """Read on; return whether the answer is now complete.

        Raises:
            MalformedAnswerError: this is no HTTP, or goes on beyond the answer.
        """
        if not self.status:
            body = self._read_head(data)
            if body is None:
                return False
            data = body
        if self.status != HTTP_OK and len(self.detail) < LARGEST_DETAIL_BYTES:
            self.detail = (self.detail + data)[:LARGEST_DETAIL_BYTES]
        if self._body is not None:
            return self._body.feed(data)
        if self._keeps_body:
            self._parts.append(data)
        self._body_left -= len(data)
        if self._body_left < 0:
            raise MalformedAnswerError(f"{-self._body_left} bytes after the answer")
        return not self._body_left

    def ends_by_close(self) -> bool:
        """Whether the answer is complete now that the server has hung up."""
        return self._body is not None and not self._body.is_chunked

    def _read_head(self, data: bytes) -> bytes | None:
        """Return what follows the head, or None while the head is incomplete."""
        if self._unread:
            data, self._unread = self._unread + data, b""
        while True:
            end = data.find(_END_OF_HEAD)
            if end < 0:
                if len(data) > LARGEST_HEAD_BYTES:
                    text = f"a head longer than {LARGEST_HEAD_BYTES}"
                    raise MalformedAnswerError(text)
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
            parts = self._parts if self._keeps_body else None
            self._body = _UnmeasuredBody(data[:end], parts, head.is_chunked)
        else:
            self._body_left = head.body_bytes
        return data[end:]


class _UnmeasuredBody:
    """Finds the end of a body whose length is not known beforehand.

    Attributes:
        is_chunked: whether the body says itself where it ends; else it ends with the
            connection.
    """

    def __init__(
        self, head: bytes, parts: list[bytes] | None, is_chunked: bool
    ) -> None:
        self.is_chunked = is_chunked
        self._is_complete = False
        self._parts = parts
        self._parser = httptools.HttpResponseParser(self)
        self._parser.feed_data(head)

    def on_body(self, part: bytes) -> None:
        """Keep a piece of the body; llhttp calls this."""
        if self._parts is not None:
            self._parts.append(part)

    def on_message_complete(self) -> None:
        """Note the end; llhttp calls this."""
        self._is_complete = True

    def feed(self, data: bytes) -> bool:
        """Read on; return whether the body is complete."""
        if not data:
            return False
        if self._is_complete:
            raise MalformedAnswerError(f"{len(data)} bytes after the answer")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise MalformedAnswerError(str(error)) from error
        return self._is_complete
