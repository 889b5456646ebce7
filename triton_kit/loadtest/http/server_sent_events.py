"""Reading server-sent events: bytes in, the data of each event out."""

from __future__ import annotations

import json

_DATA = b"data:"
# Longer than any event that is not a mistake; what comes is not kept beyond it.
LARGEST_EVENT_BYTES = 16 * 1024 * 1024


class EventReader:
    """Takes the events out of a stream of server-sent events."""

    def __init__(self) -> None:
        self._unread = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Read on; return the data of each event that is now complete.

        Raises:
            ValueError: an event is longer than any should be.
        """
        *whole, self._unread = (
            (self._unread + data).replace(b"\r\n", b"\n").split(b"\n\n")
        )
        if len(self._unread) > LARGEST_EVENT_BYTES:
            raise ValueError(f"an event longer than {LARGEST_EVENT_BYTES}")
        return [text for event in whole if (text := _data(event)) is not None]


def _data(event: bytes) -> bytes | None:
    """Join the data lines of an event; None for comments, which have none."""
    lines = [
        line[len(_DATA) :].removeprefix(b" ")
        for line in event.split(b"\n")
        if line.startswith(_DATA)
    ]
    return b"\n".join(lines) if lines else None


def error_in_event(data: bytes) -> str:
    """Return the error that an event reports; empty where it is a response."""
    if b'"error"' not in data[:64]:
        return ""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        return f"unreadable: {error}"
    return error_text(fields)


def error_text(fields: object) -> str:
    """Return the error of a JSON response: Triton's text, or the message of OpenAI's.

    Empty where it has none.
    """
    error = fields.get("error") if isinstance(fields, dict) else None
    if isinstance(error, dict):
        error = error.get("message") or error
    return str(error or "")
