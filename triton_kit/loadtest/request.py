"""A request as bytes, why it may bring no response, and who is told of its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# What a request may say beside its tensors.
Parameter = str | int | bool

# The kind of failure of a request without a response within its time.
TIMEOUT = "timeout"
# That of a request which the client took back on purpose: neither success nor failure.
CANCELLED = "cancelled"
# That of a request which a load process had not reported when it was lost.
NOT_SENT = "not sent"


@dataclass(frozen=True, slots=True, eq=False)
class HeaderList:
    """Header fields in their order; compared by identity, which costs nothing."""

    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A request already in wire form, so that sending it costs no encoding.

    Compared by identity, so that a transport can remember how it frames one.

    Attributes:
        payload: what goes to the socket; the transport knows its layout.
        inferences: how many inferences this request asks for (its batch size).
        headers: where they go out apart from the payload (HTTP/2).
        server: for which of several servers it is, counted from 0.
    """

    payload: bytes
    inferences: int = 1
    headers: HeaderList | None = None
    server: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request has no response: a kind to count, and one example in words."""

    kind: str
    detail: str = ""


# What a sink's `finished` takes: slot, sent, first, last, failure, response body.
OnEnd = Callable[[int, int, int, int, Failure | None, bytes], None]

# A sink's `responded`: slot, time of the previous response or 0, its own time.
OnResponse = Callable[[int, int, int], None]
