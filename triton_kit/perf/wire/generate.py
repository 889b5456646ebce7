"""Triton's generate extension: plain JSON there, JSON or server-sent events back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from triton_kit.errors import SpecError
from triton_kit.perf.address import Address
from triton_kit.perf.data import Array, Inputs
from triton_kit.perf.model import ModelInfo
from triton_kit.perf.transport.base import Request
from triton_kit.perf.wire.compression import compressed
from triton_kit.perf.wire.kserve_http import Parameter, model_path

_DATA = b"data:"
# Longer than any event that is not a mistake; what comes is not kept beyond it.
LARGEST_EVENT_BYTES = 16 * 1024 * 1024


def generate_request(
    address: Address,
    model: ModelInfo,
    inputs: Inputs,
    *,
    endpoint: str,
    version: str = "",
    headers: Mapping[str, str] | None = None,
    parameters: Mapping[str, Parameter] | None = None,
    compression: str = "none",
) -> Request:
    """Write one whole POST request to `generate` or `generate_stream`.

    Args:
        address: whose Host header and path prefix to use.
        model: the model, which takes one inference per request here.
        inputs: a value per input, batch axis included.
        endpoint: `generate` or `generate_stream`.
        version: ask for this version instead of the server's choice.
        headers: further headers, such as an API key.
        parameters: what the request says beside its inputs.
        compression: of the body.

    Raises:
        SpecError: an input has no form in JSON.
    """
    fields = {name: _plain(name, array) for name, array in inputs.items()}
    text = json.dumps({**(parameters or {}), **fields}, separators=(",", ":"))
    body = compressed(text.encode(), compression)
    path = model_path(model.name, version)
    lines = [
        f"POST {address.path}{path}/{endpoint} HTTP/1.1",
        f"Host: {address.authority}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *([] if compression == "none" else [f"Content-Encoding: {compression}"]),
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return Request("\r\n".join([*lines, "", ""]).encode() + body)


def _plain(name: str, array: Array) -> Any:  # noqa: ANN401  any JSON value
    """Return a tensor as Triton reads it here: a value, or a list without nesting."""
    items = array.ravel().tolist()
    try:
        plain = [i.decode() if isinstance(i, bytes) else i for i in items]
    except UnicodeDecodeError as error:
        raise SpecError(
            f"input {name!r} is no text, which JSON cannot carry"
        ) from error
    return plain[0] if len(plain) == 1 else plain


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
    """Return the error that an event tells; empty where it is an answer."""
    if b'"error"' not in data[:64]:
        return ""
    try:
        fields = json.loads(data)
    except ValueError as error:
        return f"unreadable: {error}"
    return str(fields.get("error", "")) if isinstance(fields, dict) else ""
