"""One TCP connection that never holds up: bytes in by callback, bytes out at once."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from collections.abc import Callable

from triton_kit.errors import TransportError
from triton_kit.loadtest.net.clock import now_ns
from triton_kit.loadtest.net.reactor import READ, WRITE, Reactor
from triton_kit.loadtest.request import Failure
from triton_kit.triton.address import Endpoint

# More would be allocated by mmap, and each read would cost 15 us instead of 3.
_READ_BYTES = 64 * 1024
# Until a read is filled: what Python allocates from its own pools (512 bytes with the
# header of the object), 1 to 2 us cheaper for a load of one request at a time.
_FIRST_READ_BYTES = 448
_CONNECT_WITHIN_S = 5.0
# How long `_await` may block; the kernel rounds it up to its ticks. struct timeval.
_AWAIT_AT_MOST = struct.pack("ll", 0, 5_000)
# The socket may block in `_await`, and nowhere else.
_AT_ONCE = socket.MSG_DONTWAIT
_HUNG_UP = Failure("connection closed", "the server hung up")
_UNDER_WAY = (0, errno.EINPROGRESS)

# Called with the bytes that came, or with why none will, and the time of the wake-up.
OnData = Callable[[bytes, int], None]
OnLost = Callable[[Failure, int], None]


class Channel:
    """A connection; what the kernel does not take at once is written when it can.

    Attributes:
        is_open: whether there is a connection, or one under way.
        is_write_blocked: whether earlier bytes still wait for the kernel to take them.
    """

    __slots__ = (
        "_endpoint",
        "_is_connecting",
        "_on_data",
        "_on_lost",
        "_reactor",
        "_read_bytes",
        "_receive",
        "_send",
        "_socket",
        "_unsent",
        "is_open",
        "is_write_blocked",
    )

    def __init__(
        self, reactor: Reactor, endpoint: Endpoint, on_data: OnData, on_lost: OnLost
    ) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._on_data = on_data
        self._on_lost = on_lost
        self._socket: socket.socket | None = None
        self._unsent: memoryview | None = None
        self._read_bytes = _FIRST_READ_BYTES
        self._is_connecting = self.is_open = self.is_write_blocked = False

    def connect(self) -> None:
        """Connect now; raises TransportError if no server accepts."""
        family, address = self._endpoint.family, self._endpoint.address
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(_CONNECT_WITHIN_S)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            raise TransportError(
                f"cannot connect to {self._endpoint}: {error.strerror or error}",
                hint="is the server running, and is this its port? (-u HOST:PORT)",
            ) from error
        connection.setblocking(True)
        self._adopt(connection, READ)

    def begin_connect(self) -> None:
        """Connect without waiting; what is written meanwhile goes out afterwards."""
        connection = socket.socket(self._endpoint.family, socket.SOCK_STREAM)
        connection.setblocking(False)
        code = connection.connect_ex(self._endpoint.address)
        if code not in _UNDER_WAY:
            # Reported from the reactor, like every other end of a connection.
            connection.close()
            connection = socket.socket(self._endpoint.family, socket.SOCK_STREAM)
            connection.setblocking(False)
        self._is_connecting = True
        self._adopt(connection, READ | WRITE)

    def _adopt(self, connection: socket.socket, events: int) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _AWAIT_AT_MOST)
        self._socket = connection
        self.is_open = True
        self._send, self._receive = connection.send, connection.recv
        self._reactor.watch(
            connection.fileno(), self._on_ready, events=events, wait=self._await
        )

    def wait(self, within_s: float) -> None:
        """Block until something comes, outside the reactor."""
        assert self._socket is not None
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        if poll.poll(within_s * 1000):
            self._on_ready(READ, now_ns())

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._reactor.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self._keep(None)
        self._is_connecting = self.is_open = False

    def write(self, data: bytes) -> None:
        """Hand bytes to the kernel, or keep what it does not take."""
        if self.is_write_blocked or self._is_connecting:
            earlier = bytes(self._unsent) if self._unsent is not None else b""
            self._keep(memoryview(earlier + data))
            return
        try:
            written = self._send(data, _AT_ONCE)
        except BlockingIOError:
            written = 0
        except OSError:
            return  # reading tells how it ended
        if written < len(data):
            self._keep(memoryview(data)[written:])
            self._watch(READ | WRITE)

    def _keep(self, rest: memoryview | None) -> None:
        self._unsent = rest
        self.is_write_blocked = rest is not None

    def _watch(self, events: int) -> None:
        assert self._socket is not None
        self._reactor.rewatch(self._socket.fileno(), events=events, wait=self._await)

    def _on_ready(self, events: int, woke_ns: int) -> None:
        if events != READ and self._write_rest(woke_ns, events):
            return
        try:
            data = self._receive(self._read_bytes, _AT_ONCE)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(Failure("connection reset", str(error)), woke_ns)
            return
        self._take(data, woke_ns)

    def _await(self) -> int:
        """Receive, waiting for it a little; return the time of the wake-up."""
        try:
            data = self._receive(self._read_bytes)
        except BlockingIOError:
            return now_ns()
        except OSError as error:
            woke_ns = now_ns()
            self._lose(Failure("connection reset", str(error)), woke_ns)
            return woke_ns
        woke_ns = now_ns()
        self._take(data, woke_ns)
        return woke_ns

    def _take(self, data: bytes, woke_ns: int) -> None:
        if data:
            if len(data) == self._read_bytes:
                self._read_bytes = _READ_BYTES  # there is more
            self._on_data(data, woke_ns)
        else:
            self._lose(_HUNG_UP, woke_ns)

    def _write_rest(self, woke_ns: int, events: int) -> bool:
        """Go on connecting or writing; return whether there is nothing to read."""
        assert self._socket is not None
        if self._is_connecting:
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code or events & ~(READ | WRITE):
                reason = os.strerror(code or errno.ECONNREFUSED)
                self._lose(Failure("connection refused", reason), woke_ns)
                return True
            self._is_connecting = False
            self._socket.setblocking(True)
        if events & WRITE:
            if self._unsent is not None:
                self._write_now(self._unsent)
            if not self.is_write_blocked:
                self._watch(READ)
        return not events & ~WRITE

    def _write_now(self, rest: memoryview) -> None:
        try:
            written = self._send(rest, _AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            written = len(rest)  # reading tells how it ended
        self._keep(rest[written:] if written < len(rest) else None)

    def _lose(self, failure: Failure, woke_ns: int) -> None:
        self.close()
        self._on_lost(failure, woke_ns)
