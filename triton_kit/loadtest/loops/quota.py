"""When the newest slots of a periodic load have received enough responses."""

from __future__ import annotations

from collections.abc import Iterable

from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.request import Failure, Request


class Quota:
    """Stops the reactor once each slot that it waits for has its responses.

    Every response of a stream counts; so does a request that failed.
    """

    def __init__(self, reactor: Reactor, responses: int) -> None:
        self._reactor = reactor
        self._responses = responses
        self._missing: dict[int, int] = {}
        self._streamed: set[int] = set()

    def expect(self, slots: Iterable[int]) -> None:
        """Wait for the responses of these slots from now on."""
        self._missing = dict.fromkeys(slots, self._responses)

    def sent(self, _slot: int, _request: Request, /) -> None:
        """Only responses count."""

    def responded(self, slot: int, _at_ns: int, /) -> None:
        """Count one response of many."""
        self._streamed.add(slot)
        self._count(slot)

    def ended(
        self,
        slot: int,
        _stamps_ns: tuple[int, int, int],
        failure: Failure | None,
        _response: bytes,
        /,
    ) -> Failure | None:
        """Count the only response."""
        if slot in self._streamed:
            self._streamed.discard(slot)
        else:
            self._count(slot)
        return failure

    def _count(self, slot: int) -> None:
        if slot not in self._missing:
            return
        self._missing[slot] -= 1
        if not self._missing[slot]:
            del self._missing[slot]
            if not self._missing:
                self._reactor.stop()
