"""The ends of sequences that a load cuts short."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from triton_kit.loadtest.loops.sequences import RequestOrder
from triton_kit.loadtest.loops.tracker import RequestTracker
from triton_kit.loadtest.net.clock import now_ns
from triton_kit.loadtest.net.transport import Transport


class SequenceEndings:
    """Ends sequences of slots that send nothing more, by requests that count nowhere.

    Until its end comes, a sequence holds a place in the server, and others may wait
    for that place.

    Attributes:
        are_wanted: whether a slot that sends nothing more ends its sequence.
    """

    def __init__(
        self,
        slot_requests: RequestOrder,
        tracker: RequestTracker,
        transport: Transport,
        ended: Callable[[], None],
    ) -> None:
        self.are_wanted = False
        self._turns = slot_requests
        self._tracker = tracker
        self._transport = transport
        if slot_requests.has_sequences:
            tracker.leave_out(ended)

    @property
    def in_flight(self) -> int:
        """Ends without a response so far."""
        return len(self._tracker.uncounted)

    def send(self, slots: Iterable[int]) -> None:
        """End the sequences that these slots have begun; each only once."""
        for slot in slots:
            request = self._turns.take_ending(slot)
            if request is not None:
                self._tracker.uncounted.add(slot)
                self._tracker.due_ns[slot] = now_ns()
                self._transport.send(slot, request)
