"""TLS on top of a channel: the same face, other bytes below."""

from __future__ import annotations

import ssl

from triton_kit.loadtest.net.channel import Channel, OnData, OnLost
from triton_kit.loadtest.net.clock import now_ns, ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.request import Failure
from triton_kit.triton.address import Endpoint
from triton_kit.triton.tls import handshake_failed, handshake_reason

_READ_BYTES = 16 * 1024  # the largest record
_HANDSHAKE_WITHIN_S = 5.0


def open_channel(
    reactor: Reactor, endpoint: Endpoint, on_data: OnData, on_lost: OnLost
) -> Channel | TlsChannel:
    """Return a channel to `endpoint`, which speaks TLS where the endpoint does."""
    if endpoint.tls is None:
        return Channel(reactor, endpoint, on_data, on_lost)
    return TlsChannel(reactor, endpoint, endpoint.tls, on_data, on_lost)


class TlsChannel:
    """Encrypts what is written and decrypts what comes, in memory.

    What is written before the handshake is over goes out after it.
    """

    def __init__(
        self,
        reactor: Reactor,
        endpoint: Endpoint,
        context: ssl.SSLContext,
        on_data: OnData,
        on_lost: OnLost,
    ) -> None:
        self._endpoint = endpoint
        self._context = context
        self._on_data = on_data
        self._on_lost = on_lost
        self._channel = Channel(reactor, endpoint, self._on_encrypted, self._on_end)
        self._is_shaking = False
        self._early: list[bytes] = []
        # While connecting, the caller catches errors; later there is no caller.
        self._refusal: ssl.SSLError | Failure | None = None
        self._tls: ssl.SSLObject
        self._incoming: ssl.MemoryBIO
        self._outgoing: ssl.MemoryBIO

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, or one under way."""
        return self._channel.is_open

    @property
    def is_write_blocked(self) -> bool:
        """Whether earlier bytes still wait for the kernel to take them."""
        return bool(self._early) or self._channel.is_write_blocked

    def connect(self) -> None:
        """Connect now, handshake included.

        Raises:
            TransportError: no server accepts, or not with this TLS.
        """
        deadline_ns = now_ns() + ns(_HANDSHAKE_WITHIN_S)
        self._channel.connect()
        self._refusal = None
        self._begin()
        while self._is_shaking and self._refusal is None and now_ns() < deadline_ns:
            self._channel.wait(max(deadline_ns - now_ns(), 0) / ns(1))
        if self._is_shaking or self._refusal is not None:
            refusal = self._refusal
            self.close()
            if isinstance(refusal, ssl.SSLError):
                raise handshake_failed(str(self._endpoint), refusal) from refusal
            reason = refusal.detail if refusal else "the handshake takes too long"
            raise handshake_failed(str(self._endpoint), reason)

    def begin_connect(self) -> None:
        """Connect without waiting; what is written meanwhile goes out afterwards."""
        self._channel.begin_connect()
        self._begin()

    def wait(self, within_s: float) -> None:
        """Block until something comes, outside the reactor."""
        self._channel.wait(within_s)

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._channel.close()
        self._early.clear()
        self._is_shaking = False

    def write(self, data: bytes) -> None:
        """Encrypt bytes and hand them to the kernel."""
        if self._is_shaking:
            self._early.append(data)
            return
        self._tls.write(data)
        self._channel.write(self._outgoing.read())

    def _begin(self) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = self._context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=self._endpoint.host
        )
        self._is_shaking = True
        self._shake_hands()

    def _shake_hands(self) -> None:
        """Go on with the handshake; raises ssl.SSLError."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send_out()
            return
        self._is_shaking = False
        for data in self._early:
            self._tls.write(data)
        self._early.clear()
        self._send_out()

    def _send_out(self) -> None:
        if self._outgoing.pending:
            self._channel.write(self._outgoing.read())

    def _on_encrypted(self, data: bytes, woke_ns: int) -> None:
        self._incoming.write(data)
        try:
            if self._is_shaking:
                self._shake_hands()
            plain = b"" if self._is_shaking else self._decrypted()
        except ssl.SSLError as error:
            self._send_out()  # an alert tells the server
            self._refusal = error
            self._lose(Failure("TLS failed", handshake_reason(error)), woke_ns)
            return
        if plain:
            self._on_data(plain, woke_ns)

    def _decrypted(self) -> bytes:
        """Return all that can be read now; raises ssl.SSLError."""
        parts: list[bytes] = []
        try:
            while part := self._tls.read(_READ_BYTES):
                parts.append(part)
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass  # its end is followed by that of the connection
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _on_end(self, failure: Failure, woke_ns: int) -> None:
        if self._is_shaking:
            self._refusal = failure
        self._lose(failure, woke_ns)

    def _lose(self, failure: Failure, woke_ns: int) -> None:
        self.close()
        self._on_lost(failure, woke_ns)
