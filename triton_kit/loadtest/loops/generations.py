"""Observers of loads on LLMs: the times of each generation, and cancellations."""

from __future__ import annotations

import random
from collections.abc import Callable

from triton_kit.loadtest.loops.tracker import RequestTracker
from triton_kit.loadtest.net.clock import now_ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.net.transport import Transport
from triton_kit.loadtest.record.generations import UNKNOWN
from triton_kit.loadtest.request import CANCELLED, Failure, Request

# Returns prompt and completion tokens that a response reports, or None.
ReadUsage = Callable[[bytes], tuple[int, int] | None]


class GenerationWatch:
    """Records the first and last token of every generation, and its usage."""

    def __init__(
        self, tracker: RequestTracker, read_usage: ReadUsage, *, keep_bodies: bool
    ) -> None:
        self._tracker = tracker
        self._read_usage = read_usage
        self._keeps_bodies = keep_bodies
        self._chunks: dict[int, list[int]] = {}  # by slot: first, last, how many

    def sent(self, slot: int, _request: Request, /) -> None:
        """Forget the slot's previous generation."""
        self._chunks[slot] = [0, 0, 0]

    def responded(self, slot: int, at_ns: int, /) -> None:
        """Note a chunk of tokens."""
        chunks = self._chunks[slot]
        chunks[0] = chunks[0] or at_ns
        chunks[1] = at_ns
        chunks[2] += 1

    def ended(
        self,
        slot: int,
        stamps_ns: tuple[int, int, int],
        failure: Failure | None,
        response: bytes,
        /,
    ) -> Failure | None:
        """Record a successful generation."""
        if failure is None:
            usage = self._read_usage(response) or (UNKNOWN, UNKNOWN)
            sent_ns, _, end_ns = stamps_ns
            times = (self._tracker.due_ns[slot], sent_ns)
            row = (*times, *self._chunks[slot][:2], end_ns, self._chunks[slot][2])
            is_unknown = self._keeps_bodies and usage[1] == UNKNOWN
            body = response if is_unknown else None
            self._tracker.recorder.generated((*row, *usage), body)
        return failure


class Cancellations:
    """Cancels a share of the requests some time after they were sent."""

    def __init__(
        self,
        reactor: Reactor,
        transport: Transport,
        *,
        share: float,
        after_ns: int,
        seed: int,
    ) -> None:
        self._reactor = reactor
        self._transport = transport
        self._share = share
        self._after_ns = after_ns
        self._random = random.Random(seed)
        self._count = 0
        self._live: dict[int, int] = {}  # slot -> its request, by number

    def sent(self, slot: int, _request: Request, /) -> None:
        """Decide whether this request will be cancelled."""
        if self._random.random() >= self._share:
            return
        self._count += 1
        number = self._live[slot] = self._count

        def cancel() -> None:
            if self._live.get(slot) == number:
                after_s = self._after_ns / 1e9
                failure = Failure(CANCELLED, f"{after_s:g} s after it was sent")
                self._transport.cancel(slot, failure)

        self._reactor.call_at(now_ns() + self._after_ns, cancel)

    def responded(self, _slot: int, _at_ns: int, /) -> None:
        """Chunks change nothing."""

    def ended(
        self,
        slot: int,
        _stamps_ns: tuple[int, int, int],
        failure: Failure | None,
        _response: bytes,
        /,
    ) -> Failure | None:
        """Cancel nothing any more."""
        self._live.pop(slot, None)
        return failure
