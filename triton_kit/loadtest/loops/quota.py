"""When the newest slots of a periodic load have been answered often enough."""

from __future__ import annotations

from collections.abc import Iterable

from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.request import Failure, Request


class Quota:
    """Stops the reactor once each of the slots it waits for has had its answers.

    The replies of a stream count one by one; so does a request that failed.
    """

    def __init__(self, reactor: Reactor, answers: int) -> None:
        self._reactor = reactor
        self._answers = answers
        self._missing: dict[int, int] = {}
        self._streamed: set[int] = set()

    def expect(self, slots: Iterable[int]) -> None:
        """Wait for the answers of these slots from now on."""
        self._missing = dict.fromkeys(slots, self._answers)

    def sent(self, _slot: int, _request: Request, /) -> None:
        """Only answers count."""

    def replied(self, slot: int, _at_ns: int, /) -> None:
        """Count one response of many."""
        self._streamed.add(slot)
        self._count(slot)

    def ended(
        self,
        slot: int,
        _stamps_ns: tuple[int, int, int],
        failure: Failure | None,
        _answer: bytes,
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
