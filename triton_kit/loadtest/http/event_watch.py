"""Notes when each event of a streamed response came."""

from __future__ import annotations

from triton_kit.loadtest.http.compression import LARGEST_RESPONSE_BYTES
from triton_kit.loadtest.http.server_sent_events import EventReader, error_in_event
from triton_kit.loadtest.request import Failure, OnResponse


class EventWatch:
    """Follows the events of one request at a time, on one connection.

    Attributes:
        first_ns: when the first event was there; 0 before.
        failure: the error that an event reported.
    """

    def __init__(self, slot: int, responded: OnResponse, *, keep: bool = False) -> None:
        self.responded = responded
        self._keep = keep
        self._slot = slot
        self.restart()

    def restart(self) -> None:
        """Expect the next response."""
        self.first_ns = self._before_ns = 0
        self.failure: Failure | None = None
        self._reader = EventReader()
        self._kept: list[bytes] = []
        self._kept_bytes = 0

    def body(self) -> bytes:
        """Return the events so far, a line break after each, if they are kept."""
        return b"\n".join(self._kept)

    def note(self, body: bytes, at_ns: int) -> None:
        """Take the next piece of the body.

        Raises:
            ValueError: an event is too long, or all of them are.
        """
        for data in self._reader.feed(body):
            if error := error_in_event(data):
                self.failure = self.failure or Failure("stream error", error)
                continue
            self.first_ns = self.first_ns or at_ns
            if self._keep:
                self._kept.append(data)
                self._kept_bytes += len(data)
                if self._kept_bytes > LARGEST_RESPONSE_BYTES:
                    text = f"events of more than {LARGEST_RESPONSE_BYTES} bytes"
                    raise ValueError(text)
            self.responded(self._slot, self._before_ns, at_ns)
            self._before_ns = at_ns
