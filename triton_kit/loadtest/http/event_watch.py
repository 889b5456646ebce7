"""Notes when each event of a streamed response came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from triton_kit.loadtest.http.compression import LARGEST_RESPONSE_BYTES
from triton_kit.loadtest.http.server_sent_events import EventReader, error_in_event
from triton_kit.loadtest.request import Failure, OnResponse


def triton_event(data: bytes) -> Failure | bool:
    """Read an event of `generate_stream`: a response, or an error."""
    error = error_in_event(data)
    return Failure("stream error", error) if error else True


@dataclass(frozen=True, slots=True, kw_only=True)
class EventForm:
    """What the events of an API mean.

    Attributes:
        read: returns whether an event is a response, or what is wrong with it. Events
            that are none, such as one with usage only, are not timed.
        closing: the event that ends every complete stream, where the API has one.
    """

    read: Callable[[bytes], Failure | bool] = triton_event
    closing: bytes = b""


class EventWatch:
    """Follows the events of one request at a time, on one connection.

    Attributes:
        first_ns: when the first response was there; 0 before.
    """

    def __init__(
        self, slot: int, responded: OnResponse, form: EventForm, *, keep: bool = False
    ) -> None:
        self.responded = responded
        self._form = form
        self._keep = keep
        self._slot = slot
        self.restart()

    def restart(self) -> None:
        """Expect the next response."""
        self.first_ns = self._before_ns = 0
        self._failure: Failure | None = None
        self._events = 0
        self._last = b""
        self._reader = EventReader()
        self._kept: list[bytes] = []
        self._kept_bytes = 0

    @property
    def failure(self) -> Failure | None:
        """What is wrong with the stream, once it has ended."""
        closing = self._form.closing
        if self._failure is None and closing and self._last != closing:
            text = f"the stream ended after {self._events} events without "
            return Failure("incomplete stream", text + closing.decode())
        return self._failure

    def body(self) -> bytes:
        """Return the events so far, a line break after each, if they are kept."""
        return b"\n".join(self._kept)

    def note(self, body: bytes, at_ns: int) -> None:
        """Take the next piece of the body.

        Raises:
            ValueError: an event is too long, or all of them are.
        """
        for data in self._reader.feed(body):
            self._events += 1
            self._last = data
            if data == self._form.closing:
                continue
            meaning = self._form.read(data)
            if isinstance(meaning, Failure):
                self._failure = self._failure or meaning
                continue
            if self._keep:
                # One line each: between JSON's values a line break is a space.
                self._kept.append(data.replace(b"\n", b" "))
                self._kept_bytes += len(data)
                if self._kept_bytes > LARGEST_RESPONSE_BYTES:
                    text = f"events of more than {LARGEST_RESPONSE_BYTES} bytes"
                    raise ValueError(text)
            if not meaning:
                continue
            self.first_ns = self.first_ns or at_ns
            self.responded(self._slot, self._before_ns, at_ns)
            self._before_ns = at_ns
